"""Recoup's own children (`recoup.system.subprocesses.Child`), as forks of the server."""

import contextlib
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from preloaded import client

Starting = Callable[[str], "subprocess.Popen[bytes]"]


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
        self._lock = threading.Lock()
        self.returncode: int | None = None
        pipes = [os.pipe() for _ in range(3)]
        theirs, ours = (pipes[0][0], pipes[1][1], pipes[2][1]), (pipes[0][1], pipes[1][0], pipes[2][0])
        with contextlib.ExitStack() as failing:
            self._server = failing.enter_context(socket.socket(socket.AF_UNIX))
            for descriptor in ours:
                failing.callback(os.close, descriptor)
            try:
                self._server.connect(str(place))
                order = client.order(["-P", "-m", "recoup.system.child", target])
                client.send(self._server, {**order, "session": True}, theirs)
            finally:
                for descriptor in theirs:
                    os.close(descriptor)
            self.pid = client.number(self._server)
            failing.pop_all()
        self.stdin: IO[bytes] = os.fdopen(ours[0], "wb")
        self.stdout: IO[bytes] = os.fdopen(ours[1], "rb")
        self.stderr: IO[bytes] = os.fdopen(ours[2], "rb")

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


def start(place: Path, really: Starting, target: str) -> "subprocess.Popen[bytes]":
    """Stands for `recoup.system.subprocesses._started`.

    Args:
        place: path of the server's socket.
        really: that function, for when the server is gone.
        target: what the child runs.
    """
    try:
        return cast("subprocess.Popen[bytes]", Forked(place, target))
    except (ConnectionError, EOFError):
        return really(target)
