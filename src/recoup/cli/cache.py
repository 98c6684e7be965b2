"""`recoup cache`: what this host keeps of dedup repositories."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import Session, session, verb
from recoup.errors import ExitCode, UsageError
from recoup.model import figures

if TYPE_CHECKING:
    from recoup.repository.dedup.caching import CacheState

_ACTIONS = ("status", "clear", "rebuild")


@verb
def cache(
    context: typer.Context,
    action: Annotated[str, typer.Argument(metavar="status|clear|rebuild", help="What to do with it.")] = "status",
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the older state that a storage shows for the right one.")
    ] = False,
) -> ExitCode:
    """Say what this host keeps of dedup repositories, throw it away, or make it anew.

    It saves requests and may be lost at any time. But for one thing: by the names that this host saw it notices when a storage
    shows an older state, so `clear` leaves these. After such a refusal, look why it is so; --accept takes what is there now
    for right.
    """
    now = session(context)
    if action not in _ACTIONS or (accept and action != "status"):
        raise UsageError(
            f"`recoup cache {action}` is unknown", f"It is one of {', '.join(_ACTIONS)}, or --accept alone."
        )
    if now.dry_run and (accept or action == "clear"):
        now.show("Would change what this host keeps, and nothing in a repository.")
        return ExitCode.OK
    if accept:
        return _accept(now)
    if action == "clear":
        for name, size in now.stack.clear_caches().items():
            now.result("cleared", {"repository": name, "bytes": size})
            now.show(_cleared(name, size))
        return ExitCode.OK
    with now.news():
        states = now.stack.rebuild_caches() if action == "rebuild" and not now.dry_run else now.stack.caches()
    for state in states:
        now.result("cache", state)
        for line in lines(state):
            now.show(line)
    return ExitCode.REFUSED if any(state.gone for state in states) else ExitCode.OK


def _accept(now: Session) -> ExitCode:
    older = {state.repository: state.gone for state in now.stack.caches() if state.gone}
    if not older:
        now.show("No storage shows an older state than this host saw: there is nothing to accept.")
        return ExitCode.OK
    for name, gone in older.items():
        now.show(f"{name} lacks {_some(gone)}.")
    now.confirm("Take what is there now for right?")
    for name, gone in now.stack.accept_state().items():
        now.result("accepted", {"repository": name, "gone": gone})
    now.show("What is there now counts as right.")
    return ExitCode.OK


def _cleared(name: str, size: int) -> str:

    return f"{name}: {figures.size(size)} thrown away; what was seen of the repository stays known."


def lines(state: "CacheState") -> Iterator[str]:
    """What is kept of a repository, for people."""
    from recoup.model.names import shown

    kept = f"{figures.size(state.bytes)} in {figures.counted(state.files, 'file')}"
    yield f"{state.repository}: {kept} in {shown(state.folder)}"
    yield (
        f"  {figures.counted(state.chunks, 'chunk')} in {figures.counted(state.index_files, 'index file')}; "
        f"{figures.counted(state.seen, 'name')} seen"
    )
    yield from (f"  ! {shown(problem)}" for problem in state.problems)
    if state.gone:
        yield f"  ! the storage shows an OLDER STATE than this host saw: {_some(state.gone)} gone"
        yield "    if that is as it should be from now on: `recoup cache --accept`"


def _some(names: tuple[str, ...]) -> str:
    from recoup.model.names import shown

    few = ", ".join(map(shown, names[:5]))
    return few if len(names) <= 5 else f"{few} and {len(names) - 5:,} more"
