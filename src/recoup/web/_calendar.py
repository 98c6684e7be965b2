"""Sets by the days on which they were begun."""

from calendar import Calendar
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from typing import Literal

from recoup.model.figures import counted
from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct

Level = Literal["good", "warning", "bad"]

_ORDER: tuple[Level, ...] = ("good", "warning", "bad")
_MONDAY_FIRST = Calendar()


class Day(Struct):
    """A day and its sets.

    Attributes:
        date: the day.
        infos: sets begun on it, copies of one cut each by itself.
    """

    date: date
    infos: tuple[SetInfo, ...] = ()

    @property
    def level(self) -> Level | None:
        """That of its worst set; None without any."""
        return max((level_of(info) for info in self.infos), key=_ORDER.index, default=None)

    @property
    def text(self) -> str:
        """What a person has to know of it: `3 sets, 1 incomplete, 1 proven`."""
        words = Counter(word for info in self.infos for word in _words(info))
        return ", ".join((counted(len(self.infos), "set"), *(f"{count} {word}" for word, count in words.items())))


class Month(Struct):
    """A month as a calendar shows it.

    Attributes:
        first: its first day.
        weeks: from Monday to Sunday; None for days of other months.
    """

    first: date
    weeks: tuple[tuple[Day | None, ...], ...]


def level_of(info: SetInfo) -> Level:
    """How good a set is: bad is what cannot be relied on, a warning what a person has to decide on."""
    manifest, standing = info.manifest, info.standing
    if manifest is None or standing.damaged or standing.failed_proof:
        return "bad"
    if manifest.outcome == "complete" or (manifest.outcome == "suspicious" and standing.accepted):
        return "good"
    return "warning" if manifest.outcome == "suspicious" else "bad"


def _words(info: SetInfo) -> Iterable[str]:
    """What is to be said of a set, besides that it is there."""
    manifest, standing = info.manifest, info.standing
    if manifest is None:
        yield "unreadable"
    elif manifest.outcome != "complete":
        yield "accepted" if standing.accepted else manifest.outcome
    if standing.damaged:
        yield "damaged"
    if standing.failed_proof:
        yield "with a failed drill"
    elif standing.proven:
        yield "proven"
    if standing.pinned:
        yield "pinned"


def day_of(info: SetInfo, zone: tzinfo) -> date | None:
    """The day on which a set was begun; None where its name does not tell.

    Args:
        info: the set.
        zone: in which days begin.
    """
    name = SetName.parse(info.name)
    return None if name is None else name.time.astimezone(zone).date()


def months(infos: Iterable[SetInfo], zone: tzinfo, last: date, count: int) -> tuple[Month, ...]:
    """Months in which there are sets, and those between them, the newest first.

    Args:
        infos: the sets.
        zone: in which days begin.
        last: a day of the newest month that is wanted.
        count: how many months at most.
    """
    by_day: dict[date, list[SetInfo]] = {}
    for info in infos:
        if (day := day_of(info, zone)) is not None:
            by_day.setdefault(day, []).append(info)
    shown = [day for day in by_day if day.replace(day=1) <= last]
    if not shown:
        return ()
    newest, oldest = max(shown).replace(day=1), min(shown).replace(day=1)
    wanted = [month for ago in range(count) if (month := _before(newest, ago)) >= oldest]
    return tuple(_month(first, by_day) for first in wanted)


def month_before(month: date) -> date:
    """The first day of the month before."""
    return _before(month, 1)


def month_of(text: str) -> date | None:
    """The first day of a month such as `2026-11`; None for what is none."""
    try:
        return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a day, not a moment
    except ValueError:
        return None


def _before(month: date, ago: int) -> date:
    whole = month.year * 12 + month.month - 1 - ago
    return date(max(1, whole // 12), whole % 12 + 1, 1)


def _month(first: date, by_day: dict[date, list[SetInfo]]) -> Month:
    weeks = _MONDAY_FIRST.monthdatescalendar(first.year, first.month)
    return Month(first, tuple(tuple(_day(day, first, by_day) for day in week) for week in weeks))


def _day(day: date, first: date, by_day: dict[date, list[SetInfo]]) -> Day | None:
    return Day(day, tuple(by_day.get(day, ()))) if day.month == first.month else None
