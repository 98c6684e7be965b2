"""What `daemon` and `schedule` share: the stack's jobs, how one is begun, how the schedule looks to a person."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from recoup.errors import ConfigError, ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.table import Table

    from recoup.app import Stack
    from recoup.cli._session import Session
    from recoup.model.events import News
    from recoup.model.schedule import JobState
    from recoup.scheduler._jobs import Job

_NOTHING = contextlib.nullcontext()

LOCK_PATIENCE = 600.0
"""Seconds that a job waits for a lock of another run, unless --wait-lock says otherwise."""

GRACE = 30.0
"""Seconds that a job gets to end when the schedule is ended, unless --grace says otherwise."""

SILENT = timedelta(minutes=5)
"""From when on nothing seems to run a schedule; whatever runs it looks at it every minute."""


def jobs_of(stack: "Stack") -> "tuple[Job, ...]":
    """The jobs of a stack.

    Raises:
        ConfigError: there are none; the hint has some to begin with.
    """
    from recoup.config._schedule import SAMPLE

    if not stack.jobs:
        where = f" in {stack.files[0]}" if stack.files else ""
        raise ConfigError(f"there is no schedule{where}", f"Add one, for example:\n{SAMPLE}")
    return stack.jobs


def command(now: "Session") -> list[str]:
    """The command line in front of a job's arguments: this Recoup, this configuration, these global options.

    Raises:
        UsageError: an option was given that has no meaning for a schedule.
    """
    from recoup.system.subprocesses import OWN_MODULES

    if now.repository is not None:
        raise UsageError(
            "-r has no meaning for a whole schedule", "Write `repository: NAME` or `to: [NAME]` into the job's line."
        )
    found = [sys.executable, *OWN_MODULES, "-m", "recoup", "--wait-lock", str(now.wait_lock or LOCK_PATIENCE)]
    for file in now.stack.files:
        found += ["--config", str(file)]
    for override in now.overrides:
        found += ["--set", override]
    if now.log_file is not None:
        found += ["--log-file", str(now.log_file)]
    said = {
        "--quiet": now.quiet,
        "--json": now.json,
        "--log-json": now.log_json,
        "--log-progress": now.log_progress,
        "--no-color": now.no_color,
    }
    return [*found, *(option for option, given in said.items() if given), *(["-v"] * now.verbose)]


def serve(
    now: "Session",
    who: str,
    grace: float | None,
    *,
    until_done: bool = False,
    beside: "AbstractContextManager[None]" = _NOTHING,
) -> ExitCode:
    """Runs the schedule of a session's stack.

    Args:
        now: the session.
        who: what runs it, for others who want to.
        grace: seconds that a job gets to end when this is told to end; None for the usual ones.
        until_done: end as soon as nothing is due.
        beside: entered while the schedule is run.

    Returns:
        That of the first job that did not end well.

    Raises:
        LockedError: something else runs it.
        ConfigError: another configuration whose stack has the same name is run.
        InterruptedRunError: it was to run until everything is done, and was told to end.
    """
    from recoup.scheduler._starting import Starter, job_lock, schedule_lock
    from recoup.scheduler.daemon import Daemon, waker
    from recoup.scheduler.loop import Loop
    from recoup.scheduler.state import StackMemory, given_up
    from recoup.system.clock import SystemClock
    from recoup.system.service_manager import ServiceManager
    from recoup.system.statefile import StateError

    jobs, stack, clock = jobs_of(now.stack), now.stack.settings.stack, SystemClock()
    _require_the_only_one(now.stack, clock.now())
    grace = GRACE if grace is None else grace
    starter = Starter(command(now), job_lock(stack))
    said = f"`{who}`, process {os.getpid()}, since {clock.now():%Y-%m-%d %H:%M:%S} UTC"
    hint = "One is enough. End it, or leave this one out; `recoup schedule show` says what runs when."
    with (
        schedule_lock(stack).held(said, f"the schedule of {stack} is run already by", hint),
        beside,
        waker() as signals,
    ):
        emit = functools.partial(_tell, now)
        loop = Loop(jobs, StackMemory(stack, now.stack.files), starter, job_lock(stack), clock, emit, strict=until_done)
        daemon = Daemon(loop, starter, ServiceManager(), functools.partial(_again, now), clock, emit, grace)
        if daemon.serve(signals, until_done=until_done) and until_done:
            raise InterruptedRunError("ended before everything that is due was done", "The next tick makes up for it.")
        if not until_done:
            with contextlib.suppress(StateError):
                given_up(stack)
    return loop.exit_code


def _require_the_only_one(stack: "Stack", moment: datetime) -> None:
    """Raises ConfigError when the schedule of another configuration is run under the same name."""
    from recoup.model.names import shown
    from recoup.scheduler.state import another
    from recoup.system.statefile import StateError

    name = stack.settings.stack
    try:
        others = another(name, stack.files, moment)
    except StateError:
        return  # which the schedule itself tells, or ends by
    if others:
        raise ConfigError(
            f"the schedule of {name} is run from another configuration: {', '.join(map(shown, others))}",
            "Two stacks of one name would forget each other's jobs: give this one another `stack`. If it is to take the "
            "other's place, end that one; five minutes later, or when its file is gone, this one runs.",
        )


def _tell(now: "Session", news: "News") -> None:
    """Tells the person and the configured files. Nothing is held open: a daemon's files may be moved away meanwhile. Where nobody
    listens any more (the terminal is gone, the log is restarted), the schedule goes on.
    """
    from recoup.model.events import Event

    with contextlib.suppress(OSError), now.news(talkative=True):
        if isinstance(news, Event):
            now.stack.tell(news)


def _again(now: "Session") -> "tuple[Job, ...]":
    """The jobs of the configuration as it is now.

    Raises:
        ConfigError: it is wrong, has no schedule any more, or is that of another stack.
    """
    before, after = now.stack.settings.stack, now.opened()
    if after.settings.stack != before:
        raise ConfigError(
            f"it is another stack now: {after.settings.stack} instead of {before}",
            "End `recoup daemon` and start it again.",
        )
    jobs = jobs_of(after)
    now.take(after)
    return jobs


def table(jobs: "Sequence[Job]", states: "Sequence[JobState]", zone: tzinfo, more: int) -> "Table":
    """The schedule for people.

    Args:
        jobs: its jobs.
        states: what is known of each of them, in the same order.
        zone: in which times are shown.
        more: how many of the next times are shown.
    """
    from rich.table import Table

    from recoup.model.names import shown

    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Job", "When", "Next", "Last"):
        found.add_column(column, overflow="fold", no_wrap=column in ("Job", "Next"))
    for job, state in zip(jobs, states, strict=True):
        nexts = [f"{due.astimezone(zone):%a %Y-%m-%d %H:%M}" for due in next_times(job, state, more)]
        found.add_row(shown(job.name), shown(when(job)), "\n".join(nexts) or "never", last(state, zone))
    return found


def when(job: "Job") -> str:
    """What says when a job runs, for people."""
    from recoup.model.durations import spelled

    text = f"every {spelled(job.every)}" if job.every else f"{job.cron} ({job.zone})"
    return f"{text}, {spelled(job.jitter)} later" if job.jitter else text


def next_times(job: "Job", state: "JobState", count: int) -> Iterator[datetime]:
    """The next times of a job, the one that it waits for first."""
    due, anchor = state.next_due, state.next_due
    for _ in range(count):
        if due is None or anchor is None:
            return
        yield due
        due = job.times(anchor - job.jitter).after(due)


def last(state: "JobState", zone: tzinfo) -> str:
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
