"""What is wrong with a stack's backups: pure functions from what was found to problems.

Each condition has one key as long as it lasts, so that whoever sends notices can tell its begin and its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import Literal

from recoup.errors import ExitCode
from recoup.model.manifest import SourceRecord
from recoup.model.reports import Problem, RepositoryStatus, SetInfo, StatusRow, VerbRun
from recoup.model.schedule import JobState
from recoup.model.structs import Struct

Level = Literal["warning", "critical"]

SKEW = timedelta(minutes=5)
"""By how much clocks may differ without anybody being told."""

SILENCE = timedelta(minutes=10)
"""For how long nothing may look at a schedule: a daemon and cron's entry do it each minute."""

LATE = timedelta(minutes=30)
"""How late a job may begin; it waits for the one before it."""

_RUNNING_LATE = 1.25  # a backup that is running may make its predecessor this much older than is allowed
_NOT_FAILED = (ExitCode.OK, ExitCode.SKIPPED, ExitCode.INTERRUPTED)  # none of them says that something is broken


class Limits(Struct):
    """From when on something is a problem.

    Attributes:
        max_age: how old the newest good copy of a source may become.
        of_source: the same for some sources, by name.
        shrink: the share of the usual size below which a copy is suspicious, for some sources, by name.
        ages: how old the last run of a verb that went well may become; a verb that is not named may be any age.
        min_free: bytes that have to be free.
        days_until_full: days that the free space has to last; 0 for any.
    """

    max_age: timedelta = timedelta(hours=24)
    of_source: Mapping[str, timedelta] = field(default_factory=dict)
    shrink: Mapping[str, float] = field(default_factory=dict)
    ages: Mapping[str, timedelta] = field(default_factory=dict)
    min_free: int | None = None
    days_until_full: float = 7.0

    def age_of(self, source: str) -> timedelta:
        """How old the newest good copy of a source may become."""
        return self.of_source.get(source, self.max_age)


class Known(Struct):
    """What this machine remembers.

    Attributes:
        runs: runs of verbs, the newest first.
        jobs: the jobs of the schedule.
        alive: when somebody last looked at the schedule; None when nobody ever did.
        failure: why nothing can be remembered; empty when all is well.
    """

    runs: tuple[VerbRun, ...] = ()
    jobs: tuple[JobState, ...] = ()
    alive: datetime | None = None
    failure: str = ""


class OfSource(Struct):
    """Looks for what is wrong with a source in a repository.

    Attributes:
        row: what was found.
        infos: the sets that can be read, the newest first.
        limits: from when on something is a problem.
        running: whether a backup is running there now.
        unread: how many sets cannot be read.
    """

    row: StatusRow
    infos: Sequence[SetInfo]
    limits: Limits
    running: bool = False
    unread: int = 0

    def problems(self) -> Iterator[Problem]:
        """What is wrong, the gravest first."""
        if not self.row.set:
            yield from self._never()
            return
        if self._held and self._held.standing.failed_proof:
            hint = f"`recoup drill {self.row.set}` shows why; make a new backup."
            yield self._problem("failed-drill", "critical", "its newest drill failed", hint)
        yield from self._too_old()
        yield from self._newer_try()
        yield from self._small()

    def _problem(self, kind: str, level: Level, sentence: str, hint: str) -> Problem:
        key = f"{kind}:{self.row.repository}:{self.row.source}"
        return Problem(key, level, self.row.repository, self.row.source, sentence, hint)

    @property
    def _held(self) -> SetInfo | None:
        return next((info for info in self.infos if info.name == self.row.set), None)

    @property
    def _tries(self) -> Iterator[tuple[SetInfo, SourceRecord]]:
        """The sets that were asked for it, the newest first."""
        for info in self.infos:
            if info.manifest and (record := info.manifest.sources.get(self.row.source)):
                yield info, record

    @property
    def was_tried(self) -> bool:
        """Whether any set was asked for it."""
        return any(self._tries)

    def _never(self) -> Iterator[Problem]:
        newest = next((record for _, record in self._tries), None)
        if newest is not None and newest.outcome == "absent":
            return
        hint = f"`recoup backup --source {self.row.source}` makes one."
        if newest is not None:
            hint = (
                f"Its newest try is {newest.outcome}{f', {newest.error}' if newest.error else ''}".removesuffix(".")
                + "."
            )
        sentence = "never backed up"
        if self.unread:
            sentence, hint = (
                "no copy of it can be seen",
                f"{self.unread} sets cannot be read here: `recoup list` shows why.",
            )
        yield self._problem("never", "critical", sentence, hint)

    def _too_old(self) -> Iterator[Problem]:
        age, limit = self.row.age_seconds or 0.0, self.limits.age_of(self.row.source).total_seconds()
        if age <= limit or (self.running and age <= limit * _RUNNING_LATE):
            return
        sentence = f"no recent backup: {_hours(age)} old, and at most {_hours(limit)} are allowed"
        level: Level = "critical" if age > 2 * limit else "warning"
        yield self._problem("too-old", level, sentence, f"`recoup backup --source {self.row.source}` makes one.")

    def _newer_try(self) -> Iterator[Problem]:
        info, record = next(iter(self._tries))
        if info.name == self.row.set:
            return
        hint = f"`recoup show {info.name}` says more."
        if record.outcome == "suspicious":
            hint = f"{record.error}."
        elif record.error:
            hint = f"{record.error}. {hint}"
        yield self._problem("doubtful", "warning", f"the newest try, {info.name}, is {record.outcome}", hint)

    def _small(self) -> Iterator[Problem]:
        """Sets that a copy brought, or that were made before anybody looked at sizes."""
        usual, share = self.row.median_bytes or 0, self.limits.shrink.get(self.row.source, 0.0)
        record = self._held.manifest.sources[self.row.source] if self._held and self._held.manifest else None
        if record is None or record.outcome == "suspicious":  # a person has accepted it
            return
        if self.row.bytes < share * usual or (usual and not self.row.bytes):
            sentence = f"it holds {self.row.bytes:,} bytes, and usually {usual:,}"
            yield self._problem("small", "warning", sentence, "Look whether the application lost data.")


def _hours(seconds: float) -> str:
    hours = round(seconds / 3600)
    return f"{hours} hours" if hours >= 2 else f"{round(seconds / 60)} minutes"


# --- repositories -----------------------------------------------------------------------------------------------------


def of_repository(
    status: RepositoryStatus, infos: Sequence[SetInfo], limits: Limits, now: datetime
) -> Iterator[Problem]:
    """What is wrong with a repository that can be read.

    Args:
        status: how it is.
        infos: its sets.
        limits: from when on something is a problem.
        now: the present moment.
    """
    name = status.repository
    if damaged := [info for info in infos if info.manifest is None]:
        shown = ", ".join(info.name for info in damaged[:3]) + (" ..." if len(damaged) > 3 else "")
        sentence = f"{len(damaged)} of {len(infos)} sets cannot be read: {shown}"
        yield Problem(f"unread-sets:{name}", "warning", name, "", sentence, f"{damaged[0].problem}. `recoup verify`")
    if harmed := [info.name for info in infos if info.standing.damaged]:
        shown = ", ".join(harmed[-3:]) + (" ..." if len(harmed) > 3 else "")
        sentence = f"verify found damage in {len(harmed)} of {len(infos)} sets: {shown}"
        hint = "`recoup verify` lists it; `recoup repair` mends it by another repository's copy."
        yield Problem(
            f"failed-verify:{name}:", "critical", name, "", sentence, hint
        )  # the key of a run that finds it here
    ahead = [info.name for info in infos if info.manifest and info.manifest.started > now + SKEW]
    if ahead:
        hint = "Correct the clock. Nothing is pruned until that time has come or `recoup delete` removes the set."
        sentence = f"{max(ahead)} is from the future: a clock is wrong"
        yield Problem(f"future:{name}", "critical", name, "", sentence, hint)
    yield from _space(status, infos, limits)


def _space(status: RepositoryStatus, infos: Sequence[SetInfo], limits: Limits) -> Iterator[Problem]:
    name, free, days = status.repository, status.free_bytes, status.days_until_full
    if free is None:
        return
    hint = "`recoup prune --free SIZE -n` says what could go; or make the disk larger."
    needed = _next_set(infos)
    if free < needed:
        sentence = f"the next backup has no room: the last ones took {needed:,} bytes, and {free:,} are free"
        yield Problem(f"full:{name}", "critical", name, "", sentence, hint)
    elif limits.min_free is not None and free < limits.min_free:
        sentence = f"{free:,} bytes are free, and at least {limits.min_free:,} are wanted"
        yield Problem(f"full:{name}", "warning", name, "", sentence, hint)
    if days is not None and days < limits.days_until_full:
        level: Level = "critical" if days < 1 else "warning"
        sentence = f"full in {days:.1f} days at the present growth"
        yield Problem(f"full-soon:{name}", level, name, "", sentence, hint)


def _next_set(infos: Sequence[SetInfo]) -> int:
    """What the newest set of the sources that are asked for together takes, of the largest such group among the last ten."""
    newest = sorted((info for info in infos if info.manifest), key=lambda info: info.name_key)[-10:]
    return max((info.manifest.stored_bytes for info in newest if info.manifest), default=0)


# --- this machine -----------------------------------------------------------------------------------------------------


def of_stack(known: Known, limits: Limits, infos: Sequence[SetInfo], now: datetime) -> Iterator[Problem]:
    """What is wrong with what this machine does, by what it remembers.

    Args:
        known: what it remembers.
        limits: from when on something is a problem.
        infos: the sets of all repositories.
        now: the present moment.
    """
    if known.failure:
        yield Problem("memory", "warning", "", "", known.failure, "Until then nobody knows of runs that failed.")
    proven = max((info.standing.proven for info in infos if info.standing.proven), default=None)
    since = min((info.manifest.started for info in infos if info.manifest), default=None)
    yield from of_clock(known, now)
    yield from of_schedule(known, now)
    yield from of_runs(known.runs)
    yield from of_ages(known, limits, proven, since, now)


# --- runs -------------------------------------------------------------------------------------------------------------


def of_runs(runs: Sequence[VerbRun]) -> Iterator[Problem]:
    """Failed runs after which none went well that did the same.

    Args:
        runs: the newest first.
    """
    seen = set[str]()
    for index, run in enumerate(runs):
        key = f"failed-{run.verb}:{run.repository}:{','.join(run.sources)}"
        if run.exit_code in _NOT_FAILED or key in seen or any(_settles(later, run) for later in runs[:index]):
            continue
        seen.add(key)
        if run.exit_code == ExitCode.INCOMPLETE and not run.sentence:
            continue  # a set is stored, and itself says what it lacks
        level: Level = "critical" if run.exit_code == ExitCode.DAMAGED else "warning"
        asked = f" of {', '.join(run.sources)}" if run.sources else ""
        sentence = f"the last {run.verb}{asked} ended with exit code {run.exit_code}"
        yield Problem(key, level, run.repository, "", f"{sentence}: {run.sentence}" if run.sentence else sentence)


def _settles(later: VerbRun, run: VerbRun) -> bool:
    """Whether a later run went well and did all that this one was to do."""
    return (
        later.verb == run.verb
        and later.exit_code == ExitCode.OK
        and not (
            later.sentence and run.exit_code == ExitCode.DAMAGED
        )  # it read a part of what is damaged, and not that part
        and (not later.sources or (bool(run.sources) and set(run.sources) <= set(later.sources)))
        and {*run.repository.split(", ")} <= {*later.repository.split(", ")}
    )


def of_ages(
    known: Known, limits: Limits, proven: datetime | None, since: datetime | None, now: datetime
) -> Iterator[Problem]:
    """Verbs whose last good run is too long ago.

    Args:
        known: what this machine remembers.
        limits: from when on something is a problem.
        proven: when some set was last proven by a drill, on whatever machine.
        since: the time of the oldest set: before that, there was nothing to do.
        now: the present moment.
    """
    for verb, limit in limits.ages.items():
        good = (run.finished for run in known.runs if run.verb == verb and run.exit_code == ExitCode.OK)
        last = next(good, None)
        if verb == "drill" and proven is not None:
            last = max(proven, last or proven)
        begin = last or since
        if begin is None or now - begin <= limit:
            continue
        ago = f"{_hours((now - begin).total_seconds())} ago"
        sentence = (
            f"the last {verb} that went well was {ago}" if last else f"no {verb} went well here, as far as is known"
        )
        hint = f"At most {_hours(limit.total_seconds())} are allowed. `recoup {verb}`"
        yield Problem(f"old-{verb}", "warning", "", "", sentence, hint)


# --- schedule and clock -----------------------------------------------------------------------------------------------


def of_schedule(known: Known, now: datetime) -> Iterator[Problem]:
    """Whether the schedule runs, and its jobs."""
    if not known.jobs:
        return
    hint = "`recoup schedule install`, or start `recoup daemon`; `recoup doctor` looks at both."
    if known.alive is None:
        sentence = "there is a schedule, and nothing has ever run it here"
        yield Problem("schedule-stopped", "warning", "", "", sentence, hint)
        return
    if now - known.alive > SILENCE:
        sentence = f"the schedule has not run for {_hours((now - known.alive).total_seconds())}"
        yield Problem("schedule-stopped", "critical", "", "", sentence, hint)
        return
    busy = any(job.running and job.run != "status" for job in known.jobs)  # `status` may be the very job that asks
    for job in known.jobs:
        yield from _of_job(job, known.runs, now, busy=busy)


def _of_job(job: JobState, runs: Sequence[VerbRun], now: datetime, *, busy: bool) -> Iterator[Problem]:
    if job.next_due is not None and not busy and now - job.next_due > LATE:
        sentence = f"the job {job.name} is late: it was due at {job.next_due:%Y-%m-%d %H:%M} UTC"
        yield Problem(f"late:{job.name}", "critical", "", "", sentence, "`recoup schedule show`")
    if job.running or job.finished is None or _is_remembered(job, runs):
        return
    if job.interrupted:
        sentence = f"the job {job.name} was ended before it was done, at {job.finished:%Y-%m-%d %H:%M} UTC"
        yield Problem(f"job:{job.name}", "warning", "", "", sentence, f"`recoup {job.run}` does it again.")
    elif job.exit_code not in (None, *_NOT_FAILED):
        sentence = f"the job {job.name} ended with exit code {job.exit_code} at {job.finished:%Y-%m-%d %H:%M} UTC"
        yield Problem(f"job:{job.name}", "warning", "", "", sentence, f"`recoup {job.run}` shows why.")


def _is_remembered(job: JobState, runs: Sequence[VerbRun]) -> bool:
    """Whether its run, or a later one of its verb, was told by the verb itself; one that could not read its settings was not.

    `status` is a job, too, whose exit code says what this very report says.
    """
    started = job.started
    return job.run == "status" or (
        started is not None and any(r.verb == job.run and r.finished >= started for r in runs)
    )


def of_clock(known: Known, now: datetime) -> Iterator[Problem]:
    """A clock that was set back."""
    times = [run.finished for run in known.runs]
    newest = max((*times, *([known.alive] if known.alive else ())), default=now)
    if newest > now + SKEW:
        back = _hours((newest - now).total_seconds())
        hint = "Set it right. Ages are not to be believed until then."
        yield Problem("clock", "critical", "", "", f"the clock of this machine was set back by {back}", hint)
