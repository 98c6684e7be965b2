"""Status: how old the newest good holding of each source is, whether it is proven, and what is wrong."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta

from recoup.errors import RecoupError
from recoup.model.names import SetName
from recoup.model.reports import Problem, RepositoryStatus, SetInfo, StatusReport, StatusRow, VerbRun
from recoup.model.schedule import JobState
from recoup.model.structs import Struct
from recoup.operations import _conditions
from recoup.operations._conditions import Known, Limits
from recoup.operations._growth import Stored, growth
from recoup.operations._shrinking import REMEMBERED
from recoup.operations.selection import holds, sources_of
from recoup.retention import Group, Rules

__all__ = ["Known", "Limits", "Look", "RepositoryState", "newest", "report", "rows"]


class RepositoryState(Struct):
    """What was found in one repository.

    Attributes:
        repository: its name.
        infos: its sets.
        free_bytes: what it has left; None where unknown.
        failure: why it cannot be read; None when it can.
        rules: what prune goes by there; None where nobody prunes.
        running: whether a backup is running there now.
        stack: whose sets say something of the sources: others may have sources of the same name. Empty for all.
        awaited: sources that the schedule brings here, with those that it brings nowhere; None for all.
    """

    repository: str
    infos: tuple[SetInfo, ...] = ()
    free_bytes: int | None = None
    failure: RecoupError | None = None
    rules: Rules | None = None
    running: bool = False
    stack: str = ""
    awaited: frozenset[str] | None = None

    def awaits(self, source: str) -> bool:
        """Whether there should be a copy of a source here."""
        return self.awaited is None or source in self.awaited

    @property
    def own(self) -> tuple[SetInfo, ...]:
        """The sets of the stack, and those of which nobody can read whose they are."""
        return tuple(i for i in self.infos if not self.stack or i.manifest is None or i.manifest.stack == self.stack)


class Look(Struct):
    """A stack, looked at once.

    Attributes:
        report: its state.
        states: what was found in each repository, the nearest first.
        known: what this machine remembers.
        limits: from when on something is a problem.
    """

    report: StatusReport
    states: tuple[RepositoryState, ...]
    known: Known = field(default_factory=Known)
    limits: Limits = field(default_factory=Limits)

    @property
    def own(self) -> tuple[SetInfo, ...]:
        """The sets of the stack in all repositories, the newest first, and those of which nobody can read whose they are."""
        infos = [info for state in self.states for info in state.own]
        return tuple(sorted(infos, key=lambda info: info.name_key, reverse=True))


def report(
    states: Sequence[RepositoryState],
    configured: Sequence[str],
    now: datetime,
    limits: Limits | None = None,
    known: Known | None = None,
    further: Sequence[Problem] = (),
) -> StatusReport:
    """The state of a stack's backups from that of its repositories. Pure.

    Args:
        states: one for each repository.
        configured: names of the configured sources; without any, those that the sets have.
        now: the present moment.
        limits: from when on something is a problem.
        known: what this machine remembers.
        further: problems that others have found.
    """
    limits, known = limits or Limits(), _ours(known or Known(), states, configured)
    found, problems = list[StatusRow](), list[Problem]()
    repositories = tuple(_repository(state, now) for state in states)
    for state, status in zip(states, repositories, strict=True):
        sources = configured or sources_of(state.own, ())
        if state.failure is not None:
            problem = _unreadable(state.repository, state.failure)
            found += [_lost(state.repository, name, problem) for name in sources or ("-",)]
            problems.append(problem)
            continue
        for row, wrong in _judged(state, sources, known.jobs, limits, now):
            found.append(row)
            problems += wrong
        problems += _conditions.of_repository(status, state.infos, limits, now)
    infos = [info for state in states for info in state.own]
    problems += _conditions.of_stack(known, limits, infos, now)
    once: dict[str, Problem] = {}
    for problem in (*problems, *further):
        once.setdefault(problem.key, problem)
    problems = sorted(once.values(), key=lambda problem: problem.level != "critical")
    last = newest(infos)
    outcome = "" if last is None else last.manifest.outcome if last.manifest else "unreadable"
    name = last.name if last else ""
    return StatusReport(tuple(found), len(infos), name, outcome, repositories, tuple(problems), _last_runs(known.runs))


def _ours(known: Known, states: Sequence[RepositoryState], configured: Sequence[str]) -> Known:
    """Without runs on repositories and sources that are no more, or are not looked at."""
    repositories = {state.repository for state in states}
    runs = (run for run in known.runs if repositories & {*run.repository.split(", ")})
    return replace(known, runs=tuple(run for run in runs if not configured or {*run.sources} <= {*configured}))


def _last_runs(runs: Sequence[VerbRun]) -> tuple[VerbRun, ...]:
    last: dict[str, VerbRun] = {}
    for run in runs:
        last.setdefault(run.verb, run)
    return tuple(last.values())


def _unreadable(repository: str, failure: RecoupError) -> Problem:
    sentence = f"the repository cannot be read: {failure}"
    return Problem(f"unreadable:{repository}", "critical", repository, "", sentence, failure.hint)


def _lost(repository: str, source: str, problem: Problem) -> StatusRow:
    return StatusRow(repository, source, "", None, None, 0, None, problem.sentence)


# --- repositories -----------------------------------------------------------------------------------------------------


def _repository(state: RepositoryState, now: datetime) -> RepositoryStatus:
    failure = "" if state.failure is None else state.failure.message
    gain = growth(_stored(state.infos), state.rules, now)
    return RepositoryStatus(state.repository, len(state.infos), state.free_bytes, gain, failure)


def _stored(infos: Sequence[SetInfo]) -> Iterator[Stored]:
    """The sets with their sizes; of one that cannot be read, nobody knows the size."""
    for info in infos:
        name, manifest = SetName.parse(info.name), info.manifest
        if name is not None and manifest is not None:
            group = Group(manifest.stack, tuple(sorted(manifest.requested)))
            yield Stored(name, group, manifest.stored_bytes, info.standing.pinned)


# --- sources ----------------------------------------------------------------------------------------------------------


def rows(repository: str, infos: Sequence[SetInfo], sources: Sequence[str], now: datetime) -> tuple[StatusRow, ...]:
    """The state of each source in one repository. Pure.

    Args:
        repository: its name.
        infos: its sets.
        sources: those configured; sources that only old sets have are left out.
        now: the present moment.
    """
    state = RepositoryState(repository, tuple(infos))
    return tuple(row for row, _ in _judged(state, sources, (), Limits(), now))


def _judged(
    state: RepositoryState, sources: Sequence[str], jobs: Sequence[JobState], limits: Limits, now: datetime
) -> Iterator[tuple[StatusRow, list[Problem]]]:
    """Each source with what is wrong with it."""
    newest_first = sorted((i for i in state.own if i.manifest), key=lambda i: i.name_key, reverse=True)
    unread = len(state.own) - len(newest_first)
    for source in sources:
        row, longest = _row(state.repository, source, newest_first, now), limits.age_of(source)
        recent = sum(1 for info in newest_first if holds(info, source) and _age(info, now) <= longest)
        due = _next_due(source, jobs) if state.awaits(source) else None
        row = replace(row, max_age_seconds=longest.total_seconds(), next_due=due, recent_copies=recent)
        looking = _conditions.OfSource(row, newest_first, limits, state.running, unread)
        wrong = list(looking.problems()) if state.awaits(source) or looking.was_tried or unread else []
        gravest = min(wrong, key=lambda problem: problem.level != "critical", default=None)
        yield replace(row, problem=gravest.sentence if gravest else ""), wrong


def _row(repository: str, source: str, infos: Sequence[SetInfo], now: datetime) -> StatusRow:
    held = [info for info in infos if holds(info, source)]
    if not held or held[0].manifest is None:
        return StatusRow(repository, source, "", None, None, 0, None)
    info, manifest = held[0], held[0].manifest
    sizes = [one.manifest.sources[source].bytes for one in held[1 : REMEMBERED + 1] if one.manifest]
    return StatusRow(
        repository,
        source,
        info.name,
        manifest.started,
        (now - manifest.started).total_seconds(),
        manifest.sources[source].bytes,
        info.standing.proven,
        median_bytes=round(statistics.median(sizes)) if sizes else None,
    )


def _age(info: SetInfo, now: datetime) -> timedelta:
    return now - info.manifest.started if info.manifest else timedelta.max


def _next_due(source: str, jobs: Sequence[JobState]) -> datetime | None:
    """When the next backup that takes a source is due."""
    due = (job.next_due for job in jobs if job.run == "backup" and (not job.sources or source in job.sources))
    return min((moment for moment in due if moment is not None), default=None)


def newest(infos: Sequence[SetInfo]) -> SetInfo | None:
    """The newest set of all."""
    named = [info for info in infos if SetName.parse(info.name)]
    return max(named, key=lambda info: info.name_key, default=None)
