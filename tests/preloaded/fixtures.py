"""The programs `python` and `recoup` that start quickly, and Recoup's own children likewise."""

import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from preloaded import children, client


class Loaded:
    """The server, and the programs that ask it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._settings = client.of_python(dict(os.environ))

    @functools.cached_property
    def programs(self) -> Path:
        """A folder with both; the server starts now, and commands that come while it loads wait."""
        folder = Path(tempfile.mkdtemp(prefix="loaded-"))
        self._server = _started(folder / "socket")
        begin, end = f"#!{sys.executable} -IS\n", f"\n\nmain({str(folder / 'socket')!r}, {self._settings!r})\n"
        for name in ("python", "recoup"):
            (folder / name).write_text(begin + Path(client.__file__).read_text() + end)
            (folder / name).chmod(0o700)
        return folder

    def child(self, really: children.Starting, target: str) -> "subprocess.Popen[bytes]":
        """Stands for `recoup.system.subprocesses._started`, which is `really`."""
        return children.start(self.programs / "socket", really, target) if self.usable else really(target)

    @property
    def usable(self) -> bool:
        """Whether it can do what Python would do that is started now: a fork of this process starts no server, and one with other
        settings of Python is of no use.
        """
        there = self._owner == os.getpid() or "programs" in vars(self)
        return there and client.of_python(dict(os.environ)) == self._settings

    def end(self) -> None:
        """Ends the server, if it was started."""
        if "programs" in vars(self):
            self._server.communicate()
            shutil.rmtree(self.programs)
            assert self._server.returncode == 0  # else commands have started slowly


def _started(place: Path) -> "subprocess.Popen[bytes]":
    """The server. It alone has the socket, so that nobody waits for it when it is gone."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen(64)
        return subprocess.Popen(
            [sys.executable, "-m", "preloaded.server", str(listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def _loaded() -> Iterator[Loaded | None]:
    """None where the server cannot be: it waits by pidfd_open(2), and forks what macOS forbids to fork."""
    if sys.platform != "linux":
        yield None
        return
    loaded = Loaded()
    yield loaded
    loaded.end()


@pytest.fixture(scope="session")
def preloaded(_loaded: Loaded | None) -> Path:
    """A folder with the programs `python` and `recoup`, for the begin of PATH and of argument lists: they do what those of this
    environment do, and have loaded Recoup already. Where signals to their process are what a test is about, it takes the others.
    """
    return _loaded.programs if _loaded else Path(sys.executable).parent


@pytest.fixture(autouse=True)
def _quick_children(_loaded: Loaded | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recoup's own children are forks of the server, but in tests that are marked `started`."""
    from recoup.system import subprocesses

    if not _loaded or request.node.get_closest_marker("started"):
        return
    monkeypatch.setattr(subprocesses, "_started", functools.partial(_loaded.child, subprocesses._started))


@pytest.fixture
def quick_async_children(preloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of `recoup.system.async_children`, too."""
    from recoup.system import async_children, subprocesses

    monkeypatch.setattr(async_children, "_PYTHON", (str(preloaded / "python"), *subprocesses.OWN_MODULES))
