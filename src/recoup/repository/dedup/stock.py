"""All chunks of a repository under one count of rows, whatever tables they lie in. Pure; about 8 bytes for a chunk."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoup.repository.dedup.columns import Table, id_heads
from recoup.repository.dedup.index import Place
from recoup.repository.dedup.index_files import FileFacts, pack_ref
from recoup.repository.dedup.packs import Packed, PackRef
from recoup.repository.dedup.rows import ID_BYTES, U32, U64, Bytes, gathered

Places = NDArray[np.int64]

_AT_ONCE = 65_536  # bases that are looked up at once, about


class Stock:
    """The rows of several tables, numbered one table behind the other.

    Args:
        tables: of an index.

    Attributes:
        files: the index files, in the order of the tables.
        packs: all packs that they name, each once.
        sizes: bytes of their files.
        pack: of each row, the place of its pack in `packs`.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._starts = np.cumsum([0, *(len(table) for table in tables)])
        self._first_files = np.cumsum([0, *(len(table.files) for table in tables)])
        self.files: Sequence[FileFacts] = tuple(file for table in tables for file in table.files)
        numbers: dict[PackRef, int] = {}
        sizes: list[int] = []
        places = []
        for table in tables:
            for pack in table.packs:
                if numbers.setdefault(pack_ref(pack), len(sizes)) == len(sizes):
                    sizes.append(int(pack["size"]))
            here = np.array([numbers[pack_ref(pack)] for pack in table.packs], np.uint32)
            places.append(here[table.pack])
        self.packs: Sequence[PackRef] = tuple(numbers)
        self.sizes: U64 = np.array(sizes, np.uint64)
        self.pack: U32 = np.concatenate([np.zeros(0, np.uint32), *places])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def runs(self) -> Mapping[bytes, int]:
        """The runs that occur, numbered."""
        runs = dict.fromkeys(run for table in self._tables for run in table.runs)
        return {run: i for i, run in enumerate(runs)}

    def addresses(self) -> U64:
        """Of all rows: place in `runs` · 2^32 + number."""
        found = np.empty(len(self), np.uint64)
        for table, start in zip(self._tables, self._starts, strict=False):
            if len(table):
                fresh = np.array([self.runs[run] for run in table.runs], np.uint64) << np.uint64(32)
                run = (table.address >> np.uint64(32)).astype(np.int64)
                found[start : start + len(table)] = fresh[run] | table.address & np.uint64(0xFFFFFFFF)
        return found

    def sums(self, name: str, rows: NDArray[np.bool_] | None = None) -> list[int]:
        """A column summed up by pack.

        Args:
            name: of the column.
            rows: which rows count; None for all.
        """
        found = np.zeros(len(self.packs), np.uint64)
        for table, start in zip(self._tables, self._starts, strict=False):
            here = slice(int(start), int(start) + len(table))
            pack, values = self.pack[here], getattr(table, name)
            if rows is not None:
                pack, values = pack[rows[here]], values[rows[here]]
            found += np.bincount(pack, values, len(self.packs)).astype(np.uint64)
        return [int(value) for value in found]

    def column(self, name: str) -> NDArray[Any]:
        """A column of all rows."""
        return np.concatenate([getattr(table, name) for table in self._tables] or [np.zeros(0, np.uint32)])

    def take(self, name: str, rows: Places) -> NDArray[Any]:
        """A column of some rows."""
        if not self._tables:
            return np.zeros(0, np.uint32)
        first: NDArray[Any] = getattr(self._tables[0], name)
        found = np.empty((len(rows), *first.shape[1:]), first.dtype)
        for _, (table, mine, local) in self._divided(rows):
            found[mine] = getattr(table, name)[local]
        return found

    def ids(self, rows: Places) -> Bytes:
        """The ids of some rows."""
        return self.take("id", rows) if self._tables else np.zeros((0, ID_BYTES), np.uint8)

    def bases(self, rows: Places) -> Iterator[tuple[Places, Bytes]]:
        """The bases of some rows, not too many at once: for each base its row, and the base's id."""
        for _, (table, mine, local) in self._divided(rows):
            counts = table.bases_from[local + 1] - table.bases_from[local]
            for some in _pieces(np.arange(len(local)), int(counts.sum())):
                ids = gathered(table.bases_from, table.bases, local[some])[1]
                yield np.repeat(rows[mine[some]], counts[some]), ids

    def with_ids(self, words: NDArray[Any]) -> tuple[Places, Places]:
        """The rows that have one of some ids (see `id_words`): which of the ids, and the row."""
        which, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for table, start in zip(self._tables, self._starts, strict=False):
            asked, found = table.with_ids(words)
            which.append(asked)
            rows.append(found + start)
        return np.concatenate(which), np.concatenate(rows)

    def alike(self, rows: Places) -> Places:
        """Those of some rows whose ids begin as those of others do: no others can have the same id."""
        heads = np.concatenate([np.zeros(0, np.uint64), *(id_heads(self.ids(some)) for some in _pieces(rows))])
        order = np.argsort(heads, kind="stable")
        heads = heads[order]
        same = np.zeros(len(rows), np.bool_)
        same[1:] = heads[1:] == heads[:-1]
        same[:-1] |= same[1:]
        return rows[np.sort(order[same])]

    def places(self, rows: Places) -> Iterator[Place]:
        """Where some rows say that their chunks lie, in their order."""
        for row in rows.tolist():
            t = int(np.searchsorted(self._starts, row, "right")) - 1
            table, i = self._tables[t], row - int(self._starts[t])
            pack = table.packs[table.pack[i]]
            file = int(self._first_files[t]) + int(pack["file"])
            yield Place(table.row(i), pack_ref(pack), int(table.offset[i]), file, int(table.position[i]))

    def file_of(self, rows: Places) -> Places:
        """Which of `files` has each of some rows."""
        found = np.empty(len(rows), np.int64)
        for t, (table, mine, local) in self._divided(rows):
            found[mine] = self._first_files[t] + table.packs["file"][table.pack[local]]
        return found

    @cached_property
    def _naming(self) -> Mapping[PackRef, Sequence[int]]:
        """By pack, which of `files` name it."""
        naming: dict[PackRef, list[int]] = {}
        for table, first in zip(self._tables, self._first_files, strict=False):
            for pack in table.packs:
                naming.setdefault(pack_ref(pack), []).append(int(first) + int(pack["file"]))
        return naming

    def files_naming(self, ref: PackRef) -> Sequence[int]:
        """Which of `files` name a pack."""
        return self._naming.get(ref, ())

    def rows_in(self, file: int) -> int:
        """How many rows an index file has."""
        t = int(np.searchsorted(self._first_files, file, "right")) - 1
        packs = self._tables[t].packs
        return int(packs["rows"][packs["file"] == file - self._first_files[t]].sum())

    def packed(self, file: int) -> list[Packed]:
        """The packs that an index file names, with their rows."""
        t = int(np.searchsorted(self._first_files, file, "right")) - 1
        table = self._tables[t]
        named = np.flatnonzero(table.packs["file"] == file - self._first_files[t])
        rows = np.flatnonzero(np.isin(table.pack, named))
        rows = rows[np.lexsort((table.position[rows], table.pack[rows]))]
        ends = np.searchsorted(table.pack[rows], named, "right")
        begins = np.searchsorted(table.pack[rows], named, "left")
        return [
            Packed(pack_ref(pack), int(pack["size"]), pack["digest"].tobytes(), table.rows(rows[begin:end]))
            for pack, begin, end in zip(table.packs[named], begins, ends, strict=True)
        ]

    def _divided(self, rows: Places) -> Iterator[tuple[int, tuple[Table, Places, Places]]]:
        """Numbers of tables, the tables, which of the rows lie in each of them, and where there."""
        of = np.searchsorted(self._starts, rows, "right") - 1
        for i, table in enumerate(self._tables):
            mine = np.flatnonzero(of == i)
            if len(mine):
                yield i, (table, mine, rows[mine] - self._starts[i])


def _pieces(rows: Places, values: int | None = None) -> list[Places]:
    """Rows in pieces; `values`: how many they have together, one each by default."""
    return np.array_split(rows, (len(rows) if values is None else values) // _AT_ONCE + 1)
