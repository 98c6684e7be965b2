"""Bases: which stored chunks a new chunk resembles, and what is left of it when it is stored against them (encoding 17).

A chunk that was cut anew, since its cut points were lost or rows before it were deleted, still has long stretches in common with
stored ones: they are found by their anchors (`recoup.repository.dedup.anchors`). Up to eight of each full chunk are in the index;
of a new chunk all are looked up.

Measured on the rewrite of a Qdrant shard of 60,000 points of real text by its optimizer, after 20 % of them were deleted: 1.12
times what `zstd -3 --long=30 --patch-from` makes of the whole shard. With one base, found by head or tail, it is 5.7 times; with
its neighbours too, 2.8.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recoup.repository.dedup import shuffled
from recoup.repository.dedup.anchored import Base, Hit, Table
from recoup.repository.dedup.anchors import Anchors, Place, chosen
from recoup.repository.dedup.rows import DELTA, MAX_BASES, MAX_DICTIONARY, Row, Rows

Buffer = bytes | memoryview

LIMIT = 250_000
"""Chunks among which bases are looked for, the newest: about 80 GB of content, in 28 MB of memory."""

_TABLE = 65_536  # chunks of a table of those that were stored before
_SLACK = (
    32 * 1024
)  # bytes that a further base has to cover, or an eighth of the chunk; twice as many: rewrites 20 % larger
_SMALL = 4096  # bytes of a chunk of which a delta would save too little
_MOST = 8  # bases that follow one another in the chunk
_KEPT = 0.6  # of the encoded size; 0.3 makes rewrites 6 % larger, 0.7 makes a dump that is edited daily 13 % larger in a week
_ID = 32  # bytes of a base's id in the index
_LARGE = 2 * 1024 * 1024  # bytes of bases together; of more, one thread at a time makes its tables, which take as much
_large = threading.Lock()


class Known(shuffled.Known, Protocol):
    """What is asked of the index."""

    def newest_full(self, limit: int) -> Iterator[Rows]:
        """Chunks that may be bases, the newest first."""
        ...


class Matcher:
    """Finds bases among the newest full chunks of a repository and those of the run under way; may be asked by several threads.

    Args:
        anchor_key: of the repository.
        index: of its chunks; read when the first chunk is looked at.
        limit: chunks among which to look, at most.
    """

    def __init__(self, anchor_key: bytes, index: Known, limit: int = LIMIT) -> None:
        self._anchors, self._index, self._limit = Anchors(anchor_key), index, limit
        self._surroundings, self._lock = shuffled.Surroundings(index), threading.Lock()
        self._tables: tuple[Table, ...] | None = None  # the newest first
        self._added: list[Rows] = []
        self._is_first = False  # whether nothing was stored before this run

    def look(self, chunk: Buffer) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        """What the index is told of a new chunk if it is stored in full, and which chunks it may be stored against instead.

        Returns:
            Its anchors; and the ids of its bases, in the order in which they resemble it, none where nothing does.
        """
        tables, length = self._all(), len(chunk)
        if self._is_first:
            # a first backup is nearly all new; eight places suffice to see whether a chunk resembles one of the same run
            places = self._anchors.few(chunk)
            if length < _SMALL or not any(True for _ in _hits(tables, places)):
                return chosen(places, length), ()
        places = self._anchors.places(chunk)
        hits = list(_hits(tables, places)) if length >= _SMALL else []
        cover, around = Cover(length, self._index).bases(hits), self._surroundings.bases(hits)
        return chosen(places, length), tuple(_fitting((*cover, *around)))

    @staticmethod
    def delta(chunk: Buffer, bases: Sequence[bytes]) -> bytes:
        """The chunk as a zstd frame that has its bases, behind one another and 8 MiB at most, as the dictionary."""
        length = sum(map(len, bases))
        with _large if length > _LARGE else contextlib.nullcontext():
            return _delta(chunk, bases, length)

    @staticmethod
    def saves(delta: int, bases: int, encoded: int) -> bool:
        """Whether a chunk is to be stored against its bases: not where it differs that much that it had better be a base itself.

        Args:
            delta: bytes that it then takes.
            bases: how many.
            encoded: bytes that it takes without bases.
        """
        return delta + bases * _ID < encoded * _KEPT

    def add(self, rows: Iterable[Row]) -> None:
        """Takes in chunks that the run under way has stored."""
        columns = rows if isinstance(rows, Rows) else Rows.of(rows)
        full = columns.take(np.flatnonzero(columns.encoding != DELTA))
        if len(full.anchors):
            with self._lock:
                self._added.append(full)

    def _all(self) -> tuple[Table, ...]:
        """All tables, those of chunks that came since the last time too."""
        tables = self._tables
        if tables is None or self._added:
            with self._lock:
                tables = self._tables = self._grown(self._tables)
        return tables

    def _grown(self, tables: tuple[Table, ...] | None) -> tuple[Table, ...]:
        if tables is None:
            tables = tuple(_tables(self._index.newest_full(self._limit)))
            self._is_first = not tables
        for rows in self._added:
            tables = _joined((Table.of(rows), *tables), self._limit)
        self._added.clear()
        return tables


def _delta(chunk: Buffer, bases: Sequence[bytes], length: int) -> bytes:
    import zstandard

    # zstd takes only the last 8 << hash_log bytes of a dictionary into its table (ZSTD_loadDictionaryContent), and by its
    # own choice for a chunk's size would forget most of them. Level 3 makes 1 % less of a chunk, in twice the time.
    table = max(17, (length - 1).bit_length() - 3)
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=23, hash_log=table, chain_log=table)
    dictionary = zstandard.ZstdCompressionDict(b"".join(bases), dict_type=zstandard.DICT_TYPE_RAWCONTENT)  # copies it
    packed: bytes = zstandard.ZstdCompressor(compression_params=parameters, dict_data=dictionary).compress(chunk)
    return packed


def _fitting(bases: Iterable[Base]) -> Iterator[bytes]:
    """The ids of the first ones that may be the bases of one chunk."""
    found, held = set[bytes](), 0
    for base in bases:
        if base.id not in found and len(found) < MAX_BASES and held + base.length <= MAX_DICTIONARY:
            found.add(base.id)
            held += base.length
            yield base.id


def _hits(tables: Sequence[Table], places: Sequence[Place]) -> Iterator[Hit]:
    return (hit for table in tables for hit in table.hits(places))


def _tables(stored: Iterable[Rows]) -> Iterator[Table]:
    """Few tables of many blocks of rows; not one alone, which would take twice the memory while it is made."""
    some, held = list[Table](), 0
    for rows in stored:
        some.append(Table.of(rows))
        held += len(rows)
        if held >= _TABLE:
            yield Table.joined(some)
            some, held = [], 0
    if some:
        yield Table.joined(some)


def _joined(tables: tuple[Table, ...], limit: int) -> tuple[Table, ...]:
    """Fewer tables: neighbours of like size become one, so that there are few, and each chunk is moved seldom."""
    while len(tables) > 1 and len(tables[1]) <= 2 * len(tables[0]):
        tables = (Table.joined(tables[:2]), *tables[2:])
    surplus = sum(map(len, tables)) - limit
    if surplus > limit // 8:  # not at every pack
        last = tables[-1]
        tables = (*tables[:-1], last.newest(len(last) - surplus)) if len(last) > surplus else tables[:-1]
    return tables


@dataclass(slots=True)
class _Span:
    """Where a base lies along the chunk, estimated from its anchors, in bytes of the chunk."""

    base: Base
    begin: float
    end: float


class Cover:
    """Chooses bases so that each covers a stretch of the chunk that no better one covers.

    Args:
        length: of the chunk, in bytes.
        index: knows the neighbours of bases.
    """

    def __init__(self, length: int, index: Known) -> None:
        self._length, self._index = length, index
        self._spans: list[_Span] = []

    def bases(self, hits: Sequence[Hit]) -> list[Base]:
        """The bases, in the order in which they resemble the chunk."""
        self._take_best(hits)
        self._take_neighbours()
        return [span.base for span in self._spans]

    def _take_best(self, hits: Sequence[Hit]) -> None:
        """The base with the most places first; then those with the most places that the former lack."""
        left = list(hits)
        while left and len(self._spans) < _MOST:
            base = Counter(hit.base for hit in left).most_common(1)[0][0]
            own = [hit for hit in left if hit.base == base]
            explained = {hit.end for hit in own}
            left = [hit for hit in left if hit.end not in explained and hit.base != base]
            first, last = own[0], max(own, key=lambda hit: hit.end)
            self._add(base, first.end - first.share * base.length, last.end + (1 - last.share) * base.length)

    def _add(self, base: Base, begin: float, end: float) -> bool:
        """Takes a base if it covers enough that is not covered yet, and may still be referred to."""
        span = _Span(base, begin, end)
        known = any(other.base.id == base.id for other in self._spans)
        if known or self._new_bytes(span) < min(_SLACK, self._length // 8) or self._index.base(base.id) is None:
            return False
        self._spans.append(span)
        self._spans.sort(key=lambda one: one.begin)
        return True

    def _new_bytes(self, span: _Span) -> float:
        """Bytes of the chunk that only this one covers."""
        at, end = max(0.0, span.begin), min(self._length, span.end)
        new = 0.0
        for other in self._spans:
            new += max(0.0, min(end, other.begin) - at)
            at = max(at, other.end)
        return new + max(0.0, end - at)

    def _take_neighbours(self) -> None:
        """Bases for the stretches between, before and behind: what lay beside a base then likely lies beside it now."""
        for span in list(self._spans):
            for step in (-1, 1):
                if len(self._spans) < _MOST:
                    self._take_neighbour(span, step)

    def _take_neighbour(self, span: _Span, step: int) -> None:
        number = span.base.number + step
        place = self._index.at(span.base.run, number) if number >= 0 else None
        if place is None or place.row.encoding == DELTA:
            return
        row = place.row
        begin = span.end if step > 0 else span.begin - row.length
        self._add(Base(row.id, row.run, row.number, row.length), begin, begin + row.length)
