"""What parts are stored through: streams, and trees as trees or as one archive."""

import contextlib
import tempfile

from recoup.errors import RecoupError
from recoup.model.manifest import Compression, MemberList, Pack, StoredPart
from recoup.model.part import Content, Member
from recoup.repository.compressing import SUFFIX, compressor
from recoup.repository.hashing import Hasher
from recoup.repository.plain import layout, members
from recoup.repository.plain.folder import SetFolder, Style
from recoup.repository.plain.packing import TarWriter

_BLOCK = 1024 * 1024
_SPOOLED = 8 * 1024 * 1024  # bytes of an archive's member that wait in memory until its size is final


class PlainStreamSink:
    """A stream part being stored, compressed or as it is."""

    def __init__(self, owner: SetFolder, source: str, name: str, style: Style, earlier: str | None = None) -> None:
        self._owner, self._source, self._name, self._earlier = owner, source, name, earlier
        self._compression: Compression = style.compression
        self._path = owner.final(owner.stream_path(source, name, SUFFIX[style.compression]))
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

    def __init__(self, owner: SetFolder, source: str, name: str, pack: Pack) -> None:
        self.owner, self.source, self.name, self.pack = owner, source, name, pack
        self.path = owner.final(owner.tree_path(source, name, pack))
        self._list_path = owner.final(layout.members_path(source, name))
        for taken in (self.path, self._list_path):
            owner.claim(taken)
        self._list = owner.file(self._list_path)
        self.listing = members.Listing(source, self._list.write)
        self.open = True

    def close_list(self) -> MemberList:
        """Ends the member list."""
        self.open = False
        self.listing.flush()
        digest = self._list.finish()
        return MemberList(self._list_path, self.listing.count, digest, self._list.hasher.bytes)

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

    def __init__(self, owner: SetFolder, source: str, name: str, earlier: str | None = None) -> None:
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
        self.listing.enter(member.name)
        return PlainMemberSink(self, member)

    def add(self, member: Member) -> None:
        """Adds a folder or link; on storages that have them they are made, too, for people to see."""
        self.listing.enter(member.name)
        key = self.owner.key(self.path if member.name == "." else f"{self.path}/{member.name}")
        if member.kind == "folder":
            self.owner.storage.make_folder(key)
        elif member.kind == "symlink":
            self.owner.storage.make_link(key, member.link)
        self.listing.line(members.Line(member.name, member.kind, member.attributes, link=member.link))

    def finish(self) -> StoredPart:
        """Ends the tree."""
        listed = self.close_list()
        self.owner.stored_tree(self.source, self.path, listed)
        return StoredPart(
            name=self.name,
            kind="tree",
            path=self.path,
            bytes=self.listing.bytes,
            stored_bytes=self.listing.bytes + listed.bytes,
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
        self._tree.listing.line(members.Line(member.name, "file", member.attributes, size, digest, changed=changed))
        return size

    def abort(self) -> None:
        """Discards it, so that it may be begun again."""
        if self._open:
            self._open = False
            self._file.abort()
            self._tree.listing.leave(self._member.name)


class PlainTarSink(_TreeBase):
    """A tree stored as one tar, compressed or not."""

    def __init__(self, owner: SetFolder, source: str, name: str, style: Style) -> None:
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
        self.listing.enter(member.name)
        return TarMemberSink(self, member)

    def add(self, member: Member) -> None:
        """Adds a folder or link."""
        self.listing.enter(member.name)
        if member.name != ".":
            self.tar.entry(member)
        self.listing.line(members.Line(member.name, member.kind, member.attributes, link=member.link))

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
            bytes=self.listing.bytes,
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
        self._tree.listing.line(members.Line(member.name, "file", member.attributes, size, digest, changed=changed))
        return size

    def abort(self) -> None:
        """Discards it, so that it may be begun again."""
        if self._open:
            self._open = False
            self._hasher.close()
            self._spool.close()
            self._tree.listing.leave(self._member.name)
