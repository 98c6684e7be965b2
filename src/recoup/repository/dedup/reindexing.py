"""Writing index files anew, without packs that go, and fewer of them (`docs/format.md`, Damage and removal)."""

from collections.abc import Collection, Iterable, Iterator

from recoup.model.structs import Struct
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.index_files import FOLDER, fits, write_index
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import Packed, PackRef
from recoup.repository.dedup.stock import Stock
from recoup.storage._base import Storage
from recoup.system.clock import Clock

_SMALL = 8_192  # rows below which an index file is worth joining with others
_MANY = 32  # small files of one host that are left as they are: each costs a request when there is no cache


class Rewrite(Struct):
    """One new index file, or none.

    Attributes:
        made_by: who cut and sealed the chunks.
        files: places of the old ones in the stock's `files`.
        packs: what the new one names; empty when nothing is left to name.
    """

    made_by: bytes
    files: tuple[int, ...]
    packs: tuple[Packed, ...]


def rewrites(stock: Stock, going: Collection[PackRef]) -> Iterator[Rewrite]:
    """The index files that name packs which go, and small ones where they are many: what is to stand for them.

    What belongs to one old file goes to one new file: so an old one is never replaced before all of it is there again.

    Args:
        stock: of all index files.
        going: packs that go.
    """
    touched = _touched(stock, going)
    for maker in dict.fromkeys(file.made_by for file in stock.files):
        mine = [i for i, file in enumerate(stock.files) if file.made_by == maker]
        small = [i for i in mine if stock.rows_in(i) < _SMALL]
        chosen = sorted({i for i in mine if i in touched} | set(small if len(small) > _MANY else ()))
        yield from _filled(stock, maker, chosen, going)


def _touched(stock: Stock, going: Collection[PackRef]) -> set[int]:
    return {file for ref in going for file in stock.files_naming(ref)}


def _filled(stock: Stock, maker: bytes, chosen: Iterable[int], going: Collection[PackRef]) -> Iterator[Rewrite]:
    files, packs = list[int](), dict[tuple[PackRef, bytes], Packed]()
    for file in chosen:
        kept = {(pack.ref, pack.digest): pack for pack in stock.packed(file) if pack.ref not in going}
        if files and not fits([*packs.values(), *kept.values()]):
            yield Rewrite(maker, tuple(files), tuple(packs.values()))
            files, packs = [], {}
        files.append(file)
        packs |= kept  # which two files may name
    if files:
        yield Rewrite(maker, tuple(files), tuple(packs.values()))


class Reindexing:
    """The index files that a prune writes.

    Args:
        storage: where.
        keys: the owner's.
        clock: time.
        run: id of the prune, for their names.
    """

    def __init__(self, storage: Storage, keys: Keys, clock: Clock, run: bytes) -> None:
        self._storage, self._keys, self._clock, self._run = storage, keys, clock, run
        self._written = 0

    def write(self, packs: Collection[Packed], made_by: bytes, replaces: Collection[str] = ()) -> None:
        """Writes one."""
        moment = self._clock.now()
        write_index(self._storage, self._keys, moment, self._run, self._written, tuple(packs), tuple(replaces), made_by)
        self._written += 1

    def replace(self, stock: Stock, going: Collection[PackRef], left: Collection[str] = ()) -> list[str]:
        """Writes what is to stand for old ones; returns the names of these, which then may go.

        Args:
            stock: of all index files.
            going: packs that go.
            left: files that are still there, though others stand for them: where one of these goes, the new one stands for them.
        """
        old = list[str]()
        for rewrite in rewrites(stock, going):
            files = [stock.files[file] for file in rewrite.files]
            names = [file.name for file in files]
            if rewrite.packs:
                behind = {name for file in files for name in file.replaces}.intersection(left)
                self.write(rewrite.packs, rewrite.made_by, [*names, *sorted(behind)])
            old += names
        return old

    def remove(self, names: Iterable[str]) -> None:
        """Removes index files."""
        for name in names:
            self._storage.delete(f"{FOLDER}/{name}")


def replaced(index: Index, keys: Keys) -> set[str]:
    """Names of index files that are still there, though the owner's stand for them: what a killed prune left."""
    standing = {name for file in index.files if file.signed_by == keys.owner for name in file.replaces}
    return (standing & index.present) - set(index.names)


def unread(index: Index, keys: Keys) -> set[str]:
    """Names of index files that are there and could not be read."""
    return set(index.present) - set(index.names) - replaced(index, keys)
