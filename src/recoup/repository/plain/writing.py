"""Writing a set: parts first, hashed and compressed on the way, the manifest last, one rename."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recoup.errors import RecoupError, RefusedError
from recoup.model.manifest import Compression, Manifest, MemberList, Pack, Sealed, StoredFile, StoredPart, encode
from recoup.model.manifest import Sealing as SealingRecord
from recoup.model.names import SetName, checked_relative, shown
from recoup.model.part import Content, Member
from recoup.repository.compressing import SUFFIX, compressor
from recoup.repository.hashing import Hasher
from recoup.repository.plain import layout, members, sums
from recoup.repository.plain.once import Earlier, nothing_earlier, same_as
from recoup.repository.plain.packing import TarWriter
from recoup.repository.plain.sealed import Header, Secrets, facts_of, open_part, sealed_path, stored_file
from recoup.repository.sealing._base import Seal, Sealing, seal_bytes
from recoup.storage._base import Storage, Writer
from recoup.system.host import holder_token, token_is_dead

_BLOCK = 1024 * 1024
_SPOOLED = 8 * 1024 * 1024  # bytes of an archive's member that wait in memory until its size is final


@dataclass(frozen=True)
class Style:
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


class _HashedFile:
    """A stored file being written, encrypted where that is the style, with the SHA-256 and length of what is stored."""

    def __init__(self, storage: Storage, key: str, sealing: Sealing | None) -> None:
        self._storage, self._key, self._sealing = storage, key, sealing
        self._writer: Writer | None = None
        self._seal: Seal | None = None
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
        self._begin()
        (self._put if self._seal is None else self._seal.write)(data)

    def hole(self, length: int) -> None:
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
        self.hasher = found
        return True

    def adopt(self, content: Content) -> bool:
        """Takes a local file over and hashes it where it then lies; never where files are encrypted."""
        if content.local_path is None or self._writer is not None or self._sealing is not None:
            return False
        if not self._storage.adopt(self._key, Path(content.local_path), move=content.disposable):
            return False
        with self._storage.reader(self._key) as reader:
            while data := reader.read(_BLOCK):
                self.hasher.update(data)
        return True

    def finish(self) -> str:
        if self.hasher.bytes == 0:
            self._begin()
        if self._seal is not None:
            self._seal.finish()
        if self._writer is not None:
            self._writer.commit()
        return self.hasher.hexdigest()

    def abort(self) -> None:
        if self._seal is not None:
            self._seal.abort()
        self.hasher.close()
        if self._writer is not None:
            self._writer.abort()
        self._storage.delete(self._key)


class PlainStreamSink:
    """A stream part being stored, compressed or as it is."""

    def __init__(
        self, owner: "PlainSetWriter", source: str, name: str, style: Style, earlier: str | None = None
    ) -> None:
        self._owner, self._source, self._name, self._earlier = owner, source, name, earlier
        self._compression: Compression = style.compression
        self._path = owner.final(layout.stream_path(source, name, SUFFIX[style.compression]))
        owner.claim(self._path)
        self._file = owner.file(self._path)
        self._compressor = compressor(style.compression, style.level)
        self._as_it_is = style.compression == "none" and owner.hmac_key is None
        self._apart = Hasher(owner.hmac_key)
        self._open = True

    @property
    def _plain(self) -> Hasher:
        return self._file.hasher if self._as_it_is else self._apart

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends bytes."""
        if self._as_it_is:
            self._file.write(data)
            return
        self._plain.update(data)
        if packed := self._compressor.compress(data):
            self._file.write(packed)

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        if self._as_it_is:
            self._file.hole(length)
            return
        for start in range(0, length, _BLOCK):
            self.write(bytes(min(_BLOCK, length - start)))

    def adopt(self, content: Content, /) -> bool:
        """Takes a local file over without copying it, or shares the copy of an earlier set."""
        if self._earlier is not None and self._file.share(content, self._earlier):
            return True
        return self._compression == "none" and self._file.adopt(content)

    def finish(self) -> StoredPart:
        """Ends it and says what was stored."""
        self._open = False
        if rest := self._compressor.flush():
            self._file.write(rest)
        digest = self._file.finish()
        plain = self._plain.hexdigest()
        sealed = self._owner.method
        self._owner.stored(self._source, self._path, digest)
        return StoredPart(
            name=self._name,
            kind="stream",
            path=self._path,
            bytes=self._plain.bytes,
            stored_bytes=self._file.hasher.bytes,
            sha256=digest,
            content_sha256="" if sealed else plain,
            compression=self._compression,
            sealed=sealed,
            content_hmac=plain if sealed else "",
        )

    def abort(self) -> None:
        """Discards it."""
        if self._open:
            self._open = False
            self._plain.close()
            self._file.abort()
            self._owner.release(self._path)


class _TreeBase:
    """What the two ways of storing a tree share: the member list and the counts."""

    def __init__(self, owner: "PlainSetWriter", source: str, name: str, pack: Pack) -> None:
        self.owner, self.source, self.name, self.pack = owner, source, name, pack
        self.path = owner.final(layout.tree_path(source, name, pack))
        self._list_path = owner.final(layout.members_path(source, name))
        for taken in (self.path, self._list_path):
            owner.claim(taken)
        self._list = owner.file(self._list_path)
        self._buffer = bytearray()
        self._count = 0
        self._seen: set[int] = set()
        self.bytes = 0
        self.open = True

    def enter(self, name: str) -> None:
        """Notes that a member of this name is coming; a tree has each name once."""
        mark = hash(name)
        if name != ".":
            checked_relative(name)
        if mark in self._seen:
            raise RefusedError(f"source {self.source} yields {shown(name)!r} twice")
        self._seen.add(mark)

    def leave(self, name: str) -> None:
        """Takes `enter` back: the member was aborted."""
        self._seen.discard(hash(name))

    def line(self, line: members.Line) -> None:
        """Appends to the member list."""
        self._buffer += members.encode(line)
        self._count += 1
        self.bytes += line.bytes
        if len(self._buffer) >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._list.write(bytes(self._buffer))
            self._buffer.clear()

    def close_list(self) -> MemberList:
        """Ends the member list."""
        self.open = False
        self._flush()
        digest = self._list.finish()
        return MemberList(self._list_path, self._count, digest, self._list.hasher.bytes)

    def drop_list(self) -> None:
        """Discards the member list."""
        self._list.abort()
        for taken in (self.path, self._list_path):
            self.owner.release(taken)


class PlainTreeSink(_TreeBase):
    """A tree stored as a tree: folders as folders, files under their own names.

    Args:
        owner: the set.
        source: whose.
        name: of the part.
        earlier: key of the tree in an earlier set, whose files are shared where they are the same; None: nothing is shared.
    """

    def __init__(self, owner: "PlainSetWriter", source: str, name: str, earlier: str | None = None) -> None:
        super().__init__(owner, source, name, "tree")
        self._earlier = earlier

    def earlier(self, member: Member) -> str | None:
        """Key of the copy that may be the same file."""
        if self._earlier is None:
            return None
        key = f"{self._earlier}/{member.name}"
        with contextlib.suppress(OSError, RecoupError):
            return key if self.owner.storage.size(key) == member.size else None
        return None

    def file(self, member: Member) -> "PlainMemberSink":
        """Begins a file."""
        self.enter(member.name)
        return PlainMemberSink(self, member)

    def add(self, member: Member) -> None:
        """Adds a folder or link; on storages that have them they are made, too, for people to see."""
        self.enter(member.name)
        key = self.owner.key(self.path if member.name == "." else f"{self.path}/{member.name}")
        if member.kind == "folder":
            self.owner.storage.make_folder(key)
        elif member.kind == "symlink":
            self.owner.storage.make_link(key, member.link)
        self.line(members.Line(member.name, member.kind, member.attributes, link=member.link))

    def finish(self) -> StoredPart:
        """Ends the tree."""
        listed = self.close_list()
        self.owner.stored_tree(self.source, self.path, listed)
        return StoredPart(
            name=self.name,
            kind="tree",
            path=self.path,
            bytes=self.bytes,
            stored_bytes=self.bytes + listed.bytes,
            sha256=listed.sha256,
            pack="tree",
            members=listed,
        )

    def abort(self) -> None:
        """Discards the tree."""
        if self.open:
            self.open = False
            self.drop_list()
            self.owner.storage.delete_all(self.owner.key(self.path))


class PlainMemberSink:
    """A file of a tree that is stored as a tree."""

    def __init__(self, tree: PlainTreeSink, member: Member) -> None:
        self._tree, self._member = tree, member
        self._file = tree.owner.file(f"{tree.path}/{member.name}")
        self._open = True
        self.write = self._file.write
        self.hole = self._file.hole

    def adopt(self, content: Content, /) -> bool:
        """Takes a local file over without copying it, or shares the copy of an earlier set."""
        earlier = self._tree.earlier(self._member)
        return (earlier is not None and self._file.share(content, earlier)) or self._file.adopt(content)

    def finish(self, *, changed: bool = False) -> int:
        """Ends it."""
        self._open = False
        digest = self._file.finish()
        size = self._file.hasher.bytes
        member = self._member
        self._tree.line(members.Line(member.name, "file", member.attributes, size, digest, changed=changed))
        return size

    def abort(self) -> None:
        """Discards it, so that it may be begun again."""
        if self._open:
            self._open = False
            self._file.abort()
            self._tree.leave(self._member.name)


class PlainTarSink(_TreeBase):
    """A tree stored as one tar, compressed or not."""

    def __init__(self, owner: "PlainSetWriter", source: str, name: str, style: Style) -> None:
        super().__init__(owner, source, name, style.pack)
        self._stored = owner.file(self.path)
        kind: Compression = {"tar.zst": "zstd", "tar.gz": "gzip"}.get(style.pack, "none")  # type: ignore[assignment]
        self._compressor = compressor(kind, style.level)
        self.tar = TarWriter(self._emit)

    def _emit(self, data: bytes) -> None:
        if packed := self._compressor.compress(data):
            self._stored.write(packed)

    def file(self, member: Member) -> "TarMemberSink":
        """Begins a file."""
        self.enter(member.name)
        return TarMemberSink(self, member)

    def add(self, member: Member) -> None:
        """Adds a folder or link."""
        self.enter(member.name)
        if member.name != ".":
            self.tar.entry(member)
        self.line(members.Line(member.name, member.kind, member.attributes, link=member.link))

    def finish(self) -> StoredPart:
        """Ends the archive."""
        listed = self.close_list()
        self.tar.end()
        if rest := self._compressor.flush():
            self._stored.write(rest)
        digest = self._stored.finish()
        self.owner.stored(self.source, self.path, digest)
        self.owner.stored(self.source, listed.path, listed.sha256)
        return StoredPart(
            name=self.name,
            kind="tree",
            path=self.path,
            bytes=self.bytes,
            stored_bytes=self._stored.hasher.bytes + listed.bytes,
            sha256=digest,
            pack=self.pack,
            members=listed,
            sealed=self.owner.method,
        )

    def abort(self) -> None:
        """Discards the archive."""
        if self.open:
            self.open = False
            self.drop_list()
            self._stored.abort()


class TarMemberSink:
    """A file of a tar. It waits beside the archive until it is whole: a tar's header names the size, and takes nothing back."""

    def __init__(self, tree: PlainTarSink, member: Member) -> None:
        self._tree, self._member = tree, member
        self._spool = tempfile.SpooledTemporaryFile(_SPOOLED, dir=tree.owner.spool_folder)  # noqa: SIM115 - closed below
        self._hasher = Hasher()
        self._open = True

    def write(self, data: bytes | memoryview, /) -> None:
        """Appends bytes."""
        self._hasher.update(data)
        self._spool.write(data)

    def hole(self, length: int, /) -> None:
        """Appends zero bytes."""
        for start in range(0, length, _BLOCK):
            self.write(bytes(min(_BLOCK, length - start)))

    def adopt(self, content: Content, /) -> bool:  # noqa: ARG002 - an archive has no files to take over
        """Never possible in an archive."""
        return False

    def finish(self, *, changed: bool = False) -> int:
        """Writes it into the archive."""
        self._open = False
        digest, size, member = self._hasher.hexdigest(), self._hasher.bytes, self._member
        self._spool.seek(0)
        with self._spool:
            self._tree.tar.entry(member, size, iter(lambda: self._spool.read(_BLOCK), b""))
        self._tree.line(members.Line(member.name, "file", member.attributes, size, digest, changed=changed))
        return size

    def abort(self) -> None:
        """Discards it, so that it may be begun again."""
        if self._open:
            self._open = False
            self._hasher.close()
            self._spool.close()
            self._tree.leave(self._member.name)


class PlainSetWriter:
    """A set being written below a prefix that nobody reads."""

    def __init__(
        self, storage: Storage, prefix: str, name: SetName, style: Style, earlier: Earlier = nothing_earlier
    ) -> None:
        self.storage, self._prefix, self._style, self._earlier = storage, prefix, style, earlier
        self._name = name
        self._taken: set[str] = {layout.MANIFEST, layout.SUMS}
        self._sums: dict[str, list[tuple[str, str, bool]]] = {}
        self._secrets = Secrets() if style.sealing is not None else None

    @property
    def name(self) -> SetName:
        """The name that the set gets; final after `commit`."""
        return self._name

    @property
    def spool_folder(self) -> str | None:
        """Where large members of an archive wait; the system's temporary folder where the storage is no folder, and never
        the repository when files are encrypted: they wait as they are."""
        if self._style.sealing is not None:
            return None if self._style.spool is None else str(self._style.spool)
        root = self.storage.properties.local_root
        return None if root is None else str(root / self._prefix)

    @property
    def method(self) -> Sealed | None:
        """How files are encrypted."""
        return None if self._style.sealing is None else self._style.sealing.method

    @property
    def hmac_key(self) -> bytes | None:
        """What digests of plain contents are keyed with, where files are encrypted."""
        return None if self._secrets is None else self._secrets.key

    def key(self, path: str) -> str:
        """The present key of a path inside the set."""
        return f"{self._prefix}/{path}"

    def final(self, path: str) -> str:
        """A path as it is on the storage: with what encryption puts behind it."""
        return path if self.method is None else sealed_path(path, self.method)

    def file(self, path: str) -> _HashedFile:
        """Begins a file at a final path."""
        return _HashedFile(self.storage, self.key(path), self._style.sealing)

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

    def stream(
        self,
        source: str,
        name: str,
        size: int | None,  # noqa: ARG002 - for others to plan with
        *,
        once: bool = False,
    ) -> PlainStreamSink:
        """Begins a stream part; one that is stored once is not compressed."""
        if not once:
            return PlainStreamSink(self, source, name, self._style)
        self._require_open(source)
        return PlainStreamSink(
            self, source, name, replace(self._style, compression="none"), self._earlier(source, name)
        )

    def tree(self, source: str, name: str, *, once: bool = False) -> "PlainTreeSink | PlainTarSink":
        """Begins a tree part; one that is stored once is stored as a tree whatever the style."""
        if once:
            self._require_open(source)
            return PlainTreeSink(self, source, name, self._earlier(source, name))
        if self._style.pack == "tree":
            return PlainTreeSink(self, source, name)
        return PlainTarSink(self, source, name, self._style)

    def _require_open(self, source: str) -> None:
        """An encrypted copy is another one each time, so there is nothing that two sets could share."""
        if self.method is not None:
            raise RefusedError(
                f"source {source} has `store_once`, which does not work in an encrypted repository",
                "Take `store_once` away, or put this source into a repository of its own without `encrypt`.",
            )

    def stored(self, source: str, path: str, sha256: str) -> None:
        """Notes a stored file for SHA256SUMS."""
        self._sums.setdefault(source, []).append((path, sha256, False))

    def stored_tree(self, source: str, path: str, listed: MemberList) -> None:
        """Notes a stored tree: its files are taken from its member list when SHA256SUMS is written."""
        self._sums.setdefault(source, []).append((path, listed.path, True))
        self.stored(source, listed.path, listed.sha256)

    def discard(self, source: str) -> None:
        """Removes everything stored of a source."""
        self._sums.pop(source, None)
        self._taken = {p for p in self._taken if p.split("/", 1)[0].split(".", 1)[0] != source}
        self.storage.delete_all(self.key(source))
        for found in list(self.storage.list(self._prefix)):
            path = found.key.removeprefix(self._prefix + "/")
            if "/" not in path and path.startswith(f"{source}."):
                self.storage.delete(found.key)

    def commit(self, manifest: Manifest) -> None:
        """Writes checksums and manifest, makes all durable, then lets the set appear under the next free name."""
        manifest = self._with_secrets_apart(manifest)
        while True:
            self._write_manifest(encode(replace(manifest, name=str(self._name))), manifest.sealing)
            self.storage.sync(self._prefix)
            try:
                self.storage.move(self._prefix, str(self._name))
            except FileExistsError:
                self._name = self._name.next()
                continue
            return

    def _with_secrets_apart(self, manifest: Manifest) -> Manifest:
        """Of an encrypted set: stores what is secret of it, and returns the rest."""
        sealing = self._style.sealing
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

    def _write_manifest(self, data: bytes, record: SealingRecord | None) -> None:
        """Writes the manifest, or what stands open of it, and the checksums of all."""
        beside = [] if record is None else [record.keys]
        if self._style.sealing is not None and record is not None and self._style.seal_manifest:
            file = self._put_sealed(self._style.sealing, layout.MANIFEST, data)
            beside.append(file)
            data = Header(record.method, record.recipients, file).encode()
        self._write_sums(beside, data)
        self.storage.put(self.key(layout.MANIFEST), data)

    def _write_sums(self, beside: Sequence[StoredFile], manifest: bytes) -> None:
        self.storage.delete(self.key(layout.SUMS))
        writer = self.storage.writer(self.key(layout.SUMS), hidden=True)
        try:
            for chunk in self._sum_lines():
                writer.write(chunk)
            for file in (*beside, stored_file(layout.MANIFEST, manifest)):
                writer.write(sums.line(file.sha256, file.path))
            writer.commit()
        except BaseException:
            writer.abort()
            raise

    def _sum_lines(self) -> Iterator[bytes]:
        for source in sorted(self._sums):
            for path, digest_or_list, is_tree in self._sums[source]:
                if not is_tree:
                    yield sums.line(digest_or_list, path)
                    continue
                yield from tree_sums(self.storage, self.key(digest_or_list), path)


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


@contextlib.contextmanager
def new_set(
    storage: Storage, name: SetName, style: Style, earlier: Earlier = nothing_earlier
) -> Iterator[PlainSetWriter]:
    """A set being written in a folder whose name says whose it is, and which is gone afterwards."""
    prefix = f"{layout.PARTIAL}/{holder_token()}"
    try:
        storage.make_folder(prefix)
        yield PlainSetWriter(storage, prefix, name, style, earlier)
    finally:
        storage.delete_all(prefix)


def remove_abandoned(storage: Storage) -> None:
    """Removes what killed runs left."""
    storage.tidy()
    for token in list(storage.folders(layout.PARTIAL)):
        if token_is_dead(token):
            storage.delete_all(f"{layout.PARTIAL}/{token}")
