"""What the headers of an answer say."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from recoup.model.structs import Struct


class Download(Struct):
    """An answer whose body is read block by block.

    Attributes:
        length: bytes of the body as announced; None for a stream.
        whole: bytes of the whole file where only a part was asked for and given; else as `length`.
        etag: tells whether a later answer is of the same file; empty where there is none.
        start: first byte that this body holds.
        blocks: the body.
    """

    length: int | None
    whole: int | None
    etag: str
    start: int
    blocks: Iterator[bytes]


def moment(header: str) -> datetime | None:
    """The moment of a `Date` header (RFC 9110, 5.6.7)."""
    try:
        return parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        return None


def first_and_whole(header: str) -> tuple[int, int | None]:
    """First byte and whole length of `bytes 512-1023/6400000`."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header)
    if not found:
        return 0, None
    return int(found[1]), int(found[2]) if found[2].isdecimal() else None
