"""An event loop in a thread of its own, so that waiting for a network can be interrupted.

Who calls waits on a lock, which Ctrl-C ends at once; the request is cancelled then, whatever the other side does.
"""

import asyncio
import atexit
import contextlib
import math
import os
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_SHUTDOWN = 2.0  # seconds for the thread to end with the process
_SEEN = 0.1  # seconds after which a cancelled request has ended everywhere


class Background:
    """A running event loop. May be used by several threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._cancelled = -math.inf  # when a request last was, on the monotonic clock
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="object storage")
        self._thread.start()
        atexit.register(self._end)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begins some work; what comes back can be waited for and cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        future.add_done_callback(self._note)
        return future

    def _note(self, future: "Future[Any]") -> None:
        if future.cancelled():
            self._cancelled = time.monotonic()

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
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result(_SHUTDOWN)
            # obstore's threads, too, come to see what was cancelled: one that finds Python gone aborts the process
            time.sleep(max(0.0, self._cancelled + _SEEN - time.monotonic()))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SHUTDOWN)
        if not self._loop.is_running():
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


_guard = threading.Lock()
_of_process: dict[int, Background] = {}


def background() -> Background:
    """The one of this process; a forked child gets its own."""
    with _guard:
        if os.getpid() not in _of_process:
            _of_process.clear()
            _of_process[os.getpid()] = Background()
        return _of_process[os.getpid()]
