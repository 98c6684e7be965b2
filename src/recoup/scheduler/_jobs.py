"""A job of the schedule, and what is remembered of it: values, and how they follow one another. Nothing here reads a clock."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo

from recoup.model.schedule import JobState
from recoup.model.structs import Struct
from recoup.scheduler.cron import Cron, Interval, Later, Times, passed

LATE = timedelta(minutes=5)
"""From when on a time counts as missed: nothing looked at the schedule when it came."""

SET_BACK = timedelta(hours=1)
"""Up to here a clock may be set back without a job running again whose time comes a second time."""

_ATTEMPTS = 2
_GAPS = 8


class Job(Struct):
    """One line of the schedule.

    Attributes:
        name: by which it is remembered.
        arguments: what stands behind `recoup`, without the configuration's own options; the verb is the first.
        cron: when, as cron says it; empty with `every`.
        zone: time zone of `cron`.
        every: the distance of two runs; None with `cron`.
        jitter: how much later than that it runs.
        catch_up: whether a missed time is made up for.
        sources: those that it is about; empty for all.
    """

    name: str
    arguments: tuple[str, ...]
    cron: str
    zone: tzinfo
    every: timedelta | None = None
    jitter: timedelta = timedelta(0)
    catch_up: bool = True
    sources: tuple[str, ...] = ()

    @property
    def timing(self) -> str:
        """What says when it runs, as a text to compare."""
        return f"every {self.every}" if self.every else f"{self.cron} {self.zone}"

    def times(self, anchor: datetime) -> Times:
        """The moments at which it is due, jitter included.

        Args:
            anchor: from where `every` counts.
        """
        times = Interval(self.every, anchor) if self.every else Cron(self.cron, self.zone)
        return Later(times, self.jitter)

    def distance(self, now: datetime) -> timedelta | None:
        """The longest distance of its next times, which is how old a result may become; None when it never runs twice.

        Args:
            now: the present moment.
        """
        if self.every:
            return self.every
        times, found = self.times(now), [now]
        while len(found) <= _GAPS and (due := times.after(found[-1])) is not None:
            found.append(due)
        return max((later - due for due, later in itertools.pairwise(found[1:])), default=None)


class Row(Struct):
    """What is remembered of a job.

    Attributes:
        name: the job's.
        timing: what said when it runs when it was last looked at.
        anchor: from where `every` counts.
        settled: up to here, each time is done with or stands in `pending`.
        pending: the time for which it waits for its turn; None when it does not.
        attempt: how often the run for `pending` or `due` was begun and did not come to its end.
        due: the time for which the last run was begun.
        started: begin of that run.
        finished: its end.
        exit_code: what it returned; None when nobody saw it.
        missed: times that were left out, in all.
        running: whether that run was begun and its end is not yet known.
    """

    name: str
    timing: str
    anchor: datetime
    settled: datetime
    pending: datetime | None = None
    attempt: int = 0
    due: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    missed: int = 0
    running: bool = False


class Missed(Struct):
    """Times that are left out.

    Attributes:
        count: how many.
        newest: the last of them.
        reason: `asleep` (nothing looked at the schedule), `running` (the run before was not yet through) or `waiting` (that
            run had not even begun).
        made_up: whether the job runs for them once.
    """

    count: int
    newest: datetime
    reason: str
    made_up: bool = False


def fresh(job: Job, now: datetime) -> Row:
    """The row of a job that the schedule sees for the first time. One with `every` is due at once."""
    now = now.replace(microsecond=0)
    return Row(job.name, job.timing, now, now - timedelta(seconds=1) if job.every else now)


def changed(row: Row, job: Job, now: datetime) -> Row:
    """The row after the line's times were changed: the new ones count from now, and nothing is missed of them."""
    now = now.replace(microsecond=0)
    return replace(row, timing=job.timing, anchor=now, settled=now)


def after_setting_back(row: Row, now: datetime) -> Row:
    """The row when the clock stands before what it was: else nothing would run until it is there again."""
    if row.settled - now <= SET_BACK:
        return row
    now = now.replace(microsecond=0)
    return replace(row, settled=now, anchor=min(row.anchor, now))


def looked_at(row: Row, job: Job, now: datetime) -> tuple[Row, Missed | None]:
    """The row when a job's times up to `now` were looked at, and what is left out of them."""
    newest, count = passed(job.times(row.anchor), row.settled, now)
    if newest is None:
        return row, None
    row = replace(row, settled=newest)
    asleep = now - newest > LATE
    if row.running or row.pending or (asleep and not job.catch_up):
        reason = "running" if row.running else "waiting" if row.pending else "asleep"
        return replace(row, missed=row.missed + count), Missed(count, newest, reason)
    row = replace(row, pending=newest, attempt=0, missed=row.missed + count - 1)
    return row, Missed(count, newest, "asleep", made_up=True) if asleep or count > 1 else None


def begun(row: Row, now: datetime) -> Row:
    """The row when the run for `pending` begins."""
    return replace(
        row,
        pending=None,
        attempt=row.attempt + 1,
        due=row.pending,
        started=now,
        finished=None,
        exit_code=None,
        running=True,
    )


def ended(row: Row, now: datetime, exit_code: int) -> Row:
    """The row when a run came to its end."""
    return replace(row, attempt=0, finished=now, exit_code=exit_code, running=False)


def broken_off(row: Row, job: Job, now: datetime, exit_code: int | None = None) -> Row:
    """The row when a run was ended from outside: it is made up for, unless that one was broken off, too."""
    again = row.due if job.catch_up and row.attempt < _ATTEMPTS else None
    return replace(row, pending=again, finished=now, exit_code=exit_code, running=False)


def state_of(job: Job, row: Row | None, now: datetime) -> JobState:
    """What is known of a job.

    Args:
        job: it.
        row: what is remembered of it; None for nothing.
        now: the present moment.
    """
    if row is None:
        row = fresh(job, now)
    elif row.timing != job.timing:
        row = changed(row, job, now)
    return JobState(
        name=job.name,
        run=job.arguments[0],
        sources=job.sources,
        next_due=row.pending or job.times(row.anchor).after(row.settled),
        last_due=row.due,
        started=row.started,
        finished=row.finished,
        exit_code=row.exit_code,
        missed=row.missed,
        running=row.running,
    )
