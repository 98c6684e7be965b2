"""Reading chunks and streams back: what comes out was compared with the chunk's id, and a stream's chunks with its root."""

import contextlib
import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING

import blake3

from recoup.errors import DamagedError
from recoup.model.names import shown
from recoup.model.part import Reader
from recoup.repository.dedup import encoding
from recoup.repository.dedup.index import Index, Place
from recoup.repository.dedup.keys import KIND_CHUNK, Keys, RunKey
from recoup.repository.dedup.packs import HEADER_BYTES, PackRef, opened_header
from recoup.repository.dedup.recipes import Recipe, Root
from recoup.storage._base import Storage

if TYPE_CHECKING:
    from recoup.repository.dedup.fetching import Fetching, Work
    from recoup.repository.dedup.near import NearPacks

_HINT = "Run `recoup verify`, then restore from another set or repository."
_GROUP = 2 * 1024 * 1024  # bytes of one request, at most one chunk more
_AHEAD = 6  # groups that are read and decoded before they are wanted
_THREADS = 2
_AT_ONCE = 32_768  # chunks that are looked up at once
_RUN = 256  # chunks that are divided into groups at once
_BASES = 6 * 1024 * 1024  # bytes of bases that are kept: more make nothing faster (measured on a rewrite)
_BLOCK = 1024 * 1024
_ZEROS = bytes(_BLOCK)


class UnreadError(DamagedError):
    """The storage did not give what lies there: nothing is known of it."""


class Chunks:
    """Reads chunks, in several threads.

    Args:
        storage: where the packs are.
        keys: that open them.
        index: says where each chunk lies.
        near: copies of packs, which are read first: for writers alone.
    """

    def __init__(self, storage: Storage, keys: Keys, index: Index, near: "NearPacks | None" = None) -> None:
        self._storage, self._keys, self.index, self._near = storage, keys, index, near
        self._lock = threading.Lock()
        self._run_keys: dict[bytes, RunKey] = {}
        self._bases: OrderedDict[bytes, bytes] = OrderedDict()
        self._held = 0
        self._is_far = storage.properties.local_root is None

    @cached_property
    def _fetching(self) -> "Fetching":
        from recoup.repository.dedup.fetching import Fetching

        return Fetching(self.stored, self.index.packs, self._bases_of)

    def ahead(self, work: "Iterator[Work]") -> "AbstractContextManager[Iterator[Work]]":
        """The same work; over a network, what it needs is asked for before it is handed out, in few requests."""
        return self._fetching.ahead(work) if self._is_far and self._near is None else contextlib.nullcontext(work)

    def _bases_of(self, place: Place) -> Iterator[Place]:
        """Where the bases of a chunk lie, as far as they are not at hand."""
        for identity in place.row.bases:
            if identity not in self._bases:
                yield from itertools.islice(self._full(identity), 1)

    def _full(self, identity: bytes) -> Iterator[Place]:
        # never one that has bases itself: two that were stored against each other would be looked up for ever
        return (place for place in self.index.by_id(identity) if not place.row.bases)

    def _at_hand(self, pack: PackRef, offset: int, length: int) -> bytes | memoryview:
        """A range of a pack, as it came ahead or comes now. Raises as `stored` does."""
        found = self._fetching.take(pack, offset, length) if self._is_far and self._near is None else None
        return self.stored(pack, offset, length) if found is None else found

    def _let_go(self, pack: PackRef) -> bool:
        """Forgets what is at hand of a pack: it may be what is damaged. Returns whether there may have been any."""
        if self._near is not None and self._near.has(pack):
            self._near.forget(pack)
            return True
        if not self._is_far or self._near is not None:
            return False
        self._fetching.forget(pack)
        return True  # another thread may have forgotten it since this one took something of it

    def use(self, run: bytes, key: RunKey) -> None:
        """Tells a run's key: that of a run under way need not be opened."""
        self._run_keys[run] = key

    def key_of(self, pack: PackRef) -> RunKey:
        """The key of the run that wrote a pack.

        Raises:
            WrongKeyError: this host can only add sets.
            DamagedError: the pack's head is not what a pack begins with.
        """
        if pack.run not in self._run_keys:
            self._run_keys[pack.run] = self._key_in(pack)
        return self._run_keys[pack.run]

    def _key_in(self, pack: PackRef) -> RunKey:
        return opened_header(bytes(self._at_hand(pack, 0, HEADER_BYTES)), pack, self._keys)

    def stored(self, pack: PackRef, offset: int, length: int) -> bytes:
        """A range of a pack as it lies there.

        Raises:
            DamagedError: it is missing, too short, or, as an UnreadError, cannot be read.
        """
        if self._near is not None and (copy := self._near.read(pack, offset, length)) is not None:
            return copy
        pieces: list[bytes] = []
        left = length
        try:
            with self._storage.reader(pack.key, offset, length) as reader:
                while left and (data := reader.read(left)):
                    pieces.append(data)
                    left -= len(data)
        except FileNotFoundError:
            raise DamagedError(f"{pack.key} is missing from the repository", _HINT) from None
        except OSError as error:
            raise UnreadError(f"{pack.key} cannot be read: {error.strerror or error}", _HINT) from None
        if left:
            raise DamagedError(f"{pack.key} is cut short", _HINT)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def size_of(self, pack: PackRef) -> int:
        """Bytes of a pack's file. Raises DamagedError when it is missing."""
        try:
            return self._storage.size(pack.key)
        except FileNotFoundError:
            raise DamagedError(f"{pack.key} is missing from the repository", _HINT) from None

    def opened(self, place: Place, sealed: bytes | memoryview) -> bytes:
        """The plain bytes of a chunk, compared with its id.

        Args:
            place: of the chunk.
            sealed: what lies there.

        Raises:
            DamagedError: it is not what was stored.
        """
        row, packed = place.row, self.unsealed(place, sealed)
        base = b"".join(self.base(identity) for identity in row.bases)
        data = encoding.decode(row.encoding, packed, row.length, base)
        if blake3.blake3(data, key=self._keys.chunk_key).digest() != row.id:
            raise DamagedError(f"a chunk in {place.pack.key} is not what its id says", _HINT)
        return data

    def unsealed(self, place: Place, sealed: bytes | memoryview) -> bytes:
        """A chunk as it was encoded. Arguments and errors as of `opened`."""
        pack, key = place.pack, self.key_of(place.pack)
        counter = pack.number << 32 | place.position
        try:
            return key.open(KIND_CHUNK, counter, sealed, place.row.id, pack.key)
        except DamagedError:
            own = self._key_in(pack)  # another host may have put a pack of its own under the name of this run
            if own.sealed == key.sealed:
                raise
            return own.open(KIND_CHUNK, counter, sealed, place.row.id, pack.key)

    def one(self, place: Place) -> bytes:
        """One chunk; where that place is damaged, from another one that has it. Raises as `opened` does."""
        try:
            return self._read(place)
        except DamagedError as error:
            others = (other for other in self.index.by_id(place.row.id) if other != place)
            return self._any_of(others, error)

    def _read(self, place: Place) -> bytes:
        try:
            return self.opened(place, self._at_hand(place.pack, place.offset, place.row.stored))
        except DamagedError:
            if not self._let_go(place.pack):
                raise
            return self.opened(place, self.stored(place.pack, place.offset, place.row.stored))

    def _any_of(self, places: Iterable[Place], error: DamagedError) -> bytes:
        for place in places:
            try:
                return self._read(place)
            except DamagedError as found:
                error = found
        raise error

    def base(self, identity: bytes) -> bytes:
        """A chunk that others are stored against; those used last are kept. Raises as `opened` does."""
        with self._lock:
            if identity in self._bases:
                self._bases.move_to_end(identity)
                return self._bases[identity]
        data = self._any_of(
            self._full(identity), DamagedError("a chunk that others are stored against is missing", _HINT)
        )
        with self._lock:
            if identity not in self._bases:
                self._bases[identity] = data
                self._held += len(data)
            while self._held > _BASES:
                self._held -= len(self._bases.popitem(last=False)[1])
        return data

    def group(self, places: Sequence[Place]) -> list[bytes]:
        """Chunks that lie one behind the other, by one request. Raises as `opened` does."""
        first, last = places[0], places[-1]
        length = last.offset + last.row.stored - first.offset
        try:
            sealed = memoryview(self._at_hand(first.pack, first.offset, length))
        except DamagedError:
            return [self.one(place) for place in places]
        found = []
        for place in places:
            begin = place.offset - first.offset
            try:
                found.append(self.opened(place, sealed[begin : begin + place.row.stored]))
            except DamagedError:
                found.append(self.one(place))
        return found


def groups(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Divides places into those that one request reads."""
    group: list[Place] = []
    held = 0
    for place in places:
        if group:
            last = group[-1]
            follows = place.pack == last.pack and place.offset == last.offset + last.row.stored
            if not follows or held + place.row.length > _GROUP:
                yield group
                group, held = [], 0
        group.append(place)
        held += place.row.length
    if group:
        yield group


class Stream:
    """A stored stream, as the content of a part.

    Args:
        chunks: reads them.
        recipe: of the stream.
        stream_key: of the repository.
        item: what to call it in an error.
    """

    local_path = None
    disposable = False

    def __init__(self, chunks: Chunks, recipe: Recipe, stream_key: bytes, item: str) -> None:
        self.chunks, self.recipe, self.item = chunks, recipe, item
        self._stream_key, self._is_sound = stream_key, False

    def open(self) -> AbstractContextManager[Reader]:
        """Opens from the beginning."""
        return self.open_at(0)

    @contextlib.contextmanager
    def open_at(self, start: int, length: int | None = None, /) -> Iterator[Reader]:
        """Opens a range, in bytes. Raises DamagedError when the index does not lead to the chunks that were stored."""
        if not self._is_sound:
            self.require_root()
        left = self.recipe.size - start
        wanted = left if length is None else min(left, length)
        data = self._data(start, start + wanted)
        try:
            yield _StreamReader(data, wanted)
        finally:
            data.close()

    def require_root(self) -> None:
        """Compares the chunks that the index names with the stream's root; reads none of them.

        Raises:
            DamagedError: a chunk is missing in the index, or is another one.
        """
        root, size = Root(self._stream_key), 0
        for piece in self.pieces():
            if isinstance(piece, int):
                root.gap(piece)
                size += piece
            else:
                root.chunk(piece.row.id, piece.row.length)
                size += piece.row.length
        if root.digest() != self.recipe.root or size != self.recipe.size:
            raise DamagedError(f"{shown(self.item)} does not consist of the chunks that were stored", _HINT)
        self._is_sound = True

    def places(self) -> Iterator[Place]:
        """Where its chunks lie, in order. Raises DamagedError when the index lacks one."""
        return (piece for piece in self.pieces() if not isinstance(piece, int))

    def pieces(self) -> Iterator[Place | int]:
        """Chunks, and lengths of gaps, in order. Raises DamagedError when the index lacks a chunk."""
        index = self.chunks.index
        for span in self.recipe.spans:
            if not span.run:
                yield span.count
                continue
            for first in range(span.first, span.first + span.count, _AT_ONCE):
                count = min(_AT_ONCE, span.first + span.count - first)
                places = index.span(span.run, first, count)
                yield from places
                if len(places) != count:
                    raise DamagedError(f"{shown(self.item)} has chunks that no index names", _HINT)

    def _data(self, start: int, end: int) -> Generator[bytes, None, None]:
        """The bytes from a place on, decoded ahead, and no chunk that begins at `end` or behind it."""
        waiting: deque[tuple[int, Future[list[bytes]] | int]] = deque()
        with self.chunks.ahead(self._work(start, end)) as work, ThreadPoolExecutor(_THREADS) as pool:
            try:
                for skip, task in work:
                    waiting.append((skip, task if isinstance(task, int) else pool.submit(self.chunks.group, task)))
                    if len(waiting) > _AHEAD:
                        yield from _out(*waiting.popleft())
                while waiting:
                    yield from _out(*waiting.popleft())
            finally:
                for _, left in waiting:
                    if not isinstance(left, int):
                        left.cancel()

    def _work(self, start: int, end: int) -> Iterator[tuple[int, list[Place] | int]]:
        """Groups of places, and gaps, of a range; with each, how many bytes to skip of it."""
        skip, run, at = start, list[Place](), 0
        for piece in self.pieces():
            if at >= end:
                break
            length = piece if isinstance(piece, int) else piece.row.length
            at += length
            if skip >= length:
                skip -= length
                continue
            if skip or isinstance(piece, int) or len(run) == _RUN:
                yield from ((0, group) for group in groups(run))
                run = []
            if isinstance(piece, int):
                yield 0, piece - skip
            elif skip:
                yield skip, [piece]
            else:
                run.append(piece)
            skip = 0
        yield from ((0, group) for group in groups(run))


def _out(skip: int, task: "Future[list[bytes]] | int") -> Iterator[bytes]:
    if isinstance(task, int):
        for begin in range(0, task, _BLOCK):
            yield _ZEROS[: min(_BLOCK, task - begin)]
        return
    for data in task.result():
        yield data[skip:]
        skip = 0


class _StreamReader:
    changed = False

    def __init__(self, data: Iterator[bytes], left: int) -> None:
        self._data, self._left = data, left
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        size = min(size, self._left)
        if size <= 0:
            return b""
        if not self._rest:
            self._rest = memoryview(next(self._data, b""))
        found = self._rest[:size]
        self._rest = self._rest[len(found) :]
        if len(found) == size or not found:
            self._left -= len(found)
            return found.obj if len(found) == len(found.obj) else bytes(found)  # type: ignore[arg-type, return-value]
        pieces, missing = [found], size - len(found)
        while missing and (more := memoryview(next(self._data, b""))):
            pieces.append(more[:missing])
            self._rest = more[missing:]
            missing -= len(pieces[-1])
        self._left -= size - missing
        return b"".join(pieces)
