"""The folder of a job: what was asked for, how it ended, what it wrote.

`STATE/stacks/STACK.jobs/ID/` has `begun.json`, `process.json`, `cancelled.json`, `ended.json`, `news.jsonl` (stderr),
`results.jsonl` (stdout), and `alive.lock`, which the job's processes hold. A folder without `begun.json` is no job (yet).
"""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from recoup.model.structs import Struct
from recoup.model.wire import decoded, encoded
from recoup.system.atomicfile import create_private, make_private_folder, write_atomic
from recoup.system.holding import Lock
from recoup.system.statefile import state_path
from recoup.web._supervising import ENDED, PROCESS

_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{6}", re.ASCII)


class Begun(Struct):
    """What was asked for; the fields are those of `recoup.web.jobs.Job`."""

    arguments: tuple[str, ...]
    command: str
    started: datetime
    by: str


class Process(Struct):
    """Where a job runs: the host's name, and the id of its process group there."""

    host: str
    group: int


class Cancelled(Struct):
    """When somebody asked for a job's end."""

    at: datetime


class Ended(Struct):
    """How a job ended."""

    exit_code: int
    finished: datetime


_Noted = TypeVar("_Noted", Begun, Process, Cancelled, Ended)
_NAMES: dict[type, str] = {
    Begun: "begun.json",
    Process: PROCESS,
    Cancelled: "cancelled.json",
    Ended: ENDED,
}


class JobFolder:
    """One job's folder.

    Args:
        path: it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alive = Lock(path / "alive.lock")
        self.results = path / "results.jsonl"
        self.news = path / "news.jsonl"

    def noted(self, kind: type[_Noted]) -> _Noted | None:
        """What was noted of one kind; None when it was not, or cannot be read."""
        try:
            found: _Noted = decoded(kind, json.loads((self.path / _NAMES[kind]).read_bytes()))
        except (OSError, ValueError):
            return None
        return found

    def note(self, value: Begun | Cancelled) -> None:
        """Writes something down, durably."""
        write_atomic(self.path / _NAMES[type(value)], json.dumps(encoded(type(value), value)).encode())

    @property
    def has_ended(self) -> bool:
        """Whether it is noted how the job ended."""
        return (self.path / ENDED).exists()

    @contextlib.contextmanager
    def outputs(self) -> Iterator[tuple[int, int]]:
        """Descriptors of two new files: for its results and for its news."""
        with contextlib.ExitStack() as opened:
            results = create_private(self.results)
            opened.callback(os.close, results)
            news = create_private(self.news)
            opened.callback(os.close, news)
            yield results, news

    def remove(self) -> None:
        """Takes it away, as far as that can be done; it is no job any more in any case."""
        with contextlib.suppress(OSError):
            (self.path / _NAMES[Begun]).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


class JobFolders:
    """The folders of a stack's jobs.

    Args:
        stack: its name.

    Raises:
        StateError: nobody knows where they are.
    """

    def __init__(self, stack: str) -> None:
        self.path = state_path(stack).with_name(f"{stack}.jobs")

    def new(self, moment: datetime) -> JobFolder:
        """Makes one.

        Args:
            moment: the present one, UTC; its name begins with it.
        """
        folder = self.path / f"{moment:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        make_private_folder(folder)
        return JobFolder(folder)

    def one(self, job_id: str) -> JobFolder | None:
        """That of a job. What is no id never becomes part of a path."""
        return JobFolder(self.path / job_id) if _ID.fullmatch(job_id) else None

    def ids(self) -> list[str]:
        """All ids, newest first."""
        try:
            return sorted((path.name for path in self.path.iterdir() if _ID.fullmatch(path.name)), reverse=True)
        except FileNotFoundError:
            return []
