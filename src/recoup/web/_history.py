"""What the sets of a stack tell of the past: how large it was, by how much it grew, how long restoring it took."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations.selection import holds

_A_DAY = timedelta(hours=20)  # daily sets come some minutes sooner or later

MOST = 60
"""Points of a plot: more would lie upon each other, and its table would be read by nobody."""


class Point(Struct):
    """A measure at a moment.

    Attributes:
        at: when (UTC).
        value: of what is measured.
    """

    at: datetime
    value: float


def sizes(infos: Iterable[SetInfo], sources: Collection[str]) -> tuple[Point, ...]:
    """How many bytes the sources hold, plain, at each set: what a set does not hold of them counts as in the set before it.

    Args:
        infos: the sets; those that cannot be read, and copies that are not good, tell nothing.
        sources: names of those that count.
    """
    found, held = list[Point](), dict[str, int]()
    for info in _cuts(infos):
        manifest = info.manifest
        good = [name for name in sources if holds(info, name)]
        if manifest is None or not good:
            continue
        held |= {name: manifest.sources[name].bytes for name in good}
        found.append(Point(manifest.started, sum(held.values())))
    return tuple(found)


def _cuts(infos: Iterable[SetInfo]) -> list[SetInfo]:
    """One copy of each cut that can be read, the oldest first."""
    once: dict[str, SetInfo] = {}
    for info in infos:
        if info.manifest is not None:
            once.setdefault(info.manifest.id, info)
    return sorted(once.values(), key=lambda info: info.name_key)


def growth(points: Sequence[Point]) -> tuple[Point, ...]:
    """By how many bytes a day it grew, from one point to the next that is nearly a day or more later; negative where it shrank.

    Args:
        points: from `sizes`.
    """
    found, last = list[Point](), points[0] if points else None
    for point in thinned(points):
        if last is not None and point.at - last.at >= _A_DAY:
            found.append(Point(point.at, (point.value - last.value) / ((point.at - last.at) / timedelta(days=1))))
            last = point
    return tuple(found)


def restores(infos: Iterable[SetInfo]) -> tuple[Point, ...]:
    """How many seconds drills took to restore all sources of a set, in the order of the drills; of each set its newest one."""
    found = (
        Point(info.standing.proven, info.standing.restore_seconds)
        for info in infos
        if info.standing.proven is not None and info.standing.restore_seconds is not None
    )
    return tuple(sorted(found, key=lambda point: point.at))


def thinned(points: Sequence[Point], most: int = MOST) -> tuple[Point, ...]:
    """The last one of each of so many equal stretches of time; all where there are not more.

    Args:
        points: the oldest first.
        most: how many are wanted.
    """
    if len(points) <= most:
        return tuple(points)
    begin, span = points[0].at, points[-1].at - points[0].at
    last: dict[int, Point] = {}
    for point in points:
        last[min(most - 1, int((point.at - begin) / span * most)) if span else 0] = point
    return tuple(last.values())
