"""Going on where a killed run stopped, when points go in one by one: hours of work are not done twice."""

import hashlib
from collections.abc import Mapping

from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._record import CollectionRecord, encode
from recoup.sources.qdrant._restore_intents import Intents, Making, Writing, left_behind
from recoup.sources.qdrant._restore_making import act_on_aliases, drop, lead
from recoup.sources.qdrant._switching import aliases_of

KEPT = 7 * 86_400.0
"""Seconds for which a half-written collection waits for the run that goes on with it."""


def digest(record: CollectionRecord) -> str:
    """SHA-256 of what is restored, hex: the same record yields the same points in the same order."""
    return hashlib.sha256(encode(record)).hexdigest()


def begun(server: Server, now: float) -> dict[str, Writing]:
    """The collections that killed runs left half written, by name; their marks still lead to them.

    Args:
        server: where.
        now: seconds since the epoch.
    """
    aliases: Mapping[str, str] | None = None
    found: dict[str, Writing] = {}
    for intents in left_behind():
        if now - intents.changed > KEPT:
            continue
        for intent in intents:
            if isinstance(intent, Writing) and intent.url == server.url:
                aliases = aliases_of(server) if aliases is None else aliases
                if aliases.get(intent.mark) == intent.into:
                    found[intent.into] = intent
    return found


def take_over(server: Server, half: Writing, making: Making, intents: Intents) -> None:
    """Makes a half-written collection this run's own: from now on it bears this run's mark."""
    intents.add(making)
    act_on_aliases(server, [drop(half.mark), lead(making.mark, half.into)])


def discard(server: Server, half: Writing) -> None:
    """Deletes a half-written collection that nobody goes on with."""
    server.delete(at("collections", half.into))
