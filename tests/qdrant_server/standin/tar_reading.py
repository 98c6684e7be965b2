"""Unpacking a tar as a Qdrant server does: strict about headers, easy about a missing end."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from qdrant_server.standin.tar_writing import BLOCK

_PIECE = 1 << 20


class MalformedError(Exception):
    """No tar, or one that is broken off; the words are the server's."""


def unpack(reader: BinaryIO, folder: Path) -> list[str]:
    """Unpacks a tar.

    Args:
        reader: the tar from its beginning.
        folder: where to.

    Returns:
        the members' names.

    Raises:
        MalformedError: see the class.
    """
    names = []
    long_name = b""
    while (head := _head(reader)) is not None:
        kind = head[156:157]
        size = _number(head[124:136])
        if kind == b"L":
            long_name = _exactly(reader, size, "a long name").rstrip(b"\0")
            _pad(reader, size)
            continue
        name = (long_name or head[:100].rstrip(b"\0")).decode()
        long_name = b""
        _member(reader, head, kind, size, _inside(folder, name))
        names.append(name)
    return names


def _head(reader: BinaryIO) -> bytes | None:
    head = reader.read(BLOCK)
    if not head or head == bytes(BLOCK):
        return None
    if len(head) < BLOCK or not _intact(head):
        raise MalformedError("Malformed tar archive, reached unknown entry")
    return head


def _intact(head: bytes) -> bool:
    try:
        told = int(head[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return told == sum(head[:148]) + 8 * 32 + sum(head[156:])


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if name.startswith("/") or ".." in Path(name).parts:
        raise MalformedError(f"unsafe name {name}")
    return path


def _member(reader: BinaryIO, head: bytes, kind: bytes, size: int, path: Path) -> None:
    if kind == b"5":
        path.mkdir(parents=True, exist_ok=True)
        return
    if kind not in (b"0", b"\0", b"S"):
        raise MalformedError("Malformed tar archive, reached unknown entry")
    path.parent.mkdir(parents=True, exist_ok=True)
    table, length = _table(reader, head) if kind == b"S" else ([(0, size)], size)
    with path.open("wb") as writer:
        for start, stretch in table:
            writer.seek(start)
            _copy(reader, stretch, writer.write, path)
        writer.truncate(length)
    _pad(reader, size)


def _table(reader: BinaryIO, head: bytes) -> tuple[list[tuple[int, int]], int]:
    table = _entries(head[386:482])
    more = head[482]
    while more:
        block = _exactly(reader, BLOCK, "a sparse table")
        table += _entries(block[:504])
        more = block[504]
    return table, _number(head[483:495])


def _entries(data: bytes) -> list[tuple[int, int]]:
    pairs = (data[at : at + 24] for at in range(0, len(data) - 23, 24))
    return [(_number(pair[:12]), _number(pair[12:])) for pair in pairs if pair.strip(b"\0")]


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b"\0 ") or b"0", 8)


def _copy(reader: BinaryIO, length: int, write: Callable[[bytes], object], path: Path) -> None:
    while length:
        data = reader.read(min(_PIECE, length))
        if not data:
            raise MalformedError(f"failed to unpack `{path}`")
        write(data)
        length -= len(data)


def _exactly(reader: BinaryIO, length: int, what: str) -> bytes:
    data = reader.read(length)
    if len(data) < length:
        raise MalformedError(f"failed to read {what}")
    return data


def _pad(reader: BinaryIO, size: int) -> None:
    reader.seek(-size % BLOCK, os.SEEK_CUR)
