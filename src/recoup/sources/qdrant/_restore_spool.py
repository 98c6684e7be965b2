"""A set's snapshots on their way to a server: kept in a private file, hashed, checked against the record, cut into shards.

The server gets the SHA-256 of what it is sent, so every byte is read here before the first one goes out; a stored part that is
damaged is noticed then, with nothing in place yet.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from recoup.errors import DamagedError, NoSpaceError
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.structs import Struct
from recoup.sources.qdrant._gathering import differences
from recoup.sources.qdrant._record import CollectionRecord, ShardRecord
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck
from recoup.sources.qdrant._tar import BLOCK
from recoup.system.atomicfile import create_private
from recoup.system.filesystem import free_bytes

_PIECE = 1 << 20  # bytes read at once
_NAME = 100  # bytes of a name in a header
_GNU = b"ustar  \0"


class Spooled(Struct):
    """A snapshot in a file of ours.

    Attributes:
        path: the file.
        size: bytes.
        sha256: of all of it, hex.
        contents: what is in it.
    """

    path: Path
    size: int
    sha256: str
    contents: Contents


def stream(part: Part) -> StreamPart:
    """The part as a stream.

    Raises:
        DamagedError: it is a tree, which no capture of a Qdrant server yields.
    """
    if not isinstance(part, StreamPart):
        raise DamagedError(f"{shown(part.name)} in the set is not a file")
    return part


def require_room(folder: Path, size: int) -> None:
    """Demands free space.

    Raises:
        NoSpaceError: there is too little.
    """
    if size > free_bytes(folder):
        raise NoSpaceError(
            f"insufficient disk space in {folder}: {size:,} bytes are needed, {free_bytes(folder):,} are free",
            "Free space, or set `staging:` to a folder on a larger disk. Nothing was restored.",
        )


def spool(part: StreamPart, path: Path, shard: int = 0) -> Spooled:
    """Writes a snapshot to a new file, and demands that it is whole.

    Args:
        part: the snapshot.
        path: the file.
        shard: the shard's number, when it is the snapshot of one.

    Raises:
        DamagedError: the stored bytes are wrong, or the snapshot is not whole.
        NoSpaceError: there is too little space.
    """
    require_room(path.parent, part.size or 0)
    digest, check, size = hashlib.sha256(), SnapshotCheck(part.name, shard), 0
    with os.fdopen(create_private(path), "wb", buffering=0) as file, part.content.open() as reader:
        while data := reader.read(_PIECE):
            digest.update(data)
            check.feed(data)
            file.write(data)
            size += len(data)
    return Spooled(path, size, digest.hexdigest(), check.finish())


def require_recorded(record: CollectionRecord, part: str, contents: Contents) -> list[ShardRecord]:
    """The shards that a part has to hold, each with all the segments and files that were recorded.

    Raises:
        DamagedError: something is missing.
    """
    for lacking in differences(record, part, contents):
        raise DamagedError(f"{shown(part)} {lacking}", "Restore from another set; `recoup verify` finds damaged ones.")
    return [shard for shard in record.shards if shard.part == part]


def require_all(record: CollectionRecord, seen: set[str]) -> None:
    """Demands that every shard's part was among those seen.

    Raises:
        DamagedError: one was not.
    """
    for shard in record.shards:
        if shard.part not in seen:
            raise DamagedError(
                f"the set lacks {shown(shard.part)}, which holds shard {shard.id} of {shown(record.name)}"
            )


# --- one shard of a collection's snapshot ---------------------------------------------------------------------------


class Measured(Struct):
    """Length in bytes and SHA-256 (hex) of something that is written while it is sent."""

    size: int
    sha256: str


def measure(path: Path, shard: int) -> Measured:
    """Length and hash of what `shard_of` yields."""
    digest, size = hashlib.sha256(), 0
    for block in shard_of(path, shard):
        digest.update(block)
        size += len(block)
    return Measured(size, digest.hexdigest())


def shard_of(path: Path, shard: int) -> Iterator[bytes]:
    """The snapshot of one shard, cut out of a collection's snapshot that was found whole: its members under shorter names.

    Qdrant restores both from the same folders, so that members are passed on as they are; only headers are written anew.
    """
    prefix = f"{shard}/".encode()
    with path.open("rb", buffering=_PIECE) as file:
        long_name = b""
        while any(header := file.read(BLOCK)):
            kind, size = header[156:157], _padded(_number(header[124:136]))
            if kind == b"L":
                long_name = file.read(size).partition(b"\0")[0]
            elif kind == b"x":
                long_name = _path_of(file.read(size)) or long_name
            else:
                name = (long_name or _name(header)).removeprefix(b"./")
                long_name = b""
                wanted = name.startswith(prefix) and name != prefix
                if wanted:
                    yield _renamed(header, name.removeprefix(prefix))
                extents = _extents(file, header) if kind == b"S" else b""
                if wanted:
                    yield extents
                    yield from _pieces(file, size)
                else:
                    file.seek(size, os.SEEK_CUR)
    yield bytes(2 * BLOCK)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        data = file.read(min(size, _PIECE))
        if not data:
            raise DamagedError("a snapshot became shorter while it was read")
        yield data
        size -= len(data)


def _extents(file: BinaryIO, header: bytes) -> bytes:
    """The blocks behind the header of a sparse file that say where its further pieces lie."""
    blocks, more = b"", header[482]
    while more:
        blocks += file.read(BLOCK)
        more = blocks[-8]
    return blocks


def _renamed(header: bytes, name: bytes) -> bytes:
    """A member's header under another name, behind a record with the name where it is too long for the header."""
    before = b""
    if len(name) > _NAME:
        length = len(name) + 1
        record = _checked(_long_name_header(length))
        before = record + (name + b"\0").ljust(_padded(length), b"\0")
    changed = bytearray(header)
    changed[:_NAME] = name[:_NAME].ljust(_NAME, b"\0")
    if header[257:263] == b"ustar\0":  # in this form the name goes on here; in GNU's, other things stand here
        changed[345:500] = bytes(155)
    return before + _checked(changed)


def _long_name_header(length: int) -> bytearray:
    header = bytearray(BLOCK)
    header[:13] = b"././@LongLink"
    header[100:108] = b"0000644\0"
    header[108:116] = header[116:124] = b"0000000\0"
    header[124:136] = f"{length:011o}\0".encode()
    header[136:148] = b"00000000000\0"
    header[156:157] = b"L"
    header[257:265] = _GNU
    return header


def _checked(header: bytearray) -> bytes:
    """A header with its sum, which is taken with spaces in the sum's own place."""
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


def _name(header: bytes) -> bytes:
    name = header[:_NAME].partition(b"\0")[0]
    if header[257:263] != b"ustar\0":
        return name
    prefix = header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _path_of(records: bytes) -> bytes:
    """The name in a PAX header; empty when it has none."""
    while records.strip(b"\0"):
        length = int(records.partition(b" ")[0])
        key, _, value = records[:length].partition(b" ")[2].partition(b"=")
        if key == b"path":
            return value.removesuffix(b"\n")
        records = records[length:]
    return b""


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    return int(field.partition(b"\0")[0].strip(b" ") or b"0", 8)


def _padded(size: int) -> int:
    return size + -size % BLOCK
