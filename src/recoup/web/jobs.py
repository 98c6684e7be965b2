"""Jobs: the commands that somebody who clicks has run, one at a time for a stack.

A job is the command that a person would type, as processes of their own session. It goes on when who began it ends, and can be
looked at by everybody of this account: what it writes, and how it ended, is in files (`_job_files`).
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

from recoup.errors import RecoupError, RefusedError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.scheduler._starting import OTHER_JOB, job_lock
from recoup.system.clock import Clock
from recoup.system.statefile import StateError
from recoup.system.subprocesses import OWN_MODULES, Beside, ChildFailedError
from recoup.web import _job_news
from recoup.web._job_files import Begun, Cancelled, Ended, JobFolder, JobFolders, Process
from recoup.web._job_news import News

__all__ = ["KEPT", "Job", "Jobs", "News", "forget"]

KEPT = 50
"""Jobs that are kept, the newest ones."""

RECOUP = (sys.executable, *OWN_MODULES, "-m", "recoup")
"""The command line of this Recoup."""

LONGEST_RESULTS = 4 * 1024 * 1024
"""Bytes of results that are read: what is looked at as a whole has to fit into memory."""

_FOR_PROGRAMS = ("--json", "--log-json", "--log-progress", "--no-color", "--yes")
_SUPERVISOR = (sys.executable, *OWN_MODULES, "-m", "recoup.web._supervising")
_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")  # they would make a terminal of a file
_AGAIN = timedelta(seconds=10)  # from when on a second wish to end counts: the first one may be being obeyed
_LOOKS, _MOMENT = 100, 0.05  # looks for where a job runs, and seconds between them: its start takes a tenth of a second
_HINT = "One job at a time works on a stack: wait until it has ended, or cancel it."


class Job(Struct):
    """A job.

    Attributes:
        id: the second in which it began (UTC) and a random end, as in `20261122T031500-ab12cd`.
        arguments: what stands behind `recoup` as a person would type it; the first one is the verb.
        command: the whole command line as a person would type it, who is then asked before anything is harmed.
        started: when (UTC).
        by: who asked for it; empty where nobody signs in.
        state: `lost` when its processes were killed before they could note how it ended.
        exit_code: that of the command, negative the number of the signal that ended it; None while it runs, or when it is lost.
        finished: when (UTC); None while it runs, or when it is lost.
    """

    id: str
    arguments: tuple[str, ...]
    command: str
    started: datetime
    by: str
    state: Literal["running", "ended", "lost"]
    exit_code: int | None
    finished: datetime | None


class Jobs:
    """A stack's jobs.

    Args:
        stack: its name; empty for none.
        options: the global options in front of the verb, with absolute paths: `("-c", "/srv/recoup.yaml")`.
        clock: time.
        command: the program that runs verbs.

    Raises:
        StateError: this account has no place where jobs could be kept.
    """

    def __init__(self, stack: str, options: Sequence[str], clock: Clock, command: Sequence[str] = RECOUP) -> None:
        self._stack, self._options, self._clock = stack, tuple(options), clock
        self._command = tuple(command)
        self._folders = JobFolders(stack)

    # --- looking ----------------------------------------------------------------------------------------------------

    def all(self) -> tuple[Job, ...]:
        """All that are kept, the newest first."""
        found = [job for job_id in self._folders.ids() if (job := self.job(job_id)) is not None]
        return tuple(sorted(found, key=lambda job: job.started, reverse=True))

    def job(self, job_id: str) -> Job | None:
        """One of them; None when there is none of that id.

        Args:
            job_id: any text.
        """
        folder = self._folders.one(job_id)
        begun = folder and folder.noted(Begun)
        return _job(folder, begun) if folder and begun else None

    @property
    def newest(self) -> Job | None:
        """The one that was begun last, if any."""
        return next((job for job_id in self._folders.ids() if (job := self.job(job_id)) is not None), None)

    @property
    def running(self) -> Job | None:
        """The one that runs, if any."""
        for job_id in self._folders.ids():
            folder = self._folders.one(job_id)
            if folder and not folder.has_ended and folder.alive.lives():
                return self.job(job_id)
        return None

    def news(self, job_id: str, after: int = 0) -> News:
        """What a job told on stderr, from an offset on, at most 1 MiB of it; nothing for a job that is not there.

        Args:
            job_id: any text.
            after: bytes: the `end` of what was read last.
        """
        folder = self._folders.one(job_id)
        if folder is None:
            return News((), after)
        ended = folder.has_ended or not folder.alive.lives()  # looked at first: what comes later is for the next time
        return _job_news.read(folder.news, after, ended=ended)

    def results(self, job_id: str) -> tuple[dict[str, Any], ...]:
        """The results that a job printed so far, JSON objects with `type`; none for a job that is not there.

        Args:
            job_id: any text.

        Raises:
            RecoupError: they are larger than `LONGEST_RESULTS`.
        """
        folder = self._folders.one(job_id)
        try:
            data = _whole(folder) if folder else b""
        except FileNotFoundError:
            return ()
        lines = data.split(b"\n")[:-1]  # behind the last line feed is nothing, or half a line
        return tuple(found for line in lines if (found := _job_news.object_of(line)) is not None)

    def asked_to_end(self, job_id: str) -> datetime | None:
        """When somebody last asked for a job's end; None when nobody did.

        Args:
            job_id: any text.
        """
        folder = self._folders.one(job_id)
        asked = folder and folder.noted(Cancelled)
        return asked.at if asked else None

    # --- doing ------------------------------------------------------------------------------------------------------

    def typed(self, arguments: Sequence[str]) -> str:
        """The whole command line of a verb, as a person would type it.

        Args:
            arguments: the verb and its arguments.
        """
        return shlex.join(["recoup", *self._options, *arguments])

    def asked(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs a verb here for a program that reads its results: no job, so nothing is kept of it.

        Args:
            arguments: the verb and its arguments, without secrets.

        Raises:
            UsageError: that can be no command line.
        """
        _check(arguments)
        return [*self._command, *self._options, "--json", "--no-color", *arguments]

    def start(self, arguments: Sequence[str], by: str = "") -> Job:
        """Begins a job.

        Args:
            arguments: the verb and its arguments, without secrets: others can read command lines.
            by: who asks for it.

        Raises:
            LockedError: a job of this stack runs, be it one of its schedule; the message says which.
            UsageError: that can be no command line.
            StateError: the job's files cannot be written.
            ChildFailedError: it cannot be started.
        """
        _check(arguments)
        now = self._clock.now()
        begun = Begun(tuple(arguments), self.typed(arguments), now, by)
        with self._writing(), job_lock(self._stack).held(_said(begun), OTHER_JOB, _HINT) as lock:
            folder = self._folders.new(now)
            self._begin(folder, begun, lock)
            self._forget_old()
        return _job(folder, begun)

    def cancel(self, job_id: str) -> None:
        """Asks a job to end, as Ctrl-C does; ten seconds later, when it still runs, by SIGTERM. One that has ended is left alone.

        Raises:
            UsageError: there is no such job.
            RefusedError: it runs on another host, or nobody knows where.
        """
        job, folder = self.job(job_id), self._folders.one(job_id)
        if job is None or folder is None:
            raise UsageError(f"there is no job {shown(job_id)}", f"The {KEPT} newest are kept.")
        asked, now = folder.noted(Cancelled), self._clock.now()
        if job.state != "running" or (asked is not None and timedelta(0) <= now - asked.at < _AGAIN):
            return
        process = self._process(folder)
        if process is None and not folder.alive.lives():
            return  # it was killed while it began
        _signal(process, signal.SIGINT if asked is None else signal.SIGTERM)
        with self._writing():
            folder.note(Cancelled(now))

    def _begin(self, folder: JobFolder, begun: Begun, lock: int) -> None:
        """Begins the processes. A job whose starter is killed on the way either runs or is lost."""
        try:
            with folder.alive.held("", folder.path.name) as own, folder.outputs() as (results, news):
                folder.note(begun)
                process = Beside(
                    [*_SUPERVISOR, str(folder.path), f"{lock},{own}", *self._child(begun)],
                    (lock, own),
                    stdout=results,
                    stderr=news,
                    environ={name: value for name, value in os.environ.items() if name not in _TERMINAL},
                )
            process.leave()
        except (ChildFailedError, OSError):
            folder.remove()
            raise

    def _process(self, folder: JobFolder) -> Process | None:
        """Where a job runs; one that has just begun notes that in a moment."""
        for _ in range(_LOOKS):
            if (found := folder.noted(Process)) is not None or not folder.alive.lives():
                return found
            self._clock.sleep(_MOMENT)
        return None

    def _child(self, begun: Begun) -> list[str]:
        return [*self._command, *self._options, *_FOR_PROGRAMS, *begun.arguments]

    def _forget_old(self) -> None:
        for job_id in self._folders.ids()[KEPT:]:
            folder = self._folders.one(job_id)
            if folder and not folder.alive.lives():
                folder.remove()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What cannot be written is said.

        Raises:
            StateError: instead of OSError.
        """
        try:
            yield
        except OSError as error:
            raise StateError(
                f"{self._folders.path}, where jobs are kept, cannot be written: {error.strerror or error}",
                "Check the folder's owner, its rights and the free space; $XDG_STATE_HOME chooses another place.",
            ) from None


def forget(stack: str) -> None:
    """Removes what is kept of a stack's jobs; none of them may run.

    Args:
        stack: its name.

    Raises:
        StateError: this account has no place where jobs could be kept.
        OSError: it cannot be removed.
    """
    folder = JobFolders(stack).path
    if folder.exists():
        shutil.rmtree(folder)


def _job(folder: JobFolder, begun: Begun) -> Job:
    lives = folder.alive.lives()  # looked at first: a job notes how it ended as long as it lives
    ended = folder.noted(Ended)
    state: Literal["running", "ended", "lost"] = "ended" if ended else "running" if lives else "lost"
    code, finished = (ended.exit_code, ended.finished) if ended else (None, None)
    return Job(folder.path.name, begun.arguments, begun.command, begun.started, begun.by, state, code, finished)


def _check(arguments: Sequence[str]) -> None:
    """Raises UsageError for what can be no command line."""
    if not arguments:
        raise UsageError("a job needs a verb")
    for argument in arguments:
        try:
            possible = b"\0" not in os.fsencode(argument)
        except UnicodeEncodeError:
            possible = False
        if not possible:
            raise UsageError(
                f"{shown(argument)!r} cannot be an argument of a command", "It holds a zero byte, or what is no text."
            )


def _said(begun: Begun) -> str:
    """What a running job says of itself to others who want to run one."""
    by = f" by {shown(begun.by)}" if begun.by else ""
    return f"{shown(shlex.join(begun.arguments))}, begun {begun.started:%Y-%m-%d %H:%M:%S} UTC{by}"


def _signal(process: Process | None, number: signal.Signals) -> None:
    """Sends a signal to the processes of a job that runs.

    Raises:
        RefusedError: they are not processes of this host, or not known.
    """
    here = os.uname().nodename
    if process is None or process.host != here:
        where = "on another host" if process else "where nobody knows"
        raise RefusedError(f"the job runs {where}", f"It cannot be ended from {here}.")
    try:
        os.killpg(process.group, number)
    except ProcessLookupError:
        return  # it has ended meanwhile
    except PermissionError:
        raise RefusedError("the job's processes are another account's", "Ask there for its end.") from None


def _whole(folder: JobFolder) -> bytes:
    with folder.results.open("rb") as file:
        data = file.read(LONGEST_RESULTS + 1)
    if len(data) > LONGEST_RESULTS:
        raise RecoupError(
            f"the results of job {folder.path.name} are larger than {LONGEST_RESULTS:,} bytes",
            "Type its command, and look at what it prints.",
        )
    return data
