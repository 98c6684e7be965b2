"""A schedule as it looks to a person: when its jobs run, what became of them, and whether anything runs it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo

from recoup.model.durations import spelled
from recoup.model.schedule import JobState
from recoup.scheduler._jobs import Job
from recoup.scheduler.state import job_states

SILENT = timedelta(minutes=5)
"""From when on nothing seems to run a schedule; whatever runs it looks at it every minute."""


class Planned(JobState):
    """What is known of a job, and what comes next.

    Attributes:
        when: what says when it runs, for people.
        next: its next times (UTC), the one that it waits for first; none where no time will ever fit.
        arguments: what stands behind `recoup`; the verb is the first.
    """

    when: str = ""
    next: tuple[datetime, ...] = ()
    arguments: tuple[str, ...] = ()


def planned(stack: str, jobs: Sequence[Job], now: datetime, count: int = 1) -> tuple[Planned, ...]:
    """A schedule as it is known on this machine, in the order of its lines.

    Args:
        stack: the stack's name.
        jobs: its jobs.
        now: the present moment.
        count: how many of the next times of each are wanted.

    Raises:
        StateError: what is remembered cannot be read.
    """
    states = job_states(stack, jobs, now)
    return tuple(
        Planned(**vars(state), when=when(job), next=tuple(next_times(job, state, count)), arguments=job.arguments)
        for job, state in zip(jobs, states, strict=True)
    )


def when(job: Job) -> str:
    """What says when a job runs, for people."""
    text = f"every {spelled(job.every)}" if job.every else f"{job.cron} ({job.zone})"
    return f"{text}, {spelled(job.jitter)} later" if job.jitter else text


def next_times(job: Job, state: JobState, count: int) -> Iterator[datetime]:
    """The next times of a job, the one that it waits for first."""
    due, anchor = state.next_due, state.next_due
    for _ in range(count):
        if due is None or anchor is None:
            return
        yield due
        due = job.times(anchor - job.jitter).after(due)


def last(state: JobState, zone: tzinfo) -> str:
    """What became of a job's last run."""
    if state.started is None:
        return "never"
    begin = f"{state.started.astimezone(zone):%Y-%m-%d %H:%M}"
    if state.running:
        return f"{begin}, runs now"
    if state.exit_code is None:
        return f"{begin}, interrupted"
    return f"{begin}, well" if state.exit_code == 0 else f"{begin}, exit code {state.exit_code}"


def silence(alive: datetime | None, now: datetime) -> str:
    """A sentence when nothing seems to run the schedule; empty when something does.

    Args:
        alive: when something last looked at it; None for never.
        now: the present moment.
    """
    if alive is None:
        return (
            "Nothing under this account runs this schedule yet: start `recoup daemon`, "
            "or let `recoup schedule install` set it up."
        )
    if now - alive > SILENT:
        return (
            f"Nothing has looked at this schedule since {alive:%Y-%m-%d %H:%M} UTC: start `recoup daemon` again, "
            "or look whether cron or systemd still calls `recoup schedule tick`."
        )
    return ""
