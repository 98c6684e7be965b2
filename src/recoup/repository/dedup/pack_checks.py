"""Whether packs are what was stored: by their digest in the index, and where that differs chunk by chunk.

The digest of a pack that this host or the owner signed for proves every byte of it: the chunks were named, sealed and hashed in
one go. It costs a fifth of what decoding them costs. Other hosts' packs are decoded, since their word on ids counts for nothing.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import blake3

from recoup.errors import DamagedError, RecoupError, RefusedError, StorageError
from recoup.repository.dedup.damaged import Damaged
from recoup.repository.dedup.index import Index, PackFacts, Place
from recoup.repository.dedup.packs import FOLDER, PackRef
from recoup.repository.dedup.reading import Chunks, UnreadError, groups
from recoup.storage._base import Storage

Advance = Callable[[int], None]

_PACKS_AHEAD = 3  # packs that are looked at while the first of them is waited for
_AHEAD = 6  # groups of chunks that are looked at before the first of them was
_BLOCK = 512 * 1024


@dataclass
class Checked:
    """What was learned of packs, so that each is read once for any number of sets.

    Attributes:
        damaged: ids of chunks that are not what was stored, by pack; of a sound pack none.
        problems: what is wrong with a pack, in words.
        unread: packs that the storage did not give: nothing is known of them.
        noted: damaged chunks that a record names by now.
        sizes: bytes of all packs, by a listing; None before it was made.
    """

    damaged: dict[PackRef, frozenset[bytes]] = field(default_factory=dict)
    problems: dict[PackRef, str] = field(default_factory=dict)
    unread: set[PackRef] = field(default_factory=set)
    noted: set[Damaged] = field(default_factory=set)
    sizes: dict[PackRef, int] | None = None


def listed_sizes(storage: Storage) -> dict[PackRef, int]:
    """Bytes of all packs that a storage lists."""
    found = ((PackRef.at(one.key), one) for one in storage.list(FOLDER))
    return {ref: one.size for ref, one in found if ref is not None and one.link is None}


def lost_packs(storage: Storage, index: Index, sizes: dict[PackRef, int] | None = None) -> frozenset[PackRef]:
    """The packs that index files name and that are not there.

    Args:
        storage: where: what a listing lacks is asked for by itself, since listings may be late.
        index: of the repository.
        sizes: a listing that was made before; None makes one.
    """
    there = listed_sizes(storage) if sizes is None else sizes
    return frozenset(ref for ref in index.packs.keys() - there.keys() if not is_there(storage, ref))


def is_there(storage: Storage, ref: PackRef) -> bool:
    """Whether a pack lies in a storage."""
    try:
        storage.size(ref.key)
    except FileNotFoundError:
        return False
    return True


def difference(storage: Storage, ref: PackRef, facts: PackFacts, advance: Advance) -> str:
    """What is wrong with a pack by its length and its digest; empty when nothing is. Opens no chunk, so every host can.

    Args:
        storage: where.
        ref: which pack.
        facts: what its index file says.
        advance: is told of bytes read.

    Raises:
        FileNotFoundError: it is not there.
        OSError, StorageError: it cannot be read.
    """
    found, size = blake3.blake3(), 0
    with storage.reader(ref.key, 0, facts.size + 1) as reader:
        while data := reader.read(_BLOCK):
            found.update(data)
            size += len(data)
            advance(len(data))
    if size > facts.size:
        return f"{ref.key} is longer than the {facts.size:,} bytes that were stored"
    if size < facts.size:
        return f"{ref.key} is cut short: {size:,} of {facts.size:,} bytes are there"
    return "" if found.digest() == facts.digest else f"{ref.key} is not what was stored"


@dataclass
class PackCheck:
    """One pack, read from its begin to its end, and each of its chunks decoded and compared with its id.

    Attributes:
        chunks: reads packs.
        pack: which.
        places: of its chunks, in their order.
        digest: BLAKE3 that the file has to have.
        size: bytes that it has to have.
        advance: is told of bytes read.
        problem: what is wrong with the file as a whole, after `run`; empty when nothing is.
        bad: ids of its chunks that are damaged.
    """

    chunks: Chunks
    pack: PackRef
    places: Sequence[Place]
    digest: bytes
    size: int
    advance: Advance
    problem: str = ""
    bad: set[bytes] = field(default_factory=set)

    def run(self, pool: ThreadPoolExecutor) -> frozenset[bytes]:
        """The ids of its chunks that are damaged; what is wrong besides stands in `problem`.

        Raises:
            UnreadError: the storage did not give it.
        """
        found = blake3.blake3()
        waiting: deque[Future[list[bytes]]] = deque()
        at = 0
        try:
            for group in groups(self.places):
                begin, end = group[0].offset, group[-1].offset + group[-1].row.stored
                if begin > at:
                    found.update(self.chunks.stored(self.pack, at, begin - at))
                data = self.chunks.stored(self.pack, begin, end - begin)
                found.update(data)
                at = end
                self.advance(len(data))
                waiting.append(pool.submit(self._bad_of, group, memoryview(data)))
                if len(waiting) > _AHEAD:
                    self.bad.update(waiting.popleft().result())
            found.update(self.chunks.stored(self.pack, at, self.size - at))
            if (size := self.chunks.size_of(self.pack)) != self.size:
                self.problem = f"{self.pack.key} has {size:,} bytes; {self.size:,} were stored"
        except UnreadError:
            raise
        except DamagedError as error:
            self.problem = error.message
            self.bad.update(place.row.id for place in self.places if place.offset >= at)
        while waiting:
            self.bad.update(waiting.popleft().result())
        if not self.problem and found.digest() != self.digest:
            self.problem = f"{self.pack.key} is not what was stored"
        return frozenset(self.bad)

    def _bad_of(self, group: Sequence[Place], data: memoryview) -> list[bytes]:
        begin = group[0].offset
        return [
            place.row.id
            for place in group
            if not self._opens(place, data[place.offset - begin : place.offset - begin + place.row.stored])
            and not self._opens(
                place, None
            )  # it may have been harmed on the way: it is read again before it is believed
        ]

    def _opens(self, place: Place, sealed: memoryview | None) -> bool:
        try:
            self.chunks.opened(place, self._again(place) if sealed is None else sealed)
        except UnreadError:
            raise
        except (DamagedError, RefusedError):  # the second one: a version or encoding that nobody knows
            return False
        return True

    def _again(self, place: Place) -> bytes:
        return self.chunks.stored(self.pack, place.offset, place.row.stored)


class PackChecks:
    """Looks at packs, as many at once as there are threads.

    Args:
        storage: where.
        index: says what they have to be.
        chunks: reads them, on a host that can; None compares digests alone.
        checked: what is known; grows.
        pool: the threads.
    """

    def __init__(
        self, storage: Storage, index: Index, chunks: Chunks | None, checked: Checked, pool: ThreadPoolExecutor
    ) -> None:
        self._storage, self._index, self._chunks, self._pool = storage, index, chunks, pool
        self.facts, self._checked, self._stopped = index.packs, checked, False

    def run(self, packs: Iterable[PackRef]) -> Iterator[PackRef]:
        """Looks at those that nobody has looked at yet; yields each when what is wrong with it is known."""
        waiting = deque[tuple[PackRef, Future[str] | None]]()
        try:
            for ref in packs:
                waiting.append((ref, None if ref in self._checked.damaged else self._pool.submit(self._differs, ref)))
                if len(waiting) > _PACKS_AHEAD:
                    yield self._end(*waiting.popleft())
            while waiting:
                yield self._end(*waiting.popleft())
        finally:
            self._stopped = True
            for _, task in waiting:
                if task is not None:
                    task.cancel()

    def _differs(self, ref: PackRef) -> str:
        return difference(self._storage, ref, self.facts[ref], self._go_on)

    def _go_on(self, _read: int) -> None:
        if self._stopped:
            raise StorageError("the verification was stopped")

    def _end(self, ref: PackRef, task: "Future[str] | None") -> PackRef:
        if task is not None:
            checked = self._checked
            problem, bad = self._found(ref, task)
            checked.damaged[ref] = bad
            if problem or bad:
                checked.problems[ref] = problem or f"{len(bad)} chunks in {ref.key} are damaged"
        return ref

    def _found(self, ref: PackRef, task: "Future[str]") -> tuple[str, frozenset[bytes]]:
        """What is wrong with a pack, and the ids of its chunks that are damaged."""
        try:
            return self._looked_into(ref, task.result())
        except FileNotFoundError:
            return f"{ref.key} is missing from the repository", frozenset(p.row.id for p in self._index.of_pack(ref))
        except (OSError, StorageError, UnreadError) as error:
            self._checked.unread.add(ref)
            why = error.message if isinstance(error, RecoupError) else error.strerror or str(error)
            return f"{ref.key} cannot be read: {why}", frozenset()

    def _looked_into(self, ref: PackRef, problem: str) -> tuple[str, frozenset[bytes]]:
        """Each chunk is decoded where something is wrong, or where nobody's word counts."""
        chunks, facts = self._chunks, self.facts[ref]
        if chunks is not None and (problem or not self._index.is_believed(ref)):
            check = PackCheck(chunks, ref, self._index.of_pack(ref), facts.digest, facts.size, self._go_on)
            if bad := check.run(self._pool):
                return check.problem, bad
            problem = check.problem
        # once more where it differs: what was harmed on the way is right the next time
        return self._differs(ref) if problem else "", frozenset()
