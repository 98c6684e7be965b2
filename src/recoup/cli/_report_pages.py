"""What a report shows, before it is Markdown or HTML."""

from typing import TYPE_CHECKING

from recoup.model.structs import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recoup.model.reports import DrillReport, RecoveryReport

Row = tuple[str, ...]

_HEAD = ("Source", "Restored bytes", "Seconds", "Compared", "Expected", "Found", "Equal")


class Table(Struct):
    """A table of a report.

    Attributes:
        head: names of its columns.
        rows: its cells.
    """

    head: Row
    rows: "Sequence[Row]"


class Page(Struct):
    """What Markdown and HTML show of a report.

    Attributes:
        title: its heading.
        sentences: a paragraph each.
        tables: in their order.
    """

    title: str
    sentences: "Sequence[str]"
    tables: "Sequence[Table]"


def verdict(report: "DrillReport | RecoveryReport") -> str:
    """`passed` or `FAILED`."""
    return "passed" if report.passed else "FAILED"


def summary(report: "DrillReport") -> str:
    """How old the set was, and how long the drill took."""
    hours = report.age_seconds / 3600
    return (
        f"{report.set} was {hours:.1f} hours old at {report.started:%Y-%m-%d %H:%M:%S} UTC. "
        f"Restoring and comparing took {report.seconds:.1f} seconds."
    )


def _rows(report: "DrillReport") -> list[Row]:
    """One row for each comparison, failure and source left out."""
    found: list[Row] = []
    for source in report.sources:
        first = (source.source, f"{source.bytes}", f"{source.seconds:.1f}")
        if source.error:
            found.append((*first, "restore", "works", source.error, "NO"))
        for line in source.comparisons:
            what = f"{line.subject}: {line.name}"
            found.append((*first, what, line.expected, line.found, "yes" if line.equal else "NO"))
    return found + [(name, "", "", "not drilled", "", reason, "") for name, reason in report.skipped.items()]


def compared(report: "DrillReport") -> Table:
    """The comparisons of one set."""
    return Table(_HEAD, _rows(report))
