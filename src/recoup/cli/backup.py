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
    prune: Annotated[
        bool | None, typer.Option("--prune/--no-prune", help="Prune after a complete backup; as configured by default.")
    ] = None,
) -> ExitCode:
    """Take one cut of the stack and store it.

    All sources are frozen first and read afterwards. A source that fails does not stop the others: the set is stored,
    marked incomplete, and the exit code is 3.
    """
    from recoup.cli import _figures, _tables

    now = session(context)
    plan = now.stack.plan_backup(names(source), pairs(tag or (), "--tag"), note)
    if now.dry_run:
        now.result("plan", plan)
        now.show(_tables.backup_plan(plan))
        now.show(f"Would need about {_figures.size(plan.needed_bytes)}; {_figures.size(plan.free_bytes)} are free.")
        return ExitCode.OK
    with now.news():
        report = now.stack.backup(plan, prune=prune, wait_lock=now.wait_lock)
    now.result("backup", report)
    if (table := _tables.backup_report(report)) is not None:
        now.show(table)
    now.show(_tables.summary(report))
    return report.exit_code
