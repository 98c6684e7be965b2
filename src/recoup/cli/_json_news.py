"""News as JSON lines on stderr: --log-json and --log-progress."""

import contextlib
import json
import sys
import threading
from typing import TYPE_CHECKING

from recoup.model.events import Progress
from recoup.sinks._pacing import Pace
from recoup.sinks.jsonl import progress_record, record
from recoup.system.clock import SystemClock

if TYPE_CHECKING:
    from recoup.model.events import News
    from recoup.model.secrets import Masker

_PAUSE = 1.0
"""Seconds between two lines on the progress of the same work."""


class JsonNews:
    """Writes each event as one line, and progress now and then.

    Args:
        masker: for every text.
        progress: whether progress is written at all.
    """

    def __init__(self, masker: "Masker", *, progress: bool) -> None:
        self._masker, self._progress = masker, progress
        self._clock = SystemClock()
        self._pace = Pace(_PAUSE, self._clock)
        self._guard = threading.Lock()

    def __call__(self, news: "News") -> None:
        """Takes one piece of news, from any thread."""
        if not isinstance(news, Progress):
            self._write(json.dumps(record(news, self._masker)))
        elif self._progress and self._pace.lets(news):
            self._write(json.dumps(progress_record(news, self._clock.now(), self._masker)))

    def _write(self, line: str) -> None:
        with self._guard, contextlib.suppress(OSError):  # who listened is gone: that is no reason not to do the work
            print(line, file=sys.stderr, flush=True)
