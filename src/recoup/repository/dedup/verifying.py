"""Verifying a set of a dedup repository: each pack that it needs is read once, whatever number of sets needs it."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import blake3

from recoup.errors import DamagedError, RecoupError, RefusedError, WrongKeyError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.reports import Damage
from recoup.repository._base import Subset
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.index import Place as ChunkPlace
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.parts import Place, member_lines
from recoup.repository.dedup.reading import Chunks, groups
from recoup.repository.dedup.writing import RECIPES
from recoup.repository.plain import layout

_THREADS = 2
_AHEAD = 6  # groups of chunks that are looked at before the first of them was
_NEWS = 4 * 1024 * 1024  # bytes between two words about the progress


@dataclass
class Checked:
    """What was learned of packs, so that each is read once for any number of sets.

    Attributes:
        damaged: ids of chunks that are not what was stored, by pack.
        problems: what is wrong with a pack, in words.
    """

    damaged: dict[PackRef, frozenset[bytes]] = field(default_factory=dict)
    problems: dict[PackRef, str] = field(default_factory=dict)


@dataclass
class PackCheck:
    """One pack, read from its begin to its end.

    Attributes:
        chunks: reads packs.
        pack: which.
        places: of its chunks, in their order.
        digest: BLAKE3 that the file has to have.
        size: bytes that it has to have.
        advance: is told of bytes read.
    """

    chunks: Chunks
    pack: PackRef
    places: Sequence[ChunkPlace]
    digest: bytes
    size: int
    advance: Callable[[int], None]
    problem: str = ""
    bad: set[bytes] = field(default_factory=set)

    def run(self, pool: ThreadPoolExecutor) -> frozenset[bytes]:
        """The ids of its chunks that are damaged; what is wrong besides stands in `problem`."""
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
        except DamagedError as error:
            self.problem = error.message
            self.bad.update(place.row.id for place in self.places if place.offset >= at)
        while waiting:
            self.bad.update(waiting.popleft().result())
        if not self.problem and found.digest() != self.digest:
            self.problem = f"{self.pack.key} is not what was stored"
        return frozenset(self.bad)

    def _bad_of(self, group: Sequence[ChunkPlace], data: memoryview) -> list[bytes]:
        begin, bad = group[0].offset, []
        for place in group:
            offset = place.offset - begin
            try:
                self.chunks.opened(place, data[offset : offset + place.row.stored])
            except (DamagedError, RefusedError):  # the second one: a version or encoding that nobody knows
                bad.append(place.row.id)
        return bad


class Sets(Protocol):
    """What a verification asks of the repository; each raises what `DedupRepository` says."""

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        ...

    def place(self, name: SetName) -> Place:
        """Where its parts are read from."""
        ...

    def size_of(self, name: SetName, path: str) -> int:
        """Bytes of a file of a set."""
        ...

    def paths_of(self, name: SetName) -> Iterator[str]:
        """The files in a set's folder."""
        ...


class DedupVerification:
    """A verification under way: iterate for the damage, read the counts afterwards.

    Attributes:
        files: stored files looked at.
        bytes: stored bytes read, or read before for another set.
        total_bytes: stored bytes of all packs that the set needs.
    """

    def __init__(
        self,
        repository: Sets,
        name: SetName,
        subset: Subset,
        checked: Checked,
        advance: Callable[[int], None],
    ) -> None:
        self._repository, self._name, self._subset, self._checked = repository, name, subset, checked
        self._advance, self._told = advance, 0
        self.files = self.bytes = self.total_bytes = 0

    def __iter__(self) -> Iterator[Damage]:
        """Yields damage as it is found."""
        try:
            manifest = self._repository.manifest(self._name)
        except WrongKeyError:
            raise
        except RecoupError as error:
            yield Damage(layout.MANIFEST, "manifest", error.message)
            return
        if manifest.name != str(self._name):
            yield Damage(layout.MANIFEST, "manifest", f"the manifest belongs to the set {manifest.name}")
        try:
            place = self._repository.place(self._name)
        except (DamagedError, OSError) as error:
            yield Damage(RECIPES, "changed", str(error))
            return
        self._count_beside()
        sound = []
        for part in (part for source in manifest.sources.values() for part in source.parts):
            problem = self._structure(place, part)
            if problem:
                yield Damage(part.path, "changed", problem)
            else:
                sound.append(part)
        if len(sound) < sum(len(source.parts) for source in manifest.sources.values()):
            yield from (Damage("index", "changed", problem.message) for problem in place.chunks.index.problems)
        needed = self._needed(place, sound)
        self.total_bytes += sum(place.chunks.index.packs[pack].size for pack in needed)
        yield from self._packs(place.chunks, sorted(needed, key=lambda pack: pack.key))
        yield from self._touched(place, sound)
        yield from self._extra(manifest)

    def _count_beside(self) -> None:
        ours = self._subset.lane == 1
        for path in (layout.MANIFEST, RECIPES):
            size = self._repository.size_of(self._name, path)
            self.total_bytes += size
            self.bytes += size if ours else 0
            self.files += ours

    def _structure(self, place: Place, part: StoredPart) -> str:
        """What is wrong with a part before any chunk of its content is read; empty when nothing is."""
        try:
            place.stream(part.path, part.sha256).require_root()
            if part.kind == "tree":
                size = sum(line.bytes for line, _ in member_lines(place, part))
            else:
                size = place.recipes[part.path].size
        except RecoupError as error:
            return error.message
        return "" if size == part.bytes else f"{shown(part.path)} has {size:,} bytes; the manifest says {part.bytes:,}"

    def _needed(self, place: Place, parts: Sequence[StoredPart]) -> set[PackRef]:
        index, packs, bases = place.chunks.index, set[PackRef](), set[bytes]()
        for part in parts:
            for found in _places(place, part):
                packs.add(found.pack)
                bases.update(found.row.bases)
        for identity in bases:
            packs.update(found.pack for found in index.by_id(identity)[:1])
        return packs

    def _packs(self, chunks: Chunks, needed: Sequence[PackRef]) -> Iterator[Damage]:
        with ThreadPoolExecutor(_THREADS) as pool:
            for pack in needed:
                if not self._is_in_lane(pack) or not self._chosen(pack):
                    continue
                self.files += 1
                known = chunks.index.packs[pack]
                if pack not in self._checked.damaged:
                    self._check(chunks, chunks.index, pack, pool)
                self.bytes += known.size
                if (problem := self._checked.problems.get(pack)) and not self._checked.damaged[pack]:
                    yield Damage(pack.key, "changed", problem)

    def _check(self, chunks: Chunks, index: Index, pack: PackRef, pool: ThreadPoolExecutor) -> None:
        known, before = index.packs[pack], self.bytes

        def read(count: int) -> None:
            nonlocal before
            before += count
            if before - self._told >= _NEWS:
                self._told = before
                self._advance(before)

        check = PackCheck(chunks, pack, index.of_pack(pack), known.digest, known.size, read)
        self._checked.damaged[pack] = check.run(pool)
        if check.problem or check.bad:
            self._checked.problems[pack] = check.problem or f"{len(check.bad)} chunks in {pack.key} are damaged"

    def _touched(self, place: Place, parts: Sequence[StoredPart]) -> Iterator[Damage]:
        """The parts that need chunks which are damaged."""
        bad = frozenset[bytes]().union(*self._checked.damaged.values())
        for part in parts if bad else ():
            lost, packs = 0, dict[str, None]()
            for found in _places(place, part):
                if found.row.id in bad or not bad.isdisjoint(found.row.bases):
                    lost += found.row.length
                    packs[found.pack.key] = None
            if lost:
                where = ", ".join(packs)
                yield Damage(part.path, "changed", f"{shown(part.path)}: {lost:,} of its bytes are damaged in {where}")

    def _extra(self, manifest: Manifest) -> Iterator[Damage]:  # noqa: ARG002 - what a set has is the same for all
        if self._subset.lane != 1:
            return
        for path in self._repository.paths_of(self._name):
            if path not in (layout.MANIFEST, RECIPES):
                yield Damage(path, "extra", f"{shown(path)} is not of this set")

    def _chosen(self, pack: PackRef) -> bool:
        subset = self._subset
        if subset.share is None and subset.of == 1:
            return True
        salt = b"" if subset.share is None else subset.seed.to_bytes(16, "big", signed=True)
        value = int.from_bytes(hashlib.sha256(salt + pack.key.encode()).digest()[:8], "big")
        if subset.share is not None:
            return value < subset.share * 2**64
        return value % subset.of == subset.number - 1

    def _is_in_lane(self, pack: PackRef) -> bool:
        lanes = self._subset.lanes
        digest = hashlib.sha256(pack.key.encode()).digest()
        return lanes == 1 or int.from_bytes(digest[8:16], "big") % lanes == self._subset.lane - 1


def _places(place: Place, part: StoredPart) -> Iterator[ChunkPlace]:
    """Where the chunks of a part lie, those of its member list, too."""
    yield from place.stream(part.path, part.sha256).places()
    if part.members is not None:
        yield from place.stream(part.members.path, part.members.sha256).places()
