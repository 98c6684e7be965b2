"""A clock that a benchmark moves."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class MovedClock:
    """A clock that goes on by a second whenever it is asked, and further when a benchmark moves it.

    Attributes:
        moment: its time (UTC).
    """

    moment: datetime

    def now(self) -> datetime:
        """The moment, a second later each time."""
        self.moment += timedelta(seconds=1)
        return self.moment

    def monotonic(self) -> float:
        """The machine's."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Does not wait."""
        self.moment += timedelta(seconds=seconds)
