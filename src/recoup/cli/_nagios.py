"""`status --nagios`: what Nagios, Icinga, Checkmk and Zabbix take from a plugin.

One line `RECOUP STATE - text | 'label'=value[unit];warn;crit;min ...`, more lines after it, and the exit codes 0 OK, 1 WARNING,
2 CRITICAL, 3 UNKNOWN (Monitoring Plugins Development Guidelines, "Plugin Output" and "Performance data").
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recoup.errors import RecoupError, UsageError
from recoup.model.names import shown

if TYPE_CHECKING:
    from recoup.model.reports import StatusReport

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def state(report: "StatusReport") -> int:
    """The exit code that a report stands for."""
    if not report.rows:
        return UNKNOWN
    levels = {problem.level for problem in report.problems}
    return CRITICAL if "critical" in levels else WARNING if levels else OK


def text(report: "StatusReport") -> str:
    """All lines of a report."""
    code = state(report)
    first = f"RECOUP {_WORDS[code]} - {_line(_summary(report))}"
    measures = " ".join((*_of_rows(report), *_of_repositories(report)))
    more = [f"{problem.level.upper()}: {_line(problem.text)}" for problem in report.problems]
    return "\n".join((f"{first} | {measures}" if measures else first, *more))


def of_error(error: Exception) -> tuple[int, str]:
    """The exit code and line of what kept `status` from looking: repositories that cannot be read are critical, all else
    (a wrong configuration, say) is unknown."""
    known = isinstance(error, RecoupError) and not isinstance(error, UsageError)
    code = CRITICAL if known else UNKNOWN
    message = error.message if isinstance(error, RecoupError) else f"{type(error).__name__}: {error}"
    return code, f"RECOUP {_WORDS[code]} - {_line(message)}"


def _summary(report: "StatusReport") -> str:
    if not report.rows:
        return "no sources are configured, and no set has any"
    if report.problems:
        others = len(report.problems) - 1
        return report.problems[0].text + (f" (and {others} more)" if others else "")
    oldest = max((row.age_seconds or 0.0 for row in report.rows), default=0.0)
    return f"{len(report.rows)} copies of sources, the oldest {oldest / 3600:.1f} hours old, {report.sets} sets"


def _of_rows(report: "StatusReport") -> Iterator[str]:
    for row in report.rows:
        limit = row.max_age_seconds
        bounds = "" if limit is None else f"{limit:.0f};{2 * limit:.0f}"
        value = "U" if row.age_seconds is None else f"{row.age_seconds:.0f}s"
        yield f"{_label(f'age {row.source} {row.repository}')}={value};{bounds or ';'};0"
        yield f"{_label(f'size {row.source} {row.repository}')}={row.bytes}B;;;0"


def _of_repositories(report: "StatusReport") -> Iterator[str]:
    for one in report.repositories:
        if one.free_bytes is not None:
            yield f"{_label(f'free {one.repository}')}={one.free_bytes}B;;;0"
        if not one.failure:
            yield f"{_label(f'sets {one.repository}')}={one.sets};;;0"


def _label(name: str) -> str:
    """A label in quotes; neither a quote nor an equals sign may stand in it."""
    return f"'{shown(name).replace('=', '_').replace(chr(39), '_')}'"


def _line(message: str) -> str:
    """Text for one line: a bar would begin the measures."""
    return shown(message.replace("\n", " ")).replace("|", "/")
