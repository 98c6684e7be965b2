"""A drill's report as a file: JSON, Markdown or HTML."""

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.cli._json import plain
from recoup.errors import UsageError
from recoup.model.secrets import Masker
from recoup.system.atomicfile import write_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recoup.model.reports import DrillReport, RecoveryReport

Row = tuple[str, ...]

_HEAD = ("Source", "Restored bytes", "Seconds", "Compared", "Expected", "Found", "Equal")


@dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        head: names of its columns.
        rows: its cells.
    """

    head: Row
    rows: "Sequence[Row]"


@dataclass(frozen=True)
class Page:
    """What Markdown and HTML show of a report.

    Attributes:
        title: its heading.
        sentences: a paragraph each.
        tables: in their order.
    """

    title: str
    sentences: "Sequence[str]"
    tables: "Sequence[Table]"


def check_suffix(path: Path) -> None:
    """Looks whether the file's form is known, before any work is done.

    Raises:
        UsageError: it is not.
    """
    if path.suffix not in (".json", ".md", ".html"):
        raise UsageError(f"{path} is no report", "End its name in .json, .md or .html.")


def write(report: "DrillReport | RecoveryReport", path: Path, masker: Masker) -> None:
    """Writes the report, in one step, mode 0600."""
    render = {".json": _json, ".md": _markdown, ".html": _html}[path.suffix]
    write_atomic(path.absolute(), masker(render(report)).encode("utf-8", "backslashreplace"))


def _page(report: "DrillReport | RecoveryReport") -> Page:
    from recoup.cli import _recovery_report
    from recoup.model.reports import RecoveryReport

    if isinstance(report, RecoveryReport):
        return _recovery_report.page(report)
    return Page(f"Drill {verdict(report)}: {report.set}", [_summary(report)], [compared(report)])


def _json(report: "DrillReport | RecoveryReport") -> str:
    from recoup.model.reports import RecoveryReport

    kind = "recovery" if isinstance(report, RecoveryReport) else "drill"
    return json.dumps({"type": kind, **plain(report)}, indent=1) + "\n"


def verdict(report: "DrillReport | RecoveryReport") -> str:
    """`passed` or `FAILED`."""
    return "passed" if report.passed else "FAILED"


def _summary(report: "DrillReport") -> str:
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


def _markdown(report: "DrillReport | RecoveryReport") -> str:
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    page = _page(report)
    lines = [f"# {page.title}", ""]
    for sentence in page.sentences:
        lines += [sentence, ""]
    for table in page.tables:
        lines += [f"| {' | '.join(table.head)} |", f"|{' --- |' * len(table.head)}"]
        lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in table.rows]
        lines += [""]
    return "\n".join(lines[:-1]) + "\n"


def _html(report: "DrillReport | RecoveryReport") -> str:
    page = _page(report)
    title = html.escape(page.title)
    body = "\n".join([*(f"<p>{html.escape(text)}</p>" for text in page.sentences), *map(_html_table, page.tables)])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in table.head)
    cells = ("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in table.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
