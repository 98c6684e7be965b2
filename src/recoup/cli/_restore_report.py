"""What a restore did, for people: one row for each source, and for each thing that was counted afterwards."""

from typing import TYPE_CHECKING

from recoup.cli._report_pages import Page, Row, Table
from recoup.errors import ExitCode
from recoup.model.figures import duration

if TYPE_CHECKING:
    from recoup.model.reports import RestoredSource, RestoreReport

_RESTORED = ("Source", "Repository", "Restored bytes", "Seconds", "To", "Kept", "Result")
_COUNTED = ("Source", "Counted", "Recorded at the backup", "Found after the restore")


def page(report: "RestoreReport") -> Page:
    """The report as a page."""
    whole = report.exit_code == ExitCode.OK
    sentences = [f"From {report.set}, in {duration(report.seconds)}.", *_remarks(report)]
    counted = [row for source in report.sources for row in _counted(source)]
    tables = [Table(_RESTORED, [_row(source) for source in report.sources])]
    return Page(
        f"Restore {'done' if whole else 'NOT whole'}",
        sentences,
        [*tables, *([Table(_COUNTED, counted)] if counted else [])],
    )


def _remarks(report: "RestoreReport") -> list[str]:
    lost = [f"Nothing to restore: {name}, which failed at the backup." for name in report.lost]
    return [*lost, *(f"{source.source}: not from {why}" for source in report.sources for why in source.fell_back)]


def _row(source: "RestoredSource") -> Row:
    result = f"NOT restored: {source.error}" if source.error else "restored"
    return (
        source.source,
        source.repository,
        f"{source.bytes}",
        f"{source.seconds:.1f}",
        source.target,
        source.kept,
        result,
    )


def _counted(source: "RestoredSource") -> list[Row]:
    """Only what is equal is ever in `counted`: what differs fails the restore."""
    return [(source.source, what, f"{count}", f"{count}") for what, count in source.counted.items()]
