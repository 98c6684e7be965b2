"""Recoup's own children (`recoup.system.subprocesses.Child`), as forks of the server."""

import os
import select
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO, cast

from preloaded import client


class Forked:
    """A process, as `subprocess.Popen` shows one.

    Args:
        place: path of the server's socket.
        target: what the child runs.

    Attributes:
        pid: its id.
        returncode: what it ended with, as `subprocess` says it; None as far as nobody has asked.
    """

    def __init__(self, place: Path, target: str) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(str(place))
        self._lock = threading.Lock()
        self.returncode: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        theirs = (pipes[0][0], pipes[1][1], pipes[2][1])
        order = client.order(["-P", "-m", "recoup.system.child", target])
        try:
            client.send(self._server, {**order, "session": True}, theirs)
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self.stdin: IO[bytes] = os.fdopen(pipes[0][1], "wb")
        self.stdout: IO[bytes] = os.fdopen(pipes[1][0], "rb")
        self.stderr: IO[bytes] = os.fdopen(pipes[2][0], "rb")
        self.pid = client.number(self._server)

    def poll(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end.

        Raises:
            TimeoutExpired: it takes longer.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a child", timeout or 0)
        return code

    def kill(self) -> None:
        """Ends it at once."""
        with self._lock:
            if self.returncode is None:
                self._server.sendall(bytes([9]))

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._server], [], [], timeout)[0]:
            with self._lock:
                if self.returncode is None:
                    self.returncode = client.number(self._server)
                    self._server.close()
        return self.returncode


def start(place: Path, target: str) -> "subprocess.Popen[bytes]":
    """Stands for `recoup.system.subprocesses._started`."""
    return cast("subprocess.Popen[bytes]", Forked(place, target))
