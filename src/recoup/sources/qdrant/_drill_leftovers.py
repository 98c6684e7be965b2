"""The scratch collections of drills on a server: removed also when the drill was killed, by the next cleanup."""

import contextlib
from collections.abc import Iterator

from recoup.model.names import shown
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError
from recoup.system.journal import abandoned

PURPOSE = "qdrant-drill"
"""Name of the journals: each line has a `url` and a `name`."""


def delete(server: Server, name: str) -> None:
    """Deletes a collection, if it is there."""
    with contextlib.suppress(MissingError):
        server.delete(at("collections", name))


def remove_abandoned(server: Server, *, dry_run: bool = False) -> Iterator[str]:
    """Deletes the scratch collections of drills that were killed; a sentence for each."""
    present = {str(one["name"]) for one in (server.get(at("collections")) or {}).get("collections", ())}
    for journal in abandoned(PURPOSE):
        intents = list(journal.intents())
        here = [intent["name"] for intent in intents if intent.get("url") == server.url and "name" in intent]
        for name in here:
            if name in present:
                if not dry_run:
                    delete(server, name)
                yield f"the scratch collection {shown(name)} of a drill was removed"
        if not dry_run and len(here) == len(intents):
            journal.forget()
