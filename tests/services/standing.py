"""A toy service in a folder of its own, as tests use it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import toy

SCRIPT = str(toy.__file__)


class ToyService:
    """A real process with a data directory.

    Attributes:
        root: its folder.
        data: its data directory.
        port: where it listens.
    """

    def __init__(self, root: Path, data: Path | None = None) -> None:
        self.root, self.data = root, data or root / "data"
        root.mkdir()
        (root / "where").write_text(str(self.data))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        (root / "port").write_text(str(self.port))

    def command(self, verb: str) -> tuple[str, ...]:
        """As it stands in a configuration."""
        return (sys.executable, "-I", "-S", SCRIPT, verb, str(self.root))

    def settings(self, timeout: str = "20s") -> dict[str, object]:
        """Of a source."""
        return {
            "kind": "directory",
            "path": str(self.data),
            "stop": list(self.command("stop")),
            "start": list(self.command("start")),
            "wait": {"port": self.port, "timeout": timeout},
        }

    def run(self, verb: str) -> None:
        """Runs a command."""
        subprocess.run(self.command(verb), check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Starts it and waits until it is up."""
        self.run("start")
        self.await_up()

    @property
    def is_up(self) -> bool:
        """Whether it answers."""
        return toy.alive(self.root)

    def await_up(self, seconds: float = 40.0) -> None:
        """Waits for it.

        Raises:
            AssertionError: it does not come.
        """
        until = time.monotonic() + seconds
        while not self.is_up or not (self.root / "pid").exists():
            assert time.monotonic() < until, "the service is not up"
            time.sleep(0.02)

    def await_down(self, seconds: float = 20.0) -> None:
        """Waits until it has ended.

        Raises:
            AssertionError: it goes on.
        """
        until = time.monotonic() + seconds
        while self.is_up or (self.root / "pid").exists():
            assert time.monotonic() < until, "the service has not ended"
            time.sleep(0.02)

    def calls(self) -> list[str]:
        """What was asked of it, in order."""
        return (self.root / "calls").read_text().split()

    def switch(self, name: str, text: str = "") -> Path:
        """Makes a file that changes what it does."""
        path = self.root / name
        path.write_text(text)
        return path

    def close(self) -> None:
        """Ends it, for good."""
        (self.root / "port").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((self.root / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "recoup"


@pytest.fixture
def service(tmp_path: Path, state: Path) -> Iterator[ToyService]:
    """A service that runs and has something in its directory."""
    found = ToyService(tmp_path / "service")
    (found.data / "collections").mkdir(parents=True)
    (found.data / "collections" / "points").write_bytes(os.urandom(200_000))
    (found.data / "link").symlink_to("collections")
    found.start()
    yield found
    found.close()
    assert state
