"""`recoup backup`: one cut of the stack."""

from typing import Annotated

import typer

from recoup.cli._session import names, pairs, session, verb
from recoup.errors import ExitCode


@verb
def backup(
    context: typer.Context,
    source: Annotated[str | None, typer.Option("--source", metavar="A,B", help="Only these sources.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Tag the set; repeatable.")
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A note for people.")] = "",
    to: Annotated[
        str | None, typer.Option("--to", metavar="all|A,B", help="Into these repositories; into all by default.")
    ] = None,
    prune: Annotated[
        bool | None, typer.Option("--prune/--no-prune", help="Prune after a complete backup; as configured by default.")
    ] = None,
) -> ExitCode:
    """Take one cut of the stack and store it.

    All sources are frozen first and read afterwards. A source that fails does not stop the others: the set is stored,
    marked incomplete, and the exit code is 3.

    With several repositories the sources are read once for all of them. One that fails does not stop the others, and the
    exit code is 3.
    """
    from recoup.cli import _tables
    from recoup.cli._running import running
    from recoup.model import outcomes
    from recoup.sinks import _measuring

    now = session(context)
    with running(now, "backup", names(source), repositories=names(to, "--to")) as run:
        plan = now.stack.plan_backup(names(source), pairs(tag or (), "--tag"), note, to=names(to, "--to"))
        if now.dry_run:
            now.result("plan", plan)
            now.show(_tables.backup_plan(plan))
            for target in plan.targets:
                now.show(_tables.backup_target(target, alone=len(plan.targets) == 1))
            return ExitCode.OK
        with now.news():
            report = now.stack.backup(plan, prune=prune, wait_lock=now.wait_lock)
        asked = [row.source for row in plan.rows]
        run.ended(outcomes.of_backup(report, asked), list(_measuring.of_backup(report)))
    now.result("backup", report)
    if (table := _tables.backup_report(report)) is not None:
        now.show(table)
    for line in _tables.summary(report):
        now.show(line)
    return report.exit_code
