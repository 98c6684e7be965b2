"""What verbs share that have workers of a cluster do their jobs: who they are, who still waits for a job, what it had to tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from recoup.errors import ConfigError, RecoupError, RefusedError, WorkersError, WrongKeyError
from recoup.model.events import Emit, Event, News
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.model.wire import decoded, encoded
from recoup.operations._backup_plan import Batch
from recoup.repository._base import Repository
from recoup.system.clock import Clock
from recoup.system.executing import Order, Outcome

UNFIT = (RefusedError, ConfigError, WrongKeyError)
"""Errors of a job that say how a worker is set up, and nothing of what it was to look at: they end the verb."""

_ASK = 10.0  # seconds between two looks of a worker at whether somebody waits for it
_SILENT = timedelta(minutes=11)  # twice the time after which a lock is put again, and a little
_NEWS = 1000  # events of one job that are told


class Giving(Protocol):
    """Gives workers orders."""

    def __call__(self, job: str, repository: str, orders: Sequence[Order], /) -> Batch:
        """Sends them.

        Args:
            job: what is to be done.
            repository: name of the one that is worked on, in which this machine holds a lock as long as it waits.
            orders: what each job needs to know; JSON values, no secrets.
        """
        ...


class Crew(Struct):
    """Workers that are ready.

    Attributes:
        give: gives them orders.
        count: how many there are.
    """

    give: Giving
    count: int


def answer_of(outcome: Outcome) -> Any:
    """What a job answered.

    Raises:
        RecoupError: it failed.
    """
    if outcome.error is not None:
        raise outcome.error
    return outcome.answer


def retold(values: Sequence[Mapping[str, Any]], emit: Emit) -> None:
    """Tells the events of a job, as they came."""
    for value in values:
        emit(decoded(Event, value))


def holder(host: str, pid: int, verb: str) -> dict[str, Any]:
    """Whose lock says that somebody waits; JSON values."""
    return {"host": host, "pid": pid, "verb": verb}


def is_awaited(repository: Repository, who: Mapping[str, Any], now: datetime) -> bool:
    """Whether a lock says so that the one who waits holds; what cannot be asked is not denied."""
    try:
        locks = repository.locks()
    except (RecoupError, OSError):
        return True
    return any(
        (lock.host, lock.pid, lock.verb) == (who["host"], who["pid"], who["verb"]) and now - lock.refreshed < _SILENT
        for lock in locks
    )


class Hearing:
    """An `Emit` of a worker: keeps events for the machine that gave the order, and looks now and then whether it still waits.

    Args:
        awaited: whether it does.
        clock: time.
        mask: takes this machine's secrets out.
    """

    def __init__(self, awaited: Callable[[], bool], clock: Clock, mask: Masker) -> None:
        self._awaited, self._clock, self._mask = awaited, clock, mask
        self._asked = clock.monotonic()
        self._events: list[Event] = []

    def __call__(self, news: News) -> None:
        """Hears something.

        Raises:
            WorkersError: nobody waits any more.
        """
        if isinstance(news, Event) and len(self._events) < _NEWS:
            self._events.append(news)
        if self._clock.monotonic() - self._asked >= _ASK:
            self.require_awaited()

    def require_awaited(self) -> None:
        """Looks whether somebody still waits.

        Raises:
            WorkersError: nobody does.
        """
        if not self._awaited():
            raise WorkersError("the machine that ordered this does not wait for it any more")
        self._asked = self._clock.monotonic()

    def told(self) -> list[Any]:
        """The events as JSON values."""
        masked = (replace(event, message=self._mask(event.message)) for event in self._events)
        return [self._mask.value(encoded(Event, event)) for event in masked]
