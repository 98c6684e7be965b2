"""How far the works of a job are, from the records of its progress."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

from recoup.model.figures import duration, size
from recoup.model.structs import Struct

_SOON = 1.0  # seconds of progress from which on a rate is more than chance


class Work(Struct):
    """One work of a job.

    Attributes:
        done: bytes, or what `unit` says.
        total: how many there are; None when unknown.
        unit: what is counted; empty for bytes.
        finished: whether it has come to its end.
        rate: of these a second, since its first record; None when it is too early to say.
        first: time of that record, in seconds since 1970, and what was done then; None when it does not say its time.
    """

    done: int
    total: int | None
    unit: str
    finished: bool
    rate: float | None = None
    first: tuple[float, int] | None = None

    @property
    def share(self) -> float | None:
        """The part of it that is done, 0.0 to 1.0; None when unknown. Not 1.0 before its end."""
        if self.finished:
            return 1.0
        return min(self.done / self.total, 0.99) if self.total else None

    @property
    def amount(self) -> str:
        """How much, for people: `1.2 MiB of 3.4 MiB`."""
        total = "" if self.total is None else f" of {self._counted(self.total)}"
        return f"{self._counted(self.done)}{total}"

    @property
    def speed(self) -> str:
        """How fast, for people: `12.0 MiB/s`; empty when it is too early to say."""
        if self.rate is None:
            return ""
        return f"{self.rate:,.0f} {self.unit}/s" if self.unit else f"{size(self.rate)}/s"

    @property
    def left(self) -> str:
        """How long it would take at that rate, for people; empty when nobody knows."""
        if self.finished or not self.rate or self.total is None or self.total <= self.done:
            return ""
        return f"about {duration(max(1, round((self.total - self.done) / self.rate)))} left".replace(".0 s", " s")

    def _counted(self, count: int) -> str:
        return f"{count:,} {self.unit}" if self.unit else size(count)


def with_progress(works: Mapping[str, Work], record: Mapping[str, Any]) -> dict[str, Work]:
    """Works with what a record of progress says of one of them; without it where it is no such record.

    Args:
        works: what was told before, by the works' names.
        record: a record, as `--log-progress` writes it.
    """
    name, done, total = record.get("work"), record.get("done"), record.get("total")
    if not isinstance(name, str) or not _is_count(done):
        return dict(works)
    before, moment = works.get(name), _seconds(record.get("time"))
    again = before is None or before.finished or done < before.done  # a work of the same name may begin anew
    first = (None if moment is None else (moment, done)) if before is None or again else before.first
    return {
        **works,
        name: Work(
            done,
            total if _is_count(total) else None,
            str(record.get("unit", "")),
            record.get("finished") is True,
            _rate(first, moment, done),
            first,
        ),
    }


def _rate(first: tuple[float, int] | None, moment: float | None, done: int) -> float | None:
    if first is None or moment is None or moment - first[0] < _SOON:
        return None
    return (done - first[1]) / (moment - first[0])


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def moment_of(value: object) -> datetime | None:
    """A moment as records have it; None for what is none."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _seconds(value: object) -> float | None:
    try:
        found = moment_of(value)
        seconds = found.timestamp() if found else None
    except (OverflowError, ValueError):
        return None
    return seconds if seconds is not None and math.isfinite(seconds) else None
