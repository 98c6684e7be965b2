"""Reading stored parts back: every byte is checked against the manifest before the end of its reader is reached."""

import base64
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from recoup.errors import DamagedError, RefusedError
from recoup.model.manifest import Compression, MemberList, Sealed, StoredAttributes, StoredPart
from recoup.model.names import shown
from recoup.model.part import Attributes, Member, Part, Reader, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.repository.compressing import decompressed
from recoup.repository.hashing import digest
from recoup.repository.plain import layout, members
from recoup.repository.plain.packing import ChunkReader, entries
from recoup.storage._base import Storage

_BLOCK = 1024 * 1024
_HINT = "Run `recoup verify`, then restore from another set or repository."


def stored_chunks(storage: Storage, key: str, item: str) -> Iterator[bytes]:
    """The bytes of a stored file.

    Raises:
        DamagedError: it is missing or cannot be read.
    """
    try:
        with storage.reader(key) as reader:
            while data := reader.read(_BLOCK):
                yield data
    except FileNotFoundError:
        raise DamagedError(f"{shown(item)} is missing from the repository", _HINT) from None
    except OSError as error:
        raise DamagedError(f"{shown(item)} cannot be read: {error.strerror or error}", _HINT) from None


class Keys(Protocol):
    """What it takes to read the encrypted files of one set."""

    def opened(self, method: Sealed, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
        """The plain bytes of a file.

        Raises:
            WrongKeyError: what is configured does not open it.
        """
        ...

    @property
    def hmac_key(self) -> bytes:
        """The set's own key. Raises as `opened` does."""
        ...


def checked(
    chunks: Iterator[bytes], item: str, size: int | None, sha256: str, key: bytes | None = None
) -> Iterator[bytes]:
    """Passes bytes on and compares them with what the manifest says.

    Args:
        chunks: the bytes.
        item: what to call them in an error.
        size: how many there have to be; None where unknown.
        sha256: their digest.
        key: makes the digest an HMAC.

    Raises:
        DamagedError: too many, too few, or other bytes; at the latest at the end.
    """
    running, count = digest(key), 0
    for chunk in chunks:
        running.update(chunk)
        count += len(chunk)
        if size is not None and count > size:
            raise DamagedError(f"{shown(item)} is longer than the manifest says ({size:,} bytes)", _HINT)
        yield chunk
    if size is not None and count != size:
        raise DamagedError(f"{shown(item)} is cut short: {count:,} of {size:,} bytes", _HINT)
    if running.hexdigest() != sha256:
        raise DamagedError(f"{shown(item)} is not what was stored: its SHA-256 differs", _HINT)


class _ChunkedReader:
    changed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._source = ChunkReader(chunks)

    def read(self, size: int, /) -> bytes:
        return self._source.read(size)


class StoredContent(Struct):
    """A part's plain bytes, from the repository.

    Attributes:
        chunks: begins reading.
    """

    chunks: Callable[[], Iterator[bytes]]
    local_path: None = None
    disposable: bool = False

    def open(self) -> AbstractContextManager[Reader]:
        """Opens from the beginning."""
        return _opened(self.chunks)


@contextlib.contextmanager
def _opened(begin: Callable[[], Iterator[bytes]]) -> Iterator[Reader]:
    yield _ChunkedReader(begin())


class Place(Struct):
    """Where a set's parts are read from.

    Attributes:
        storage: where the set lies.
        prefix: the set's key.
        keys: opens what is encrypted.
    """

    storage: Storage
    prefix: str
    keys: Keys

    def stored(self, path: str, size: int, sha256: str) -> Iterator[bytes]:
        """The bytes of a file as they lie there, compared with the manifest."""
        return checked(stored_chunks(self.storage, f"{self.prefix}/{path}", path), path, size, sha256)

    def plain(self, path: str, size: int, sha256: str, sealed: Sealed | None) -> Iterator[bytes]:
        """The bytes of a file, opened where they are encrypted."""
        stored = self.stored(path, size, sha256)
        return stored if sealed is None else self.keys.opened(sealed, stored, path)


def part_of(place: Place, part: StoredPart) -> Part:
    """A stored part as a part to restore.

    Args:
        place: where its set is.
        part: what the manifest says of it.
    """
    if part.kind == "stream":
        return StreamPart(part.name, _stream(place, part), part.bytes, attributes_of(part.attributes))
    return TreePart(part.name, _members(place, part), part.bytes)


def attributes_of(stored: StoredAttributes | None) -> Attributes | None:
    """A file's attributes as they are put back; None where none were stored."""
    if stored is None:
        return None
    xattrs = {name: base64.b64decode(value) for name, value in stored.xattrs.items()}
    return Attributes(stored.mode & 0o7777, stored.mtime_ns, xattrs)


def _stream(place: Place, part: StoredPart) -> StoredContent:
    def chunks() -> Iterator[bytes]:
        stored = place.plain(part.path, part.stored_bytes, part.sha256, part.sealed)
        if part.compression == "none" and part.sealed is None:
            return stored
        plain = _named(stored, part.path, part.compression)
        if part.sealed is None:
            return checked(plain, part.path, part.bytes, part.content_sha256)
        return checked(plain, part.path, part.bytes, part.content_hmac, place.keys.hmac_key)

    return StoredContent(chunks)


def _named(stored: Iterator[bytes], item: str, compression: Compression) -> Iterator[bytes]:
    try:
        yield from decompressed(stored, compression)
    except DamagedError as error:
        raise DamagedError(f"{shown(item)}: {error.message}", _HINT) from None


def member_lines(place: Place, part: StoredPart) -> Iterator[members.Line]:
    """A tree's members from its list, which is checked to its end.

    Raises:
        DamagedError: the list is not what was stored.
    """
    listed = _list_of(part)
    count = 0
    for line in members.decode(place.plain(listed.path, listed.bytes, listed.sha256, part.sealed)):
        count += 1
        yield line
    if count != listed.count:
        raise DamagedError(f"{listed.path} has {count} members; the manifest says {listed.count}", _HINT)


def _list_of(part: StoredPart) -> MemberList:
    if part.members is None:
        raise RefusedError(f"the manifest names no member list for {shown(part.path)}", _HINT)
    return part.members


def _members(place: Place, part: StoredPart) -> Iterator[Member]:
    lines = member_lines(place, part)
    if part.pack == "tree":
        for line in lines:
            yield _member(line, _tree_file(place, part, line))
    else:
        yield from _archived(place, part, lines)


def _member(line: members.Line, content: StoredContent | None) -> Member:
    return Member(line.name, line.kind, line.attributes, line.bytes, line.link, content)


def _tree_file(place: Place, part: StoredPart, line: members.Line) -> StoredContent | None:
    if line.kind != "file":
        return None
    path = layout.member_path(part, line.name)
    return StoredContent(lambda: place.plain(path, line.bytes, line.sha256, None))


def archive_chunks(place: Place, part: StoredPart) -> Iterator[bytes]:
    """The plain bytes of a tree's archive; the stored ones are compared with the manifest on the way."""
    listed = _list_of(part)
    stored = place.plain(part.path, part.stored_bytes - listed.bytes, part.sha256, part.sealed)
    kinds: dict[str | None, Compression] = {"tar.zst": "zstd", "tar.gz": "gzip"}
    return _named(stored, part.path, kinds.get(part.pack, "none"))


def _archived(place: Place, part: StoredPart, lines: Iterator[members.Line]) -> Iterator[Member]:
    """Members with their bytes from the archive, whose files must come in the order of the list."""
    chunks = archive_chunks(place, part)
    files = ((info, data) for info, data in entries(chunks) if data is not None)
    for line in lines:
        if line.kind != "file":
            yield _member(line, None)
            continue
        info, data = next(files, (None, None))
        if info is None or data is None or info.name != line.name:
            found = "its end" if info is None else shown(info.name)
            raise DamagedError(f"{shown(part.path)} has {found} where {shown(line.name)} should be", _HINT)
        item = f"{part.path}: {line.name}"
        pieces = iter(lambda data=data: data.read(_BLOCK), b"")  # type: ignore[misc] # mypy cannot type a default of a lambda
        passed = checked(pieces, item, line.bytes, line.sha256)
        yield _member(line, StoredContent(lambda passed=passed: passed))  # type: ignore[misc]
        for _ in passed:  # what the consumer left unread is read, and checked, all the same
            pass
    for info, _ in files:
        raise DamagedError(f"{shown(part.path)} has a file too many: {shown(info.name)}", _HINT)
    for _ in chunks:  # to the end, so that the stored digest is compared
        pass
