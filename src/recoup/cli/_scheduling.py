"""What `daemon` and `schedule` share: the stack's jobs, how one is begun, how the schedule looks to a person."""

import contextlib
import functools
import os
import sys
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from recoup.errors import ConfigError, ExitCode, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.table import Table

    from recoup.app import Stack
    from recoup.cli._session import Session
    from recoup.model.events import News
    from recoup.scheduler._jobs import Job
    from recoup.scheduler.outlook import Planned

_NOTHING = contextlib.nullcontext()

LOCK_PATIENCE = 600.0
"""Seconds that a job waits for a lock of another run, unless --wait-lock says otherwise."""

GRACE = 30.0
"""Seconds that a job gets to end when the schedule is ended, unless --grace says otherwise."""


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


def table(planned: "Sequence[Planned]", zone: tzinfo) -> "Table":
    """The schedule for people.

    Args:
        planned: what is known of each of its jobs.
        zone: in which times are shown.
    """
    from rich.table import Table

    from recoup.model.names import shown
    from recoup.scheduler.outlook import last

    found = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("Job", "When", "Next", "Last"):
        found.add_column(column, overflow="fold", no_wrap=column in ("Job", "Next"))
    for job in planned:
        nexts = [f"{due.astimezone(zone):%a %Y-%m-%d %H:%M}" for due in job.next]
        found.add_row(shown(job.name), shown(job.when), "\n".join(nexts) or "never", last(job, zone))
    return found
