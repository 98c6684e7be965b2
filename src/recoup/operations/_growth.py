"""By how much a repository grows at present: pure arithmetic on the times and sizes of its sets."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from recoup.model.names import SetName
from recoup.model.structs import Struct
from recoup.retention import Candidate, Group, Rules, judge

_HORIZON = timedelta(days=30)
_LOOKED_AT = 10  # newest sets of a group
_FEWEST = 3  # sets that make a rhythm
_LONG_ENOUGH = timedelta(hours=20)
_MOST_AHEAD = 800  # sets of a group that are looked ahead, at most


class Stored(Struct):
    """A set as it lies in a repository.

    Attributes:
        name: the set.
        group: what retention judges together.
        bytes: what it takes.
        kept: whether it stays whatever the rules say: pinned, or not readable.
    """

    name: SetName
    group: Group
    bytes: int
    kept: bool = False


def growth(sets: Iterable[Stored], rules: Rules | None, now: datetime) -> float | None:
    """Bytes that a repository gains in a day, if sets go on to come as the last ones did, in distance and size; negative when
    it shrinks. What the rules will remove by then is taken off.

    Args:
        sets: all sets of the repository.
        rules: the rules that prune goes by; None where nobody prunes.
        now: the present moment.

    Returns:
        None where no group has three sets over most of a day, so that nothing can be said.
    """
    held = [one for one in sets if one.name.time <= now]
    groups: dict[Group, list[Stored]] = {}
    for one in sorted(held, key=lambda one: one.name):
        groups.setdefault(one.group, []).append(one)
    rhythms = {group: found for group, those in groups.items() if (found := _rhythm(those))}
    if not rhythms:
        return None
    ahead = min(_HORIZON, *(rhythm.distance * _MOST_AHEAD for rhythm in rhythms.values()))
    coming = list(_coming(rhythms, now, ahead))
    present = sum(one.bytes for one in held)
    return (_left([*held, *coming], rules, now + ahead) - present) / (ahead / timedelta(days=1))


class _Rhythm(Struct):
    """How the sets of a group come: their distance, the size of the newest, and how much each is larger than the one before."""

    distance: timedelta
    bytes: float
    step: float


def _rhythm(sets: Sequence[Stored]) -> _Rhythm | None:
    """That of the last ten sets, or of a whole day where there were more. Some sets within hours are tries by hand."""
    newest = sets[-1].name.time
    apart = sum(newest - one.name.time < _LONG_ENOUGH for one in sets) + 1  # and the one before these
    last = sets[-max(_LOOKED_AT, apart) :]
    span = newest - last[0].name.time
    if len(last) < _FEWEST or span < _LONG_ENOUGH:
        return None
    sizes = [one.bytes for one in last]
    half = len(sizes) // 2
    newer, older = statistics.median(sizes[-half:]), statistics.median(sizes[:half])
    return _Rhythm(span / (len(last) - 1), newer, (newer - older) / (len(sizes) - half))


def _coming(rhythms: Mapping[Group, _Rhythm], now: datetime, ahead: timedelta) -> Iterator[Stored]:
    """The sets that come in the time looked ahead; the ordinal keeps those of several groups apart."""
    for ordinal, (group, rhythm) in enumerate(rhythms.items(), 1):
        for number in range(1, int(ahead / rhythm.distance) + 1):
            size = max(0, round(rhythm.bytes + rhythm.step * number))
            yield Stored(SetName(now + rhythm.distance * number, ordinal), group, size)


def _left(sets: Sequence[Stored], rules: Rules | None, end: datetime) -> int:
    """What sets take after a prune at the end of the time looked ahead."""
    if not rules:
        return sum(one.bytes for one in sets)
    candidates = [Candidate(one.name, one.group, pinned=one.kept, stored_bytes=one.bytes) for one in sets]
    return sum(verdict.candidate.stored_bytes for verdict in judge(candidates, rules, end) if verdict.keep)
