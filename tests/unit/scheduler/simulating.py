"""A schedule in simulated time: a clock that stands still until it is moved, jobs that take as long as they are told."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from recoup.errors import RecoupError
from recoup.model.events import Event, News
from recoup.scheduler._jobs import Job, Row
from recoup.scheduler.loop import Loop
from recoup.system.statefile import StateError

START = datetime(2028, 1, 1, tzinfo=UTC)  # a leap year


class Hands:
    """A clock that is moved by hand: `go` lets time pass, setting `moment` sets the clock on the wall alone."""

    def __init__(self, now: datetime = START) -> None:
        self.moment = now
        self.elapsed = timedelta(0)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.elapsed.total_seconds()

    def sleep(self, seconds: float) -> None:
        self.go(timedelta(seconds=seconds))

    def go(self, length: timedelta) -> None:
        self.moment += length
        self.elapsed += length


@dataclass
class Sheet:
    """Rows on a sheet of paper; it can be made unreadable."""

    rows: dict[str, Row] = field(default_factory=dict)
    alive: datetime | None = None
    broken: bool = False

    def read(self) -> dict[str, Row]:
        self._look()
        return dict(self.rows)

    def write(self, rows: Iterable[Row], gone: Iterable[str], alive: datetime) -> None:
        self._look()
        self.rows.update({row.name: row for row in rows})
        for name in gone:
            self.rows.pop(name, None)
        self.alive = alive

    def _look(self) -> None:
        if self.broken:
            raise StateError("the sheet cannot be used.")


class Work:
    """A job at work, for as long as it is told."""

    def __init__(self, job: Job, clock: Hands, takes: timedelta, code: int = 0) -> None:
        self.job, self.clock, self.code = job, clock, code
        self.began, self._end = clock.moment, clock.elapsed + takes
        self.asked = self.ended = False

    @property
    def left(self) -> timedelta:
        """How long it still takes."""
        return self._end - self.clock.elapsed

    def poll(self) -> int | None:
        self.ended = self.ended or self.left <= timedelta(0)
        return self.code if self.ended else None

    def terminate(self) -> None:
        self.asked = True

    def kill(self) -> None:
        self.ended, self.code = True, -9


class Left:
    """What a dead process left running."""

    def __init__(self, *, lives: bool = False) -> None:
        self.alive = lives

    def lives(self) -> bool:
        return self.alive


class Simulation:
    """A loop, and what became of it."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        clock: Hands | None = None,
        sheet: Sheet | None = None,
        takes: Callable[[Job], timedelta] = lambda _job: timedelta(minutes=2),
        lives: bool = False,
        strict: bool = False,
    ) -> None:
        self.clock = clock or Hands()
        self.sheet = sheet or Sheet()
        self.left = Left(lives=lives)
        self.events: list[Event] = []
        self.works: list[Work] = []
        self.takes, self.code = takes, 0
        self.refuses: RecoupError | None = None
        self.loop = Loop(jobs, self.sheet, self._start, self.left, self.clock, self._told, strict=strict)
        self.loop.begin()

    def _start(self, job: Job) -> Work:
        if self.refuses is not None:
            raise self.refuses
        assert not any(work.poll() is None for work in self.works), "two jobs at a time"
        self.works.append(Work(job, self.clock, self.takes(job), self.code))
        return self.works[-1]

    def _told(self, news: News) -> None:
        assert isinstance(news, Event)
        self.events.append(news)

    def until(self, end: datetime) -> None:
        """Lets time pass, from one thing to do to the next."""
        while self.clock.moment < end:
            pause = timedelta(seconds=min(self.loop.step(), 86400.0))
            ends = [work.left for work in self.works[-1:] if work.poll() is None]
            self.clock.go(min(end - self.clock.moment, pause, *ends))
        self.loop.step()

    def days(self, count: float) -> None:
        """Lets days pass."""
        self.until(self.clock.moment + timedelta(days=count))

    def began(self, name: str) -> list[datetime]:
        """When a job began."""
        return [work.began for work in self.works if work.job.name == name]

    def told(self, name: str) -> list[Event]:
        """The events of a name."""
        return [event for event in self.events if event.name == name]
