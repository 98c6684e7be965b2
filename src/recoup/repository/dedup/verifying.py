"""Verifying a set of a dedup repository: each pack that it needs is read once, whatever number of sets needs it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from recoup.errors import DamagedError, RecoupError, RefusedError, WrongKeyError
from recoup.model.manifest import Manifest, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.reports import Damage
from recoup.repository._base import Subset
from recoup.repository.dedup.damaged import Damaged
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.index import Place as ChunkPlace
from recoup.repository.dedup.names import RECIPES
from recoup.repository.dedup.pack_checks import Checked, PackChecks, is_there, listed_sizes, lost_packs
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.parts import Place, member_lines
from recoup.repository.dedup.reading import Chunks
from recoup.repository.plain import layout
from recoup.storage._base import Storage

_THREADS = 2
_UNSEEN = "which chunks it consists of and whether all of them are there: this host cannot read sets"


class Sets(Protocol):
    """What a verification asks of the repository; each raises what `DedupRepository` says."""

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        ...

    def place(self, name: SetName) -> Place:
        """Where its parts are read from."""
        ...

    def sealed_recipes(self, name: SetName) -> bytes:
        """The recipes of a set as they lie there, compared with its signed header."""
        ...

    def index_for(self, name: SetName) -> Index:
        """All that index files say, read after a set appeared."""
        ...

    def size_of(self, name: SetName, path: str) -> int:
        """Bytes of a file of a set."""
        ...

    def paths_of(self, name: SetName) -> Iterator[str]:
        """The files in a set's folder."""
        ...

    def at_lock(self) -> Storage:
        """The storage as it was when the lock was taken that is held."""
        ...

    def note_damaged(self, chunks: Iterable[Damaged]) -> None:
        """Has the next backup store these chunks again."""
        ...


class DedupVerification:
    """A verification under way: iterate for the damage, read the counts afterwards.

    A pack is compared with the digest that its index file has. It is decoded chunk by chunk, and each chunk compared with its id,
    where that differs, to say what is lost, and where a host made it that can only add sets. What is damaged is noted in the
    repository, so that the next backup stores it again.

    Args:
        repository: where the set is.
        storage: of the repository.
        name: the set.
        subset: which packs to read.
        checked: what is known of packs; grows.
        advance: is told of bytes read.

    Attributes:
        files: stored files looked at.
        bytes: stored bytes read, or read before for another set.
        total_bytes: stored bytes of all packs that the set needs.
        unseen: what this host cannot look at.
    """

    def __init__(
        self,
        repository: Sets,
        storage: Storage,
        name: SetName,
        subset: Subset,
        checked: Checked,
        advance: Callable[[int], None],
    ) -> None:
        self._repository, self._storage, self._name, self._subset = repository, storage, name, subset
        self._checked, self._advance = checked, advance
        self._lost = frozenset[PackRef]()  # packs that are not there
        self._nowhere = set[bytes]()  # bases that no index file names
        self._readable: dict[bytes, bool] = {}  # chunks that were tried, by id
        self.files = self.bytes = self.total_bytes = 0
        self.unseen = ""

    def __iter__(self) -> Iterator[Damage]:
        """Yields damage as it is found."""
        try:
            manifest = self._repository.manifest(self._name)
        except WrongKeyError:
            yield from self._unopened()
            return
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
        yield from self._of_parts(place, [part for source in manifest.sources.values() for part in source.parts])
        yield from self._extra()

    def _of_parts(self, place: Place, parts: Sequence[StoredPart]) -> Iterator[Damage]:
        self._count_beside()
        sound = []
        for part in parts:
            if problem := self._problem_of_root(place, part):
                yield Damage(part.path, "changed", problem)
            else:
                sound.append(part)
        index = place.chunks.index
        if len(sound) < len(parts):
            yield from (Damage("index", "changed", problem.message) for problem in index.problems)
        needed = self._needed(place, sound)
        yield from self._packs(index, place.chunks, sorted(needed, key=lambda pack: pack.key))
        lost = list(self._touched(place, sound))
        yield from lost
        self._note(index)
        for part in sound if not self._subset.structure else ():
            if part.path not in {found.item for found in lost} and (problem := self._problem_of_size(place, part)):
                yield Damage(part.path, "changed", problem)

    def _count_beside(self) -> None:
        mine, read = self._subset.lane == 1, self._subset.lane == 1 and not self._subset.structure
        for path in (layout.MANIFEST, RECIPES):
            size = self._repository.size_of(self._name, path)
            self.total_bytes += size
            self.bytes += size if read else 0
            self.files += mine

    def _problem_of_root(self, place: Place, part: StoredPart) -> str:
        """What is wrong with a part before any chunk is read; empty when nothing is."""
        try:
            place.stream(part.path, part.sha256).require_root()
            if part.members is not None:
                place.stream(part.members.path, part.members.sha256).require_root()
        except RecoupError as error:
            return error.message
        return ""

    def _problem_of_size(self, place: Place, part: StoredPart) -> str:
        """Whether a part has as many bytes as the manifest says; of a tree its member list is read."""
        try:
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
            base = next(_bases(index, identity), None)
            if base is None:
                self._nowhere.add(identity)
            else:
                packs.add(base.pack)
        return packs

    # --- packs --------------------------------------------------------------------------------------------------------

    def _packs(self, index: Index, chunks: Chunks | None, needed: Sequence[PackRef]) -> Iterator[Damage]:
        checked = self._checked
        if checked.sizes is None:
            checked.sizes = listed_sizes(self._repository.at_lock())
        facts = index.packs
        self._lost = lost_packs(self._storage, index, checked.sizes) & set(needed)
        self.total_bytes += sum(facts[pack].size for pack in needed)
        mine = [pack for pack in needed if self._subset.is_mine(pack.key) and pack not in self._lost]
        self.files += len(mine)
        for pack in mine:
            size = checked.sizes.get(pack, facts[pack].size)
            if size != facts[pack].size and not self._subset.has(pack.key):
                yield Damage(pack.key, "size", f"{pack.key} has {size:,} bytes; {facts[pack].size:,} were stored")
        with ThreadPoolExecutor(_THREADS) as pool:
            checks = PackChecks(self._storage, index, chunks, checked, pool)
            for pack in checks.run(pack for pack in mine if self._subset.has(pack.key)):
                self.bytes += facts[pack].size
                self._advance(self.bytes)
                if (problem := checked.problems.get(pack)) and not checked.damaged[pack]:
                    kind = "unreadable" if pack in checked.unread else "changed"
                    yield Damage(pack.key, kind, problem)

    def _note(self, index: Index) -> None:
        """Only what lies there and is wrong: of what is missing a listing tells, and of what was not given nothing is known."""
        checked = self._checked
        bad = {(pack, identity) for pack, ids in checked.damaged.items() for identity in ids}
        fresh = bad - checked.noted - index.damaged
        there = {pack for pack in {pack for pack, _ in fresh} if is_there(self._storage, pack)}
        self._repository.note_damaged(one for one in fresh if one[0] in there)
        checked.noted |= fresh

    # --- what is lost -------------------------------------------------------------------------------------------------

    def _touched(self, place: Place, parts: Sequence[StoredPart]) -> Iterator[Damage]:
        """The parts that need chunks which are damaged, and lie nowhere else."""
        doubted = self._doubted(place.chunks.index)
        for part in parts if doubted else ():
            lost, packs = 0, dict[str, None]()
            for found in _places(place, part):
                bad = found.row.id in doubted or not doubted.isdisjoint(found.row.bases)
                if bad and not self._is_readable(place.chunks, found):
                    lost += found.row.length
                    packs[found.pack.key] = None
            if lost:
                where = ", ".join(packs)
                text = f"{shown(part.path)}: {lost:,} of its bytes are damaged or missing in {where}"
                yield Damage(part.path, "changed", text)

    def _doubted(self, index: Index) -> set[bytes]:
        """Ids of the chunks that cannot be read in some place."""
        found = {identity for ids in self._checked.damaged.values() for identity in ids}
        found |= {identity for _, identity in index.damaged}
        found |= self._nowhere
        return found | {one.row.id for pack in self._lost for one in index.of_pack(pack)}

    def _is_readable(self, chunks: Chunks, found: ChunkPlace) -> bool:
        """Whether a chunk can be read in any place: by trying, or, where no content is read, by what is known."""
        identity = found.row.id
        if identity not in self._readable:
            self._readable[identity] = (
                self._is_named(chunks.index, found) if self._subset.structure else _opens(chunks, found)
            )
        return self._readable[identity]

    def _is_named(self, index: Index, found: ChunkPlace) -> bool:
        return any(
            one.pack not in self._lost
            and (one.pack, one.row.id) not in index.damaged
            and all(any(self._is_named(index, base) for base in _bases(index, identity)) for identity in one.row.bases)
            for one in index.by_id(found.row.id)
        )

    def _extra(self) -> Iterator[Damage]:
        for path in self._repository.paths_of(self._name) if self._subset.lane == 1 else ():
            if path not in (layout.MANIFEST, RECIPES):
                yield Damage(path, "extra", f"{shown(path)} is not of this set")

    # --- on a host that reads no sets ---------------------------------------------------------------------------------

    def _unopened(self) -> Iterator[Damage]:
        """Signatures, digests, and that what index files name is there: of all packs, since nobody knows here which ones a set
        needs."""
        self.unseen = _UNSEEN
        try:
            self._repository.sealed_recipes(self._name)
        except WrongKeyError:
            raise
        except RecoupError as error:
            yield Damage(layout.MANIFEST, "manifest", error.message)
            return
        self._count_beside()
        index = self._repository.index_for(self._name)
        yield from (Damage("index", "changed", problem.message) for problem in index.problems)
        named = sorted(index.packs.keys() - index.condemned, key=lambda pack: pack.key)
        for found in self._packs(index, None, named):
            yield Damage(found.item, found.kind, f"{found.message}; this host cannot tell which sets need it")
        for pack in sorted(self._lost):
            yield Damage(pack.key, "missing", f"{pack.key} is missing; this host cannot tell which sets need it")
        yield from self._extra()


def _opens(chunks: Chunks, found: ChunkPlace) -> bool:
    try:
        chunks.one(found)
    except (DamagedError, RefusedError):  # the second one: an encoding that nobody knows
        return False
    return True


def _bases(index: Index, identity: bytes) -> Iterator[ChunkPlace]:
    """Where a chunk lies in full."""
    return (one for one in index.by_id(identity) if not one.row.bases)


def _places(place: Place, part: StoredPart) -> Iterator[ChunkPlace]:
    """Where the chunks of a part lie, those of its member list, too."""
    yield from place.stream(part.path, part.sha256).places()
    if part.members is not None:
        yield from place.stream(part.members.path, part.members.sha256).places()
