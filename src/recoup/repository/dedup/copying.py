"""Copying chunks that are in use out of packs that are mostly unused; they keep their addresses."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from recoup.errors import DamagedError
from recoup.repository.dedup.damaged import Damaged
from recoup.repository.dedup.index import Place
from recoup.repository.dedup.index_files import fits
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import Packed, PackRef, PackWriter
from recoup.repository.dedup.reading import Chunks, UnreadError, groups
from recoup.repository.dedup.reindexing import Reindexing
from recoup.repository.dedup.stock import Places, Stock
from recoup.storage._base import Storage

_PACK = 32 * 1024 * 1024  # bytes after which a pack is ended
_SYNCED = (
    256 * 1024 * 1024
)  # bytes after which what was copied gets an index, so that a killed prune need not do it again


@dataclass
class Checking:
    """Reads chunks where they lie, and nowhere else.

    Attributes:
        chunks: reads.
        harmed: those that are not what was stored.
        unread: those of them that the storage did not give: nothing is known of them.
        read: stored bytes of those that are.
    """

    chunks: Chunks
    harmed: set[Damaged] = field(default_factory=set)
    unread: set[Damaged] = field(default_factory=set)
    read: int = 0

    def sound(self, places: Iterable[Place]) -> Iterator[tuple[Place, bytes]]:
        """The chunks that are what was stored, each with what lies in its seal; the others are noted."""
        for group in groups(places):
            first, last = group[0], group[-1]
            try:
                length = last.offset + last.row.stored - first.offset
                sealed = memoryview(self.chunks.stored(first.pack, first.offset, length))
            except DamagedError as error:
                chunks = {(place.pack, place.row.id) for place in group}
                self.harmed |= chunks
                self.unread |= chunks if isinstance(error, UnreadError) else set()
                continue
            for place in group:
                begin = place.offset - first.offset
                packed = self._opened(place, sealed[begin : begin + place.row.stored])
                if packed is not None:
                    self.read += place.row.stored
                    yield place, packed

    def _opened(self, place: Place, sealed: memoryview) -> bytes | None:
        try:
            self.chunks.opened(place, sealed)
            return self.chunks.unsealed(place, sealed)
        except DamagedError as error:
            chunk = place.pack, place.row.id
            self.harmed.add(chunk)
            self.unread |= {chunk} if isinstance(error, UnreadError) else set()
            return None


class Copying:
    """Copies chunks into packs of a prune's own.

    Args:
        storage: where.
        keys: the owner's.
        stock: all chunks.
        checking: reads them.
        reindexing: writes the index of what was copied.
        run: id of the prune.
    """

    def __init__(
        self, storage: Storage, keys: Keys, stock: Stock, checking: Checking, reindexing: Reindexing, run: bytes
    ) -> None:
        self._storage, self._stock, self._checking, self._reindexing = storage, stock, checking, reindexing
        self._run, self._key = run, keys.new_run()
        checking.chunks.use(run, self._key)
        self._packs = 0
        self.harmed = set[PackRef]()  # packs of which not all could be copied

    def copy(self, rows: Places) -> None:
        """Copies chunks, and makes them durable with an index.

        Args:
            rows: of the stock, all of the packs that are rewritten.
        """
        order = np.lexsort((self._stock.take("offset", rows), self._stock.pack[rows]))
        rows = rows[order]
        files = self._stock.file_of(rows)
        for maker in dict.fromkeys(self._stock.files[file].made_by for file in np.unique(files)):
            mine = [i for i, file in enumerate(self._stock.files) if file.made_by == maker]
            self._copy_of(maker, rows[np.isin(files, mine)])
        self.harmed |= {ref for ref, _ in self._checking.harmed}

    def _copy_of(self, maker: bytes, rows: Places) -> None:
        """Copies chunks of one host: an index file tells who made what it names."""
        done, size = list[Packed](), 0
        for packed in self._packed(self._checking.sound(self._stock.places(rows))):
            if not fits([*done, packed]) or size >= _SYNCED:
                self._index(done, maker)
                done, size = [], 0
            done.append(packed)
            size += packed.size
        self._index(done, maker)

    def _index(self, done: Sequence[Packed], maker: bytes) -> None:
        for folder in {packed.ref.key.rpartition("/")[0] for packed in done}:
            self._storage.sync(folder)
        if done:
            self._reindexing.write(done, maker)

    def _packed(self, chunks: Iterator[tuple[Place, bytes]]) -> Iterator[Packed]:
        """Packs, each when it is full."""
        writer: PackWriter | None = None
        try:
            for place, data in chunks:
                if writer is None:
                    writer = PackWriter(self._storage, PackRef(self._run, self._packs), self._key)
                    self._packs += 1
                row = place.row
                writer.add(row.run, row.number, row.id, row.length, row.encoding, data, row.bases, row.anchors)
                if writer.size >= _PACK or writer.full:
                    ended, writer = writer, None
                    yield ended.finish()
            if writer is not None:
                ended, writer = writer, None
                yield ended.finish()
        finally:
            if writer is not None:
                writer.abort()
