"""What stays, and why: a pure function from sets, rules and the present moment to verdicts with reasons.

The rules mean what they mean in restic (`restic help forget`): of each bucket (hour, day, ISO week, month, year) that holds
a set the newest one is kept, each rule counts alone, the oldest set of all is kept while a count is left over, and `within`
reaches back from the newest set, not from now. Buckets are cut in the rules' own time zone. What is added here protects more:

* Rules judge each group (a stack and the sources a run was asked for) alone, and count good sets only.
* Never removed: a group's newest good set, a source's newest good copy over all groups, a pinned set, a spared one.
* A set that is not good goes only when its group has a newer good one, and it never counts for anything.
* A set from the future says that a clock is wrong: then nothing is removed at all. Nor is it without any rule.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recoup.errors import UsageError
from recoup.model.names import SetName
from recoup.model.structs import Struct

UNLIMITED = -1
"""A count that never runs out."""

NO_RULES = "no rules: everything is kept"
"""The reason of every verdict when no rule is given."""

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_SPAN = re.compile(r"(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)d)?(?:(\d+)h)?")
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


class Duration(Struct):
    """A length of calendar time: `2y5m7d3h` is two years, five months, seven days and three hours."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Reads restic's notation: any of `y`, `m` (months), `d`, `h`, each once and in this order.

        Raises:
            UsageError: it is something else.
        """
        found = _SPAN.fullmatch(text.strip().lower())
        if not found or not any(found.groups()):
            raise UsageError(
                f"{text!r} is not a length of time",
                "Write years, months, days and hours as in 2y5m7d3h (a week is 7d).",
            )
        return cls(*(int(number or 0) for number in found.groups()))

    def __str__(self) -> str:
        parts = ((self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h"))
        return "".join(f"{number}{unit}" for number, unit in parts if number) or "0h"

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    def before(self, moment: datetime) -> datetime:
        """The moment (UTC) that lies this much before `moment`, on the calendar of its time zone.

        A day that the month does not have runs over, as in restic: one month before 31 March is 3 March (2 in a leap year).
        """
        months = moment.year * 12 + moment.month - 1 - self.years * 12 - self.months
        year, month = divmod(months, 12)
        try:
            first = moment.replace(year=year, month=month + 1, day=1, fold=0)
            wall = first + timedelta(days=moment.day - 1 - self.days)
            return wall.astimezone(UTC) - timedelta(hours=self.hours)
        except (ValueError, OverflowError):  # before the year 1: everything is newer
            return _BEGINNING


class Rules(Struct):
    """What to keep. A set stays when any rule keeps it; without any rule all sets stay.

    Attributes:
        last: how many of the newest sets; None or 0 is no rule, -1 is all (so for all counts).
        hourly: how many hours, of those that have a set.
        daily: how many days.
        weekly: how many ISO weeks.
        monthly: how many months.
        yearly: how many years.
        within: all sets that are newer than this before the newest good one.
        within_hourly: one for each hour within this time.
        within_daily: one for each day within this time.
        within_weekly: one for each ISO week within this time.
        within_monthly: one for each month within this time.
        within_yearly: one for each year within this time.
        tags: sets with one of these: `key=value`, `key` (whatever its value), or several joined by commas (all of them).
        min: how many of the newest good sets of each group stay whatever the rules say; at least 1.
        time_zone: where hours, days, weeks, months and years begin: an IANA name, or an offset such as `+02:00`.

    Raises:
        UsageError: a count below -1, `min` below 1, or a time zone that does not exist.
    """

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: Duration | None = None
    within_hourly: Duration | None = None
    within_daily: Duration | None = None
    within_weekly: Duration | None = None
    within_monthly: Duration | None = None
    within_yearly: Duration | None = None
    tags: tuple[str, ...] = ()
    min: int = 1
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if (getattr(self, name) or 0) < UNLIMITED:
                raise UsageError(f"keep {name}: {getattr(self, name)} is not a number of sets", "Use 0, 1, 2 ...")
        if self.min < 1:
            raise UsageError(f"keep min: {self.min} is too few", "At least one good set always stays.")
        zone_of(self.time_zone)

    def __bool__(self) -> bool:
        return bool(self.tags) or any(getattr(self, name) for name in (*_COUNTS, *_SPANS))


_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_SPANS = {"within" if rule == "last" else f"within_{rule}": rule for rule in _COUNTS}


def rules(keep: Mapping[str, Any], time_zone: str = "UTC") -> Rules:
    """The rules that settings spell with plain values.

    Args:
        keep: names as in `Rules`; a count may be `unlimited`, a length of time is text. None is no rule.
        time_zone: as in `Rules`.

    Raises:
        UsageError: a value makes no sense.
    """
    values: dict[str, Any] = {name: value for name, value in keep.items() if value is not None}
    for name in _COUNTS:
        if values.get(name) == "unlimited":
            values[name] = UNLIMITED
    for name in _SPANS:
        if isinstance(values.get(name), str):
            values[name] = Duration.parse(values[name])
    values["tags"] = tuple(values.get("tags", ()))
    return Rules(**values, time_zone=time_zone)


def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name, or of an offset from UTC such as `+02:00`.

    Raises:
        UsageError: there is none.
    """
    if offset := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if ahead < timedelta(days=1):
            return timezone(-ahead if offset[1] == "-" else ahead)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"{name!r} is not a time zone", "Use a name such as Europe/Berlin or UTC.") from None


@dataclass(frozen=True, order=True)
class Group:
    """Sets that are judged together.

    Attributes:
        stack: whose.
        sources: names that the run was asked for, sorted.
    """

    stack: str
    sources: tuple[str, ...]


class Candidate(Struct):
    """A set as the rules see it.

    Attributes:
        name: the set; its time is what the rules go by.
        group: with which others it is judged.
        flaw: why it does not count as good (`incomplete`, `suspicious`); empty for a good one.
        holdings: sources of which it holds a good copy.
        pinned: protected by a person.
        tags: given by the user.
        stored_bytes: what it takes in the repository.
        spared: why it is not judged at all (its manifest is damaged, a filter leaves it out); it stays, and no rule
            counts it.
    """

    name: SetName
    group: Group
    flaw: str = ""
    holdings: frozenset[str] = frozenset()
    pinned: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    stored_bytes: int = 0
    spared: str = ""

    @property
    def counts(self) -> bool:
        """True when rules may count it: good, and up for judgement."""
        return not self.flaw and not self.spared


class Verdict(Struct):
    """What becomes of one set.

    Attributes:
        candidate: the set.
        keep: False when it is to be removed.
        reasons: why, at least one.
    """

    candidate: Candidate
    keep: bool
    reasons: tuple[str, ...]


def judge(candidates: Iterable[Candidate], rules: Rules, now: datetime) -> tuple[Verdict, ...]:
    """Decides for each set whether it stays. Pure: the same sets in any order give the same verdicts, oldest set first.

    Args:
        candidates: all sets of a repository, those of other stacks and the damaged ones too.
        rules: what to keep.
        now: the present moment, with time zone.
    """
    newest_first = sorted(candidates, key=lambda candidate: candidate.name, reverse=True)
    if reason := _reason_for_all(newest_first, rules, now):
        return tuple(Verdict(c, keep=True, reasons=(reason,)) for c in reversed(newest_first))
    reasons: dict[SetName, list[str]] = {candidate.name: [] for candidate in newest_first}
    for name, reason in (*protections(newest_first, rules.min), *_keepers(newest_first, rules)):
        reasons[name].append(reason)
    newest_good = _newest_good(newest_first)
    return tuple(_verdict(c, reasons[c.name], newest_good.get(c.group)) for c in reversed(newest_first))


def _reason_for_all(newest_first: Sequence[Candidate], rules: Rules, now: datetime) -> str:
    if newest_first and newest_first[0].name.time > now:
        return f"{newest_first[0].name} is from the future: a clock is wrong, so nothing is removed"
    return "" if rules else NO_RULES


def _newest_good(newest_first: Sequence[Candidate]) -> dict[Group, Candidate]:
    return {candidate.group: candidate for candidate in reversed(newest_first) if candidate.counts}


def _verdict(candidate: Candidate, reasons: list[str], newest_good: Candidate | None) -> Verdict:
    if reasons:
        return Verdict(candidate, keep=True, reasons=tuple(reasons))
    if not candidate.flaw:
        return Verdict(candidate, keep=False, reasons=("no rule keeps it",))
    if newest_good is None or newest_good.name < candidate.name:
        return Verdict(candidate, keep=True, reasons=(f"{candidate.flaw}, but nothing newer is complete",))
    return Verdict(candidate, keep=False, reasons=(f"{candidate.flaw}, and {newest_good.name} after it is complete",))


def protections(candidates: Iterable[Candidate], floor: int = 1) -> Iterator[tuple[SetName, str]]:
    """What stays whatever the rules say: names with a reason each; one name may come more than once.

    Args:
        candidates: all sets of a repository.
        floor: how many of the newest good sets of each group stay.
    """
    copies: dict[tuple[str, str], SetName] = {}
    counted: dict[Group, int] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.name, reverse=True):
        if candidate.spared:
            yield candidate.name, candidate.spared
        if candidate.pinned:
            yield candidate.name, "pinned"
        if candidate.counts:
            rank = counted[candidate.group] = counted.get(candidate.group, 0) + 1
            if rank == 1:
                yield candidate.name, "newest complete"
            elif rank <= floor:
                yield candidate.name, f"one of the newest {floor} (min)"
        for source in sorted(candidate.holdings):
            copies.setdefault((candidate.group.stack, source), candidate.name)
    for (_, source), name in copies.items():
        yield name, f"newest copy of {source}"


def _keepers(newest_first: Sequence[Candidate], rules: Rules) -> Iterator[tuple[SetName, str]]:
    """What the rules keep."""
    for candidate in newest_first:
        for wanted in rules.tags:
            if not candidate.spared and all(_has(candidate.tags, tag.strip()) for tag in wanted.split(",")):
                yield candidate.name, f"tag {wanted}"
    zone = zone_of(rules.time_zone)
    groups: dict[Group, list[tuple[SetName, datetime]]] = {}
    for candidate in newest_first:
        if candidate.counts:
            groups.setdefault(candidate.group, []).append((candidate.name, _local(candidate.name.time, zone)))
    for sets in groups.values():
        for rule in _BUCKETS:
            yield from _kept(sets, rule, rule, getattr(rules, rule) or 0)
        for span, rule in _SPANS.items():
            if length := getattr(rules, span):
                reason = f"within {length}" if rule == "last" else f"{rule} within {length}"
                yield from _kept(sets, rule, reason, UNLIMITED, length.before(sets[0][1]))


def _local(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except OverflowError:  # the first or last day that there is, by a hostile name
        return moment


def _has(tags: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in tags and (not equals or tags[key] == value)


_Bucket = tuple[int, ...]

_BUCKETS: Mapping[str, Callable[[datetime, int], _Bucket]] = {
    "last": lambda _, number: (number,),
    "hourly": lambda time, _: (time.year, time.month, time.day, time.hour),
    "daily": lambda time, _: (time.year, time.month, time.day),
    "weekly": lambda time, _: time.isocalendar()[:2],
    "monthly": lambda time, _: (time.year, time.month),
    "yearly": lambda time, _: (time.year,),
}


def _kept(
    sets: Sequence[tuple[SetName, datetime]], bucket: str, reason: str, count: int, since: datetime = _BEGINNING
) -> Iterator[tuple[SetName, str]]:
    """The newest set of each bucket, as far as the count and the time last; then the oldest of all, if they still do."""
    previous: _Bucket = ()
    for number, (name, time) in enumerate(sets):
        if count == 0 or time.astimezone(UTC) <= since:
            return
        key = _BUCKETS[bucket](time, number)
        if key != previous:
            yield name, reason
        elif number == len(sets) - 1:
            yield name, f"oldest {reason}"
        else:
            continue
        previous = key
        count -= 1  # -1, unlimited, only moves away from zero
