"""A small stack on disk, and the real command."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONFIG = """\
version: 1
stack: small
sources:
  chat: {kind: sqlite, path: data/chat.db}
  uploads: {kind: files, path: data/uploads}
repositories:
  local: {path: backups, keep: {last: 2}}
"""

Done = subprocess.CompletedProcess[str]
Recoup = Callable[..., Done]


def environment(home: Path) -> dict[str, str]:
    """An environment in which no configuration of this machine's user is found."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP") and key != "FORCE_COLOR"}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "COLUMNS": "80", "NO_COLOR": "1"}


def command(*arguments: str) -> list[str]:
    """The command as it is started; `recoup` runs it quicker."""
    return [sys.executable, "-m", "recoup", *arguments]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with an empty repository."""
    folder = tmp_path_factory.mktemp("pristine") / "stack"
    (folder / "data" / "uploads").mkdir(parents=True)
    (folder / "data" / "uploads" / "a.txt").write_text("first upload")
    connection = sqlite3.connect(folder / "data" / "chat.db")
    connection.execute("create table messages (id integer primary key, text text)")
    connection.executemany("insert into messages (text) values (?)", [(f"message {n}",) for n in range(50)])
    connection.commit()
    connection.close()
    (folder / "recoup.yaml").write_text(CONFIG)
    subprocess.run(command("init"), cwd=folder, env=environment(folder), check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def backed_up(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack with one complete set."""
    folder = tmp_path_factory.mktemp("backed_up") / "stack"
    shutil.copytree(pristine, folder, symlinks=True)
    subprocess.run(command("backup"), cwd=folder, env=environment(folder), check=True, capture_output=True)
    return folder


@pytest.fixture
def fresh(pristine: Path, tmp_path: Path) -> Path:
    """One's own stack with an empty repository."""
    shutil.copytree(pristine, tmp_path / "stack", symlinks=True)
    return tmp_path / "stack"


@pytest.fixture
def stack(backed_up: Path, tmp_path: Path) -> Path:
    """One's own stack with one complete set."""
    shutil.copytree(backed_up, tmp_path / "stack", symlinks=True)
    return tmp_path / "stack"


@pytest.fixture
def recoup(preloaded: Path, tmp_path: Path) -> Recoup:
    """Runs the command in a folder, without a terminal."""

    def run(folder: Path, *arguments: str, **settings: str) -> Done:
        return subprocess.run(
            [preloaded / "recoup", *arguments],
            cwd=folder,
            env={**environment(tmp_path), **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Recoup]:
    """Runs the command in this process: for tables of cases, where starting each one would take too long."""
    wanted = environment(tmp_path)
    for name in os.environ.keys() - wanted.keys():
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)

    def run_here(folder: Path, *arguments: str) -> Done:
        from recoup.cli.main import run

        monkeypatch.chdir(folder)
        capfd.readouterr()
        code = run(arguments)
        told = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, code, told.out, told.err)

    yield run_here
    signal.signal(signal.SIGTERM, before)


def sets(folder: Path) -> list[str]:
    """Names of the sets in the stack's repository."""
    return sorted(path.name for path in (folder / "backups").glob("backup_*"))
