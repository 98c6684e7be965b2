"""The report of a drill or a restore as a file: JSON, Markdown or HTML."""

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.cli._report_pages import Page, Table, compared, summary, verdict
from recoup.errors import UsageError
from recoup.model.json_values import plain
from recoup.model.secrets import Masker
from recoup.system.atomicfile import write_atomic

if TYPE_CHECKING:
    from recoup.model.reports import DrillReport, RecoveryReport, RestoreReport

    Report = DrillReport | RecoveryReport | RestoreReport


def check_suffix(path: Path) -> None:
    """Looks whether the file's form is known, before any work is done.

    Raises:
        UsageError: it is not.
    """
    if path.suffix not in (".json", ".md", ".html"):
        raise UsageError(f"{path} is no report", "End its name in .json, .md or .html.")


def write(report: "Report", path: Path, masker: Masker) -> None:
    """Writes the report, in one step, mode 0600."""
    render = {".json": _json, ".md": _markdown, ".html": _html}[path.suffix]
    write_atomic(path.absolute(), masker(render(report)).encode("utf-8", "backslashreplace"))


def _page(report: "Report") -> Page:
    from recoup.cli import _recovery_report, _restore_report
    from recoup.model.reports import RecoveryReport, RestoreReport

    if isinstance(report, RecoveryReport):
        return _recovery_report.page(report)
    if isinstance(report, RestoreReport):
        return _restore_report.page(report)
    return Page(f"Drill {verdict(report)}: {report.set}", [summary(report)], [compared(report)])


def _json(report: "Report") -> str:
    from recoup.model.reports import RecoveryReport, RestoreReport

    kinds = {RecoveryReport: "recovery", RestoreReport: "restore"}
    kind = next((kind for model, kind in kinds.items() if isinstance(report, model)), "drill")
    return json.dumps({"type": kind, **plain(report)}, indent=1) + "\n"


def _markdown(report: "Report") -> str:
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


def _html(report: "Report") -> str:
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
