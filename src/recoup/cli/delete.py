"""`recoup delete` and `undelete`."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures


@verb
def delete(
    context: typer.Context,
    sets: Annotated[list[str], typer.Argument(metavar="SET...", help="The sets.")],
    force: Annotated[bool, typer.Option("--force", help="Also pinned sets and the newest complete one.")] = False,
) -> ExitCode:
    """Delete sets. They go for good, or, with `trash_days`, into the trash, from where `undelete` takes them back."""
    from recoup.cli import _listing
    from recoup.system.clock import SystemClock

    now = session(context)
    plan = now.stack.plan_delete(sets)
    now.show(_listing.sets(plan.infos, SystemClock().now()))
    plan.require_allowed(force=force)
    if now.dry_run:
        now.result("plan", plan)
        now.show(f"Would delete {figures.counted(len(plan.infos), 'set')}.")
        return ExitCode.OK
    now.confirm(f"Delete {figures.counted(len(plan.infos), 'set')}{'' if plan.trash_days else ' for good'}?")
    with now.news(talkative=True):
        removed = now.stack.delete(plan, force=force, wait_lock=now.wait_lock)
    now.result("delete", {"removed": removed})
    back = f"`recoup undelete` takes back within {plan.trash_days:g} days." if plan.trash_days else "For good."
    now.show(f"Deleted {', '.join(removed)}. {back}")
    return ExitCode.OK


@verb
def undelete(
    context: typer.Context,
    set: Annotated[str, typer.Argument(metavar="SET", help="A set in the trash.")],  # noqa: A002 - the noun of the field
) -> ExitCode:
    """Take a set back from the trash."""
    now = session(context)
    if now.dry_run:
        now.result("plan", {"verb": "undelete", "set": set})
        now.show(f"Would take {set} back.")
        return ExitCode.OK
    name = now.stack.undelete(set)
    now.result("undelete", {"set": name})
    now.show(f"{name} is back.")
    return ExitCode.OK
