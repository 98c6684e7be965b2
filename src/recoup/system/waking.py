"""Waiting that ends at once when a signal comes, without a handler that would break into other work."""

import os
import select
import signal
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self


class Waker:
    """Takes signals meanwhile, and only says that they came. To be used in the main thread.

    Args:
        signals: numbers.
    """

    def __init__(self, signals: Sequence[int]) -> None:
        self._signals = tuple(signals)
        self._before: list[tuple[int, Any]] = []
        self._pipe = (-1, -1)
        self._descriptor_before = -1

    def __enter__(self) -> Self:
        self._pipe = os.pipe()
        for descriptor in self._pipe:
            os.set_blocking(descriptor, False)
        self._descriptor_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._before = [(number, signal.signal(number, _nothing)) for number in self._signals]
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._descriptor_before)
        for descriptor in self._pipe:
            os.close(descriptor)

    def wait(self, seconds: float) -> frozenset[int]:
        """Waits until a signal comes or the time is over; the numbers of those that came since the last call.

        Args:
            seconds: at most so long.
        """
        ready, _, _ = select.select([self._pipe[0]], [], [], seconds)
        return frozenset(os.read(self._pipe[0], 4096)) & frozenset(self._signals) if ready else frozenset()


def _nothing(_signal: int, _frame: FrameType | None) -> None:
    """The system writes the signal's number into the pipe."""


def has_terminal() -> bool:
    """Whether this process has a terminal, and that is not closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
