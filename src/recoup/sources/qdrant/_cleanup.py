"""Taking back what a restore left half done on a server, or finishing it where the old collection is gone already.

Only what a journal names is touched, and of that only what still bears the mark of a restore, or is empty and as it was made: a
collection of the same name that somebody made since is nobody's to delete.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.sources.qdrant import _restore_kept
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._checking import count
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._drill_leftovers import remove_abandoned
from recoup.sources.qdrant._faults import ServerError
from recoup.sources.qdrant._restore_intents import Intents, Keeping, Making, Replacing, Writing, left_behind
from recoup.sources.qdrant._restore_making import act_on_aliases, creation, drop
from recoup.sources.qdrant._restore_resuming import begun
from recoup.sources.qdrant._switching import aliases_of, take_name
from recoup.system.clock import Clock, SystemClock
from recoup.system.tempdirs import remove_tree


def cleanup(
    servers: Sequence[Server], clock: Clock | None = None, *, dry_run: bool = False, spare_begun: bool = False
) -> tuple[str, ...]:
    """Removes, or finishes, what killed restores left on a server; returns a sentence for each thing done.

    Args:
        servers: the server; the first node is asked.
        clock: time; the system's by default.
        dry_run: only says what would be done.
        spare_begun: leaves what a further run can go on with: collections that points were being written into, for a week.

    Raises:
        ServerError: the server cannot be asked.
        RestoreError: a deleted collection's name could not be given to the restored one.
    """
    sentences = list(remove_abandoned(servers[0], dry_run=dry_run))
    clock = clock or SystemClock()
    spared = set(begun(servers[0], clock.now().timestamp())) if spare_begun else set[str]()
    for intents in left_behind():
        sentences += settle(intents, servers[0], clock, dry_run=dry_run, spared=spared)
    return tuple(sentences)


def settle(
    intents: Intents, server: Server, clock: Clock, *, dry_run: bool = False, spared: Collection[str] = ()
) -> list[str]:
    """Takes back, or finishes, one run's intents on one server, and forgets them when nothing is left.

    Args:
        intents: of the run.
        server: where.
        clock: time.
        dry_run: only says what would be done.
        spared: collections to leave as they are.
    """
    meant = list(intents)
    here = [intent for intent in meant if intent.url == server.url and getattr(intent, "name", "") not in spared]
    sentences = [s for intent in here if isinstance(intent, Replacing) for s in _finish(intent, server, clock, dry_run)]
    for intent in here:
        if isinstance(intent, Making):
            sentences += _take_back(intent, server, dry_run)
        elif isinstance(intent, Keeping):
            sentences += _drop_copy(intent, dry_run)
    if not dry_run and all(intent in here or isinstance(intent, Writing) for intent in meant):
        intents.forget()
    return sentences


def _names(server: Server) -> set[str]:
    return {str(one["name"]) for one in (server.get(at("collections")) or {}).get("collections", ())}


def _finish(intent: Replacing, server: Server, clock: Clock, dry_run: bool) -> Iterable[str]:  # noqa: FBT001 - passed on
    """The old collection is gone: its name goes to the restored one, which was whole and checked before."""
    names, aliases = _names(server), aliases_of(server)
    if intent.name in names or intent.name in aliases or intent.into not in names:
        return
    if not dry_run:
        take_name(server, intent.name, intent.into, intent.aliases, intent.mark, clock)
    yield f"{shown(intent.name)} was deleted for a restore: its name now leads to {shown(intent.into)}"


def _take_back(intent: Making, server: Server, dry_run: bool) -> Iterable[str]:  # noqa: FBT001 - passed on
    if intent.name not in _names(server):
        return
    aliases = aliases_of(server)
    leading = [alias for alias, name in aliases.items() if name == intent.name]
    if any(alias != intent.mark for alias in leading):  # it was switched to: it is whole, and in use
        if intent.mark in leading and not dry_run:
            act_on_aliases(server, [drop(intent.mark)])
        return
    if not leading and not _is_untouched(intent, server):
        yield f"{shown(intent.name)} stays: it does not bear the mark of a restore that was not finished"
        return
    if not dry_run:
        server.delete(at("collections", intent.name))
    yield f"the half-made collection {shown(intent.name)} was removed"


def _is_untouched(intent: Making, server: Server) -> bool:
    """Whether a collection is empty and still as it was made: the run was killed before it could mark it."""
    config = server.get(at("collections", intent.name)).get("config", {})
    made = creation(config)
    return count(server, intent.name) == 0 and all(
        _contains(made.get(key), value) for key, value in intent.body.items()
    )


def _contains(found: object, wanted: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_contains(found.get(key), value) for key, value in wanted.items())
    return found == wanted


def _drop_copy(intent: Keeping, dry_run: bool) -> Iterable[str]:  # noqa: FBT001 - passed on
    folder = Path(intent.folder)
    if intent.folder in _restore_kept.copies() or not folder.exists():
        return
    if not dry_run:
        remove_tree(folder)
    yield f"the unfinished copy {shown(intent.folder)} was removed"


def take_back(intents: Intents, server: Server, clock: Clock) -> list[str]:
    """Takes back what this run itself did, after an error; what cannot be taken back now stays in the journal.

    Returns:
        A sentence for each thing that is left.
    """
    with server.again(timeout=30.0, connect_timeout=2.0) as fresh:
        try:
            settle(intents, fresh, clock)
        except (ServerError, RestoreError) as error:
            return [f"what was half made could not be removed ({error.message}); `recoup qdrant cleanup` does it"]
    return []
