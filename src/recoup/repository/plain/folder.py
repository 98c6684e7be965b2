"""The folder of a set being written: whose paths are taken, what was stored, what its manifest and SHA256SUMS then say."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from recoup.errors import RefusedError, StorageError
from recoup.model.manifest import Compression, Manifest, MemberList, Pack, Sealed, StoredFile
from recoup.model.manifest import Sealing as SealingRecord
from recoup.model.names import checked_relative, shown
from recoup.model.part import Content, Hashed
from recoup.model.structs import Struct
from recoup.repository.hashing import Hasher, Known
from recoup.repository.plain import layout, members, sums
from recoup.repository.plain.once import same_as
from recoup.repository.plain.sealed import Header, Secrets, facts_of, open_part, sealed_path, stored_file
from recoup.repository.sealing._base import Seal, Sealing, seal_bytes
from recoup.storage._base import Storage, Writer

_BLOCK = 1024 * 1024


class Style(Struct):
    """How parts are stored.

    Attributes:
        pack: of trees.
        compression: of streams.
        level: of the compression; its usual default when None.
        sealing: encrypts every stored file; None leaves them open.
        seal_manifest: whether the manifest is encrypted, too.
        spool: folder where large members of an archive wait when files are encrypted; the system's temporary one when None.
    """

    pack: Pack = "tree"
    compression: Compression = "none"
    level: int | None = None
    sealing: Sealing | None = None
    seal_manifest: bool = False
    spool: Path | None = None


class HashedFile:
    """A stored file being written, encrypted where that is the style, with the SHA-256 and length of what is stored."""

    def __init__(self, storage: Storage, key: str, sealing: Sealing | None) -> None:
        self._storage, self._key, self._sealing = storage, key, sealing
        self._writer: Writer | None = None
        self._seal: Seal | None = None
        self._is_there = False
        self.hasher = Hasher()

    def _begin(self) -> Writer:
        if self._writer is None:
            self._writer = self._storage.writer(self._key, hidden=True)
            self._seal = self._sealing.seal(self._put) if self._sealing is not None else None
        return self._writer

    def _put(self, data: bytes | memoryview) -> None:
        self.hasher.update(data)
        self._begin().write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        self._begin()
        (self._put if self._seal is None else self._seal.write)(data)

    def hole(self, length: int) -> None:
        """Appends zero bytes that need not be stored; encrypted they are bytes like others."""
        writer = self._begin()
        for start in range(0, length, _BLOCK):
            zeros = bytes(min(_BLOCK, length - start))
            (self.hasher.update if self._seal is None else self._seal.write)(zeros)
        if self._seal is None:
            writer.hole(length)

    def share(self, content: Content, earlier: str) -> bool:
        """Lets the copy of an earlier set stand for a content that is the same."""
        found = same_as(content, self._storage, earlier)
        if found is None or not self._storage.share(self._key, earlier):
            return False
        self._is_there = True
        self.hasher = found
        return True

    def adopt(self, content: Content) -> bool:
        """Takes a local file over, never where files are encrypted. It is hashed where it then lies, unless its writer did."""
        if content.local_path is None or self._writer is not None or self._sealing is not None:
            return False
        if not self._storage.adopt(self._key, Path(content.local_path), move=content.disposable):
            return False
        self._is_there = True
        if isinstance(content, Hashed) and content.sha256:
            self.hasher.close()
            self.hasher = Known(content.sha256, self._storage.size(self._key))
            return True
        with self._storage.reader(self._key) as reader:
            while data := reader.read(_BLOCK):
                self.hasher.update(data)
        return True

    def finish(self) -> str:
        """Ends it and returns the SHA-256 of what is stored."""
        if self.hasher.bytes == 0:
            self._begin()
        if self._seal is not None:
            self._seal.finish()
        if self._writer is not None:
            self._is_there = True
            self._writer.commit()
        return self.hasher.hexdigest()

    def abort(self) -> None:
        """Discards it. Not everybody may delete: what never appeared need not be deleted."""
        if self._seal is not None:
            self._seal.abort()
        self.hasher.close()
        if self._writer is not None:
            self._writer.abort()
        try:
            self._storage.delete(self._key)
        except StorageError:
            if self._is_there:
                raise


class SetFolder:
    """Where a set is being written, below a prefix that nobody reads.

    Args:
        storage: on what.
        prefix: the key of its folder.
        style: how its files are stored.
    """

    def __init__(self, storage: Storage, prefix: str, style: Style) -> None:
        self.storage, self.prefix, self.style = storage, prefix, style
        self._taken: set[str] = {layout.MANIFEST, layout.SUMS}
        self._sums: dict[str, list[tuple[str, str, bool]]] = {}
        self._secrets = Secrets() if style.sealing is not None else None

    @property
    def spool_folder(self) -> str | None:
        """Where large members of an archive wait; the system's temporary folder where the storage is no folder, and never
        the repository when files are encrypted: they wait as they are."""
        if self.style.sealing is not None:
            return None if self.style.spool is None else str(self.style.spool)
        root = self.storage.properties.local_root
        return None if root is None or not self.storage.properties.moves else str(root / self.prefix)

    @property
    def method(self) -> Sealed | None:
        """How files are encrypted."""
        return None if self.style.sealing is None else self.style.sealing.method

    @property
    def hmac_key(self) -> bytes | None:
        """What digests of plain contents are keyed with, where files are encrypted."""
        return None if self._secrets is None else self._secrets.key

    def key(self, path: str) -> str:
        """The present key of a path inside the set."""
        return f"{self.prefix}/{path}"

    def final(self, path: str) -> str:
        """A path as it is on the storage: with what encryption puts behind it."""
        return path if self.method is None else sealed_path(path, self.method)

    def stream_path(self, source: str, name: str, suffix: str) -> str:
        """Where a stream part is to lie; other layouts have other places."""
        return layout.stream_path(source, name, suffix)

    def tree_path(self, source: str, name: str, pack: Pack) -> str:
        """The same for a tree."""
        return layout.tree_path(source, name, pack)

    def listed(self, path: str) -> str:
        """A path as SHA256SUMS names it."""
        return path

    def file(self, path: str) -> HashedFile:
        """Begins a file at a final path."""
        return HashedFile(self.storage, self.key(path), self.style.sealing)

    def claim(self, path: str) -> None:
        """Takes a path for one part.

        Raises:
            RefusedError: another part has it.
        """
        folded = checked_relative(path)
        if folded in self._taken:
            raise RefusedError(f"two parts would be stored as {shown(path)}")
        self._taken.add(folded)

    def release(self, path: str) -> None:
        """Gives a path back."""
        self._taken.discard(path)

    def stored(self, source: str, path: str, sha256: str) -> None:
        """Notes a stored file for SHA256SUMS."""
        self._sums.setdefault(source, []).append((path, sha256, False))

    def stored_paths(self, source: str) -> list[str]:
        """Paths of the streams stored of a source so far."""
        return [path for path, _, is_tree in self._sums.get(source, ()) if not is_tree]

    def stored_tree(self, source: str, path: str, listed: MemberList) -> None:
        """Notes a stored tree: its files are taken from its member list when SHA256SUMS is written."""
        self._sums.setdefault(source, []).append((path, listed.path, True))
        self.stored(source, listed.path, listed.sha256)

    def discard(self, source: str) -> None:
        """Removes everything stored of a source."""
        self._sums.pop(source, None)
        self._taken = {p for p in self._taken if p.split("/", 1)[0].split(".", 1)[0] != source}
        folder = self.key(source)
        if self.storage.properties.moves or next(iter(self.storage.list(folder)), None) is not None:
            self.storage.delete_all(folder)
        for found in list(self.storage.list(self.prefix)):
            path = found.key.removeprefix(self.prefix + "/")
            if "/" not in path and path.startswith(f"{source}."):
                self.storage.delete(found.key)

    def with_secrets_apart(self, manifest: Manifest) -> Manifest:
        """Of an encrypted set: stores what is secret of it, and returns the rest."""
        sealing = self.style.sealing
        if sealing is None or self._secrets is None:
            return manifest
        found = replace(self._secrets, facts=facts_of(manifest))
        keys = self._put_sealed(sealing, layout.SEALED, found.encode())
        return replace(open_part(manifest), sealing=SealingRecord(sealing.method, sealing.recipients, keys))

    def _put_sealed(self, sealing: Sealing, path: str, data: bytes) -> StoredFile:
        stored = seal_bytes(sealing, data)
        file = stored_file(self.final(path), stored)
        self.storage.put(self.key(file.path), stored)
        return file

    def write_sums(self, data: bytes, record: SealingRecord | None) -> bytes:
        """Writes the checksums of all, and the encrypted manifest where it is; returns what is to stand in manifest.json."""
        beside = [] if record is None else [record.keys]
        if self.style.sealing is not None and record is not None and self.style.seal_manifest:
            file = self._put_sealed(self.style.sealing, layout.MANIFEST, data)
            beside.append(file)
            data = Header(record.method, record.recipients, file).encode()
        self._write_sums(beside, data)
        return data

    def _write_sums(self, beside: Sequence[StoredFile], manifest: bytes) -> None:
        writer = self.storage.writer(self.key(layout.SUMS), hidden=True)
        try:
            for chunk in self._sum_lines():
                writer.write(chunk)
            for file in (*beside, stored_file(layout.MANIFEST, manifest)):
                writer.write(sums.line(file.sha256, self.listed(file.path)))
            writer.commit()
        except BaseException:
            writer.abort()
            raise

    def _sum_lines(self) -> Iterator[bytes]:
        for source in sorted(self._sums):
            for path, digest_or_list, is_tree in self._sums[source]:
                if not is_tree:
                    yield sums.line(digest_or_list, self.listed(path))
                    continue
                yield from tree_sums(self.storage, self.key(digest_or_list), self.listed(path))


def tree_sums(storage: Storage, list_key: str, path: str) -> Iterator[bytes]:
    """The lines of SHA256SUMS for the files of a tree, from its member list; about a megabyte at a time."""
    pending = bytearray()
    with storage.reader(list_key) as reader:
        for line in members.decode(iter(lambda: reader.read(_BLOCK), b"")):
            if line.kind == "file":
                pending += sums.line(line.sha256, f"{path}/{line.name}")
            if len(pending) >= _BLOCK:
                yield bytes(pending)
                pending.clear()
    yield bytes(pending)
