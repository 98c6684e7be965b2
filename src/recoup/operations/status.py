"""Status: how old is the newest good holding of each source, and is it proven?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recoup.errors import ExitCode, RecoupError
from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.operations.selection import holds, sources_of


@dataclass(frozen=True)
class Row:
    """One source in one repository.

    Attributes:
        repository: name.
        source: name.
        set: the newest set that holds a good copy; empty when there is none.
        time: when that set was begun (UTC).
        age_seconds: how old it is.
        bytes: how much it holds of the source.
        proven: when that set was last proven by a drill; None when never.
        problem: what a person has to know; empty when all is well.
    """

    repository: str
    source: str
    set: str
    time: datetime | None
    age_seconds: float | None
    bytes: int
    proven: datetime | None
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """The state of a stack's backups.

    Attributes:
        rows: one for each source and repository.
        sets: how many sets there are, over all repositories.
        newest: name of the newest set of all; empty when there is none.
        newest_outcome: its outcome; `unreadable` where its manifest cannot be read.
        free_bytes: by repository; None where unknown.
    """

    rows: tuple[Row, ...]
    sets: int
    newest: str
    newest_outcome: str
    free_bytes: dict[str, int | None]

    @property
    def exit_code(self) -> ExitCode:
        """0 when every source has a good holding and nothing is doubtful, else 3; 1 when nothing is held at all."""
        if not any(row.set for row in self.rows):
            return ExitCode.FAILED
        return ExitCode.INCOMPLETE if any(row.problem for row in self.rows) else ExitCode.OK


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


def report(states: Sequence[RepositoryState], configured: Sequence[str], now: datetime) -> Report:
    """The state of a stack's backups from that of its repositories. Pure.

    Args:
        states: one for each repository.
        configured: names of the configured sources; without any, those that the sets have.
        now: the present moment.
    """
    found = list[Row]()
    for state in states:
        sources = configured or sources_of(state.infos, ())
        if state.failure is None:
            found += rows(state.repository, state.infos, sources, now)
        else:
            problem = f"the repository cannot be read: {state.failure}"
            found += [Row(state.repository, name, "", None, None, 0, None, problem) for name in sources or ("-",)]
    infos = [info for state in states for info in state.infos]
    last = newest(infos)
    outcome = "" if last is None else last.manifest.outcome if last.manifest else "unreadable"
    free = {state.repository: state.free_bytes for state in states}
    return Report(tuple(found), len(infos), last.name if last else "", outcome, free)


def rows(repository: str, infos: Sequence[SetInfo], sources: Sequence[str], now: datetime) -> tuple[Row, ...]:
    """The state of each source in one repository. Pure.

    Args:
        repository: its name.
        infos: its sets.
        sources: those configured; sources that only old sets have are left out.
        now: the present moment.
    """
    newest_first = sorted((i for i in infos if i.manifest), key=lambda i: i.name_key, reverse=True)
    return tuple(_row(repository, source, newest_first, now) for source in sources)


def _row(repository: str, source: str, infos: Sequence[SetInfo], now: datetime) -> Row:
    for index, info in enumerate(infos):
        if info.manifest is None or not holds(info, source):
            continue
        record = info.manifest.sources[source]
        age = (now - info.manifest.started).total_seconds()
        problem = _problem(source, infos[:index], info, age)
        time = info.manifest.started
        return Row(repository, source, info.name, time, age, record.bytes, info.standing.proven, problem)
    newest_try = next((i.manifest.sources[source] for i in infos if i.manifest and source in i.manifest.sources), None)
    absent = newest_try is not None and newest_try.outcome == "absent"
    return Row(repository, source, "", None, None, 0, None, "" if absent else "never backed up")


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
