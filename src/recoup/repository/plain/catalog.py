"""The catalogue: copies of many manifests and marks in few objects, so that listing takes few requests (`docs/format.md`).

It is a cache. What it lacks is read from where it is; what cannot be read of it is as if it were not there.
"""

import contextlib
import secrets
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from recoup.errors import DamagedError, RecoupError
from recoup.model.names import SetName
from recoup.model.part import Member
from recoup.model.structs import Struct
from recoup.repository.compressing import compressor, decompressed
from recoup.repository.plain import layout
from recoup.repository.plain.packing import TarWriter, entries
from recoup.repository.plain.sealed import decode_header, is_header
from recoup.storage._base import Storage
from recoup.system.clock import Clock

Copies = dict[str, bytes]
"""Key of an object to its bytes."""

_MISSING = 4  # sets that a listing reads one by one at most, after backups
_ARCHIVES = 3  # small ones that a listing reads at most
_LARGE = 2 * 1024 * 1024  # bytes of an archive that is not written again: some thousand sets
_LARGEST = 4 * 1024 * 1024  # bytes of an object that is worth a copy
_TIME = "%Y%m%dT%H%M%S%f"
_SUFFIX = ".tar.zst"


class Archive(Struct):
    """One object of the catalogue.

    Attributes:
        key: its key.
        bytes: its length.
        sets: how many sets it has copies of.
    """

    key: str
    bytes: int
    sets: int


class Catalog:
    """The catalogue of a repository.

    Args:
        storage: where.
        clock: time.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._archived = 0  # sets that it has copies of, when these were last asked for
        self._seen: int | None = None  # sets that were there then

    def archives(self, listed: Storage | None = None) -> list[Archive]:
        """What there is of it, found with one listing.

        Args:
            listed: whose listing will do.
        """
        found = list((listed or self._storage).list(layout.CATALOG))
        return [Archive(o.key, o.size, sets) for o in found if (sets := _sets_in(o.key)) is not None]

    def copies(self, archives: Sequence[Archive] | None = None) -> Copies:
        """All copies there are, by the key of their objects."""
        found: Copies = {}
        archives = self.archives() if archives is None else archives
        self._archived = sum(archive.sets for archive in archives)
        for archive in archives:
            with contextlib.suppress(FileNotFoundError, RecoupError):
                found.update(_unpacked(self._storage.get(archive.key)))
        return found

    def note(self, sets: int) -> None:
        """Is told how many sets were there, when copies were last asked for."""
        self._seen = sets

    def _lacks_few(self) -> bool:
        """Whether it lacks too few for an archive, by what was seen, and one set more. The next run sees what others added."""
        if self._seen is None:
            return False
        self._seen += 1
        return 0 <= self._seen - self._archived < _MISSING

    def grow(self, names: Callable[[], Sequence[SetName]]) -> None:
        """Adds copies of what it lacks, once that is worth an archive, or drops what somebody else has removed.

        Args:
            names: tells the sets there are, those in the trash, too; asked when it is known what archives there are.
        """
        if self._lacks_few():
            return
        archives = self.archives()
        present = names()
        missing = len(present) - sum(archive.sets for archive in archives)
        if missing < 0:
            self._drop(set(present).__contains__)
        if missing < _MISSING:
            return
        known = self.copies(archives)
        fresh = {key: data for key, data in self._wanted(present, known) if len(data) <= _LARGEST}
        small = [archive for archive in archives if archive.bytes < _LARGE]
        if len(small) < _ARCHIVES:
            self._put(fresh)
            return
        self._put({**self.copies(small), **fresh})
        for archive in small:
            self._storage.delete(archive.key)

    def _wanted(self, names: Sequence[SetName], known: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
        """What listing would have to read one by one."""
        for name in names:
            if f"{name}/{layout.MANIFEST}" not in known:
                with contextlib.suppress(FileNotFoundError, RecoupError):
                    yield from manifest_objects(self._storage, name).items()
        for found in list(self._storage.list(layout.MARKS)):
            if found.key not in known:
                with contextlib.suppress(FileNotFoundError):
                    yield found.key, self._storage.get(found.key)

    def forget(self, names: set[SetName]) -> None:
        """Drops the copies of sets that are about to be removed, and every archive that cannot be read."""
        self._drop(lambda name: name not in names)

    def _drop(self, keeps: Callable[[SetName], bool]) -> None:
        for archive in self.archives():
            try:
                found = _unpacked(self._storage.get(archive.key))
            except FileNotFoundError:
                continue
            except DamagedError:
                self._storage.delete(archive.key)
                continue
            left = {key: data for key, data in found.items() if (name := set_of(key)) and keeps(name)}
            if len(left) < len(found):
                self._put(left)
                self._storage.delete(archive.key)

    def _put(self, copies: Copies) -> None:
        if not copies:
            return
        sets = sum(key.endswith(f"/{layout.MANIFEST}") for key in copies)
        time = self._clock.now().strftime(_TIME)
        self._storage.put(f"{layout.CATALOG}/{time}-{sets}-{secrets.token_hex(4)}{_SUFFIX}", _packed(copies))


def manifest_objects(storage: Storage, name: SetName) -> Copies:
    """What it takes to read a set's manifest: its object, and the encrypted one beside it.

    Raises:
        FileNotFoundError: there is none.
        RefusedError: it is damaged.
    """
    key = f"{name}/{layout.MANIFEST}"
    data = storage.get(key)
    if not is_header(data):
        return {key: data}
    file = decode_header(data, key).manifest
    if file.bytes > _LARGEST:
        return {}
    return {f"{name}/{file.path}": storage.get(f"{name}/{file.path}"), key: data}


def set_of(key: str) -> SetName | None:
    """Whose object a key is, mark or manifest."""
    return SetName.parse(key.removeprefix(f"{layout.MARKS}/").split("/", 1)[0])


def _sets_in(key: str) -> int | None:
    """The number in the name of an archive."""
    match key.removeprefix(f"{layout.CATALOG}/").removesuffix(_SUFFIX).split("-"):
        case [_, sets, _] if sets.isdecimal() and key.endswith(_SUFFIX):
            return int(sets)
    return None


def _packed(copies: Copies) -> bytes:
    packer, pieces = compressor("zstd"), list[bytes]()
    tar = TarWriter(lambda data: pieces.append(packer.compress(data)))
    for key, data in sorted(copies.items()):
        tar.entry(Member(key, "file"), len(data), [data])
    tar.end()
    return b"".join([*pieces, packer.flush()])


def _unpacked(data: bytes) -> Copies:
    """The copies in an archive; the checksum of its frame is compared.

    Raises:
        DamagedError: it is not what was stored.
    """
    chunks = decompressed(iter([data]), "zstd")
    try:
        found = {info.name: member.read() for info, member in entries(chunks) if member is not None}
    except tarfile.TarError as error:
        raise DamagedError(f"an archive of the catalogue is broken: {error}") from None
    for _ in chunks:  # to the end, where the checksum is
        pass
    return found
