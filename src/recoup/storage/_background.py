"""An event loop in a thread of its own, so that waiting for a network can be interrupted.

Who calls waits on a lock, which Ctrl-C ends at once; the request is cancelled then, whatever the other side does.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_SHUTDOWN = 2.0  # seconds for the thread to end with the process


class Background:
    """A running event loop. May be used by several threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="object storage")
        self._thread.start()
        atexit.register(self._end)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begins some work; what comes back can be waited for and cancelled."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T], wait: float | None = None) -> T:
        """Does some work and waits for it; leaving early (Ctrl-C) cancels it.

        Args:
            work: a coroutine.
            wait: seconds to wait at most.

        Raises:
            TimeoutError: it took longer.
        """
        future = self.start(work)
        try:
            return future.result(wait)
        finally:
            future.cancel()

    @property
    def runs(self) -> bool:
        """False at the end of the process."""
        return self._thread.is_alive() and self._loop.is_running()

    @property
    def is_here(self) -> bool:
        """Whether who asks is the loop's own thread."""
        return threading.current_thread() is self._thread

    def _end(self) -> None:
        if self.runs:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SHUTDOWN)
        if not self._loop.is_running():
            self._loop.close()


_guard = threading.Lock()
_of_process: dict[int, Background] = {}


def background() -> Background:
    """The one of this process; a forked child gets its own."""
    with _guard:
        if os.getpid() not in _of_process:
            _of_process.clear()
            _of_process[os.getpid()] = Background()
        return _of_process[os.getpid()]
