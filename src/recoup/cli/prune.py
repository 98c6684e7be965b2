"""`recoup prune`: remove what no rule keeps."""

from typing import Annotated

import typer

from recoup.cli._session import names, pairs, session, verb
from recoup.errors import ExitCode
from recoup.model import figures


@verb
def prune(
    context: typer.Context,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="Judge only sets with this tag; the others stay."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="A,B", help="Judge only sets asked for these sources; the others stay."),
    ] = None,
    free: Annotated[
        str | None,
        typer.Option(
            "--free",
            metavar="SIZE",
            help="Make room at once: remove sets that take this much (20G, 500MB), first what is in the trash, "
            "then what no rule keeps, then the oldest. They go for good.",
        ),
    ] = None,
) -> ExitCode:
    """Remove the sets that no rule of `keep` keeps. Shows every set with the reasons; -n only shows.

    Never removed: the newest complete set, each source's newest good copy, and pinned sets. When --free cannot be reached
    without these, nothing is removed, and the exit code is 13.
    """
    from recoup.cli import _tables
    from recoup.cli._running import running
    from recoup.model import outcomes
    from recoup.system.clock import SystemClock

    now = session(context)
    with running(now, "prune") as run:
        wanted = 0 if free is None else figures.bytes_of(free, "--free")
        plan = now.stack.plan_prune(pairs(tag or (), "--tag"), names(source) or (), free=wanted)
        for row in plan.rows:
            now.result("verdict", row)
        now.show(_tables.prune_plan(plan, SystemClock().now()))
        for sentence in plan.notes:
            now.show(sentence)
        plan.require_enough()
        removing = [row for row in plan.rows if not row.keep]
        if not removing and not plan.trash_bytes:
            now.show("Nothing to remove.")
        if now.dry_run:
            return ExitCode.OK
        if removing or plan.trash_bytes:
            trash = " and empty the trash" if plan.trash_bytes else ""
            now.confirm(f"Remove {figures.counted(len(removing), 'set')}{trash}, {figures.size(plan.freed_bytes)}?")
        with now.news():
            report = now.stack.prune(plan, wait_lock=now.wait_lock)
        code, everything = int(report.exit_code), not (tag or source or free)
        run.ended(outcomes.of_prune(code, now.stack.chosen_repositories, everything=everything))
    now.result("prune", report)
    if plan.trash_bytes:
        now.show(f"Emptied the trash, {figures.size(plan.trash_bytes)}.")
    if report.removed:
        now.show(f"Removed {figures.counted(len(report.removed), 'set')}, kept {len(report.kept)}.")
    if report.exit_code == ExitCode.DAMAGED:
        now.show("Content that sets need is lost or damaged: `recoup verify` tells which.")
    elif report.exit_code:
        gained = figures.size(report.gained_bytes)
        now.show(f"Only {gained} more are free than before: sets share what they hold, or others fill the disk.")
    return report.exit_code
