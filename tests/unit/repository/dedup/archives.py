"""Archives that tests make, and what `tarfile` says of them."""

import io
import tarfile
from collections.abc import Sequence
from typing import Any, cast

from recoup.repository.dedup.tars import LARGE

Pieces = Sequence[tuple[int, int]]
"""Offset and length of what a sparse file has."""

DEEPEST = 4


def header(size: int, kind: bytes = b"0", name: str = "member", **fields: bytes) -> bytes:
    """One header of the old GNU form; fields are written over it: `at_386=...`."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    for place, value in fields.items():
        start = int(place.removeprefix("at_"))
        block[start : start + len(value)] = value
    return summed(block)


def summed(block: bytearray) -> bytes:
    """The header with its right sum."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Data in whole blocks."""
    return data + bytes(-len(data) % 512)


def member(data: bytes, **fields: bytes) -> bytes:
    """A file."""
    return header(len(data), **fields) + padded(data)  # type: ignore[arg-type]


def extra(records: bytes, kind: bytes = b"x") -> bytes:
    """A header that has something to say of the next one."""
    return header(len(records), kind) + padded(records)


def record(key: str, value: str) -> bytes:
    """One PAX record: its own length comes first."""
    rest, length = f" {key}={value}\n", 0
    while length != len(str(length) + rest):
        length = len(str(length) + rest)
    return f"{length}{rest}".encode()


def sparse(form: str, pieces: Pieces, data: bytes) -> bytes:
    """A sparse file; `data` are its pieces, one behind the other. Forms: `old`, `0.0`, `0.1`, `1.0`."""
    length = sum(pieces[-1]) if pieces else 0
    if form == "old":
        return _old(pieces, data, length)
    if form == "0.0":
        said = record("GNU.sparse.size", str(length)) + record("GNU.sparse.numblocks", str(len(pieces)))
        for offset, size in pieces:
            said += record("GNU.sparse.offset", str(offset)) + record("GNU.sparse.numbytes", str(size))
        return extra(said) + member(data)
    if form == "0.1":
        said = record("GNU.sparse.map", ",".join(f"{offset},{size}" for offset, size in pieces))
        return extra(record("GNU.sparse.size", str(length)) + said) + member(data)
    said = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")
    lines = [len(pieces), *(number for piece in pieces for number in piece)]
    text = padded("".join(f"{line}\n" for line in lines).encode())
    return extra(said + record("GNU.sparse.realsize", str(length))) + member(text + data)


def _old(pieces: Pieces, data: bytes, length: int) -> bytes:
    entries = [b"%011o\0%011o\0" % piece for piece in pieces]
    head = header(
        len(data), b"S", at_386=b"".join(entries[:4]), at_482=bytes([len(entries) > 4]), at_483=b"%011o\0" % length
    )
    blocks = b""
    for start in range(4, len(entries), 21):
        block = b"".join(entries[start : start + 21]).ljust(504, b"\0")
        blocks += padded(block + bytes([start + 21 < len(entries)]))
    return head + blocks + padded(data)


END = bytes(1024)
"""What ends an archive."""


def marks(data: bytes, depth: int = 0) -> set[int]:
    """Where large content begins and ends, as `tarfile` says."""
    found = set[int]()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            begin, sparse_map = info.offset_data, cast("Any", info).sparse
            if sparse_map is not None:
                found |= _marks_of_pieces(begin, [size for _, size in sparse_map])
            elif info.isreg() and info.size >= LARGE:
                inside = data[begin : begin + info.size]
                found |= {begin, begin + info.size}
                if depth < DEEPEST and inside[257:262] == b"ustar":
                    found |= {begin + place for place in marks(inside, depth + 1)}
    return found


def _marks_of_pieces(begin: int, lengths: Sequence[int]) -> set[int]:
    found = set[int]()
    for length in lengths:
        if length >= LARGE:
            found |= {begin, begin + length}
        begin += length
    return found


def extents(data: bytes) -> set[int]:
    """Where extents begin in a stream that is an archive."""
    return (marks(data) | {0}) - {len(data)}
