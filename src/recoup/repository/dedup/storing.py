"""Storing chunks: the packs of one run, and streams that are cut, compared with what is there, and packed."""

import contextlib
import secrets
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import blake3

from recoup.errors import NoSpaceError, RecoupError, StorageError
from recoup.repository.dedup.cutting import SHORTEST, Cutter, Piece, Slabs
from recoup.repository.dedup.encoding import Encoder
from recoup.repository.dedup.index import Index, write_index
from recoup.repository.dedup.index_files import fits
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import PackRef, PackWriter
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.recipes import Recipe, RecipeBuilder, Root
from recoup.repository.dedup.rows import DELTA, RUN_BYTES, Row
from recoup.storage._base import Storage
from recoup.system.clock import Clock

if TYPE_CHECKING:
    from recoup.repository.dedup.bases import Matcher
    from recoup.repository.dedup.near import NearPacks
    from recoup.repository.dedup.packs import Packed

_PACK = 32 * 1024 * 1024  # bytes after which a pack is ended
_BATCH = 2 * 1024 * 1024  # bytes that a thread takes at once: blocks of 64 KiB are slower in two threads than in one
SLABS = 6  # buffers of a stream: those that the threads work on, and those that fill meanwhile
_THREADS = 2
_SHRUNK = 20  # times that hardly any chunk with bases shrinks by itself: a far smaller delta needs no comparison
_CHECKPOINT = 240.0  # seconds after which what is stored gets an index, so that a killed run need not send it again


@dataclass(frozen=True, slots=True)
class Address:
    """Of a chunk: the run that stored it first, and its number there."""

    run: bytes
    number: int


@dataclass(slots=True)
class _Chunk:
    """A chunk that was cut: where it is, or what is to be stored of it."""

    identity: bytes
    length: int
    address: Address | None = None
    encoding: int = 0
    data: bytes | None = None
    bases: tuple[bytes, ...] = ()
    anchors: tuple[int, ...] = ()


@contextlib.contextmanager
def _of_all_sources() -> Iterator[None]:
    """What befalls a pack befalls every source: it has chunks of those before, so none goes on as if only this one had failed."""
    try:
        yield
    except (NoSpaceError, StorageError):
        raise
    except RecoupError as error:
        raise StorageError(error.message, error.hint) from error


class Run:
    """What one set adds to the repository: new chunks, in packs of its own.

    Args:
        storage: where.
        keys: of the repository.
        index: of all that is there; the run adds to it.
        clock: time.
        matcher: finds chunks to store others against; None stores all in full.
        near: keeps copies of packs; None keeps none.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        index: Index,
        clock: Clock,
        matcher: "Matcher | None" = None,
        near: "NearPacks | None" = None,
    ) -> None:
        self.storage, self.keys, self.index, self.matcher, self.near = storage, keys, index, matcher, near
        self.id = secrets.token_bytes(RUN_BYTES)
        self.key = keys.new_run()
        self.chunks = Chunks(storage, keys, index, near)
        self.chunks.use(self.id, self.key)
        self.pool = ThreadPoolExecutor(_THREADS, "chunks")
        self.added = 0  # bytes stored so far
        self._clock, self._lock = clock, threading.Lock()
        self._writer: PackWriter | None = None
        self._fresh: dict[bytes, int] = {}  # chunks of the pack being written
        self._next, self._packs = 0, 0
        self.index_files: list[str] = []  # names of those that were written
        self._unindexed: list[Packed] = []
        self._syncing: deque[Future[None]] = deque()
        self._syncer = ThreadPoolExecutor(1, "sync")
        self._indexed_at = clock.monotonic()
        self._used: set[PackRef] = set()

    def known(self, identity: bytes) -> Address | None:
        """Where a chunk lies that need not be stored; may be asked by several threads."""
        with self._lock:
            number = self._fresh.get(identity)
            if number is not None:
                return Address(self.id, number)
            place = self.index.stored(identity)
            if place is None:
                return None
            bases = map(self.index.base, place.row.bases)
            self._used.update((place.pack, *(base.pack for base in bases if base is not None)))
            return Address(place.row.run, place.row.number)

    def is_at_hand(self, identity: bytes) -> bool:
        """Whether a base can be read at once: where copies of packs are kept, from one of these."""
        place = self.index.base(identity)
        return place is not None and (self.near is None or self.near.has(place.pack))

    def refer(self, packs: Iterable[PackRef]) -> None:
        """Notes packs whose chunks new ones are stored against; may be called by several threads."""
        with self._lock:
            self._used.update(packs)

    @property
    def used(self) -> frozenset[PackRef]:
        """Packs of others that the set refers to, bases included."""
        return frozenset(pack for pack in self._used if pack.run != self.id)

    @property
    def own(self) -> frozenset[PackRef]:
        """Packs that this run has begun."""
        return frozenset(PackRef(self.id, number) for number in range(self._packs))

    @_of_all_sources()
    def store(self, chunk: _Chunk) -> Address:
        """Puts a new chunk into the pack."""
        if self._writer is None:
            pack = PackRef(self.id, self._packs)
            self._writer = PackWriter(self.storage, pack, self.key, self.near.copy(pack) if self.near else None)
            self._packs += 1
        writer, number = self._writer, self._next
        self._next += 1
        before = writer.size
        data = chunk.data if chunk.data is not None else b""
        writer.add(self.id, number, chunk.identity, chunk.length, chunk.encoding, data, chunk.bases, chunk.anchors)
        self.added += writer.size - before
        with self._lock:
            self._fresh[chunk.identity] = number
        if writer.size >= _PACK or writer.full:
            self.end_pack()
        return Address(self.id, number)

    def store_encoded(self, row: Row, data: bytes) -> Address:
        """Puts a chunk of another repository, which is encoded and was compared with its id, into the pack."""
        return self.store(_Chunk(row.id, row.length, None, row.encoding, data, row.bases, row.anchors))

    @_of_all_sources()
    def end_pack(self) -> None:
        """Ends the pack that is being written: from here on, its chunks can be bases."""
        if self._writer is None:
            return
        packed = self._writer.finish()
        self._writer = None
        self.take_in(packed)
        with self._lock:
            self._fresh.clear()

    def take_in(self, packed: "Packed") -> None:
        """Notes a pack that lies in the storage: it gets an index when it is durable."""
        self._syncing.append(self._syncer.submit(self.storage.sync, packed.ref.key))
        self._unindexed.append(packed)
        with self._lock:
            self.index.add(packed)
            if self.matcher is not None:
                self.matcher.add(packed.rows)
        if not fits(self._unindexed) or self._clock.monotonic() - self._indexed_at >= _CHECKPOINT:
            self._write_index()

    @_of_all_sources()
    def _write_index(self) -> None:
        try:
            while self._syncing:
                self._syncing[0].result()
                self._syncing.popleft()
        except Exception:
            self._unindexed.clear()  # nobody knows which of them are durable, so no index may name them, now or later
            raise
        self._indexed_at = self._clock.monotonic()
        if self._unindexed:
            now, sequence = self._clock.now(), len(self.index_files)
            self.index_files.append(write_index(self.storage, self.keys, now, self.id, sequence, self._unindexed))
            self._unindexed.clear()

    def flush(self) -> None:
        """Makes all that was stored durable, and an index of it."""
        self.end_pack()
        self._write_index()

    def close(self) -> None:
        """Ends it. Packs that are whole are found by the next run, which then need not store them again."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        try:
            if self._writer is not None:
                self._writer.abort()
                self._writer = None
            self._write_index()
            if self.near is not None:
                self.near.shrink()
        finally:
            self._syncer.shutdown(wait=True)


class StreamStorer:
    """One stream being stored.

    Args:
        run: what stores its new chunks.
        tar: whether to look for archives in it.
        slabs: how many buffers it has.
    """

    def __init__(self, run: Run, *, tar: bool = True, slabs: int = SLABS) -> None:
        self._run = run
        buffers = Slabs(slabs, wait=self._drain)
        self._cutter = Cutter(run.keys.cut_seed, self._take, self._gap, tar=tar, slabs=buffers)
        self._recipe = RecipeBuilder(Root(run.keys.stream_key))
        self._encoder = Encoder()
        self._rest = Encoder()  # for what lies between the members of archives: too little for a trial each
        self._waiting: deque[tuple[Future[list[_Chunk]] | int, Piece | None]] = deque()
        self._batches = 0
        self._claims: dict[bytes, int] = {}
        self._added = 0
        self.bytes = 0  # taken in so far
        self.boundary = self._cutter.boundary

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends bytes."""
        self._cutter.write(data)
        self.bytes += len(data)

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        self._cutter.hole(length)
        self.bytes += length

    def read_from(self, descriptor: int, length: int) -> None:
        """Appends what a file holds, from where it stands."""
        self.bytes += self._cutter.read_from(descriptor, length)

    def finish(self) -> tuple[Recipe, int]:
        """Ends it; returns its recipe, and how many bytes were stored for it."""
        self._cutter.finish()
        while self._waiting:
            self._drain()
        return self._recipe.finish(), self._added

    def abort(self) -> None:
        """Drops it. What was stored of it already stays for the next one."""
        self._cutter.abort()
        while self._waiting:
            task, piece = self._waiting.popleft()
            if not isinstance(task, int):
                task.cancel()
                if not task.cancelled():
                    task.exception()
            if piece is not None:
                piece.release()

    def _gap(self, length: int) -> None:
        self._waiting.append((length, None))

    def _take(self, piece: Piece) -> None:
        size = piece.cuts[-1]
        if piece.first and size >= SHORTEST:
            self._encoder = Encoder()
        encoder = self._encoder if size >= SHORTEST else self._rest
        cuts, begin = piece.cuts, 0
        batches: list[Sequence[int]] = []
        for end in range(1, len(cuts)):
            if cuts[end] - cuts[begin] >= _BATCH or end == len(cuts) - 1:
                batches.append(cuts[begin : end + 1])
                begin = end
        for batch in batches:
            self._batches += 1
            task = self._run.pool.submit(self._work, piece.buffer, batch, encoder, self._batches)
            self._waiting.append((task, piece if batch is batches[-1] else None))

    def _work(self, buffer: memoryview, cuts: Sequence[int], encoder: Encoder, batch: int) -> list[_Chunk]:
        """In a thread: names chunks, and prepares those that are new."""
        return [self._chunk(buffer[cuts[i] : cuts[i + 1]], encoder, batch) for i in range(len(cuts) - 1)]

    def _chunk(self, data: memoryview, encoder: Encoder, batch: int) -> _Chunk:
        identity = blake3.blake3(data, key=self._run.keys.chunk_key).digest()
        chunk = _Chunk(identity, len(data), self._run.known(identity))
        if chunk.address is not None:
            return chunk
        # whoever comes first prepares it: an earlier batch is drained before this one, and a later one is not
        first = self._claims.setdefault(identity, batch)
        if first < batch:
            return chunk
        self._prepare(chunk, data, encoder)
        return chunk

    def _prepare(self, chunk: _Chunk, data: memoryview, encoder: Encoder) -> None:
        """Says how a new chunk is stored: against others where that saves enough, else in full."""
        matcher = self._run.matcher
        delta = self._delta(chunk, data)
        count = len(chunk.bases)
        if not matcher or delta is None or not matcher.saves(len(delta), count, len(data) // _SHRUNK):
            chunk.encoding, packed = encoder.encode(data)
            if not matcher or delta is None or not matcher.saves(len(delta), count, len(packed)):
                chunk.data, chunk.bases = bytes(packed), ()  # it may be the chunk itself, whose buffer is used again
                return
        chunk.encoding, chunk.data, chunk.anchors = DELTA, delta, ()
        self._run.refer(place.pack for base in chunk.bases if (place := self._run.index.base(base)))

    def _delta(self, chunk: _Chunk, data: memoryview) -> bytes | None:
        """A new chunk against those that it resembles, which are noted in it; None where there are none."""
        run = self._run
        if run.matcher is None:
            return None
        chunk.anchors, chunk.bases = run.matcher.look(data)
        if not all(map(run.is_at_hand, chunk.bases)):
            return None
        try:
            bases = [run.chunks.base(identity) for identity in chunk.bases]
        except RecoupError:
            return None  # a base that cannot be read: `verify` tells
        return run.matcher.delta(data, bases) if bases else None

    def _drain(self) -> None:
        """Stores what was prepared first, or waits for it, so that its buffer is free again."""
        task, piece = self._waiting.popleft()
        if isinstance(task, int):
            self._recipe.gap(task)
            return
        for chunk in task.result():
            address = chunk.address or self._run.known(chunk.identity)
            if address is None:
                if chunk.data is None:
                    raise RuntimeError("a chunk was neither stored nor prepared")
                before = self._run.added
                address = self._run.store(chunk)
                self._added += self._run.added - before
            self._claims.pop(chunk.identity, None)
            self._recipe.chunk(address.run, address.number, chunk.identity, chunk.length)
        if piece is not None:
            piece.release()
