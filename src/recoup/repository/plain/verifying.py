"""Comparing a stored set with its manifest: every file there, of its size, with its bytes, and nothing else."""

import hashlib
from collections.abc import Callable, Iterator

from recoup.errors import RecoupError, StorageError, WrongKeyError
from recoup.model.manifest import Manifest, StoredFile, StoredPart
from recoup.model.names import SetName, shown
from recoup.model.part import TreePart
from recoup.model.reports import Damage
from recoup.repository._base import Subset
from recoup.repository.plain import layout, sums
from recoup.repository.plain.folder import tree_sums
from recoup.repository.plain.keys import SetKeys
from recoup.repository.plain.reading import member_lines, part_of, stored_chunks
from recoup.repository.plain.sealed import decode_header, is_header, stored_file
from recoup.storage._base import Storage

_BLOCK = 1024 * 1024
_NEWS = 4 * _BLOCK  # bytes between two words about the progress


class PlainVerification:
    """A verification under way: iterate for the damage, read the counts afterwards.

    Attributes:
        files: stored files looked at.
        bytes: stored bytes read and hashed.
        total_bytes: stored bytes of the set, as far as the manifest can be read.
        unseen: empty: every host can compare all stored bytes.
    """

    def __init__(
        self, storage: Storage, name: SetName, keys: SetKeys, subset: Subset, advance: Callable[[int], None]
    ) -> None:
        self._advance, self._told = advance, 0
        self._storage, self._name, self._keys, self._subset = storage, str(name), keys, subset
        self._expected: set[int] = set()
        self._folders: set[int] = set()
        self.files = 0
        self.bytes = 0
        self.total_bytes = 0
        self.unseen = ""

    def __iter__(self) -> Iterator[Damage]:
        """Yields damage as it is found."""
        manifest, data = None, b""
        try:
            data = self._storage.get(f"{self._name}/{layout.MANIFEST}")
            if is_header(data) and not self._keys.can_open(decode_header(data, layout.MANIFEST).method):
                yield from self._by_sums(data)
                return
            manifest = self._keys.manifest_in(data)
        except FileNotFoundError:
            yield Damage(layout.MANIFEST, "missing", "the manifest is missing")
        except WrongKeyError:
            raise
        except RecoupError as error:
            yield Damage(layout.MANIFEST, "manifest", error.message)
        if manifest is None:
            return
        if manifest.name != self._name:
            yield Damage(layout.MANIFEST, "manifest", f"the manifest belongs to the set {manifest.name}")
        for part in (part for source in manifest.sources.values() for part in source.parts):
            yield from self._part(part)
        for file in self._beside(manifest, data):
            self.total_bytes += file.bytes
            yield from self._file(file.path, file.bytes, file.sha256)
        if self._subset.lane == 1:
            yield from self._sums(manifest, data)
            yield from self._extra()

    def _beside(self, manifest: Manifest, data: bytes) -> list[StoredFile]:
        """The files of an encrypted set that are no parts."""
        found = [] if manifest.sealing is None else [manifest.sealing.keys]
        return [*found, decode_header(data, layout.MANIFEST).manifest] if is_header(data) else found

    def _by_sums(self, data: bytes) -> Iterator[Damage]:
        """Without a key to its manifest, SHA256SUMS says what a set has to hold."""
        header = decode_header(data, layout.MANIFEST)
        named = {layout.MANIFEST: hashlib.sha256(data).hexdigest(), header.manifest.path: header.manifest.sha256}
        self._expected.update((hash(layout.MANIFEST), hash(layout.SUMS)))
        self.files += 2 if self._subset.lane == 1 else 0
        try:
            for digest, line in sums.read(self._storage.get(f"{self._name}/{layout.SUMS}")):
                path = self.path_of(line)
                if named.pop(path, digest) != digest:
                    yield Damage(layout.SUMS, "changed", f"SHA256SUMS and {layout.MANIFEST} contradict each other")
                elif path != layout.MANIFEST:
                    yield from self._listed(path, digest)
        except FileNotFoundError:
            yield Damage(layout.SUMS, "missing", "SHA256SUMS is missing")
        except RecoupError as error:
            yield Damage(layout.SUMS, "changed", error.message)
        for path in named:
            yield Damage(layout.SUMS, "changed", f"SHA256SUMS does not name {path}")
        if self._subset.lane == 1:
            yield from self._extra()

    def listed(self, path: str) -> str:
        """A path as SHA256SUMS names it; other layouts name it otherwise."""
        return path

    def path_of(self, line: str) -> str:
        """The path that a line of SHA256SUMS names."""
        return line

    def _listed(self, path: str, sha256: str) -> Iterator[Damage]:
        """A file whose length nobody says."""
        try:
            size = self._storage.size(f"{self._name}/{path}")
        except (OSError, RecoupError):
            size = 0  # named below
        self.total_bytes += size
        yield from self._file(path, size, sha256)

    def _part(self, part: StoredPart) -> Iterator[Damage]:
        self.total_bytes += part.stored_bytes
        if part.kind == "stream":
            yield from self._file(part.path, part.stored_bytes, part.sha256)
            return
        if part.members is None:
            yield Damage(part.path, "manifest", "the manifest names no member list for this tree")
            return
        damaged = list(self._file(part.members.path, part.members.bytes, part.members.sha256, always=True))
        yield from damaged
        if part.pack == "tree":
            if not damaged:
                yield from self._tree(part)
            else:
                self._folders.add(hash(part.path))
            return
        archive_bytes = part.stored_bytes - part.members.bytes
        damaged += (found := list(self._file(part.path, archive_bytes, part.sha256)))
        yield from found
        if (
            not damaged
            and self._subset.is_mine(part.path)
            and self._subset.has(part.path)
            and self._keys.can_open(part.sealed)
        ):
            yield from self._archive(part)

    def _tree(self, part: StoredPart) -> Iterator[Damage]:
        try:
            for line in member_lines(self._keys.place, part):
                path = layout.member_path(part, line.name)
                if line.kind == "file":
                    yield from self._file(path, line.bytes, line.sha256)
                elif line.kind == "symlink":
                    self._expected.add(hash((path, line.link)))
        except RecoupError as error:
            yield Damage(part.path, "manifest", error.message)

    def _archive(self, part: StoredPart) -> Iterator[Damage]:
        tree = part_of(self._keys.place, part)
        try:
            if isinstance(tree, TreePart):
                for _ in tree.members:
                    pass
        except WrongKeyError:
            raise
        except StorageError as error:  # it tells nothing of the bytes
            yield Damage(part.path, "unreadable", error.message)
        except RecoupError as error:
            yield Damage(part.path, "changed", error.message)

    def _file(self, path: str, size: int, sha256: str, *, always: bool = False) -> Iterator[Damage]:
        self._expected.add(hash(path))
        ours = self._subset.is_mine(path)
        if not ours and not always:
            return
        self.files += ours
        key = f"{self._name}/{path}"
        try:
            found = self._storage.size(key)
        except FileNotFoundError:
            yield Damage(path, "missing", f"{shown(path)} is missing")
            return
        except (OSError, RecoupError) as error:
            yield Damage(path, "unreadable", f"{shown(path)} cannot be read: {error}")
            return
        if found != size:
            yield Damage(path, "size", f"{shown(path)} has {found:,} bytes; the manifest says {size:,}")
            return
        if not always and not self._subset.has(path):
            return
        digest = hashlib.sha256()
        try:
            for chunk in stored_chunks(self._storage, key, path):
                digest.update(chunk)
                self.bytes += len(chunk) if ours else 0
                if self.bytes - self._told >= _NEWS:
                    self._told = self.bytes
                    self._advance(self.bytes)
        except RecoupError as error:
            yield Damage(path, "unreadable", error.message)
            return
        if digest.hexdigest() != sha256:
            yield Damage(path, "changed", f"{shown(path)} is not what was stored: its SHA-256 differs")

    def _sums(self, manifest: Manifest, data: bytes) -> Iterator[Damage]:
        """SHA256SUMS must say, byte for byte, what the manifest says; so a changed manifest shows, too."""
        self._expected.update((hash(layout.MANIFEST), hash(layout.SUMS)))
        self.files += 2
        try:
            with self._storage.reader(f"{self._name}/{layout.SUMS}") as reader:
                if not _agree(self.sum_lines(manifest, data), iter(lambda: reader.read(_BLOCK), b"")):
                    message = "SHA256SUMS and manifest.json contradict each other: one of them was changed"
                    yield Damage(layout.SUMS, "changed", message)
        except FileNotFoundError:
            yield Damage(layout.SUMS, "missing", "SHA256SUMS is missing")
        except RecoupError:
            return  # a broken member list, named above

    def sum_lines(self, manifest: Manifest, data: bytes) -> Iterator[bytes]:
        """What SHA256SUMS has to say, from the manifest, its bytes, and the member lists of trees."""
        for name in sorted(manifest.sources):
            for part in manifest.sources[name].parts:
                if part.members and part.pack == "tree":
                    tree = self.listed(part.path)
                    yield from tree_sums(self._storage, f"{self._name}/{part.members.path}", tree)
                    yield sums.line(part.members.sha256, self.listed(part.members.path))
                    continue
                yield sums.line(part.sha256, self.listed(part.path))
                if part.members:
                    yield sums.line(part.members.sha256, self.listed(part.members.path))
        for file in (*self._beside(manifest, data), stored_file(layout.MANIFEST, data)):
            yield sums.line(file.sha256, self.listed(file.path))

    def _extra(self) -> Iterator[Damage]:
        for found in self._storage.list(self._name):
            path = found.key.removeprefix(self._name + "/")
            mark = hash(path) if found.link is None else hash((path, found.link))
            if mark in self._expected or any(hash(folder) in self._folders for folder in _folders(path)):
                continue
            kind = "extra" if found.link is None else "link"
            yield Damage(path, kind, f"{shown(path)} is not in the manifest")


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _agree(left: Iterator[bytes], right: Iterator[bytes]) -> bool:
    """Whether two streams of chunks have the same bytes."""
    a = b = b""
    while True:
        a = a or next(_filled(left), b"")
        b = b or next(_filled(right), b"")
        common = min(len(a), len(b))
        if a[:common] != b[:common]:
            return False
        if common == 0:
            return not a and not b
        a, b = a[common:], b[common:]


def _filled(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return (chunk for chunk in chunks if chunk)
