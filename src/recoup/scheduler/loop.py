"""The loop that runs a schedule: one job at a time, in the order in which they became due.

What runs a job, what time it is, where rows are kept and who is told are handed in; the caller waits between two steps.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from recoup.errors import ExitCode, LockedError, RecoupError
from recoup.model.events import Emit, Event, Level
from recoup.scheduler import _jobs
from recoup.scheduler._jobs import Job, Missed, Row
from recoup.scheduler.state import Memory
from recoup.system.clock import Clock
from recoup.system.statefile import StateError

BEAT = 60.0
"""Seconds after which the loop notes again that it is alive; nobody should wait longer between two steps."""

_ORPHAN = 5.0  # seconds between two looks at a job that a dead process began: its end wakes nobody
_INTERRUPTED = (ExitCode.INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)
_TOGETHER = 30.0  # seconds between the signals of one and the same end
_RETRY = 30.0  # seconds until a job that could not be started is tried again


class Run(Protocol):
    """A job that runs."""

    def poll(self) -> int | None:
        """What it returned, negative the number of the signal that ended it; None while it runs."""
        ...

    def terminate(self) -> None:
        """Asks it to end and to tidy up."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Orphan(Protocol):
    """A job that a dead process of ours began."""

    def lives(self) -> bool:
        """Whether it still runs."""
        ...


class Loop:
    """A schedule at work.

    Args:
        jobs: the schedule, in the order of its lines.
        memory: where its rows are kept.
        start: begins a job; raises `RecoupError` when it cannot.
        orphan: what a dead process of ours may have left running.
        clock: time.
        emit: is told what happens.
        strict: whether an error of the memory ends the loop. Without it, it is told once, and the loop goes on by what it knows.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        memory: Memory,
        start: Callable[[Job], Run],
        orphan: Orphan,
        clock: Clock,
        emit: Emit,
        *,
        strict: bool = False,
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._memory, self._start, self._orphan, self._clock, self._emit = memory, start, orphan, clock, emit
        self._strict, self._told = strict, False
        self._rows: dict[str, Row] = {}
        self._written: dict[str, Row] = {}
        self._following: dict[str, tuple[Job, Row, datetime | None]] = {}
        self._run: tuple[str, Run | None] | None = None  # None for an orphan
        self._stopping = False
        self._beaten = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self._not_before = self._beaten
        self._ended: tuple[str, int, float] | None = (
            None  # the last job, what it returned, and when on the monotonic clock
        )
        self._refused = ""
        self._failure = 0

    # --- for the caller ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Takes up what is remembered.

        Raises:
            StateError: it cannot be read, and the loop is strict.
        """
        try:
            self._written = self._memory.read()
        except StateError as error:
            self._lost(error)
        self._rows = dict(self._written)
        begun = [name for name, row in self._rows.items() if row.running]
        for name in begun:
            if self._orphan.lives() and self._run is None:
                self._run = (name, None)
            else:
                self._broken(name)

    def step(self) -> float:
        """Does what is to be done now.

        Returns:
            Seconds until something is due. It is to be called again then, when the running job has ended, and after `BEAT`.

        Raises:
            StateError: what was done cannot be remembered, and the loop is strict.
        """
        now = self._clock.now()
        self._watch_the_clock(now)
        self._collect()
        for job in self._jobs.values():
            self._look_at(job, now)
        self._keep(now)
        if self._run is None and not self._stopping and self._held_back(now) <= 0:
            self._launch(now)
        return self._pause(now)

    def reload(self, jobs: Sequence[Job]) -> None:
        """Takes another schedule; a job that runs goes on."""
        self._jobs = {job.name: job for job in jobs}

    def stop(self) -> None:
        """Begins no job any more, and asks the running one to end. From here on an error of the memory is only told.

        A machine that goes down tells everybody at once: a job that was interrupted a moment before belongs to it.
        """
        self._stopping, self._strict = True, False
        if self._run is not None and self._run[1] is not None:
            self._run[1].terminate()
        elif self._ended is not None and self._ended[1] in _INTERRUPTED:
            name, code, when = self._ended
            if name in self._rows and self._clock.monotonic() - when < _TOGETHER:
                self._broken(name, code)

    def kill(self) -> None:
        """Ends the running job at once."""
        if self._run is not None and self._run[1] is not None:
            self._run[1].kill()

    @property
    def exit_code(self) -> ExitCode:
        """That of the first job that did not end well since the beginning; 1 where it was killed or returned something else."""
        return ExitCode(self._failure) if self._failure in set(ExitCode) else ExitCode.FAILED

    @property
    def busy(self) -> bool:
        """Whether a job of this process runs."""
        return self._run is not None and self._run[1] is not None

    @property
    def waiting(self) -> bool:
        """Whether a job runs or waits for its turn."""
        return self._run is not None or any(row.pending for row in self._rows.values() if row.name in self._jobs)

    @property
    def outlook(self) -> str:
        """What it does or waits for, in a few words."""
        if self._run is not None:
            return f"{self._run[0]} runs"
        following = [(due, job.name) for job in self._jobs.values() if (due := self._due(job)) is not None]
        if not following:
            return "no job has a time to come"
        due, name = min(following)
        return f"next is {name}, {due:%Y-%m-%d %H:%M} UTC"

    def _due(self, job: Job) -> datetime | None:
        row = self._rows.get(job.name)
        return None if row is None else row.pending or self._next(job, row)

    # --- one step ---------------------------------------------------------------------------------------------------

    def _watch_the_clock(self, now: datetime) -> None:
        back = {name: _jobs.after_setting_back(row, now) for name, row in self._rows.items()}
        if back != self._rows:
            newest = max(row.settled for row in self._rows.values())
            message = f"the clock was set back from {newest:%Y-%m-%d %H:%M} or later: the schedule goes on from now"
            self._tell("clock_set_back", message, Level.WARNING, settled=newest.isoformat())
            self._rows = back

    def _collect(self) -> None:
        """Looks whether the running job has ended."""
        if self._run is None:
            return
        name, run = self._run
        if run is None:
            if not self._orphan.lives():
                self._run = None
                self._broken(name)
            return
        code = run.poll()
        if code is None:
            return
        self._run = None
        self._failure = self._failure or code
        self._ended = (name, code, self._clock.monotonic())
        if self._stopping and code != 0:
            self._broken(name, code)
        else:
            self._rows[name] = _jobs.ended(self._rows[name], self._clock.now(), code)
            self._tell_end(self._rows[name], code)

    def _look_at(self, job: Job, now: datetime) -> None:
        row = self._rows.get(job.name)
        if row is None:
            row = _jobs.fresh(job, now)
        elif row.timing != job.timing:
            row = _jobs.changed(row, job, now)
        self._rows[job.name] = row
        due = self._next(job, row)
        if due is None or due > now:
            return
        self._rows[job.name], missed = _jobs.looked_at(row, job, now)
        if missed is not None:
            self._tell_missed(job, missed)

    def _next(self, job: Job, row: Row) -> datetime | None:
        """The first time that is not settled yet; worked out again only when something changed."""
        known = self._following.get(job.name)
        if known is None or known[0] != job or (known[1].settled, known[1].anchor) != (row.settled, row.anchor):
            known = (job, row, job.times(row.anchor).after(row.settled))
            self._following[job.name] = known
        return known[2]

    def _launch(self, now: datetime) -> None:
        """Begins the job that waits longest. It is written down before it is begun: a death in between is seen later."""
        waiting = [row for name in self._jobs if (row := self._rows[name]).pending]
        if not waiting:
            return
        row = min(waiting, key=lambda one: one.pending or now)
        self._rows[row.name] = _jobs.begun(row, now)
        try:
            self._keep(now)
            run = self._start(self._jobs[row.name])
        except RecoupError as error:
            self._rows[row.name] = row
            self._not_before = now + timedelta(seconds=_RETRY)
            if isinstance(error, StateError):
                raise
            self._keep(now)
            self._tell_refusal(row.name, error)
            return
        self._refused = ""
        self._run = (row.name, run)
        due = (row.pending or now).isoformat()
        self._tell("job_started", f"{row.name} begins", Level.INFO, job=row.name, due=due)

    def _keep(self, now: datetime) -> None:
        """Writes down what changed, and from time to time that the loop is alive."""
        running = () if self._run is None else (self._run[0],)
        for name in [name for name in self._rows if name not in self._jobs and name not in running]:
            del self._rows[name]
        gone = [name for name in self._written if name not in self._rows]
        rows = [row for name, row in self._rows.items() if self._written.get(name) != row]
        if not rows and not gone and abs((now - self._beaten).total_seconds()) < BEAT:
            return
        try:
            self._memory.write(rows, gone, now)
            self._beaten, self._written = now, dict(self._rows)
        except StateError as error:
            self._lost(error)

    def _pause(self, now: datetime) -> float:
        following = [self._next(self._jobs[name], row) for name, row in self._rows.items() if name in self._jobs]
        dues = [(due - now).total_seconds() for due in following if due is not None]
        if self._run is not None and self._run[1] is None:
            dues.append(_ORPHAN)
        elif self._run is None and self.waiting and not self._stopping:
            dues.append(self._held_back(now))
        return max(0.0, min(dues, default=BEAT))

    def _held_back(self, now: datetime) -> float:
        """Seconds until a job is begun again after one could not be; a clock that was set back meanwhile makes that no longer."""
        left = (self._not_before - now).total_seconds()
        return left if 0 < left <= _RETRY else 0.0

    # --- what is said -----------------------------------------------------------------------------------------------

    def _broken(self, name: str, code: int | None = None) -> None:
        """A run was ended from outside."""
        row, job = self._rows[name], self._jobs.get(name)
        row = _jobs.broken_off(row, job, self._clock.now(), code) if job else replace(row, running=False)
        self._rows[name] = row
        then = "it is run again" if row.pending else "it is not run again for that time"
        self._tell(
            "job_interrupted", f"{name} was interrupted; {then}", Level.WARNING, job=name, again=bool(row.pending)
        )

    def _tell_refusal(self, name: str, error: RecoupError) -> None:
        """Tells why a job could not be started, once for each reason. That another one runs, which somebody began by hand, is no
        fault.
        """
        waits = isinstance(error, LockedError)
        message = f"{name} {'waits' if waits else 'cannot be started'}: {error.message}"
        if message == self._refused:
            return
        self._refused = message
        if waits:
            self._tell("job_waits", message, Level.INFO, job=name)
        else:
            self._tell("job_not_started", message, Level.ERROR, job=name)

    def _tell_end(self, row: Row, code: int) -> None:
        seconds = (row.finished - row.started).total_seconds() if row.finished and row.started else 0.0
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        how, level = (how, Level.ERROR) if code else ("ended well", Level.INFO)
        self._tell("job_finished", f"{row.name} {how}", level, job=row.name, exit_code=code, seconds=round(seconds, 1))

    def _tell_missed(self, job: Job, missed: Missed) -> None:
        count = "once" if missed.count == 1 else f"{missed.count} times"
        why = {
            "asleep": "nothing looked at the schedule",
            "running": "it is left out, since its last run is not yet through",
            "waiting": "it is left out, since its last run has not yet begun",
        }[missed.reason]
        now = "; it runs now" if missed.count == 1 else "; it runs once for all of them"
        then = now if missed.made_up else ""
        message = f"{job.name} was due {count}, last at {missed.newest:%Y-%m-%d %H:%M} UTC: {why}{then}"
        fields = {"count": missed.count, "newest": missed.newest.isoformat(), "reason": missed.reason}
        self._tell("job_missed", message, Level.WARNING, job=job.name, made_up=missed.made_up, **fields)

    def _lost(self, error: StateError) -> None:
        """The memory failed.

        Raises:
            StateError: the loop is strict.
        """
        if self._strict:
            raise error
        self._written = {}  # all of it is written when that can be done again
        if not self._told:
            self._told = True
            message = f"{error.message}. The schedule goes on, and will not know after a restart what was done."
            self._tell("schedule_unremembered", message, Level.WARNING)

    def _tell(self, name: str, message: str, level: Level, **fields: object) -> None:
        self._emit(Event(name, self._clock.now(), message, level, fields=fields))
