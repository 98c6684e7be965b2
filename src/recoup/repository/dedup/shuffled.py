"""Bases of rows that were written in another order.

A vector database collects new points in a small segment and later writes that anew, in another order: the rows stay, their
neighbours do not. A new chunk then has some rows of each of many stored chunks, which lie side by side; against all of them
together little of it is left.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from recoup.repository.dedup.anchored import Base, Hit
from recoup.repository.dedup.rows import DELTA, MAX_BASES, Row

_MOST = 4 * 1024 * 1024  # bytes of bases together: twice as many save 2 % of such a day, in half as much time again
_APART = 4  # chunks of a run, on average, of which one has a place of the new chunk
_FOLLOWS = 2  # by how many the number of a chunk may be higher than that of the one before it

_Orders = dict[bytes, list[Base]]
"""Of each run, stored chunks."""

_Regions = dict[bytes, range]
"""Of each run, numbers of chunks."""


class Known(Protocol):
    """What is asked of the index."""

    def at(self, run: bytes, number: int) -> "Placed | None":
        """Where the chunk of an address lies."""
        ...

    def base(self, id: bytes) -> "Placed | None":  # noqa: A002 - the format's name
        """Where a chunk lies in full, so that a writer may store others against it."""
        ...


class Placed(Protocol):
    """Where a chunk lies."""

    @property
    def row(self) -> Row:
        """What is stored there."""
        ...


class Surroundings:
    """The chunks among which the rows of new ones are strewn; may be asked by several threads.

    What was found for a chunk goes on to count for those behind it: the bases stay the same, and need not be read anew.

    Args:
        index: knows what lies around a chunk.
    """

    def __init__(self, index: Known) -> None:
        self._index, self._lock = index, threading.Lock()
        self._regions: _Regions = {}
        self._bases: tuple[Base, ...] = ()

    def bases(self, hits: Sequence[Hit]) -> tuple[Base, ...]:
        """Bases for a new chunk, in the order of their addresses.

        Args:
            hits: places of the new chunk that stored ones have.

        Returns:
            None where the new chunk follows stored ones, or where its rows come from too many.
        """
        near = _near(_in_order(hits))
        found = [base for order in near.values() for base in order]
        with self._lock:
            is_strewn = any(_jump(before, after) for order in near.values() for before, after in pairwise(order))
            if is_strewn and not all(map(self._is_around, found)):
                self._look_around(near)
            is_one_more = len(set(found)) * 2 > len(found)
            return self._bases if (is_strewn or is_one_more) and any(map(self._is_around, found)) else ()

    def _is_around(self, base: Base) -> bool:
        return base.number in self._regions.get(base.run, ())

    def _look_around(self, near: _Orders) -> None:
        regions = {run: _stretched(sorted({base.number for base in order})) for run, order in sorted(near.items())}
        is_further = any(self._is_around(base) for order in near.values() for base in order)
        if not (is_further and self._take(_joined(regions, self._regions))):
            self._take(regions)

    def _take(self, regions: _Regions) -> bool:
        """Takes these for the regions from now on, if their chunks may all be bases of one."""
        if sum(map(len, regions.values())) > MAX_BASES:
            return False
        bases = tuple(dict.fromkeys(self._full(regions)))
        if sum(base.length for base in bases) > _MOST:
            return False
        self._regions, self._bases = regions, bases
        return True

    def _full(self, regions: _Regions) -> Iterator[Base]:
        """Chunks that others may be stored against."""
        for run, numbers in regions.items():
            for place in (self._index.at(run, number) for number in numbers):
                if place and place.row.encoding != DELTA and self._index.base(place.row.id):
                    yield Base(place.row.id, run, place.row.number, place.row.length)


def _in_order(hits: Sequence[Hit]) -> _Orders:
    """The stored chunks that places of the new one lead to, of each run in the order of the places."""
    count = Counter(hit.base for hit in hits)
    of_place: dict[int, Base] = {}
    for hit in hits:  # of several with the same bytes, the one with the most places
        known = of_place.get(hit.end)
        of_place[hit.end] = hit.base if known is None or count[hit.base] > count[known] else known
    found: _Orders = {}
    for _, base in sorted(of_place.items(), key=lambda place: place[0]):
        found.setdefault(base.run, []).append(base)
    return found


def _near(orders: _Orders) -> _Orders:
    """Without the runs whose chunks lie too far from one another: too few rows come from each."""
    found: _Orders = {}
    for run, order in orders.items():
        numbers = {base.number for base in order}
        if len(numbers) * _APART >= max(numbers) - min(numbers) + 1:
            found[run] = order
    return found


def _jump(before: Base, after: Base) -> bool:
    """Whether the second does not follow the first, as it does even where a chunk between them was deleted."""
    return not 0 <= after.number - before.number <= _FOLLOWS


def _stretched(numbers: Sequence[int]) -> range:
    first, last = numbers[0], numbers[-1]
    apart = (last - first) // max(1, len(numbers) - 1) + 1
    return range(max(0, first - apart), last + apart + 1)


def _joined(one: _Regions, other: _Regions) -> _Regions:
    found = dict(other)
    for run, numbers in one.items():
        known = found.get(run, numbers)
        found[run] = range(min(known.start, numbers.start), max(known.stop, numbers.stop))
    return found
