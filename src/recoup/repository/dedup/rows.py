"""Rows: what a pack's directory and an index file say of chunks, as columns (`docs/format.md`, Packs).

Columns are numpy arrays, so that a million chunks are read, sorted and searched without a step of Python for each.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from recoup.errors import DamagedError, RefusedError
from recoup.model.names import shown

RUN_BYTES = 12
ID_BYTES = 32
TAG_BYTES = 16
"""Bytes that sealing by AES-256-GCM adds."""

DELTA = 17
"""The encoding that has bases."""

ENCODINGS = (0, 1, 2, 4, DELTA)
MAX_PACK_ROWS = 65_535
"""Rows of a pack: not more than it may have runs, which a u16 counts."""

MAX_ROWS = 131_072
"""Rows of an index file."""

MAX_CHUNK = 1024 * 1024
"""Plain bytes of a chunk."""

MAX_STORED = MAX_CHUNK + 64 * 1024
"""Sealed bytes of a chunk: no encoding makes one grow by more."""

MAX_BASES = 64
"""Of a chunk."""

MAX_DICTIONARY = 8 * 1024 * 1024
"""Bytes of a chunk's bases together."""

MAX_ENCODED = 64 * 1024 * 1024
"""Bytes of rows, of a directory and of an index file, before compression."""

Bytes = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

_AT_ONCE = 16_384  # rows of which several values are gathered at once
_HINT = "Run `recoup verify` to see which sets it touches."
_COUNTS = struct.Struct("<IH")


class Row(NamedTuple):
    """A stored chunk.

    Attributes:
        run: which run stored it first: with `number`, its address.
        number: its number in that run.
        id: keyed BLAKE3 of its bytes.
        length: plain bytes.
        stored: sealed bytes, with the tag.
        encoding: how it is stored.
        bases: ids of the chunks that it is stored against.
        anchors: by which it is found as a base.
    """

    run: bytes
    number: int
    id: bytes
    length: int
    stored: int
    encoding: int
    bases: tuple[bytes, ...] = ()
    anchors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Sequence[Row]):
    """Rows as columns; `rows[i]` is one of them.

    Attributes:
        runs: the runs that occur.
        run: place in `runs`.
        number: number in the run.
        id: chunk ids, a row of 32 bytes each.
        length: plain bytes.
        stored: sealed bytes.
        encoding: how it is stored.
        bases_from: where each row's bases begin in `bases`, and at last their count.
        bases: ids of bases, a row of 32 bytes each.
        anchors_from: where each row's anchors begin in `anchors`, and at last their count.
        anchors: anchors.
    """

    runs: tuple[bytes, ...]
    run: U16
    number: U32
    id: Bytes
    length: U32
    stored: U32
    encoding: Bytes
    bases_from: U32
    bases: Bytes
    anchors_from: U32
    anchors: U32

    def __len__(self) -> int:
        return len(self.number)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> "Rows": ...
    def __getitem__(self, place: int | slice) -> "Row | Rows":
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self))))
        i = range(len(self))[place]
        return row_at(self, i, self.runs[self.run[i]], int(self.number[i]))

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def take(self, places: NDArray[np.integer[Any]]) -> "Rows":
        """The rows at some places, in that order."""
        return Rows(
            self.runs,
            self.run[places],
            self.number[places],
            *taken(self, places),
        )

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """Columns of single rows."""
        listed = list(rows)
        runs = {run: i for i, run in enumerate(dict.fromkeys(row.run for row in listed))}
        return cls(
            tuple(runs),
            np.array([runs[row.run] for row in listed], np.uint16),
            np.array([row.number for row in listed], np.uint32),
            join_ids([row.id for row in listed]),
            np.array([row.length for row in listed], np.uint32),
            np.array([row.stored for row in listed], np.uint32),
            np.array([row.encoding for row in listed], np.uint8),
            _starts([len(row.bases) for row in listed]),
            join_ids([base for row in listed for base in row.bases]),
            _starts([len(row.anchors) for row in listed]),
            np.array([anchor for row in listed for anchor in row.anchors], np.uint32),
        )

    @classmethod
    def joined(cls, several: Sequence["Rows"]) -> "Rows":
        """All rows of several, one behind the other."""
        if len(several) == 1:
            return several[0]
        runs = {run: i for i, run in enumerate(dict.fromkeys(run for rows in several for run in rows.runs))}
        places = [np.array([runs[run] for run in rows.runs], np.uint16)[rows.run] for rows in several]
        return cls(
            tuple(runs),
            _joined(places, np.uint16),
            _joined([rows.number for rows in several], np.uint32),
            np.concatenate([join_ids([]), *(rows.id for rows in several)]),
            _joined([rows.length for rows in several], np.uint32),
            _joined([rows.stored for rows in several], np.uint32),
            _joined([rows.encoding for rows in several], np.uint8),
            joined_starts([rows.bases_from for rows in several]),
            np.concatenate([join_ids([]), *(rows.bases for rows in several)]),
            joined_starts([rows.anchors_from for rows in several]),
            _joined([rows.anchors for rows in several], np.uint32),
        )


class _ChunkColumns(Protocol):
    """The columns of chunks, but for their addresses; attributes as of `Rows`."""

    @property
    def id(self) -> Bytes: ...
    @property
    def length(self) -> U32: ...
    @property
    def stored(self) -> U32: ...
    @property
    def encoding(self) -> Bytes: ...
    @property
    def bases_from(self) -> U32: ...
    @property
    def bases(self) -> Bytes: ...
    @property
    def anchors_from(self) -> U32: ...
    @property
    def anchors(self) -> U32: ...


def row_at(columns: _ChunkColumns, i: int, run: bytes, number: int) -> Row:
    """One row of some columns.

    Args:
        columns: of chunks.
        i: which.
        run: with `number`, its address.
        number: see `run`.
    """
    return Row(
        run,
        number,
        columns.id[i].tobytes(),
        int(columns.length[i]),
        int(columns.stored[i]),
        int(columns.encoding[i]),
        split_ids(columns.bases[columns.bases_from[i] : columns.bases_from[i + 1]]),
        tuple(columns.anchors[columns.anchors_from[i] : columns.anchors_from[i + 1]].tolist()),
    )


def taken(
    columns: _ChunkColumns, places: NDArray[np.integer[Any]]
) -> tuple[Bytes, U32, U32, Bytes, U32, Bytes, U32, U32]:
    """The rows at some places, in that order, as the last columns of `Rows`: from `id` to `anchors`."""
    return (
        columns.id[places],
        columns.length[places],
        columns.stored[places],
        columns.encoding[places],
        *gathered(columns.bases_from, columns.bases, places),
        *gathered(columns.anchors_from, columns.anchors, places),
    )


def encode_rows(rows: Rows) -> bytes:
    """Rows as they are stored."""
    return b"".join(
        (
            _COUNTS.pack(len(rows), len(rows.runs)),
            *rows.runs,
            rows.run.astype("<u2").tobytes(),
            rows.number.astype("<u4").tobytes(),
            rows.id.tobytes(),
            rows.length.astype("<u4").tobytes(),
            rows.stored.astype("<u4").tobytes(),
            rows.encoding.tobytes(),
            np.diff(rows.bases_from).astype(np.uint8).tobytes(),
            rows.bases.tobytes(),
            np.diff(rows.anchors_from).astype(np.uint8).tobytes(),
            rows.anchors.astype("<u4").tobytes(),
        )
    )


def decode_rows(data: bytes | memoryview, item: str) -> Rows:
    """Reads what `encode_rows` wrote, and refuses what no writer writes.

    Args:
        data: the bytes; nothing may stand behind the rows.
        item: what to call it in an error.

    Raises:
        DamagedError: it is something else.
        RefusedError: it has an encoding that is not known.
    """
    cursor = Cursor(data, item)
    n, r = cursor.unpack(_COUNTS)
    if n > MAX_ROWS or r > n:
        raise cursor.wrong(f"it has {n:,} rows of {r:,} runs")
    runs = split_ids(cursor.take(np.uint8, r * RUN_BYTES).reshape(r, RUN_BYTES))
    run, number = cursor.take(np.uint16, n), cursor.take(np.uint32, n)
    ids = cursor.take(np.uint8, n * ID_BYTES).reshape(n, ID_BYTES)
    length, stored = cursor.take(np.uint32, n), cursor.take(np.uint32, n)
    encoding = cursor.take(np.uint8, n)
    bases_from = _starts(cursor.take(np.uint8, n))
    bases = cursor.take(np.uint8, int(bases_from[-1]) * ID_BYTES).reshape(-1, ID_BYTES)
    anchors_from = _starts(cursor.take(np.uint8, n))
    anchors = cursor.take(np.uint32, int(anchors_from[-1]))
    cursor.end()
    rows = Rows(runs, run, number, ids, length, stored, encoding, bases_from, bases, anchors_from, anchors)
    _check(rows, cursor)
    return rows


def _check(rows: Rows, cursor: "Cursor") -> None:
    if not len(rows):
        return
    if not np.isin(rows.encoding, ENCODINGS).all():
        raise RefusedError(
            f"{shown(cursor.item)} has chunks in an encoding that this Recoup does not know",
            "Use the Recoup that wrote it, or a newer one.",
        )
    counts = np.diff(rows.bases_from)
    if int(rows.run.max()) >= len(rows.runs):
        raise cursor.wrong("a row has no run")
    if int(rows.length.min()) < 1 or int(rows.length.max()) > MAX_CHUNK:
        raise cursor.wrong("it has a chunk of an impossible length")
    if int(rows.stored.min()) <= TAG_BYTES or int(rows.stored.max()) > MAX_STORED:
        raise cursor.wrong("it has a sealed chunk of an impossible length")
    if int(counts.max()) > MAX_BASES or ((counts > 0) != (rows.encoding == DELTA)).any():
        raise cursor.wrong("a chunk has bases that its encoding cannot have")


class Cursor:
    """Reads numbers and columns from bytes that may be hostile: nothing is taken that is not there.

    Args:
        data: the bytes.
        item: what to call them in an error.
    """

    def __init__(self, data: bytes | memoryview, item: str) -> None:
        self.item = item
        self._data, self._at = memoryview(data), 0

    def unpack(self, numbers: struct.Struct) -> tuple[Any, ...]:
        """Single numbers. Raises DamagedError when it is cut short."""
        return numbers.unpack(self.bytes(numbers.size))

    def bytes(self, size: int) -> memoryview:
        """Bytes. Raises DamagedError when it is cut short."""
        if size > len(self._data) - self._at:
            raise self.wrong("it is cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def take(self, kind: Any, count: int) -> NDArray[Any]:
        """A column of little endian numbers. Raises DamagedError when it is cut short."""
        dtype = np.dtype(kind).newbyteorder("<")
        return np.frombuffer(self.bytes(count * dtype.itemsize), dtype, count)

    def rest(self) -> memoryview:
        """All that is left."""
        return self.bytes(len(self._data) - self._at)

    def end(self) -> None:
        """Raises DamagedError when something is left."""
        if self._at != len(self._data):
            raise self.wrong("something stands behind its end")

    def wrong(self, why: str) -> DamagedError:
        """What to raise when it says something impossible."""
        return DamagedError(f"{shown(self.item)} is damaged: {why}", _HINT)


def gathered(starts: U32, values: NDArray[Any], places: NDArray[np.integer[Any]]) -> tuple[U32, NDArray[Any]]:
    """The values of some rows of a column that has several for each.

    Args:
        starts: where each row's values begin, and at last their count.
        values: all of them.
        places: which rows.
    """
    counts = starts[np.asarray(places) + 1] - starts[places]
    fresh = _starts(counts)
    found = np.empty((int(fresh[-1]), *values.shape[1:]), values.dtype)
    for at in range(0, len(places), _AT_ONCE):
        some, to = slice(at, at + _AT_ONCE), fresh[at : at + _AT_ONCE + 1]
        shift = starts[places[some]].astype(np.int64) - to[:-1]
        found[to[0] : to[-1]] = values[np.repeat(shift, counts[some]) + np.arange(to[0], to[-1])]
    return fresh, found


def joined_starts(several: Sequence[U32]) -> U32:
    """The `starts` of columns that are put one behind the other."""
    ends = list(accumulate((int(starts[-1]) for starts in several), initial=0))
    return np.concatenate(
        [np.zeros(1, np.uint32), *(starts[1:] + np.uint32(end) for starts, end in zip(several, ends, strict=False))]
    )


def join_ids(ids: Sequence[bytes]) -> Bytes:
    """Ids as a column."""
    return np.frombuffer(b"".join(ids), np.uint8).reshape(len(ids), ID_BYTES)


def split_ids(column: Bytes) -> tuple[bytes, ...]:
    """A column of ids, or of runs, as single ones."""
    if not len(column):
        return ()
    data, size = column.tobytes(), column.shape[1]
    return tuple(data[i : i + size] for i in range(0, len(data), size))


def _starts(counts: Any) -> U32:
    starts = np.zeros(len(counts) + 1, np.uint32)
    np.cumsum(counts, out=starts[1:], dtype=np.uint32)
    return starts


def _joined(columns: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *columns])
