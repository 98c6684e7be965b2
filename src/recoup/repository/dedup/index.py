"""The index: where each chunk of a repository lies (`docs/format.md`, Index)."""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from recoup.errors import RecoupError
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.columns import Finder, Table, columns_of, joined
from recoup.repository.dedup.damaged import Damaged, read_damaged
from recoup.repository.dedup.history import Record, condemned_since, read_records
from recoup.repository.dedup.index_files import FileFacts, IndexFile, pack_ref, pack_table, write_index
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.loading import Loading, append_joining, newest_first, replaced_by_owner
from recoup.repository.dedup.packs import Packed, PackRef
from recoup.repository.dedup.rows import DELTA, Bytes, Row, Rows, split_ids
from recoup.storage._base import Storage

__all__ = ["Index", "PackFacts", "Place", "write_index"]

_BLOCK = 4096  # rows that are handed out at once


class Place(NamedTuple):
    """Where a chunk lies.

    Attributes:
        row: the chunk.
        pack: the pack.
        offset: where it begins in the pack's file.
        file: place of the index file in the index's `names`.
        position: its place in the pack, from 0.
    """

    row: Row
    pack: PackRef
    offset: int
    file: int
    position: int


@dataclass(frozen=True, slots=True)
class PackFacts:
    """What an index file says of a pack.

    Attributes:
        size: bytes of its file.
        digest: BLAKE3 of its file.
        rows: how many chunks lie in it.
    """

    size: int
    digest: bytes
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A table, and what this host makes of it.

    Attributes:
        table: the table.
        usable: for each pack, whether a writer may refer to it.
        runs: places of runs in the table.
        first_file: place of the table's first file among all.
        finder: finds chunks in it.
    """

    table: Table
    usable: NDArray[np.bool_]
    runs: dict[bytes, int]
    first_file: int
    finder: Finder

    def place(self, i: int) -> Place:
        """Where one of its rows says that the chunk lies."""
        pack = self.table.packs[self.table.pack[i]]
        return Place(
            self.table.row(i),
            pack_ref(pack),
            int(self.table.offset[i]),
            self.first_file + int(pack["file"]),
            int(self.table.position[i]),
        )

    def places(self, rows: NDArray[Any]) -> list[Place]:
        """The same of many rows, far quicker for each."""
        table, address = self.table, self.table.address[rows]
        pack, which = np.unique(table.pack[rows], return_inverse=True)
        packs = [(pack_ref(one), self.first_file + int(one["file"])) for one in table.packs[pack]]
        columns = zip(
            (address >> np.uint64(32)).tolist(), address.astype(np.uint32).tolist(), split_ids(table.id[rows]),
            table.length[rows].tolist(), table.stored[rows].tolist(), table.encoding[rows].tolist(),
            _several(table.bases_from, rows, lambda begin, end: split_ids(table.bases[begin:end])),
            _several(table.anchors_from, rows, lambda begin, end: tuple(table.anchors[begin:end].tolist())),
            which.tolist(), table.offset[rows].tolist(), table.position[rows].tolist(), strict=True,
        )  # fmt: skip
        return [
            Place(Row(table.runs[run], *row), packs[n][0], offset, packs[n][1], position)
            for run, *row, n, offset, position in columns
        ]

    def full(self) -> NDArray[Any]:
        """Its rows that others may be stored against."""
        table = self.table
        full = (table.encoding != DELTA) & (table.anchors_from[:-1] != table.anchors_from[1:])
        return np.flatnonzero(full & self.usable[table.pack]).astype(np.uint32)

    def files_of(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Places of the files that name some rows, among all."""
        files: NDArray[Any] = self.first_file + self.table.packs["file"][self.table.pack[rows]]
        return files

    def in_pack(self, n: int) -> NDArray[Any]:
        """Its rows in one of its packs, in the order in which they lie there."""
        rows = np.flatnonzero(self.table.pack == n)
        return rows[np.argsort(self.table.position[rows], kind="stable")]

    def may_be_used(self, i: int) -> bool:
        """Whether a writer may refer to the pack of one of its rows."""
        return bool(self.usable[self.table.pack[i]])


class _Places(Sequence[Place]):
    """Places that are made when they are asked for: a stream may have a million of them."""

    def __init__(self, parts: Sequence[_Part], part: NDArray[Any] | None, rows: NDArray[Any]) -> None:
        self._parts, self._part, self._rows = parts, part, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Place: ...
    @overload
    def __getitem__(self, place: slice) -> "_Places": ...
    def __getitem__(self, place: int | slice) -> "Place | _Places":
        if isinstance(place, slice):
            return _Places(self._parts, None if self._part is None else self._part[place], self._rows[place])
        part = self._parts[0 if self._part is None else self._part[place]]
        return part.place(int(self._rows[place]))

    def __iter__(self) -> Iterator[Place]:
        for begin, end in _stretches(self._part, len(self), _BLOCK):
            yield from self._parts[0 if self._part is None else self._part[begin]].places(self._rows[begin:end])


class Index:
    """All index files of a repository, and what the run under way adds.

    One thread at a time may `add`; meanwhile others may ask.

    Args:
        keys: of the repository: they say whom this host believes.
        tables: of all index files.
        present: names of the index files that the storage shows.
        records: history records.
        damaged: chunks that cannot be read where they lie.
        unread: names of index files that could not be read, and why.
        problems: what else could not be read.

    Attributes:
        problems: what could not be read, one error for each file. Reading and writing go on without it: a writer stores
            again what it does not find, and a reader tells which chunks nobody names.
        unread: names of the index files among these, each with its problem.
        present: names of the index files that the storage showed, also of those that could not be read.
        records: history records, the oldest first.
        condemned: packs that are to be removed.
        lost: packs that are not there, as far as somebody said so.
    """

    def __init__(
        self,
        keys: Keys,
        tables: Sequence[Table] = (),
        present: Collection[str] = (),
        records: Sequence[Record] = (),
        damaged: Iterable[Damaged] = (),
        unread: Mapping[str, RecoupError] | None = None,
        problems: Sequence[RecoupError] = (),
    ) -> None:
        self.present, self.records, self.unread = frozenset(present), tuple(records), dict(unread or {})
        self.problems = (*self.unread.values(), *problems)
        self.condemned = frozenset(condemned_since(records))
        self.lost = frozenset[PackRef]()
        self._keys, self._host = keys, keys.maker
        self._damaged = frozenset(damaged)
        self._fixed = tuple(tables)
        self._added: list[Table] = []
        self._parts: tuple[_Part, ...] = ()
        self._packs: dict[PackRef, tuple[_Part, int]] | None = None
        self._take_in(self._fixed)

    @classmethod
    def load(cls, storage: Storage, keys: Keys, cache: Path | None = None) -> "Index":
        """Reads all index files, damage records and history records of a repository.

        Args:
            storage: where.
            keys: of the repository.
            cache: the user's cache folder, which saves reading again what was read before; None keeps nothing.
        """
        kept = Cache(cache, keys) if cache is not None else None
        problems = list[RecoupError]()
        records = read_records(storage, keys, problems, kept)
        damaged = (chunk for found in read_damaged(storage, keys, problems, kept) for chunk in found.chunks)
        loading = Loading(storage, keys, kept)
        return cls(
            keys, loading.tables, loading.present, records, damaged, loading.unread, (*loading.problems, *problems)
        )

    def __len__(self) -> int:
        return sum(len(part.table) for part in self._parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The index files that were read; empty names are of the run under way."""
        return tuple(file.name for part in self._parts for file in part.table.files)

    @property
    def files(self) -> tuple[FileFacts, ...]:
        """The same, with who made them."""
        return tuple(file for part in self._parts for file in part.table.files)

    @property
    def tables(self) -> tuple[Table, ...]:
        """The columns, in the order of `files`."""
        return tuple(part.table for part in self._parts)

    @property
    def damaged(self) -> frozenset[Damaged]:
        """Chunks that were found damaged where they lie."""
        return self._damaged

    @property
    def replaced(self) -> frozenset[str]:
        """Names of index files that one of the owner's stands for, whether they are there or not."""
        return frozenset(replaced_by_owner(iter(self.files), self._keys))

    # --- what lies where ----------------------------------------------------------------------------------------------

    def stored(self, id: bytes) -> Place | None:  # noqa: A002 - the format's name
        """Where a chunk lies, as far as a writer may believe it; None when it has to be stored.

        It is believed of this host and of the owner, where the pack is not condemned, neither the chunk nor a base of it
        was found damaged, and the bases are there.
        """
        return next((place for place in self._usable(id) if all(map(self._is_base, place.row.bases))), None)

    def base(self, id: bytes) -> Place | None:  # noqa: A002 - the format's name
        """Where a chunk lies in full, so that a writer may store others against it; None where it does not."""
        return next((place for place in self._usable(id) if place.row.encoding != DELTA), None)

    def by_id(self, id: bytes) -> list[Place]:  # noqa: A002 - the format's name
        """All places of a chunk, for a reader, who takes whichever can be read; the likeliest comes first."""
        good, poor = list[Place](), list[Place]()
        for part in reversed(self._parts):
            for i in part.finder.rows(id):
                place = part.place(i)
                (good if part.may_be_used(i) and not self._is_damaged(place) else poor).append(place)
        return good + poor

    def at(self, run: bytes, number: int) -> Place | None:
        """Where the chunk of an address lies; None when no index file says."""
        found = self.span(run, number, 1)
        return found[0] if found else None

    def span(self, run: bytes, first: int, count: int) -> Sequence[Place]:
        """Where chunks of consecutive addresses lie, one place for each.

        Args:
            run: of the addresses.
            first: number of the first one.
            count: how many.

        Returns:
            Those that an index file names: fewer than `count` mean that chunks are missing.
        """
        parts, found = self._parts, list[tuple[int, int, int]]()
        if not 0 <= first < 2**32 or count < 1:
            return ()
        for n, part in enumerate(parts):
            place = part.runs.get(run)
            if place is not None:
                begin, end = part.table.at(place, first, count)
                if begin < end:
                    found.append((n, begin, end))
        if len(found) == 1 and _ascends(parts[found[0][0]].table.address[found[0][1] : found[0][2]]):
            n, begin, end = found[0]
            return _Places((parts[n],), None, np.arange(begin, end))
        return _best(parts, found)

    def ids(self, run: bytes, first: int, count: int) -> Bytes | None:
        """The ids of chunks of consecutive addresses; None where they do not lie together. Arguments as of `span`."""
        found = self._together(run, first, count)
        return None if found is None else found[0].table.id[found[1] : found[2]]

    def referable(self, run: bytes, first: int, count: int) -> frozenset[PackRef] | None:
        """The packs of chunks of consecutive addresses, and of their bases, where a writer may refer to each of these chunks.

        Args:
            run, first, count: as of `span`.

        Returns:
            None where it may not, or where each has to be looked up by itself.
        """
        if (found := self._together(run, first, count)) is None:
            return None
        part, begin, end = found
        table = part.table
        numbers = np.unique(table.pack[begin:end])
        packs = {pack_ref(table.packs[n]) for n in numbers}
        if not part.usable[numbers].all() or (self._damaged and not packs.isdisjoint(ref for ref, _ in self._damaged)):
            return None
        bases = split_ids(table.rows(begin + np.flatnonzero(table.encoding[begin:end] == DELTA)).bases)
        places = [self.base(identity) for identity in set(bases)]
        return None if None in places else frozenset(packs | {place.pack for place in places if place})

    def _together(self, run: bytes, first: int, count: int) -> tuple[_Part, int, int] | None:
        """Where all chunks of consecutive addresses lie, each once, one behind the other in one table."""
        parts = [part for part in self._parts if run in part.runs]
        found = [(part, *part.table.at(part.runs[run], first, count)) for part in parts]
        found = [one for one in found if one[1] < one[2]]
        if len(found) != 1 or found[0][2] - found[0][1] != count:
            return None
        part, begin, end = found[0]
        return found[0] if _ascends(part.table.address[begin:end]) else None

    @property
    def packs(self) -> Mapping[PackRef, PackFacts]:
        """All packs that index files name."""
        return {
            ref: PackFacts(int(pack["size"]), pack["digest"].tobytes(), int(pack["rows"]))
            for ref, (part, n) in self._by_pack().items()
            for pack in (part.table.packs[n],)
        }

    def of_pack(self, ref: PackRef) -> Sequence[Place]:
        """The chunks of a pack, in the order in which they lie; empty when no index file names it."""
        known = self._by_pack().get(ref)
        if known is None:
            return ()
        part, n = known
        return _Places((part,), None, part.in_pack(n))

    def packed(self, ref: PackRef) -> Packed:
        """What an index file says of a pack. Raises KeyError when none names it."""
        part, n = self._by_pack()[ref]
        pack = part.table.packs[n]
        return Packed(ref, int(pack["size"]), pack["digest"].tobytes(), part.table.rows(part.in_pack(n)))

    def is_believed(self, ref: PackRef) -> bool:
        """Whether what its index file says of a pack is the word of this host or of the owner."""
        part, n = self._by_pack()[ref]
        file = part.table.files[int(part.table.packs[n]["file"])]
        return self._keys.believes(file.made_by, file.signed_by)

    def newest_full(self, limit: int) -> Iterator[Rows]:
        """Chunks that others may be stored against: full ones with anchors, that a writer may refer to.

        Args:
            limit: how many at most; those of the newest index files come first.
        """
        parts, rank = self._parts, _ranks(self.names)
        counts = np.zeros(len(rank), np.int64)
        for one in parts:
            counts += np.bincount(rank[one.files_of(one.full())], minlength=len(rank))
        last = np.searchsorted(np.cumsum(counts), limit)  # files behind it are not needed
        part, rows, ranks = list[NDArray[Any]](), list[NDArray[Any]](), list[NDArray[Any]]()
        for n, one in enumerate(parts):
            here = one.full()
            file = rank[one.files_of(here)]
            rows.append(here[file <= last])
            part.append(np.full(len(rows[-1]), n, np.uint32))
            ranks.append(file[file <= last])
        if rows:
            newest = np.argsort(np.concatenate(ranks), kind="stable")[:limit]
            chosen_part, chosen_rows = np.concatenate(part)[newest], np.concatenate(rows)[newest]
            for begin, end in _stretches(chosen_part, len(newest), _BLOCK):
                yield parts[chosen_part[begin]].table.rows(chosen_rows[begin:end])

    def as_seen_by(self, host: bytes) -> "Index":
        """The same index, to read a set with: of several rows with one address those come first that its maker could refer to.

        So nobody takes a set away by claiming its addresses for other chunks.

        Args:
            host: who made the set, by its public key.
        """
        seen = copy.copy(self)
        seen.see_as(host)
        return seen

    def see_as(self, host: bytes) -> None:
        """Believes what another host does."""
        self._host, self._packs = host, None
        self._parts = tuple(replace(part, usable=self._usable_packs(part.table)) for part in self._parts)

    # --- what the run under way adds ----------------------------------------------------------------------------------

    def add(self, packed: Packed) -> None:
        """Takes in a pack of the run under way."""
        facts = FileFacts("", self._keys.maker, self._keys.maker)
        self._added.append(joined([columns_of(IndexFile(facts, pack_table([packed]), packed.rows))]))
        append_joining(self._added)
        self._take_in((*self._fixed, *self._added))

    def lose(self, packs: Iterable[PackRef]) -> None:
        """Takes in that packs are not there: a writer refers to none of their chunks."""
        self.lost, self._parts = frozenset(packs), ()
        self._take_in((*self._fixed, *self._added))

    def _take_in(self, tables: Sequence[Table]) -> None:
        """Replaces the parts in one step: others may be asking."""
        known = {id(part.table): part for part in self._parts}
        parts, first = list[_Part](), 0
        for table in tables:
            part = known.get(id(table))
            parts.append(part or _Part(table, self._usable_packs(table), _places(table.runs), first, Finder(table)))
            first += len(table.files)
        self._parts, self._packs = tuple(parts), None

    def _usable_packs(self, table: Table) -> NDArray[np.bool_]:
        believes = partial(self._keys.believes, host=self._host)
        believed = np.array([believes(file.made_by, file.signed_by) for file in table.files], np.bool_)
        usable = believed[table.packs["file"]] if len(table.packs) else np.zeros(0, np.bool_)
        if avoided := self.condemned | self.lost:
            usable &= np.array([pack_ref(pack) not in avoided for pack in table.packs], np.bool_)
        return usable

    def _usable(self, identity: bytes) -> Iterator[Place]:
        for part in reversed(self._parts):
            for i in part.finder.rows(identity):
                if part.may_be_used(i) and not self._is_damaged(place := part.place(i)):
                    yield place

    def _is_base(self, identity: bytes) -> bool:
        return self.base(identity) is not None

    def _is_damaged(self, place: Place) -> bool:
        return bool(self._damaged) and (place.pack, place.row.id) in self._damaged

    def _by_pack(self) -> dict[PackRef, tuple[_Part, int]]:
        """Where each pack stands: of several files that name it, one that is believed."""
        if self._packs is None:
            found: dict[PackRef, tuple[_Part, int]] = {}
            for part in self._parts:
                for n, pack in enumerate(part.table.packs):
                    ref = pack_ref(pack)
                    if ref not in found or part.usable[n]:
                        found[ref] = part, n
            self._packs = found
        return self._packs


def _places(runs: Sequence[bytes]) -> dict[bytes, int]:
    return {run: i for i, run in enumerate(runs)}


def _ascends(address: NDArray[Any]) -> bool:
    """Whether each address is there once; that none is missing is for the caller to count."""
    return bool((address[1:] > address[:-1]).all())


def _best(parts: Sequence[_Part], found: Sequence[tuple[int, int, int]]) -> _Places:
    """One place for each address, in their order: of several, one that a writer may refer to."""
    part = np.concatenate([np.zeros(0, np.uint32), *(np.full(end - begin, n, np.uint32) for n, begin, end in found)])
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(begin, end) for _, begin, end in found)])
    numbers = [parts[n].table.address[begin:end].astype(np.uint32) for n, begin, end in found]
    poor = [~parts[n].usable[parts[n].table.pack[begin:end]] for n, begin, end in found]
    number = np.concatenate([np.zeros(0, np.uint32), *numbers])
    order = np.lexsort((np.concatenate([np.zeros(0, np.bool_), *poor]), number))
    _, first = np.unique(number[order], return_index=True)
    kept = order[first]
    return _Places(parts, part[kept], rows[kept])


def _ranks(names: Sequence[str]) -> NDArray[Any]:
    """For each file how new it is, 0 for the newest."""
    ranks = np.empty(len(names), np.uint32)
    ranks[newest_first(names)] = np.arange(len(names))
    return ranks


def _several(starts: NDArray[Any], rows: NDArray[Any], values: Callable[[int, int], tuple[Any, ...]]) -> Iterator[Any]:
    """The values of rows that may have several, which few have."""
    bounds = zip(starts[rows].tolist(), starts[rows + 1].tolist(), strict=True)
    return (values(begin, end) if begin < end else () for begin, end in bounds)


def _stretches(part: NDArray[Any] | None, count: int, most: int) -> Iterator[tuple[int, int]]:
    """Divides rows into stretches that each come from one part."""
    ends = [] if part is None else (np.flatnonzero(part[1:] != part[:-1]) + 1).tolist()
    for begin, end in zip([0, *ends], [*ends, count], strict=True):
        for at in range(begin, end, most):
            yield at, min(at + most, end)
