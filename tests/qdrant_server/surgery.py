"""Cutting and damaging snapshots byte by byte: tar members are found, left out or changed without rewriting the others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""

_SPARSE_FLAG = 482  # in an old GNU sparse header: whether another map follows
_NEXT_FLAG = 504  # the same in a further map


@dataclass(frozen=True)
class Member:
    """One member inside the archive's bytes.

    Attributes:
        name: its path.
        start: where its header begins.
        content: where its content begins.
        end: where the next member begins.
        size: bytes of its content as stored.
    """

    name: str
    start: int
    content: int
    end: int
    size: int


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 8 * len(field) - 1) - 1)
    return int(field.strip(b"\0 ") or b"0", 8)


def members(data: bytes) -> Iterator[Member]:
    """The members of a GNU tar in their order, up to the end blocks or the end of the data."""
    at, start, long_name = 0, 0, ""
    while at + BLOCK <= len(data) and any(header := data[at : at + BLOCK]):
        size, kind, content = _number(header[124:136]), header[156:157], at + BLOCK
        more = kind == b"S" and header[_SPARSE_FLAG]
        while more:
            more = data[content + _NEXT_FLAG]
            content += BLOCK
        at = content + -(-size // BLOCK) * BLOCK
        if kind == b"L":
            long_name = data[content : content + size].rstrip(b"\0").decode()
            continue
        name = long_name or header[:100].rstrip(b"\0").decode()
        yield Member(name, start, content, at, size)
        start, long_name = at, ""


def find(data: bytes, name: str) -> Member:
    """The member of that name, or the first whose name ends so."""
    return next(member for member in members(data) if member.name == name or member.name.endswith(f"/{name}"))


def without(data: bytes, leave_out: Callable[[Member], bool]) -> bytes:
    """The archive without some members, with its end blocks."""
    return b"".join(data[each.start : each.end] for each in members(data) if not leave_out(each)) + END


def cut_before(data: bytes, name: str) -> bytes:
    """The archive up to a member, without end blocks."""
    return data[: next(each.start for each in members(data) if each.name == name)]


def cut_after(data: bytes, name: str) -> bytes:
    """The archive up to and with a member, without end blocks."""
    return data[: next(each.end for each in members(data) if each.name == name)]


def flipped(data: bytes, *places: int) -> bytes:
    """The same bytes with all bits of some turned."""
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0xFF
    return bytes(changed)


def place_in(data: bytes, segment: str, file: str, at: float = 0.5) -> int:
    """Where a byte of a segment's file stands in a snapshot with nested segment tars.

    Args:
        data: the snapshot.
        segment: name of the segment's tar.
        file: end of the file's path inside it.
        at: which part of the file, from 0 to 1.
    """
    outer = next(member for member in members(data) if member.name == segment)
    inner = find(data[outer.content : outer.content + outer.size], file)
    return outer.content + inner.content + int(inner.size * at)
