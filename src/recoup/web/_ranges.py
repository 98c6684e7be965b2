"""Which bytes of a file a browser asks for (RFC 9110, 14.2). Pure."""

import re

from recoup.model.structs import Struct

_ONE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII)


class Span(Struct):
    """Bytes of a file.

    Attributes:
        first: the first one, from 0.
        last: the last one.
        size: bytes of the whole file.
        partial: whether a part was asked for; the whole otherwise.
    """

    first: int
    last: int
    size: int
    partial: bool

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.last + 1 - self.first


def span_of(header: str, size: int) -> Span | None:
    """The bytes that a header asks for; None where the file has none of them.

    A header that is not understood, or asks for several ranges, is passed over, which the standard allows: the whole file is
    given.

    Args:
        header: `Range`; empty for none.
        size: bytes of the file.
    """
    whole = Span(0, size - 1, size, partial=False)
    found = _ONE.fullmatch(header)
    if not found or not (found[1] or found[2]):
        return whole
    if not found[1]:
        return _last(int(found[2]), size)
    first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if found[2] and int(found[2]) < first:
        return whole
    return Span(first, last, size, partial=True) if first < size else None


def _last(count: int, size: int) -> Span | None:
    """The last bytes of a file."""
    return Span(max(0, size - count), size - 1, size, partial=True) if count and size else None
