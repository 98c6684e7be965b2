"""Full chunks, found by their anchors: about 110 bytes in memory for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recoup.repository.dedup.anchors import MAX_ANCHORS, Place
from recoup.repository.dedup.rows import Rows

_OWNERS = 8  # stored chunks that one anchor may lead to, the newest; more mean that it says little
_ANCHOR, _ROW = np.uint64(32), np.uint64(3)  # bits behind the anchor, and behind the row, in a key


@dataclass(frozen=True, slots=True)
class Base:
    """A stored chunk that a new one may be stored against.

    Attributes:
        id: of the chunk.
        run: with `number`, its address, whose neighbours are the chunks that were cut before and behind it.
        number: of the chunk in its run.
        length: plain bytes.
    """

    id: bytes
    run: bytes
    number: int
    length: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A place of a new chunk that a stored chunk has too.

    Attributes:
        end: where it ends in the new chunk.
        share: where it is in the stored chunk, about, from 0 to 1.
        base: the stored chunk.
    """

    end: int
    share: float
    base: Base


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Chunks, the newest first.

    Attributes:
        keys: for each of their anchors, sorted: the anchor (32 bits), the row (29), and the anchor's number in the row (3).
        runs: the runs that occur.
        run: for each chunk, its place in `runs`.
        number: its number in the run.
        id: its id, a row of 32 bytes.
        length: its plain bytes.
        count: how many anchors it has.
    """

    keys: NDArray[np.uint64]
    runs: tuple[bytes, ...]
    run: NDArray[np.uint32]
    number: NDArray[np.uint32]
    id: NDArray[np.uint8]
    length: NDArray[np.uint32]
    count: NDArray[np.uint8]

    @classmethod
    def of(cls, rows: Rows) -> "Table":
        """A table of chunks that have anchors."""
        counts = np.diff(rows.anchors_from)
        row = np.repeat(np.arange(len(rows), dtype=np.uint64), counts)
        order = np.arange(len(rows.anchors), dtype=np.uint64) - np.repeat(
            rows.anchors_from[:-1].astype(np.uint64), counts
        )
        keys = (rows.anchors.astype(np.uint64) << _ANCHOR | row << _ROW | order)[order < MAX_ANCHORS]
        keys.sort()
        count = np.minimum(counts, MAX_ANCHORS).astype(np.uint8)
        return cls(keys, rows.runs, rows.run.astype(np.uint32), rows.number, rows.id, rows.length, count)

    @classmethod
    def joined(cls, tables: Sequence["Table"]) -> "Table":
        """One table of several, the newest of which comes first."""
        runs = {run: i for i, run in enumerate(dict.fromkeys(run for table in tables for run in table.runs))}
        before = np.cumsum([0, *map(len, tables)]).astype(np.uint64)
        keys = np.concatenate([table.keys + (first << _ROW) for table, first in zip(tables, before, strict=False)])
        keys.sort()
        return cls(
            keys,
            tuple(runs),
            np.concatenate([np.array([runs[run] for run in table.runs], np.uint32)[table.run] for table in tables]),
            np.concatenate([table.number for table in tables]),
            np.concatenate([table.id for table in tables]),
            np.concatenate([table.length for table in tables]),
            np.concatenate([table.count for table in tables]),
        )

    def __len__(self) -> int:
        return len(self.number)

    def newest(self, count: int) -> "Table":
        """The same with fewer chunks."""
        keys = self.keys[(self.keys & np.uint64(0xFFFFFFFF)) >> _ROW < count]
        run, number, length = (column[:count].copy() for column in (self.run, self.number, self.length))
        return Table(keys, self.runs, run, number, self.id[:count].copy(), length, self.count[:count].copy())

    def hits(self, places: Sequence[Place]) -> Iterator[Hit]:
        """Which chunks have the anchors of some places, for each anchor the newest ones."""
        anchors = np.array([place.anchor for place in places], np.uint64) << _ANCHOR
        begins = np.searchsorted(self.keys, anchors)
        for place, begin in zip(places, begins.tolist(), strict=True):
            for key in self.keys[begin : begin + _OWNERS].tolist():
                if key >> 32 != place.anchor:
                    break
                yield self._hit(place.end, key >> 3 & 0x1FFFFFFF, key & 7)

    def _hit(self, end: int, i: int, order: int) -> Hit:
        base = Base(self.id[i].tobytes(), self.runs[self.run[i]], int(self.number[i]), int(self.length[i]))
        return Hit(end, (order + 0.5) / int(self.count[i]), base)
