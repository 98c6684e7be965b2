"""`recoup verify`: stored bytes against the manifests."""

from typing import TYPE_CHECKING, Annotated

import typer

from recoup.cli._session import session, verb
from recoup.errors import ExitCode
from recoup.model import figures

if TYPE_CHECKING:
    from recoup.model.reports import VerifyReport


@verb
def verify(
    context: typer.Context,
    set: Annotated[str | None, typer.Argument(metavar="SET", help="A set; all sets by default.")] = None,  # noqa: A002 - the noun of the field
    read_data_subset: Annotated[
        str,
        typer.Option(
            metavar="N/T|X%|SIZE",
            help="Read a part of the bytes: slice N of T, or a share or size of what was read longest ago.",
        ),
    ] = "100%",
    structure_only: Annotated[
        bool, typer.Option("--structure-only", help="Read no content: names, sizes and what says what there has to be.")
    ] = False,
) -> ExitCode:
    """Compare stored bytes with the manifests. Every byte is read, unless a subset is asked for.

    It proves that the bytes are those that were stored. That they restore is what `drill` proves. A share (`5%`) or size (`10G`)
    goes on where the last one ended, as this machine remembers it, so that every byte is read in turn.
    """
    from recoup.cli import _tables
    from recoup.cli._running import running
    from recoup.model import outcomes
    from recoup.repository import _subset

    now = session(context)
    subset = _subset.structure_only(read_data_subset) if structure_only else _subset.parsed(read_data_subset)
    if now.dry_run:
        names = [now.stack.show(set).name] if set else [info.name for info in now.stack.sets()]
        now.result("plan", {"sets": names})
        now.show(f"Would verify {figures.counted(len(names), 'set')}.")
        return ExitCode.OK
    with running(now, "verify") as run:
        with now.news():
            reports = now.stack.verify(set, subset, wait_lock=now.wait_lock)
        places, unseen = now.stack.chosen_repositories, {report.unseen for report in reports if report.unseen}
        all_bytes = read_data_subset == "100%" and not structure_only and not unseen
        run.ended(outcomes.of_verify(reports, places, all_sets=set is None, all_bytes=all_bytes))
    for report in reports:
        now.result("verify", report)
    now.show(_tables.verify_reports(reports))

    def where(report: "VerifyReport") -> str:
        named = f"{report.set} in {report.repository}" if now.stack.has_several else report.set
        return named if report.set else "A repository"

    for report in reports:
        for found in report.damage[:50]:
            now.show(f"{where(report)}: {_tables.damage(found)}")
        if len(report.damage) > 50:
            now.show(f"{where(report)}: and {len(report.damage) - 50} more")
    if any(report.set and report.damage for report in reports):
        now.show("What to do: `recoup repair` mends what it can, with --from by another repository's copies.")
    for what in sorted(unseen):
        now.show(f"Not looked at, of a set: {what}.")
    if structure_only:
        now.show("No content was read: names, sizes, and what says which content there has to be were compared.")
    elif read_data_subset != "100%" and any(report.share < 1.0 for report in reports):
        now.show("Only a part of the bytes was read; names and sizes of all files were compared.")
    return max(report.exit_code for report in reports)
