"""Reading stored parts back: every byte is checked against the manifest before the end of its reader is reached."""

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from recoup.errors import DamagedError, RefusedError
from recoup.model.manifest import Compression, MemberList, StoredAttributes, StoredPart
from recoup.model.names import shown
from recoup.model.part import Attributes, Member, Part, Reader, StreamPart, TreePart
from recoup.repository.compressing import decompressed
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


def checked(chunks: Iterator[bytes], item: str, size: int | None, sha256: str) -> Iterator[bytes]:
    """Passes bytes on and compares them with what the manifest says.

    Raises:
        DamagedError: too many, too few, or other bytes; at the latest at the end.
    """
    digest, count = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        count += len(chunk)
        if size is not None and count > size:
            raise DamagedError(f"{shown(item)} is longer than the manifest says ({size:,} bytes)", _HINT)
        yield chunk
    if size is not None and count != size:
        raise DamagedError(f"{shown(item)} is cut short: {count:,} of {size:,} bytes", _HINT)
    if digest.hexdigest() != sha256:
        raise DamagedError(f"{shown(item)} is not what was stored: its SHA-256 differs", _HINT)


class _ChunkedReader:
    changed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._source = ChunkReader(chunks)

    def read(self, size: int, /) -> bytes:
        return self._source.read(size)


@dataclass(frozen=True)
class StoredContent:
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


def part_of(storage: Storage, prefix: str, part: StoredPart) -> Part:
    """A stored part as a part to restore.

    Args:
        storage: where the set lies.
        prefix: the set's key.
        part: what the manifest says of it.
    """
    if part.kind == "stream":
        return StreamPart(part.name, _stream(storage, prefix, part), part.bytes, _attributes(part.attributes))
    return TreePart(part.name, _members(storage, prefix, part), part.bytes)


def _attributes(stored: StoredAttributes | None) -> Attributes | None:
    if stored is None:
        return None
    xattrs = {name: base64.b64decode(value) for name, value in stored.xattrs.items()}
    return Attributes(stored.mode & 0o7777, stored.mtime_ns, xattrs)


def _stream(storage: Storage, prefix: str, part: StoredPart) -> StoredContent:
    def chunks() -> Iterator[bytes]:
        stored = checked(
            stored_chunks(storage, f"{prefix}/{part.path}", part.path), part.path, part.stored_bytes, part.sha256
        )
        if part.compression == "none":
            return stored
        return checked(_named(stored, part.path, part.compression), part.path, part.bytes, part.content_sha256)

    return StoredContent(chunks)


def _named(stored: Iterator[bytes], item: str, compression: Compression) -> Iterator[bytes]:
    try:
        yield from decompressed(stored, compression)
    except DamagedError as error:
        raise DamagedError(f"{shown(item)}: {error.message}", _HINT) from None


def member_lines(storage: Storage, prefix: str, part: StoredPart) -> Iterator[members.Line]:
    """A tree's members from its list, which is checked to its end.

    Raises:
        DamagedError: the list is not what was stored.
    """
    listed = _list_of(part)
    chunks = stored_chunks(storage, f"{prefix}/{listed.path}", listed.path)
    count = 0
    for line in members.decode(checked(chunks, listed.path, listed.bytes, listed.sha256)):
        count += 1
        yield line
    if count != listed.count:
        raise DamagedError(f"{listed.path} has {count} members; the manifest says {listed.count}", _HINT)


def _list_of(part: StoredPart) -> MemberList:
    if part.members is None:
        raise RefusedError(f"the manifest names no member list for {shown(part.path)}", _HINT)
    return part.members


def _members(storage: Storage, prefix: str, part: StoredPart) -> Iterator[Member]:
    lines = member_lines(storage, prefix, part)
    if part.pack == "tree":
        for line in lines:
            yield _member(line, _tree_file(storage, prefix, part, line))
    else:
        yield from _archived(storage, prefix, part, lines)


def _member(line: members.Line, content: StoredContent | None) -> Member:
    return Member(line.name, line.kind, line.attributes, line.bytes, line.link, content)


def _tree_file(storage: Storage, prefix: str, part: StoredPart, line: members.Line) -> StoredContent | None:
    if line.kind != "file":
        return None
    path = layout.member_path(part, line.name)
    return StoredContent(
        lambda: checked(stored_chunks(storage, f"{prefix}/{path}", path), path, line.bytes, line.sha256)
    )


def archive_chunks(storage: Storage, prefix: str, part: StoredPart) -> Iterator[bytes]:
    """The plain bytes of a tree's archive; the stored ones are compared with the manifest on the way."""
    listed = _list_of(part)
    size = part.stored_bytes - listed.bytes
    stored = checked(stored_chunks(storage, f"{prefix}/{part.path}", part.path), part.path, size, part.sha256)
    kinds: dict[str | None, Compression] = {"tar.zst": "zstd", "tar.gz": "gzip"}
    return _named(stored, part.path, kinds.get(part.pack, "none"))


def _archived(storage: Storage, prefix: str, part: StoredPart, lines: Iterator[members.Line]) -> Iterator[Member]:
    """Members with their bytes from the archive, whose files must come in the order of the list."""
    chunks = archive_chunks(storage, prefix, part)
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
