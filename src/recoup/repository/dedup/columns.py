"""Many index files as one table: about 75 bytes for a chunk, and what its bases and anchors take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoup.repository.dedup.index_files import PACK, FileFacts, IndexFile
from recoup.repository.dedup.packs import HEADER_BYTES
from recoup.repository.dedup.rows import (
    ID_BYTES,
    U16,
    U32,
    U64,
    Bytes,
    Row,
    Rows,
    gathered,
    joined_starts,
    row_at,
    taken,
)

PLACED_PACK = np.dtype([*((name, PACK[name]) for name in PACK.names or ()), ("file", "<u4")])
"""A pack, and which file names it."""

_BUCKET = 4  # chunks of one bucket of ids, about
_KEYED = 8  # first bytes of an id, by which ids are sorted


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows, of which each lies in a pack that a file names.

    Attributes:
        files: the index files.
        runs: the runs that occur in addresses.
        packs: of `PLACED_PACK`.
        address: place in `runs` · 2^32 + number.
        id: chunk ids, a row of 32 bytes each.
        length: plain bytes.
        stored: sealed bytes.
        encoding: how it is stored.
        pack: place in `packs`.
        offset: where it begins in the pack's file.
        position: place in the pack, from 0.
        bases_from: where each row's bases begin.
        bases: ids of bases.
        anchors_from: where each row's anchors begin.
        anchors: anchors.
    """

    files: tuple[FileFacts, ...]
    runs: tuple[bytes, ...]
    packs: NDArray[Any]
    address: U64
    id: Bytes
    length: U32
    stored: U32
    encoding: Bytes
    pack: U32
    offset: U32
    position: U16
    bases_from: U32
    bases: Bytes
    anchors_from: U32
    anchors: U32

    def __len__(self) -> int:
        return len(self.address)


@dataclass(frozen=True, slots=True, eq=False)
class Table(Columns):
    """The same sorted by address, and found by id.

    Attributes:
        order: places of rows, sorted by the first bytes of their ids.
        buckets: where in `order` each bucket of ids begins.
    """

    order: U32
    buckets: U32

    def row(self, i: int) -> Row:
        """One row."""
        address = int(self.address[i])
        return row_at(self, i, self.runs[address >> 32], address & 0xFFFFFFFF)

    def rows(self, places: NDArray[Any]) -> Rows:
        """Some rows, in that order."""
        address = self.address[places]
        run, kept = np.unique((address >> np.uint64(32)).astype(np.uint32), return_inverse=True)
        return Rows(
            tuple(self.runs[i] for i in run),
            kept.astype(np.uint16),
            address.astype(np.uint32),  # keeps the lower half, which is the number
            *taken(self, places),
        )

    def with_ids(self, words: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows that have one of some ids (see `id_words`): which of the ids, and the row."""
        first = id_heads(self.id)[self.order]
        sort = np.argsort(words[:, 0], kind="stable")  # so that neighbours are looked up one behind the other
        heads = words[sort, 0].astype(np.uint64)
        begins, ends = np.searchsorted(first, heads, "left"), np.searchsorted(first, heads, "right")
        counts = ends - begins
        which = np.repeat(sort, counts)
        among = np.arange(len(which)) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        rows = self.order[among].astype(np.int64)
        same = (id_words(self.id[rows]) == words[which]).all(axis=1)
        return which[same], rows[same]

    def at(self, run: int, first: int, count: int) -> tuple[int, int]:
        """Between which places the rows of some addresses lie.

        Args:
            run: place in `runs`.
            first: number of the first chunk.
            count: how many numbers.
        """
        begin = run << 32 | first
        last = min(begin + count - 1, run << 32 | 0xFFFFFFFF)
        begins = np.searchsorted(self.address, np.uint64(begin), "left")
        return int(begins), int(np.searchsorted(self.address, np.uint64(last), "right"))


class Finder:
    """Finds the rows of a chunk in a table. Plain buffers: for the few rows of a bucket, arrays are slow.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self._ids = memoryview(table.id.reshape(-1).data)
        self._order, self._buckets = table.order.data, table.buckets.data
        self._unused = 64 - _bits(len(table))

    def rows(self, identity: bytes) -> list[int]:
        """The places of its rows; mostly none or one."""
        bucket = int.from_bytes(identity[:_KEYED], "big") >> self._unused
        begin, end = self._buckets[bucket], self._buckets[bucket + 1]
        return [i for i in self._order[begin:end] if self._ids[i * ID_BYTES : (i + 1) * ID_BYTES] == identity]


def columns_of(file: IndexFile) -> Columns:
    """The columns of one index file."""
    rows, counts = file.rows, file.packs["rows"].astype(np.int64)
    packs = np.zeros(len(file.packs), PLACED_PACK)
    for name in PACK.names or ():
        packs[name] = file.packs[name]
    pack = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    before = np.cumsum(rows.stored, dtype=np.uint64) - rows.stored
    offset = before - before[begins] + np.uint64(HEADER_BYTES) if len(rows) else before
    address = rows.run.astype(np.uint64) << np.uint64(32) | rows.number
    return Columns(
        (file.facts,), rows.runs, packs, address, rows.id, rows.length, rows.stored, rows.encoding, pack,
        offset.astype(np.uint32), (np.arange(len(rows)) - begins).astype(np.uint16),
        rows.bases_from, rows.bases, rows.anchors_from, rows.anchors,
    )  # fmt: skip


def joined(tables: Sequence[Columns]) -> Table:
    """One table of several. Its columns are made one by one, so that little lies in memory twice."""
    runs = {run: i for i, run in enumerate(dict.fromkeys(run for table in tables for run in table.runs))}
    packs, first_file, first_pack, pack, address = [], 0, 0, [], []
    for table in tables:
        moved = table.packs.copy()
        moved["file"] += first_file
        packs.append(moved)
        pack.append(table.pack + np.uint32(first_pack))
        fresh = np.array([runs[run] for run in table.runs], np.uint64) << np.uint64(32)
        here = (table.address >> np.uint64(32)).astype(np.int64)
        address.append(fresh[here] | (table.address & np.uint64(0xFFFFFFFF)) if len(table) else table.address)
        first_file, first_pack = first_file + len(table.files), first_pack + len(table.packs)
    addresses = np.concatenate([np.zeros(0, np.uint64), *address])
    places = np.argsort(addresses, kind="stable")

    def column(name: str) -> NDArray[Any]:
        return _chained(tables, name)[places]

    def several(name: str) -> tuple[U32, NDArray[Any]]:
        starts = joined_starts([getattr(table, f"{name}_from") for table in tables])
        return gathered(starts, _chained(tables, name), places)

    ids = column("id")
    return Table(
        tuple(file for table in tables for file in table.files), tuple(runs),
        np.concatenate([np.zeros(0, PLACED_PACK), *packs]), addresses[places], ids, column("length"), column("stored"),
        column("encoding"), np.concatenate([np.zeros(0, np.uint32), *pack])[places], column("offset"), column("position"),
        *several("bases"), *several("anchors"), *_by_id(ids),
    )  # fmt: skip


def chosen(table: Table, keep: NDArray[np.bool_]) -> Table:
    """The table without some of its files.

    Args:
        table: the table.
        keep: for each file, whether it stays.
    """
    pack_stays = keep[table.packs["file"]]
    rows = np.flatnonzero(pack_stays[table.pack])
    fresh_file = (np.cumsum(keep) - 1).astype(np.uint32)
    fresh_pack = (np.cumsum(pack_stays) - 1).astype(np.uint32)
    packs, ids = table.packs[pack_stays], table.id[rows]
    packs["file"] = fresh_file[packs["file"]]
    return Table(
        tuple(file for file, stays in zip(table.files, keep, strict=True) if stays),
        table.runs, packs, table.address[rows], ids, table.length[rows], table.stored[rows],
        table.encoding[rows], fresh_pack[table.pack[rows]], table.offset[rows], table.position[rows],
        *gathered(table.bases_from, table.bases, rows), *gathered(table.anchors_from, table.anchors, rows), *_by_id(ids),
    )  # fmt: skip


def _chained(tables: Sequence[Columns], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(table, name) for table in tables])


def _bits(count: int) -> int:
    """How many bits of an id name its bucket."""
    return max(1, (count // _BUCKET).bit_length())


def id_words(ids: Bytes) -> NDArray[Any]:
    """Ids as four numbers each, which compare as they do."""
    return np.ascontiguousarray(ids).view(">u8").reshape(len(ids), 4)


def id_heads(ids: Bytes) -> U64:
    """The first of these numbers alone."""
    return np.ascontiguousarray(ids[:, :_KEYED]).view(">u8").reshape(len(ids)).astype(np.uint64)


def _by_id(ids: Bytes) -> tuple[U32, U32]:
    first = id_heads(ids)
    order = np.argsort(first, kind="stable").astype(np.uint32)
    bits = _bits(len(ids))
    bounds = np.arange(2**bits, dtype=np.uint64) << np.uint64(64 - bits)
    buckets = np.empty(2**bits + 1, np.uint32)
    buckets[:-1] = np.searchsorted(first[order], bounds, "left")
    buckets[-1] = len(ids)
    return order, buckets
