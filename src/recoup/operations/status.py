"""Status: how old is the newest good holding of each source, and is it proven?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recoup.errors import RecoupError
from recoup.model.names import SetName
from recoup.model.reports import Problem, RepositoryStatus, SetInfo, StatusReport, StatusRow
from recoup.operations.selection import holds, sources_of


@dataclass(frozen=True)
class RepositoryState:
    """What was found in one repository.

    Attributes:
        repository: its name.
        infos: its sets.
        free_bytes: what it has left; None where unknown.
        failure: why it cannot be read; None when it can.
    """

    repository: str
    infos: tuple[SetInfo, ...] = ()
    free_bytes: int | None = None
    failure: RecoupError | None = None


def report(states: Sequence[RepositoryState], configured: Sequence[str], now: datetime) -> StatusReport:
    """The state of a stack's backups from that of its repositories. Pure.

    Args:
        states: one for each repository.
        configured: names of the configured sources; without any, those that the sets have.
        now: the present moment.
    """
    found, problems = list[StatusRow](), list[Problem]()
    for state in states:
        sources = configured or sources_of(state.infos, ())
        if state.failure is None:
            found += rows(state.repository, state.infos, sources, now)
        else:
            problem = f"the repository cannot be read: {state.failure}"
            found += [StatusRow(state.repository, name, "", None, None, 0, None, problem) for name in sources or ("-",)]
            key = f"unreadable:{state.repository}"
            problems.append(Problem(key, "critical", state.repository, "", problem, state.failure.hint))
    problems += [_of_row(row) for row in found if row.problem and f"unreadable:{row.repository}" not in _keys(problems)]
    infos = [info for state in states for info in state.infos]
    last = newest(infos)
    outcome = "" if last is None else last.manifest.outcome if last.manifest else "unreadable"
    repositories = tuple(_repository(state) for state in states)
    return StatusReport(tuple(found), len(infos), last.name if last else "", outcome, repositories, tuple(problems))


def _keys(problems: Sequence[Problem]) -> set[str]:
    return {problem.key for problem in problems}


def _of_row(row: StatusRow) -> Problem:
    level: Literal["warning", "critical"] = "warning" if row.set else "critical"
    return Problem(f"source:{row.repository}:{row.source}", level, row.repository, row.source, row.problem)


def _repository(state: RepositoryState) -> RepositoryStatus:
    failure = "" if state.failure is None else state.failure.message
    return RepositoryStatus(state.repository, len(state.infos), state.free_bytes, failure=failure)


def rows(repository: str, infos: Sequence[SetInfo], sources: Sequence[str], now: datetime) -> tuple[StatusRow, ...]:
    """The state of each source in one repository. Pure.

    Args:
        repository: its name.
        infos: its sets.
        sources: those configured; sources that only old sets have are left out.
        now: the present moment.
    """
    newest_first = sorted((i for i in infos if i.manifest), key=lambda i: i.name_key, reverse=True)
    return tuple(_row(repository, source, newest_first, now) for source in sources)


def _row(repository: str, source: str, infos: Sequence[SetInfo], now: datetime) -> StatusRow:
    for index, info in enumerate(infos):
        if info.manifest is None or not holds(info, source):
            continue
        record = info.manifest.sources[source]
        age = (now - info.manifest.started).total_seconds()
        problem = _problem(source, infos[:index], info, age)
        time = info.manifest.started
        return StatusRow(repository, source, info.name, time, age, record.bytes, info.standing.proven, problem)
    newest_try = next((i.manifest.sources[source] for i in infos if i.manifest and source in i.manifest.sources), None)
    absent = newest_try is not None and newest_try.outcome == "absent"
    return StatusRow(repository, source, "", None, None, 0, None, "" if absent else "never backed up")


def _problem(source: str, newer: Sequence[SetInfo], info: SetInfo, age: float) -> str:
    if age < 0:
        return "the set is from the future: a clock is wrong"
    tried = [i for i in newer if i.manifest and source in i.manifest.sources]
    if tried and tried[0].manifest:
        outcome = tried[0].manifest.sources[source].outcome
        return f"the newest try, {tried[0].name}, is {outcome}"
    if info.standing.failed_proof:
        return "its newest drill failed"
    return ""


def newest(infos: Sequence[SetInfo]) -> SetInfo | None:
    """The newest set of all."""
    named = [info for info in infos if SetName.parse(info.name)]
    return max(named, key=lambda info: info.name_key, default=None)
