"""Beginning a job as a process of its own, so that it behaves as by hand and its memory goes with it."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from recoup.scheduler._jobs import Job
from recoup.system.holding import Lock
from recoup.system.journal import state_folder
from recoup.system.subprocesses import Beside

OTHER_JOB = "another job of this stack runs"
"""What is said to who finds `job_lock` held; behind it comes what the holder says of itself."""


def schedule_lock(stack: str) -> Lock:
    """The lock of who looks at a stack's schedule."""
    return Lock(_folder() / f"{stack}.schedule.lock")


def job_lock(stack: str) -> Lock:
    """The lock that a running job of a stack holds, of its schedule or of somebody who clicks, also when who began it is dead."""
    return Lock(_folder() / f"{stack}.job.lock")


def _folder() -> Path:
    return state_folder() / "stacks"


class Starter:
    """Begins jobs.

    Args:
        command: the command line in front of a job's arguments.
        lock: handed to each job.
    """

    def __init__(self, command: Sequence[str], lock: Lock) -> None:
        self._command, self._lock = tuple(command), lock
        self._last: Beside | None = None

    def __call__(self, job: Job) -> Beside:
        """Begins a job.

        Raises:
            LockedError: another one runs.
            ChildFailedError: it cannot be started.
        """
        with self._lock.held(job.name, OTHER_JOB) as descriptor:
            self._last = Beside((*self._command, *job.arguments), (descriptor,))
            return self._last

    @property
    def pids(self) -> tuple[int, ...]:
        """The id of the process that was begun last."""
        return () if self._last is None else (self._last.pid,)


def forget_locks(stack: str) -> None:
    """Removes the files of a stack's locks; nobody may hold them.

    Args:
        stack: its name.
    """
    for lock in (schedule_lock(stack), job_lock(stack)):
        with contextlib.suppress(FileNotFoundError):
            lock.path.unlink()
