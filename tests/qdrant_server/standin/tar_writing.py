"""Tars as Qdrant writes them: GNU headers, holes left out (old GNU sparse members), two zero blocks at the end."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from qdrant_server.standin.sparsely import blocks, extents

BLOCK = 512
END = bytes(2 * BLOCK)

_IN_HEADER = 4  # extents that the header itself has room for
_IN_EXTENSION = 21  # and each block after it


@dataclass(frozen=True)
class Member:
    """One member of a tar: a file on disk, bytes, a folder, or a tar inside the tar.

    Attributes:
        name: its name.
        file: the file that it is.
        data: the bytes that it is.
        nested: the members of the tar that it is.
    """

    name: str
    file: Path | None = None
    data: bytes | None = None
    nested: Sequence["Member"] = field(default=())

    def size(self) -> int:
        """Bytes that it takes in the tar, headers and padding included."""
        return sum(len(piece) for piece in self._head()) + _padded(self._content_size())

    def written(self) -> Iterator[bytes]:
        """The member as it stands in the tar."""
        yield from self._head()
        length = 0
        for piece in self._content():
            length += len(piece)
            yield piece
        yield bytes(_padded(length) - length)

    def _head(self) -> Iterator[bytes]:
        name = self.name.encode()
        if len(name) > 100:
            yield _header(b"././@LongLink", len(name) + 1, kind=b"L")
            yield name + bytes(_padded(len(name) + 1) - len(name))
        if self.file is not None:
            yield from self._file_head(name, self.file)
        elif self.name.endswith("/"):
            yield _header(name, 0, mode=0o40755, kind=b"5")
        else:
            yield _header(name, self._content_size(), kind=b"\0")

    def _file_head(self, name: bytes, path: Path) -> Iterator[bytes]:
        status = path.stat()
        stretches = self._stretches
        if stretches == [(0, status.st_size)] or status.st_size == 0:
            yield _header(name, status.st_size, mode=status.st_mode, mtime=int(status.st_mtime), kind=b"0")
            return
        table = [*stretches, (status.st_size, 0)]
        stored = sum(length for _, length in stretches)
        yield _sparse_header(name, stored, status, table)
        for start in range(_IN_HEADER, len(table), _IN_EXTENSION):
            yield _extension(table[start : start + _IN_EXTENSION], more=start + _IN_EXTENSION < len(table))

    @cached_property
    def _stretches(self) -> list[tuple[int, int]]:
        assert self.file is not None
        with self.file.open("rb") as reader:
            return extents(reader.fileno(), os.fstat(reader.fileno()).st_size)

    def _content_size(self) -> int:
        if self.file is not None:
            return sum(length for _, length in self._stretches)
        if self.data is not None:
            return len(self.data)
        return sum(member.size() for member in self.nested) + len(END) if self.nested else 0

    def _content(self) -> Iterator[bytes]:
        if self.file is not None:
            with self.file.open("rb") as reader:
                for start, length in self._stretches:
                    yield from blocks(reader.fileno(), start, length)
        elif self.data is not None:
            yield self.data
        elif self.nested:
            yield from tar(self.nested)


def tar(members: Sequence[Member], *, limit: int | None = None) -> Iterator[bytes]:
    """The whole tar.

    Args:
        members: what it holds.
        limit: number of members after which it ends, with its zero blocks, as if that were all.
    """
    for member in members[:limit]:
        yield from member.written()
    yield END


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _octal(value: int, width: int) -> bytes:
    """A number in a header's field; base 256 where it does not fit."""
    digits = f"{value:0{width - 1}o}".encode()
    return digits + b"\0" if len(digits) < width else b"\x80" + value.to_bytes(width - 1, "big")


def _header(name: bytes, size: int, *, mode: int = 0o644, mtime: int = 0, kind: bytes) -> bytes:
    return _summed(_fields(name, size, mode, mtime, kind))


def _fields(name: bytes, size: int, mode: int, mtime: int, kind: bytes) -> bytearray:
    head = bytearray(BLOCK)
    head[0:100] = name[:100].ljust(100, b"\0")
    head[100:108] = _octal(mode, 8)
    head[108:124] = _octal(0, 8) * 2
    head[124:136] = _octal(size, 12)
    head[136:148] = _octal(mtime, 12)
    head[156:157] = kind
    head[257:265] = b"ustar  \0"
    return head


def _summed(head: bytearray) -> bytes:
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return bytes(head)


def _entry(stretch: tuple[int, int]) -> bytes:
    return _octal(stretch[0], 12) + _octal(stretch[1], 12)


def _sparse_header(name: bytes, stored: int, status: os.stat_result, table: list[tuple[int, int]]) -> bytes:
    head = _fields(name, stored, status.st_mode, int(status.st_mtime), b"S")
    first = b"".join(_entry(stretch) for stretch in table[:_IN_HEADER])
    head[386 : 386 + len(first)] = first
    head[482] = len(table) > _IN_HEADER
    head[483:495] = _octal(status.st_size, 12)
    return _summed(head)


def _extension(part: list[tuple[int, int]], *, more: bool) -> bytes:
    block = bytearray(BLOCK)
    written = b"".join(_entry(stretch) for stretch in part)
    block[: len(written)] = written
    block[504] = more
    return bytes(block)
