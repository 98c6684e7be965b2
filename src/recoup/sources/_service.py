"""A service that has to stand still: how it is stopped and started, and how one sees that it really is.

A command that ends with 0 proves nothing: a service is stopped when nobody answers any more, and up again when it answers.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from recoup.errors import SourceError
from recoup.model.secrets import bare_url
from recoup.model.structs import Struct
from recoup.system.clock import Clock
from recoup.system.host import is_zombie
from recoup.system.programs import Ended, ProgramFailedError, ended

_LOOK = 0.1  # seconds between two looks
_LINES, _SAID = 5, 500  # lines and characters of a failed command's output that are told
_ANSWER = 5.0  # seconds that one look may take


class ServiceError(SourceError):
    """A service could not be stopped, started, or told to make its copy."""


class Service(Struct):
    """A service, as JSON types, so that a child, and a later run, can start it.

    Attributes:
        name: the source's.
        path: its directory, absolute.
        folder: where commands run.
        commands: argument lists by step: `stop`, `start`, and where there are any `freeze` and `thaw`.
        url, port, pid_file, probe: the way to see whether it is up; the others are empty or 0.
        patience: seconds that it may take to stop, and to be up again.
        limit: seconds that one command may take.
    """

    name: str
    path: str
    folder: str
    commands: Mapping[str, list[str]]
    url: str = ""
    port: int = 0
    pid_file: str = ""
    probe: tuple[str, ...] = ()
    patience: float = 60.0
    limit: float = 300.0

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """From JSON.

        Raises:
            TypeError: it is none.
        """
        return cls(**{**fields, "probe": tuple(fields.get("probe", ()))})

    def run(self, step: str) -> Ended:
        """Runs a step's command.

        Raises:
            ServiceError: it failed.
        """
        command = self.commands[step]
        try:
            done = ended(command, folder=Path(self.folder), timeout=self.limit)
        except ProgramFailedError as error:
            raise ServiceError(f"`{step}` failed: {error.message}", error.hint) from None
        if done.code:
            said = "; ".join(done.said.splitlines()[-_LINES:]) or "it said nothing"
            raise ServiceError(f"`{step}` failed: {command[0]} ended with exit code {done.code}: {said[-_SAID:]}")
        return done

    def await_stop(self, clock: Clock, given_up: Callable[[], bool] = lambda: False) -> None:
        """Waits until it is really stopped.

        Args:
            clock: time.
            given_up: whether nobody wants to know any more.

        Raises:
            ServiceError: it still runs when the time is up.
        """
        self._await(clock, lambda: self.is_down() or given_up(), "is still running", "stopping it")

    def await_start(self, clock: Clock) -> None:
        """Waits until it is up.

        Raises:
            ServiceError: it is not when the time is up.
        """
        self._await(clock, self.is_up, "does not answer", "starting it")

    def _await(self, clock: Clock, arrived: Callable[[], bool], state: str, after: str) -> None:
        until = clock.monotonic() + self.patience
        while not arrived():
            if clock.monotonic() >= until:
                raise ServiceError(f"the service {state} ({self.seen_by}), {self.patience:g} seconds after {after}")
            clock.sleep(_LOOK)

    @property
    def seen_by(self) -> str:
        """The way to see it, for people."""
        if self.url:
            return bare_url(self.url)
        if self.port:
            return f"port {self.port}"
        return self.pid_file or self.probe[0]

    def is_up(self) -> bool:
        """Whether it answers."""
        if self.url:
            return _answers(self.url)
        if self.port:
            return _connection("127.0.0.1", self.port) == 0
        if self.pid_file:
            return _lives(Path(self.pid_file))
        return self._probed() == 0

    def is_down(self) -> bool:
        """Whether it is certainly stopped; False when it cannot be told."""
        if self.url:
            parts = urlsplit(self.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            return _connection(parts.hostname or "", port) == errno.ECONNREFUSED
        if self.port:
            return _connection("127.0.0.1", self.port) == errno.ECONNREFUSED
        if self.pid_file:
            return not _lives(Path(self.pid_file))
        return self._probed() not in (0, None)

    def _probed(self) -> int | None:
        """The exit code of the command that tells; None when it could not be asked."""
        try:
            return ended(self.probe, folder=Path(self.folder), timeout=_ANSWER).code
        except ProgramFailedError:
            return None


def _connection(host: str, port: int) -> int:
    """0 where a connection is taken, else the number of the error; EIO for those without a number."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(socket.create_connection((host, port), timeout=_ANSWER))
        except OSError as error:
            return error.errno or errno.EIO
        return 0


def _answers(url: str) -> bool:
    import urllib.error  # slow to import, and the watchdog starts while somebody waits
    import urllib.request

    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a service of ours is behind no proxy
        with direct.open(url, timeout=_ANSWER) as answer:
            return 200 <= int(answer.status) < 300
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (OSError, ValueError):
        return False


def _lives(pid_file: Path) -> bool:
    """Whether the process that the file names runs. An unreadable file counts as one that does."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, IndexError):
        return True  # being written, or not for us to read
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return not is_zombie(pid)


def commands_of(step_commands: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, list[str]]]:
    """Those that are given."""
    for step, command in step_commands.items():
        if command:
            yield step, list(command)
