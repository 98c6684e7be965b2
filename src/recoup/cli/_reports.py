"""A drill's report as a file: JSON, Markdown or HTML."""

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.cli._json import plain
from recoup.errors import UsageError
from recoup.model.secrets import Masker
from recoup.system.atomicfile import write_atomic

if TYPE_CHECKING:
    from recoup.model.reports import DrillReport

_HEAD = ("Source", "Restored bytes", "Seconds", "Compared", "Expected", "Found", "Equal")


def check_suffix(path: Path) -> None:
    """Looks whether the file's form is known, before any work is done.

    Raises:
        UsageError: it is not.
    """
    if path.suffix not in (".json", ".md", ".html"):
        raise UsageError(f"{path} is no report", "End its name in .json, .md or .html.")


def write(report: "DrillReport", path: Path, masker: Masker) -> None:
    """Writes the report, in one step, mode 0600."""
    render = {".json": _json, ".md": _markdown, ".html": _html}[path.suffix]
    write_atomic(path.absolute(), masker(render(report)).encode("utf-8", "backslashreplace"))


def _json(report: "DrillReport") -> str:
    return json.dumps({"type": "drill", **plain(report)}, indent=1) + "\n"


def _verdict(report: "DrillReport") -> str:
    return "passed" if report.passed else "FAILED"


def _summary(report: "DrillReport") -> str:
    hours = report.age_seconds / 3600
    return (
        f"{report.set} was {hours:.1f} hours old at {report.started:%Y-%m-%d %H:%M:%S} UTC. "
        f"Restoring and comparing took {report.seconds:.1f} seconds."
    )


def _rows(report: "DrillReport") -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for source in report.sources:
        first = (source.source, f"{source.bytes}", f"{source.seconds:.1f}")
        if source.error:
            rows.append((*first, "restore", "works", source.error, "NO"))
        for line in source.comparisons:
            what = f"{line.subject}: {line.name}"
            rows.append((*first, what, line.expected, line.found, "yes" if line.equal else "NO"))
    rows += [(name, "", "", "not drilled", "", reason, "") for name, reason in report.skipped.items()]
    return rows


def _markdown(report: "DrillReport") -> str:
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [f"# Drill {_verdict(report)}: {report.set}", "", _summary(report), ""]
    lines += [f"| {' | '.join(_HEAD)} |", f"|{' --- |' * len(_HEAD)}"]
    lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in _rows(report)]
    return "\n".join(lines) + "\n"


def _html(report: "DrillReport") -> str:
    title = html.escape(f"Drill {_verdict(report)}: {report.set}")
    head = "".join(f"<th>{html.escape(text)}</th>" for text in _HEAD)
    body = "\n".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in _rows(report))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body><h1>{title}</h1>\n<p>{html.escape(_summary(report))}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></body></html>\n"
    )
