"""What all pages stand on: the stack as it is configured now, its jobs, and what was read of it a moment ago."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recoup.errors import ConfigError, LockedError

if TYPE_CHECKING:
    from datetime import datetime

    from recoup.app import Stack
    from recoup.config._web import WebSettings
    from recoup.model.reports import SetInfo
    from recoup.model.secrets import Masker
    from recoup.system.clock import Clock
    from recoup.web.jobs import Jobs

Opener = Callable[[], "Stack"]
"""Opens the stack, its configuration read anew; raises ConfigError."""

PATIENCE = 20.0
"""Seconds that a look into sets waits for another one."""


class Site:
    """One stack and those who look at it.

    Args:
        opener: opens the stack.
        jobs: its jobs.
        clock: time.

    Attributes:
        opener: the same.
        jobs: the same.
        clock: the same.
        config_error: why the configuration of now cannot be used, while the one before is shown; None when it can.

    Raises:
        ConfigError: the configuration is wrong.
    """

    def __init__(self, opener: Opener, jobs: "Jobs", clock: "Clock") -> None:
        self.opener, self.jobs, self.clock = opener, jobs, clock
        self.config_error: ConfigError | None = None
        self._turn = threading.RLock()
        self._stack = opener()
        self._seen = self._files()
        self._looks: dict[str, tuple[Stack, Stack, threading.Lock]] = {}

    @property
    def name(self) -> str:
        """The stack's name."""
        return self._stack.settings.stack

    @property
    def stack(self) -> "Stack":
        """The stack; opened anew when a file of its configuration has changed. One thread at a time may use it: see `reading`."""
        with self._turn:
            now = self._files()
            if now != self._seen:
                self._seen = now
                self._open_again()
            return self._stack

    @property
    def settings(self) -> "WebSettings":
        """`web:` of the configuration; that of now, unless somebody reads the stack at this moment: nobody waits for it."""
        if self._turn.acquire(blocking=False):
            try:
                return self.stack.settings.web
            finally:
                self._turn.release()
        return self._stack.settings.web

    @property
    def masker(self) -> "Masker":
        """Takes the secrets of the configuration out of texts."""
        return self._stack.masker

    @contextmanager
    def reading(self) -> "Iterator[Stack]":
        """The stack for a quick look, while nobody else has it: what it remembers of repositories is not made for two."""
        with self._turn:
            yield self.stack

    @contextmanager
    def looking(self, repository: str) -> "Iterator[Stack]":
        """The stack with one repository chosen, for a look into its sets that may take a while: who lists sets does not wait for
        it, only who looks into the same repository.

        Args:
            repository: its name.

        Raises:
            LockedError: somebody else's look takes long.
        """
        with self.reading() as stack:
            whole, chosen, turn = self._looks.get(repository, (None, None, None))
            if whole is not stack or chosen is None or turn is None:
                chosen, turn = stack.only(repository), threading.Lock()
                self._looks[repository] = (stack, chosen, turn)
        if not turn.acquire(timeout=PATIENCE):
            raise LockedError(f"somebody is looking into {repository}, which takes long", "Try again in a while.")
        try:
            yield chosen
        finally:
            turn.release()

    def alone(self) -> "Stack":
        """A stack of one's own, for what takes long, as a download does.

        Raises:
            ConfigError: the configuration is wrong now.
        """
        return self.opener()

    def sets(self) -> "list[SetInfo]":
        """The sets in the stack's repositories, the newest first, those of other stacks there, too; of several, each copy."""
        with self.reading() as stack:
            return sorted(stack.sets(), key=lambda info: info.name_key, reverse=True)

    def now(self) -> "datetime":
        """The present moment (UTC)."""
        return self.clock.now()

    def _open_again(self) -> None:
        try:
            self._stack, self.config_error = self.opener(), None
        except ConfigError as error:
            self.config_error = error

    def _files(self) -> tuple[tuple[Path, int, int], ...]:
        """What tells that a file is another one: time of change (nanoseconds) and size (bytes); -1 where it is gone."""
        return tuple((path, *_identity(path)) for path in self._stack.files)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_mtime_ns, found.st_size
