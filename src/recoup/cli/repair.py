"""`recoup repair`: sets made whole again, by another repository's copies or by what is left."""

from typing import Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode


@verb
def repair(
    context: typer.Context,
    helper: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The repository that has whole copies, if there is one.")
    ] = "",
    sets: Annotated[list[str] | None, typer.Argument(metavar="[SET]...", help="Sets; all by default.")] = None,
) -> ExitCode:
    """Replace what is damaged or missing of sets by another repository's copy.

    Every byte of the sets is read first. A file is replaced only by bytes that have the SHA-256 in the manifest: taken as they
    are where both repositories store them the same way, else compressed or packed again. Afterwards each mended set is read
    once more. Exit code 4 when damage is left, with -n when there is any.

    Without -r all repositories but that of --from are looked at.

    Of a dedup repository, the index is made anew from the packs where it is lost, which needs no other repository, and chunks
    that are lost come back from the other one's content, whatever its layout, if they have the ids that were stored.
    """
    from recoup.cli import _tables

    now = session(context)
    with now.news():
        rows = now.stack.plan_repair(helper, sets or (), wait_lock=now.wait_lock)
    for row in rows if now.dry_run else ():
        now.result("plan", row)
    if now.dry_run:
        for line in _tables.repair_plan(rows, helper):
            now.show(line)
        return ExitCode.DAMAGED if any(row.damage for row in rows) else ExitCode.OK
    with now.news():
        reports = now.stack.repair(rows, helper=helper, wait_lock=now.wait_lock)
    for report in reports:
        now.result("repair", report)
    for line in _tables.repair_report(reports):
        now.show(line)
    return max(report.exit_code for report in reports)
