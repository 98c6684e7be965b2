"""`recoup pin`, `unpin`, `note` and `accept`: what people say of sets."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode, UsageError

Set = Annotated[
    str, typer.Argument(metavar="SET", help="Name, unique prefix, latest, latest-complete, oldest, or a time.")
]


@verb
def pin(
    context: typer.Context,
    set: Set,  # noqa: A002 - the noun of the field
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Until when, e.g. 2027-01-31; for good by default.")
    ] = None,
) -> ExitCode:
    """Protect a set from prune and delete."""
    from recoup.operations.selection import begin_of
    from recoup.system.clock import SystemClock, local_zone_name

    now = session(context)
    end = None if until is None else begin_of(until, SystemClock().now(), local_zone_name())
    if now.dry_run:
        return _would(context, "pin", set)
    if end is not None and end <= SystemClock().now():
        raise UsageError(f"{until} is in the past")
    name = now.stack.pin(set, reason, end)
    now.result("pin", {"set": name, "reason": reason, "until": end})
    now.show(f"Pinned {name}.")
    return ExitCode.OK


def _would(context: typer.Context, what: str, text: str) -> ExitCode:
    now = session(context)
    name = now.stack.show(text).name
    now.result("plan", {"verb": what, "set": name})
    now.show(f"Would {what} {name}.")
    return ExitCode.OK


@verb
def unpin(context: typer.Context, set: Set) -> ExitCode:  # noqa: A002 - the noun of the field
    """End a set's protection."""
    now = session(context)
    if now.dry_run:
        return _would(context, "unpin", set)
    name = now.stack.unpin(set)
    now.result("unpin", {"set": name})
    now.show(f"Unpinned {name}.")
    return ExitCode.OK


@verb
def note(
    context: typer.Context,
    set: Set,  # noqa: A002 - the noun of the field
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to note.")],
) -> ExitCode:
    """Add a note to a set."""
    now = session(context)
    if now.dry_run:
        return _would(context, "note at", set)
    name = now.stack.note(set, text)
    now.result("note", {"set": name, "text": text})
    now.show(f"Noted at {name}.")
    return ExitCode.OK


@verb
def accept(context: typer.Context, set: Set) -> ExitCode:  # noqa: A002 - the noun of the field
    """Let a suspicious set count as a good one for retention."""
    now = session(context)
    if now.dry_run:
        return _would(context, "accept", set)
    name = now.stack.accept(set)
    now.result("accept", {"set": name})
    now.show(f"Accepted {name}.")
    return ExitCode.OK
