"""`status` for people: a table of sources, and lines. Pure functions, fit for 80 columns."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from recoup.model.figures import age, counted, size
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.model.reports import Problem, RepositoryStatus, StatusReport, StatusRow

_FAR_AWAY = 3650.0  # days: disks do not last longer
_MANY = 10  # times more than usual: a per cent sign says little then
_STYLE = {"warning": "yellow", "critical": "bold red"}


def table(report: "StatusReport", now: datetime) -> Table:
    """A line for each source and repository; columns that would say nothing are left out."""
    columns = {
        "Source": [shown(row.source) for row in report.rows],
        "Repository": [shown(row.repository) for row in report.rows] if len(report.repositories) > 1 else [],
        "Newest good": [row.set.removeprefix("backup_") or "none" for row in report.rows],
        "Age": [age(row.age_seconds) for row in report.rows],
        "Size": [size(row.bytes) if row.set else "-" for row in report.rows],
        "Change": [_change(row) for row in report.rows],
        "Proven": [_proven(row, now) for row in report.rows],
        "Next": [_next(row, now) for row in report.rows],
    }
    said = {name: cells for name, cells in columns.items() if any(cells)}
    found = Table(box=None, pad_edge=False, header_style="bold")
    for name in said:
        wraps = name in ("Source", "Repository")
        right = name in ("Size", "Change")
        found.add_column(name, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    for cells in zip(*said.values(), strict=True):
        found.add_row(*map(Text, cells))
    return found


def _change(row: "StatusRow") -> str:
    if row.change is None:
        return ""
    return f"{row.change:+.0%}" if row.change < _MANY else f"{row.change + 1:,.0f}x"


def _proven(row: "StatusRow", now: datetime) -> str:
    if row.proven is None:
        return "no"
    return age((now - row.proven).total_seconds())


def _next(row: "StatusRow", now: datetime) -> str:
    """In how long the next backup is due."""
    if row.next_due is None:
        return ""
    seconds = (row.next_due - now).total_seconds()
    return "now" if seconds < 60 else f"in {age(seconds).removesuffix(' ago')}"


STORES = {
    "postgres": "PostgreSQL",
    "qdrant": "Qdrant",
    "qdrant-local": "Qdrant",
    "duckdb": "DuckDB",
    "sqlite": "SQLite",
}
"""Kinds of databases and vector stores, with the names that people call them by."""


def counting_line(report: "StatusReport", kinds: Mapping[str, str]) -> str:
    """How many good copies of each store are recent enough: `Backup Status: PostgreSQL: 1, Qdrant: 2`.

    Args:
        report: the state; of several repositories that one counts which has most, since they have copies of the same.
        kinds: the kind of each source; files and directories are left out.
    """
    counts = dict.fromkeys(dict.fromkeys(STORES[kind] for kind in STORES if kind in kinds.values()), 0)
    for source, kind in kinds.items():
        if kind in STORES:
            counts[STORES[kind]] += max((row.recent_copies for row in report.rows if row.source == source), default=0)
    return "Backup Status: " + (", ".join(f"{name}: {count}" for name, count in counts.items()) or "no databases")


def problem_line(problem: "Problem") -> Text:
    """What is wrong, how grave it is, and what to do."""
    line = Text(shown(problem.text))
    line.append(f" ({problem.level})", style=_STYLE[problem.level])
    if problem.hint:
        line.append(f". {shown(problem.hint)}")
    return line


def lines(report: "StatusReport", now: datetime) -> Iterator[str]:
    """The repositories, the last runs, and how many sets there are."""
    yield from (_repository(one) for one in report.repositories if not one.failure)
    if report.runs:
        yield f"Last runs here: {', '.join(_runs(report, now))}."
    newest = f"newest {report.newest} ({report.newest_outcome})" if report.newest else "none yet"
    yield f"{counted(report.sets, 'set')}, {newest}."


def _repository(status: "RepositoryStatus") -> str:
    free = "free space unknown" if status.free_bytes is None else f"{size(status.free_bytes)} free"
    days = status.days_until_full
    if status.growth_bytes is None:
        full = "growth not yet known"
    elif status.growth_bytes <= 0:
        full = "not growing"
    else:
        lasts = "" if days is None or days > _FAR_AWAY else f", full in {days:,.0f} days"
        full = f"grows by {size(status.growth_bytes)} a day{lasts}"
    return f"{shown(status.repository)}: {counted(status.sets, 'set')}, {free}, {full}."


def _runs(report: "StatusReport", now: datetime) -> Iterator[str]:
    for run in report.runs:
        code = f" (exit code {run.exit_code})" if run.exit_code else ""
        yield f"{run.verb} {age((now - run.finished).total_seconds())}{code}"
