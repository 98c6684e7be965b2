"""The real server: a process, at a port that stays its own when it is started again."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from browser.rig.stacks import PATIENCE, Stack, wait_until

_PORTS = range(25000, 27000)
"""Below those that systems hand out to clients, and none of those that `tests/s3_server` and `tests/qdrant_server` draw."""


class Server:
    """`recoup web` for a stack.

    Args:
        stack: what it shows.
        arguments: further ones of the verb.
    """

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self.stack = stack
        self._port = _free_port()
        self._arguments = arguments
        self._log = stack.memory / "web.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its pages are, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What all its starts have written."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = self.stack.command("web", "--bind", f"127.0.0.1:{self._port}", *self._arguments)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.stack.root, env=self.stack.environ, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers)

    def stop(self) -> None:
        """Ends it as Ctrl-C does."""
        assert self._ended(signal.SIGINT) in (0, 130), self.log

    def kill(self) -> None:
        """Ends it at once: it can put nothing in order."""
        self._ended(signal.SIGKILL)

    def close(self) -> None:
        """Ends it, and its jobs, however the tests went."""
        if self._process:
            self.stop()
        self.stack.end_jobs()

    def _ended(self, number: signal.Signals) -> int:
        assert self._process, "it does not run"
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        self._process = None
        return code

    def _answers(self) -> bool:
        assert self._process and self._process.poll() is None, f"the server has ended:\n{self.log}"
        try:
            return httpx.get(f"{self.url}/static/icon.svg", timeout=PATIENCE, trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def served(stack: Stack) -> Iterator[Server]:
    """A server that runs, and what it remembers is what the environment says, so that jobs of this process are the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, stack.environ[name])
        server = Server(stack)
        try:
            server.start()
            yield server
        finally:
            server.close()


def _free_port() -> int:
    """One of this worker of pytest-xdist on which nobody listens now."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    while True:
        port = random.choice(_PORTS[worker::8])
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
