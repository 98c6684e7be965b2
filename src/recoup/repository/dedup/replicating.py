"""Copying sets between repositories with the same keys: packs are taken over as they lie there (`docs/format.md`, Copies)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import blake3
import numpy as np

from recoup.errors import DamagedError
from recoup.model.manifest import Manifest, SourceRecord, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.sharing import Sent
from recoup.repository.dedup.copying import Checking
from recoup.repository.dedup.index import Index, PackFacts
from recoup.repository.dedup.index import Place as ChunkPlace
from recoup.repository.dedup.pack_checks import PackCheck, difference, listed_sizes
from recoup.repository.dedup.packs import Packed, PackRef
from recoup.repository.dedup.parts import Place
from recoup.repository.dedup.reading import Stream
from recoup.repository.dedup.recipes import Recipe, RecipeBuilder, Root, Span
from recoup.repository.dedup.rows import Rows
from recoup.repository.dedup.storing import Run
from recoup.repository.dedup.writing import DedupSetWriter
from recoup.storage._base import Storage

_BLOCK = 1024 * 1024
_STEP = 4 * _BLOCK  # bytes after which somebody is told
_THREADS = 2
_HINT = "`recoup verify` tells what else is damaged; `recoup repair` mends it from another repository."


class Origin(Protocol):
    """What is asked of the repository that sets come from; each raises what `DedupRepository` says."""

    name: str

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        ...

    def place(self, name: SetName) -> Place:
        """Where the parts of a set are read from."""
        ...


class Target(Protocol):
    """What is asked of the repository that gets them; each raises what `DedupRepository` says."""

    def index_for_writing(self) -> Index:
        """What its index files say, without the packs that are not there."""
        ...

    def begun(self, moment: datetime, *, deltas: bool) -> AbstractContextManager[DedupSetWriter]:
        """A set being written."""
        ...


@dataclass
class Marks:
    """Chunks of a pack.

    Attributes:
        places: for each place in the pack, 1 for a chunk that is wanted.
        count: how many are.
        bytes: that they take.
    """

    places: bytearray = field(default_factory=bytearray)
    count: int = 0
    bytes: int = 0

    def add(self, place: ChunkPlace) -> bool:
        """Marks a chunk; False when it was already."""
        if self.has(place):
            return False
        self.places.extend(bytes(max(0, place.position + 1 - len(self.places))))
        self.places[place.position] = 1
        self.count += 1
        self.bytes += place.row.stored
        return True

    def are_much_of(self, pack: PackFacts) -> bool:
        """Whether all of a pack is better sent than these chunks by themselves."""
        return self.count == pack.rows or 2 * self.bytes >= pack.size

    def has(self, place: ChunkPlace) -> bool:
        """Whether a chunk is marked."""
        return place.position < len(self.places) and self.places[place.position] == 1


class Wanted:
    """What sets need and a repository lacks, by the packs in which another repository has it.

    Args:
        here: index of the repository that lacks it.

    Attributes:
        packs: the packs, in the order in which they are met.
        bytes: that all chunks take.
    """

    def __init__(self, here: Index) -> None:
        self._here = here
        self.packs: dict[PackRef, Marks] = {}
        self.bytes = 0

    def add(self, stream: Stream) -> int:
        """Adds the chunks of a stream, and the bases of those; returns the bytes that were not wanted before.

        Raises:
            DamagedError: an index file does not lead to the chunks that were stored.
        """
        stream.require_root()
        before, there = self.bytes, stream.chunks.index
        for span in stream.recipe.spans:
            if span.run and packs_held(span, there, self._here) is None:
                for place in there.span(span.run, span.first, span.count):
                    self._add_chunk(place, there)
        return self.bytes - before

    def _add_chunk(self, place: ChunkPlace, there: Index) -> None:
        if self._here.stored(place.row.id) is None and self._mark(place):
            for identity in place.row.bases:
                if self._here.base(identity) is None:
                    self._mark(_in_full(there, identity))

    def _mark(self, place: ChunkPlace) -> bool:
        fresh = self.packs.setdefault(place.pack, Marks()).add(place)
        self.bytes += place.row.stored if fresh else 0
        return fresh

    def as_they_are(self, there: Index) -> list[PackRef]:
        """The packs to take over as they are: those of which much is wanted, and that were never here."""
        here, facts = self._here, there.packs
        had = here.packs.keys() | here.condemned | {ref for one in here.records for ref in one.removed_packs}
        fresh = ((ref, marks) for ref, marks in self.packs.items() if ref not in had and ref in facts)
        return [ref for ref, marks in fresh if marks.are_much_of(facts[ref])]

    def sent(self, there: Index, whole: Iterable[PackRef]) -> Sent:
        """What goes over, if these packs go as they are."""
        facts, taken = there.packs, set(whole)
        rest = [marks for ref, marks in self.packs.items() if ref not in taken]
        size = sum(facts[ref].size for ref in taken)
        return Sent(len(taken), size, sum(marks.count for marks in rest), sum(marks.bytes for marks in rest))


def packs_held(span: Span, there: Index, here: Index) -> frozenset[PackRef] | None:
    """The packs that a writer refers to with a piece of a recipe, where it has the same chunks under the same addresses.

    None elsewhere, and where each chunk has to be looked up by itself. So what was copied before costs little.
    """
    wanted, found = (index.ids(span.run, span.first, span.count) for index in (there, here))
    if wanted is None or found is None or not np.array_equal(wanted, found):
        return None
    return here.referable(span.run, span.first, span.count)


def _in_full(there: Index, identity: bytes) -> ChunkPlace:
    """Where a base lies."""
    found = next((place for place in there.by_id(identity) if not place.row.bases), None)
    if found is None:
        raise DamagedError("a chunk that others are stored against is missing in every index file", _HINT)
    return found


class DedupReplication:
    """Copies sets.

    Args:
        origin: where they are.
        storage: of that repository.
        target: where they are to be.
    """

    def __init__(self, origin: Origin, storage: Storage, target: Target) -> None:
        self._origin, self._storage, self._target = origin, storage, target

    def amount(self, names: Sequence[SetName]) -> Sent:
        """About what would be sent."""
        wanted, there = Wanted(self._target.index_for_writing()), None
        for name in names:
            place = self._origin.place(name)
            there = place.chunks.index
            for part in _parts(self._origin.manifest(name)):
                for stream in _streams(place, part):
                    wanted.add(stream)
        return Sent() if there is None else wanted.sent(there, wanted.as_they_are(there))

    def copy(
        self, name: SetName, room: Callable[[int], None], advance: Callable[[int, int], None]
    ) -> tuple[SetName, Sent]:
        """Copies a set; see `Replication`."""
        manifest, place = self._origin.manifest(name), self._origin.place(name)
        with self._target.begun(manifest.started, deltas=False) as writer:
            taking = Taking(self._origin.name, self._storage, place, writer.run, advance)
            added = {id(part): taking.want(_streams(place, part)) for part in _parts(manifest)}
            room(taking.planned.bytes)
            taking.take()

            def stored(part: StoredPart) -> StoredPart:
                for stream in _streams(place, part):
                    writer.claim(stream.item)
                    writer.keep(stream.item, taking.recipe(stream))
                return replace(part, stored_bytes=added[id(part)])

            def taken(record: SourceRecord) -> SourceRecord:
                return replace(record, parts=tuple(map(stored, record.parts)))

            sources = {source: taken(record) for source, record in manifest.sources.items()}
            writer.commit(replace(manifest, name=str(writer.name), sources=sources))
        return writer.name, taking.sent


def _parts(manifest: Manifest) -> Iterator[StoredPart]:
    return (part for record in manifest.sources.values() for part in record.parts)


def _streams(place: Place, part: StoredPart) -> list[Stream]:
    """A part's content, and of a tree its member list.

    Raises:
        DamagedError: the recipes do not fit the manifest.
    """
    found = [place.stream(part.path, part.sha256)]
    if part.members is not None:
        found.append(place.stream(part.members.path, part.members.sha256))
    return found


class Taking:
    """What one set needs, being taken over.

    Args:
        name: of the repository that it comes from, for errors.
        storage: of that repository.
        place: of the set there.
        run: stores what is missing.
        advance: is told how many bytes were sent, and of how many.
    """

    def __init__(
        self, name: str, storage: Storage, place: Place, run: Run, advance: Callable[[int, int], None]
    ) -> None:
        self._name, self._storage, self._chunks, self._run = name, storage, place.chunks, run
        self._there, self._stream_key = place.chunks.index, place.stream_key
        self._facts = self._there.packs
        self._wanted, self._advance = Wanted(run.index), advance
        self._moved = 0
        self._left: Collection[PackRef] = ()  # packs that lie here before any is sent
        self.sent = Sent()

    def want(self, streams: Iterable[Stream]) -> int:
        """Adds streams of the set; returns the bytes that they add to the repository."""
        return sum(map(self._wanted.add, streams))

    @property
    def planned(self) -> Sent:
        """What is to be sent."""
        return self._wanted.sent(self._there, self._wanted.as_they_are(self._there))

    def take(self) -> None:
        """Takes over what is missing: packs, then chunks of other packs.

        Raises:
            DamagedError: something of it is not what was stored.
        """
        whole = list(filter(self._may_be_believed, self._wanted.as_they_are(self._there)))
        self.sent = self._wanted.sent(self._there, whole)
        self._left = listed_sizes(self._run.storage).keys() if whole else ()
        for ref in whole:
            self._run.take_in(self._copy(ref, self._facts[ref]))
        taken = set(whole)
        for ref in self._wanted.packs:
            if ref not in taken:
                self._seal_anew(ref)
        self._run.end_pack()  # from here on, a chunk is known with its bases

    def recipe(self, stream: Stream) -> Recipe:
        """The recipe of a stream here, when what it needs was taken over.

        Raises:
            DamagedError: it does not give the stream.
        """
        spans = [span for span in stream.recipe.spans if span.run]
        packs = [packs_held(span, self._there, self._run.index) for span in spans]
        if None not in packs:
            self._run.refer(ref for held in packs for ref in held or ())
            return stream.recipe
        return self._looked_up(stream)

    def _looked_up(self, stream: Stream) -> Recipe:
        """The same, where some chunks have other addresses here."""
        made = RecipeBuilder(Root(self._stream_key))
        for piece in stream.pieces():
            if isinstance(piece, int):
                made.gap(piece)
                continue
            address = self._run.known(piece.row.id)
            if address is None:
                raise DamagedError(
                    f"a chunk of {shown(stream.item)} did not arrive; nothing of its set was kept", _HINT
                )
            made.chunk(address.run, address.number, piece.row.id, piece.row.length)
        found = made.finish()
        if (found.root, found.size) != (stream.recipe.root, stream.recipe.size):
            raise DamagedError(f"{shown(stream.item)} did not arrive as it is; nothing of its set was kept", _HINT)
        return found

    # --- packs as they are --------------------------------------------------------------------------------------------

    def _may_be_believed(self, ref: PackRef) -> bool:
        """Whether a writer may refer to the chunks of a pack: by its index file, else by decoding each."""
        if self._there.is_believed(ref):
            return True
        facts = self._facts[ref]
        check = PackCheck(self._chunks, ref, self._there.of_pack(ref), facts.digest, facts.size, lambda _: None)
        with ThreadPoolExecutor(_THREADS) as pool:
            return not check.run(pool) and not check.problem

    def _copy(self, ref: PackRef, facts: PackFacts) -> Packed:
        """Sends a pack. One that lies here and has its digest was left by a copy that was killed."""
        packed = Packed(ref, facts.size, facts.digest, Rows.of(place.row for place in self._there.of_pack(ref)))
        storage = self._run.storage
        if ref in self._left:
            if not difference(storage, ref, facts, self._go_on):
                return packed
            storage.delete(ref.key)
        writer = storage.writer(ref.key)
        try:
            for data in self._read(ref, facts):
                writer.write(data)
            writer.commit()
        except BaseException:
            writer.abort()
            raise
        return packed

    def _read(self, ref: PackRef, facts: PackFacts) -> Iterator[bytes]:
        """A pack as it lies there, compared with its length and digest at the end."""
        found, size = blake3.blake3(), 0
        try:
            with self._storage.reader(ref.key, 0, facts.size + 1) as reader:
                while data := reader.read(_BLOCK):
                    found.update(data)
                    size += len(data)
                    yield data
                    self._go_on(len(data))
        except FileNotFoundError:
            raise self._damaged(ref, "is missing") from None
        except OSError as error:  # of this repository; what the other one says is told apart
            raise self._damaged(ref, f"cannot be read: {error.strerror or error}") from None
        if size != facts.size or found.digest() != facts.digest:
            raise self._damaged(ref, "is not what was stored")

    def _damaged(self, ref: PackRef, why: str) -> DamagedError:
        return DamagedError(f"{ref.key} of {self._name} {why}", _HINT)

    def _go_on(self, count: int) -> None:
        before, self._moved = self._moved, self._moved + count
        if before // _STEP != self._moved // _STEP:
            self._advance(min(self._moved, self.sent.bytes), self.sent.bytes)

    # --- chunk by chunk -----------------------------------------------------------------------------------------------

    def _seal_anew(self, ref: PackRef) -> None:
        marks, checking = self._wanted.packs[ref], Checking(self._chunks)
        places = filter(marks.has, self._there.of_pack(ref))
        for place, data in checking.sound(places):
            self._run.store_encoded(place.row, data)
            self._go_on(place.row.stored)
        if checking.harmed:
            why = "the storage does not give" if checking.unread else "are not what was stored"
            raise self._damaged(ref, f"has {len(checking.harmed)} chunks that {why}")
