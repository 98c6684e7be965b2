"""A small real stack: DuckDB, SQLite, files and Qdrant's local mode, as the demo builds it, with fewer documents."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recoup.demo import stack as demo
from recoup.demo.damage import WRONG_FILTER
from recoup.demo.documents import Document
from recoup.demo.embedding import Embedder, hashed
from recoup.system.clock import SystemClock
from recoup.web.jobs import Jobs

NAME = "shelf"
PATIENCE = 60.0
"""Seconds that something may take on a loaded machine."""

CONFIG = f"""\
version: 1
stack: {NAME}
sources:
  documents: {{kind: duckdb, path: {demo.DOCUMENTS}}}
  chat: {{kind: sqlite, path: {demo.CHAT}, busy_timeout: 60}}
  uploads: {{kind: files, path: {demo.UPLOADS}, pointers: [CURRENT]}}
  vectors: {{kind: qdrant-local, path: {demo.VECTORS}}}
repositories:
  local: {{path: data/backups, keep: {{last: 5}}}}
"""


@dataclass(frozen=True)
class Stack:
    """A stack in a folder of its own, and what this machine remembers of it.

    Attributes:
        root: its folder.
        memory: where state and caches are.
        python: what runs short commands.
    """

    root: Path
    memory: Path
    python: Path

    @property
    def config(self) -> Path:
        return self.root / "recoup.yaml"

    @property
    def backups(self) -> Path:
        return self.root / "data/backups"

    @property
    def environ(self) -> dict[str, str]:
        """In which no configuration of this machine's user is found."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECOUP", "FORCE_COLOR"))}
        places = {f"XDG_{kind}_HOME": str(self.memory / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG")}
        return {**kept, **places, "NO_COLOR": "1", "COLUMNS": "100", "PYTHON_COLORS": "0"}

    def command(self, *arguments: str, python: str = sys.executable) -> list[str]:
        """Our command line for it."""
        return [python, "-m", "recoup", "-c", str(self.config), *arguments]

    def recoup(self, *arguments: str, code: int = 0) -> str:
        """Runs the command, and returns what it prints."""
        command = self.command(*arguments, python=str(self.python))
        done = subprocess.run(command, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Its application writes to the chat meanwhile, so that a backup that has begun waits."""
        with contextlib.closing(sqlite3.connect(self.root / demo.CHAT, isolation_level=None)) as chat:
            chat.execute("PRAGMA locking_mode = EXCLUSIVE")
            chat.execute("BEGIN EXCLUSIVE")
            chat.execute("INSERT INTO messages (conversation, role, text) VALUES (1, 'user', 'Wait for me.')")
            yield
            chat.execute("ROLLBACK")

    def end_jobs(self) -> None:
        """Ends what a test that failed may have left running."""
        jobs = Jobs(NAME, [], SystemClock())
        if running := jobs.running:
            jobs.cancel(running.id)
            wait_until(lambda: jobs.running is None)


def build(root: Path, python: Path) -> Stack:
    """Builds it, with a repository that is still empty."""
    demo.prepare_folder(root)
    demo.build(root, Embedder("words", real=False, embed=hashed), _documents())
    stack = Stack(root, root.with_name("memory"), python)
    stack.config.write_text(CONFIG)
    stack.recoup("init")
    return stack


def proven(stack: Stack) -> Stack:
    """Backs it up, and drills the set."""
    stack.recoup("backup", "--note", "the first one")
    stack.recoup("drill")
    return stack


def made_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], Stack], python: Path) -> Stack:
    """A stack that the first worker of pytest-xdist that needs it makes for all: it is only copied from.

    Args:
        temporary: gives folders.
        name: of the stack's folder.
        make: makes it at a path.
        python: of the stack that is returned.
    """
    base = temporary.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder / "stack")
            (folder / "made").touch()
    return Stack(folder / "stack", folder / "memory", python)


def copied(stack: Stack, root: Path) -> Stack:
    """Another one like it."""
    shutil.copytree(stack.root, root, symlinks=True)
    return replace(stack, root=root, memory=root.with_name("memory"))


def wait_until(happened: Callable[[], bool]) -> None:
    """Waits for something outside the browser."""
    latest = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < latest, "it did not happen"
        time.sleep(0.05)


def _documents() -> list[Document]:
    modules = [*WRONG_FILTER, "json", "ast", "socket"]
    titles = [(module, f"{module}.thing_{number}") for module in modules for number in range(20)]
    return [
        Document(number, title, module, "class" if number % 2 else "function", f"What {title} does, in a sentence.")
        for number, (module, title) in enumerate(titles)
    ]
