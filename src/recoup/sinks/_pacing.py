"""Progress, thinned out: it is told far more often than anybody wants to keep it."""

import threading

from recoup.model.events import Progress
from recoup.system.clock import Clock


class Pace:
    """Says which progress is handed on: the first and the last of each work, and what comes in between now and then.

    Args:
        pause: seconds between two of the same work.
        clock: time.
    """

    def __init__(self, pause: float, clock: Clock) -> None:
        self._pause, self._clock = pause, clock
        self._last: dict[str, float] = {}
        self._guard = threading.Lock()

    def lets(self, progress: Progress) -> bool:
        """Whether to hand it on. May be asked by several threads."""
        now = self._clock.monotonic()
        with self._guard:
            if progress.finished:
                self._last.pop(progress.work, None)
                return True
            if now - self._last.get(progress.work, float("-inf")) < self._pause:
                return False
            self._last[progress.work] = now
            return True
