"""`recoup unlock`: remove stale locks."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def unlock(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="All locks, also those whose holder may live.")] = False,
) -> ExitCode:
    """Remove the locks of runs that are certainly dead."""
    now = session(context)
    if now.dry_run:
        locks = [lock for lock in now.stack.locks() if force or lock.stale]
    else:
        if force and now.stack.locks():
            now.confirm("Remove all locks? A run that holds one may still be writing.")
        locks = list(now.stack.unlock(force=force))
    for lock in locks:
        now.result("lock", lock)
        word = "Would remove" if now.dry_run else "Removed"
        now.show(
            f"{word} the lock of `{lock.verb}` on {lock.host}, process {lock.pid}, since {lock.since:%Y-%m-%d %H:%M:%S} UTC."
        )
    left = len(now.stack.locks())
    if not locks:
        now.show(f"No stale locks; {left} held." if left else "No locks.")
    return ExitCode.OK
