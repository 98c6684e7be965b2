"""What the engine's child may take, and why it ended: damage, a limit, or somebody else.

Memory is watched, and not bounded by `RLIMIT_AS`: the engine maps whole files, and needs address space far beyond its memory.
"""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from recoup.errors import DamagedError, NoSpaceError, RecoupError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.system.clock import SystemClock
from recoup.system.filesystem import free_bytes
from recoup.system.memory import private_memory
from recoup.system.subprocesses import Child, ChildFailedError

_WATCHED = 0.1  # seconds between two looks at the child's memory
_SECONDS = 300.0
_MEMORY = 2 << 30
_RATE = 4 << 20  # bytes a second, which the slowest disk reads
_ROOM = 1 << 20  # bytes: with less the engine cannot fill the holes that it writes to, and dies of SIGBUS
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # no damaged file raises these


class LimitError(RecoupError):
    """The engine needed more time or memory than it was given: nothing was found out about the data."""


class Limits(Struct):
    """What the engine may take.

    Attributes:
        seconds: for one question; None chooses by the size of the data (300 seconds, and one for each 4 MiB).
        memory: bytes, without the files that it maps; None chooses by the size of the data (2 GiB, and twice the data).
    """

    seconds: float | None = None
    memory: int | None = None

    def of(self, size: int) -> "Limits":
        """With what is not given chosen for `size` bytes of data."""
        seconds = _SECONDS + size / _RATE if self.seconds is None else self.seconds
        return Limits(seconds, _MEMORY + 2 * size if self.memory is None else self.memory)


DEFAULT = Limits()
"""Limits chosen by the size of the data."""


class Watch:
    """Ends the child when it takes too much, and explains why it ended.

    Args:
        process: the child.
        limits: for all that will be opened.
        what: what is opened.
    """

    def __init__(self, process: Child, limits: Limits, what: str) -> None:
        self._process, self._asked, self._what = process, limits, what
        self.size = 0
        """Bytes of data that are open."""
        self._places: list[Path] = []
        self._limits = limits.of(0)
        self._clock = SystemClock()
        self._left = threading.Event()
        self._asked_at: float | None = None
        self._reached = ""
        self._thread = threading.Thread(target=self._look, name="watch the engine", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def add(self, place: Path, size: int) -> None:
        """Says what is opened, too: a folder with so many bytes of data."""
        self._places.append(place)
        self.size += size
        self._limits = self._asked.of(self.size)

    def _look(self) -> None:
        while not self._left.wait(_WATCHED) and not self._reached:
            self._reached = self._limit_reached()
        if self._reached:
            self._process.kill()

    def _limit_reached(self) -> str:
        asked_at, seconds, memory = self._asked_at, self._limits.seconds, self._limits.memory
        if asked_at is not None and seconds is not None and self._clock.monotonic() - asked_at > seconds:
            return f"more than {seconds:,.0f} seconds"
        taken = private_memory(self._process.pid)
        if memory is not None and taken is not None and taken > memory:
            return f"more than {memory:,} bytes of memory"
        return ""

    def answer(self, ask: Callable[[], Any], about: str) -> Any:
        """An answer of the child's.

        Args:
            ask: waits for it.
            about: what it is about, for errors.

        Raises:
            DamagedError: it found damage, or died.
            LimitError: it was ended by a limit, or from outside.
        """
        self._asked_at = self._clock.monotonic()
        try:
            return ask()
        except ChildFailedError as error:
            raise self._explained(error, about) from None
        finally:
            self._asked_at = None

    def _explained(self, error: ChildFailedError, about: str) -> RecoupError:
        subject = f"{about} of {shown(self._what)}"
        if self._reached:
            return LimitError(
                f"the engine needed {self._reached} for {subject}, and was ended: nothing is known of the data",
                "Give it more, or let it run where there is more.",
            )
        if error.kind in ("ImportError", "ModuleNotFoundError"):
            return RecoupError(f"Qdrant's engine cannot be started: {error.message}", "Install qdrant-edge-py 0.9.0.")
        if error.kind == "MemoryError" or -error.code in _FROM_OUTSIDE:
            return LimitError(
                f"the engine was ended while it read {subject}, by the system or by somebody",
                "See whether there was enough memory.",
            )
        if error.code == -signal.SIGBUS and any(free_bytes(place) < _ROOM for place in self._places):
            return NoSpaceError(
                f"the disk became full while the engine read {subject}", "Set `staging:` to a larger disk."
            )
        if error.kind:
            return DamagedError(f"{shown(self._what)}: {error.message}", error.hint)
        return DamagedError(
            f"{subject} makes the engine abort ({_signal_name(error.code)})",
            "Its files are damaged. Restore from another set.",
        )


def _signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
