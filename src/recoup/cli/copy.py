"""`recoup copy`: sets of one repository into another."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures


@verb
def copy(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="The repository that gets the sets.")],
    sets: Annotated[
        list[str] | None, typer.Argument(metavar="[SET]...", help="Sets; all of the stack's by default.")
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="The repository to copy from; -r works as well.")
    ] = None,
) -> ExitCode:
    """Copy sets into another repository, with their pins, proofs and notes.

    Every byte is checked on the way. What the other repository has already is skipped, so a copy that was interrupted goes on
    where it stopped. Compression, packing and encryption are those of the other repository. Between dedup repositories with the
    same keys (`keys_of`) nothing is opened: what the other one lacks is sent as it is stored.
    """
    from recoup.cli import _tables
    from recoup.cli._running import running
    from recoup.model import outcomes

    now = session(context)
    with running(now, "copy", repositories=[to]) as run:
        plan = now.stack.plan_copy(to, sets or (), origin=origin)
        if now.dry_run:
            plan = now.stack.measured_copy(plan)
            for row in plan.rows:
                now.result("plan", row)
            now.show(_tables.copy_plan(plan))
            missing = figures.counted(len(plan.missing), "set")
            now.show(
                f"Would copy {missing} to {plan.target}: about {figures.size(plan.needed_bytes)}; "
                f"{figures.size(plan.free_bytes)} are free."
            )
            if plan.sent is not None:
                now.result("sent", plan.sent)
                now.show(_tables.sent(plan.sent))
            return ExitCode.OK
        with now.news():
            report = now.stack.copy(plan, wait_lock=now.wait_lock)
        run.ended(outcomes.of_copy(report, everything=not sets))
    now.result("copy", report)
    for line in _tables.copy_report(report):
        now.show(line)
    return report.exit_code
