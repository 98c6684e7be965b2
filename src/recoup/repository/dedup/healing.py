"""Putting chunks back that are missing or damaged, from whatever another repository has of the same cut.

A chunk is taken only if it has the id that the index names. It is stored again under its address, in a pack of a run of its own,
so every set that refers to it is whole again.
"""

import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import blake3

from recoup.errors import DamagedError, RecoupError
from recoup.model.manifest import StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import Content, Part, StreamPart, TreePart
from recoup.repository.dedup import rebuilding, sets
from recoup.repository.dedup.caching import Kept
from recoup.repository.dedup.encoding import Encoder
from recoup.repository.dedup.index import Index, write_index
from recoup.repository.dedup.index import Place as ChunkPlace
from recoup.repository.dedup.keys import Keys, RunKey
from recoup.repository.dedup.names import RECIPES
from recoup.repository.dedup.packs import HEADER_BYTES, Packed, PackRef, PackWriter, beginning, ending
from recoup.repository.dedup.parts import Place, member_lines
from recoup.repository.dedup.reading import Chunks, Stream
from recoup.repository.dedup.rows import RUN_BYTES, Rows
from recoup.repository.plain import layout, members
from recoup.storage._base import Storage
from recoup.system.clock import Clock

_BLOCK = 1024 * 1024
_PACK = 32 * 1024 * 1024  # bytes after which a pack is ended
_HELD = 64 * 1024 * 1024  # bytes of chunks that are half there: files of a tree may come in another order
_AT_ONCE = 50_000  # chunks that are looked for by one reading of the other repository's part

Piece = tuple[int, bytes]
"""Bytes of a stream, and where in it they stand."""

Wants = Callable[[int, int], bool]
"""Whether any byte is wanted that stands at a place of a stream or so many bytes behind it."""


class Sets(Protocol):
    """What healing asks of the repository; each raises what `DedupRepository` says."""

    def place(self, name: SetName) -> Place:
        """Where the parts of a set are read from."""
        ...

    def header(self, name: SetName) -> sets.Header:
        """The open part of a set's file."""
        ...

    def names(self) -> Sequence[SetName]:
        """The names of all sets."""
        ...

    def index(self) -> Index:
        """All that index files say now."""
        ...

    def index_for(self, name: SetName) -> Index:
        """All that index files say, read after a set appeared."""
        ...

    def kept(self) -> Kept | None:
        """What this host keeps of it; None where it keeps nothing."""
        ...

    def forget(self) -> None:
        """Reads all anew from now on."""
        ...


class DedupHealing:
    """Mends the sets of a repository. Whoever does holds the exclusive lock.

    Args:
        repository: what is mended.
        storage: of it.
        keys: the owner's.
        clock: time.
    """

    def __init__(self, repository: Sets, storage: Storage, keys: Keys, clock: Clock) -> None:
        self._repository, self._storage, self._keys, self._clock = repository, storage, keys, clock

    def rebuild_index(self) -> tuple[list[str], list[str]]:
        """Makes index files of packs that none names; returns their keys, and why others got none.

        Raises:
            WrongKeyError: this host can only add sets.
        """
        index, kept = self._repository.index(), self._repository.kept()
        gone = kept.gone_index_files(index) if kept is not None else ()  # else each backup would go on to miss them
        done = rebuilding.rebuilt(self._storage, self._keys, index, self._clock.now(), gone=gone)
        if done.names:
            self._repository.forget()
        return [f"index/{name}" for name in done.names], [problem.message for problem in done.problems]

    def raw(self, name: SetName, path: str) -> bytes:
        """A file of a set as it lies there.

        Raises:
            DamagedError: it is missing.
        """
        try:
            return self._storage.get(f"{name}/{path}")
        except FileNotFoundError:
            raise DamagedError(f"{name} has no {path}") from None

    def put_back(self, name: SetName, path: str, data: bytes) -> None:
        """Puts the manifest or the recipes of a set in their place, if they are what was stored.

        Raises:
            RefusedError, DamagedError: they are not; what is there is as it was.
        """
        key = f"{name}/{path}"
        if path == layout.MANIFEST:
            sets.open_manifest(sets.decode_header(data, self._keys.repository, key), self._keys, key)
        elif path != RECIPES or blake3.blake3(data).hexdigest() != self._repository.header(name).recipes:
            raise DamagedError(
                f"{key} is not what was stored there", "It is of another backup, or stored in another form."
            )
        self._storage.put(key, data)
        self._repository.forget()

    def mend_pack(self, name: SetName, path: str) -> None:
        """Makes anew what stands around the sound chunks of a pack.

        Args:
            name: of a set that needs it.
            path: of the pack.

        Raises:
            DamagedError: what comes out is not what was stored; what is there is as it was.
        """
        index, ref = self._repository.index_for(name), PackRef.at(path)
        facts = index.packs.get(ref) if ref is not None else None
        if ref is None or facts is None:
            raise DamagedError(f"{shown(path)} is no pack that an index names")
        places = index.of_pack(ref)
        self._copy(Chunks(self._storage, self._keys, index), places)  # so nothing is lost when a repair ends half way
        rows = Rows.of(place.row for place in places)
        _replace(self._storage, ref.key, self._pieces_of_pack(ref, self._key_of(ref), rows), facts.digest)
        self._repository.forget()

    def _copy(self, chunks: Chunks, places: Sequence[ChunkPlace]) -> None:
        storing = _Storing(self._storage, self._keys, self._clock)
        try:
            chunks.use(places[0].pack.run, self._key_of(places[0].pack))
            for place in places:
                storing.add(place, chunks.one(place))
            storing.end()
        finally:
            storing.abort()

    def _key_of(self, ref: PackRef) -> RunKey:
        """From the pack, else from a set of the same run, which has the same key."""
        try:
            return Chunks(self._storage, self._keys, Index(self._keys)).key_of(ref)
        except RecoupError:
            for name in self._repository.names():
                if (header := self._repository.header(name)).run == ref.run:
                    return self._keys.open_run(header.key, ref.key)
            raise

    def _pieces_of_pack(self, ref: PackRef, key: RunKey, rows: Rows) -> Iterator[bytes]:
        yield beginning(ref, key)
        with self._storage.reader(ref.key, HEADER_BYTES, int(rows.stored.sum(dtype="u8"))) as reader:
            yield from iter(lambda: reader.read(_BLOCK), b"")
        yield ending(ref, key, rows)

    def listed(self, name: SetName, part: StoredPart) -> Content | None:
        """The member list of a tree as it is stored; None for a stream."""
        if part.members is None:
            return None
        return self._repository.place(name).stream(part.members.path, part.members.sha256)

    def heal(self, name: SetName, part: StoredPart, fetch: Callable[[], Part], listed: Content | None) -> int:
        """Puts back what is missing of a part; returns how many chunks.

        Args:
            name: of the set.
            part: of it.
            fetch: gives the same part from another repository, each time it is asked.
            listed: its member list as the other one has it stored; None where that is of another form.

        Raises:
            RecoupError: the other repository's part cannot be read, or this one's index does not lead to the part's chunks.
        """
        count = 0
        if part.members is not None:
            place = self._repository.place(name)
            stream = place.stream(part.members.path, part.members.sha256)
            count = self._fill(place.chunks, stream, lambda _: _pieces(listed) if listed else _lines(fetch()))
        place = self._repository.place(name)
        stream = place.stream(part.path, part.sha256)
        return count + self._fill(place.chunks, stream, lambda wants: _pieces_of(place, part, fetch(), wants))

    def _fill(self, chunks: Chunks, stream: Stream, pieces: Callable[[Wants], Iterator[Piece]]) -> int:
        stream.require_root()  # so the ids are those that were stored
        wanted, count = _unreadable(chunks, stream), 0
        while batch := list(islice(wanted, _AT_ONCE)):
            storing = _Storing(self._storage, self._keys, self._clock)
            try:
                filling = _Filling(batch, self._keys.chunk_key, storing.add)
                for at, data in pieces(filling.wants):
                    filling.take(at, data)
                count += storing.end()
            finally:
                storing.abort()
        if count:
            self._repository.forget()
        return count


def _replace(storage: Storage, key: str, pieces: Iterator[bytes], digest: bytes) -> None:
    """Puts an object in the place of another one, which goes when all of the new one has come and is right, and not before."""
    writer = storage.writer(key)
    try:
        for piece in _right(pieces, digest, key):
            writer.write(piece)
        storage.delete(key)
        writer.commit()
    except BaseException:
        writer.abort()
        raise
    storage.sync(key)


def _right(pieces: Iterator[bytes], digest: bytes, key: str) -> Iterator[bytes]:
    """The same bytes, compared with their digest at the end."""
    found = blake3.blake3()
    for piece in pieces:
        found.update(piece)
        yield piece
    if found.digest() != digest:
        raise DamagedError(f"{key} cannot be made anew from its chunks")


def _unreadable(chunks: Chunks, stream: Stream) -> Iterator[tuple[int, ChunkPlace]]:
    """The chunks of a stream that cannot be read in any place, and where in the stream they begin; each once."""
    at, known = 0, set[bytes]()
    for piece in stream.pieces():
        if isinstance(piece, int):
            at += piece
            continue
        row = piece.row
        if row.id not in known and not _is_readable(chunks, piece):
            known.add(row.id)
            yield at, piece
        at += row.length


def _is_readable(chunks: Chunks, place: ChunkPlace) -> bool:
    try:
        chunks.one(place)
    except RecoupError:
        return False
    return True


def _pieces(content: Content, at: int = 0) -> Iterator[Piece]:
    with content.open() as reader:
        while data := reader.read(_BLOCK):
            yield at, data
            at += len(data)


def _lines(fetched: Part) -> Iterator[Piece]:
    """The member list of a tree as it is likely to be stored here: ids tell whether it is."""
    at = 0
    for member in fetched.members if isinstance(fetched, TreePart) else ():
        size = member.size if member.kind == "file" else 0
        line = members.encode(members.Line(member.name, member.kind, member.attributes, size, link=member.link))
        yield at, line
        at += len(line)


def _pieces_of(place: Place, part: StoredPart, fetched: Part, wants: Wants) -> Iterator[Piece]:
    """A stream, or the files of a tree at the places where this repository has them."""
    if isinstance(fetched, StreamPart):
        yield from _pieces(fetched.content)
        return
    lines = ((line, begin) for line, begin in member_lines(place, part) if line.kind == "file")
    wanted = {line.name: (begin, line.bytes) for line, begin in lines if wants(begin, line.bytes)}
    for member in fetched.members:
        if member.content is not None and member.name in wanted:
            begin, size = wanted[member.name]
            if member.size == size:
                yield from _pieces(member.content, begin)


@dataclass
class _Filling:
    """Puts chunks together from pieces that may come in any order.

    Attributes:
        wanted: the chunks, and where they begin, in this order.
        chunk_key: of the repository.
        store: takes a chunk that is whole and has its id.
    """

    wanted: Sequence[tuple[int, ChunkPlace]]
    chunk_key: bytes
    store: Callable[[ChunkPlace, bytes], None]
    held: dict[int, tuple[bytearray, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begins = [begin for begin, _ in self.wanted]

    def wants(self, at: int, length: int) -> bool:
        """Whether any of these bytes belongs to a chunk that is wanted."""
        last = bisect_right(self._begins, at + length - 1) - 1
        return length > 0 and last >= 0 and self._begins[last] + self.wanted[last][1].row.length > at

    def take(self, at: int, data: bytes) -> None:
        """Takes in a piece; each byte of the stream comes once."""
        i, end = max(0, bisect_right(self._begins, at) - 1), at + len(data)
        while i < len(self.wanted) and self._begins[i] < end:
            begin, place = self.wanted[i]
            first, last = max(at, begin), min(end, begin + place.row.length)
            if first < last:
                self._put(i, first - begin, data[first - at : last - at])
            i += 1

    def _put(self, i: int, offset: int, data: bytes) -> None:
        place = self.wanted[i][1]
        buffer, missing = self.held.pop(i, (bytearray(place.row.length), place.row.length))
        buffer[offset : offset + len(data)] = data
        if missing > len(data):
            self.held[i] = buffer, missing - len(data)
            self._forget_some()
        elif blake3.blake3(buffer, key=self.chunk_key).digest() == place.row.id:
            self.store(place, bytes(buffer))

    def _forget_some(self) -> None:
        """Lets go of the chunks that nothing was added to for longest: what is left of them is told afterwards."""
        while sum(len(buffer) for buffer, _ in self.held.values()) > _HELD:
            del self.held[next(iter(self.held))]


class _Storing:
    """Packs of a run of its own, with chunks that keep their addresses."""

    def __init__(self, storage: Storage, keys: Keys, clock: Clock) -> None:
        self._storage, self._keys, self._clock = storage, keys, clock
        self._run, self._key = secrets.token_bytes(RUN_BYTES), keys.new_run()
        self._writer: PackWriter | None = None
        self._encoder, self._packed = Encoder(), list[Packed]()

    def add(self, place: ChunkPlace, data: bytes) -> None:
        """Stores a chunk in full."""
        if self._writer is None:
            self._writer = PackWriter(self._storage, PackRef(self._run, len(self._packed)), self._key)
        row, (encoding, packed) = place.row, self._encoder.encode(memoryview(data))
        self._writer.add(row.run, row.number, row.id, row.length, encoding, bytes(packed))
        if self._writer.size >= _PACK or self._writer.full:
            self._end_pack()

    def _end_pack(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self._packed.append(writer.finish())
            self._storage.sync(self._packed[-1].ref.key)

    def end(self) -> int:
        """Makes all durable, then an index of it; returns how many chunks were stored."""
        self._end_pack()
        if self._packed:
            write_index(self._storage, self._keys, self._clock.now(), self._run, 0, self._packed)
        return sum(len(one.rows) for one in self._packed)

    def abort(self) -> None:
        """Drops a pack that was not ended; harmless after the end."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
