"""The data of an archive, decoded to its end without `pg_restore`: every block whole, and the rows of every table counted.

After `pg_backup_custom.c`: a block is its kind, the number of its entry, and chunks, each a length and as many bytes, up to one
of length 0. A block of large objects has those of each object, up to one numbered 0. Rows stand as COPY writes them, a line each,
and `\\.` and two empty lines behind them.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

from recoup.errors import DamagedError
from recoup.sources.postgres._archive import Contents, Intake, Numbers

_DATA, _OBJECTS = 1, 3
_BEHIND = 3  # line ends behind the rows
_PIECE = 1 << 20  # bytes that are decoded at once

Counted = dict[int, int]
"""Number of an entry to the lines in its data; large objects have none."""


def read_blocks(intake: Intake, contents: Contents) -> Counted:
    """Reads what follows the contents of an archive in custom format, to its end.

    Returns:
        The rows of each entry that has data; 0 for large objects.

    Raises:
        DamagedError: a block is damaged, missing, or of an entry that the contents do not have.
    """
    numbers, counted = Numbers(intake, contents.int_size), Counted()
    known = {entry.id: entry for entry in contents.entries if entry.data}
    while (kind := intake.maybe_byte()) is not None:
        number = numbers.integer()
        if number not in known or kind not in (_DATA, _OBJECTS):
            raise DamagedError(f"{intake.what} has data that belongs to nothing in its contents")
        what = f"{intake.what}: the data of {known[number].shown}"
        intake.taken()
        if kind == _DATA:
            counted[number] = max(0, _decoded(_chunks(numbers), contents.compression, what) - _BEHIND)
        else:
            counted[number] = 0
            while numbers.integer():
                _decoded(_chunks(numbers), contents.compression, what)
    missing = [entry.shown for number, entry in known.items() if number not in counted]
    if missing:
        raise DamagedError(f"{intake.what} ends before the data of {missing[0]}")
    return counted


def _chunks(numbers: Numbers) -> Iterator[bytes]:
    while length := numbers.integer():
        if length < 0:
            raise DamagedError(f"{numbers.intake.what} has a chunk of {length} bytes, which is impossible")
        numbers.intake.taken()
        yield from numbers.intake.pieces(length)


def _decoded(pieces: Iterator[bytes], compression: str, what: str) -> int:
    """Line ends in some data."""
    if compression == "none":
        return sum(piece.count(b"\n") for piece in pieces)
    if compression == "gzip":
        return _inflated(pieces, zlib.decompressobj(), what)
    if compression == "zstd":
        return _zstd(pieces, what)
    return sum(0 for _ in pieces)  # lz4, which no capture asks for: whole, not decoded


def _inflated(pieces: Iterator[bytes], inflater: Any, what: str) -> int:
    lines = 0
    try:
        for piece in pieces:
            data = inflater.decompress(piece, _PIECE)
            lines += data.count(b"\n")
            while inflater.unconsumed_tail:
                data = inflater.decompress(inflater.unconsumed_tail, _PIECE)
                lines += data.count(b"\n")
    except zlib.error as error:
        raise DamagedError(f"{what} cannot be decompressed: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise DamagedError(f"{what} is not one whole compressed stream")
    return lines


def _zstd(pieces: Iterator[bytes], what: str) -> int:
    import zstandard

    lines, frame = 0, zstandard.ZstdDecompressor().decompressobj()
    try:
        for piece in pieces:
            lines += frame.decompress(piece).count(b"\n")
    except zstandard.ZstdError as error:
        raise DamagedError(f"{what} cannot be decompressed: {error}") from None
    if not frame.eof:
        raise DamagedError(f"{what} is not one whole compressed stream")
    return lines


def count_file(read: Callable[[int], bytes], name: str, what: str) -> int:
    """Rows in a file of the directory format, by the ending of its name (`.gz`, `.zst`, or none).

    Raises:
        DamagedError: it cannot be decompressed.
    """
    pieces = iter(lambda: read(_PIECE), b"")
    if name.endswith(".gz"):
        return max(0, _inflated(pieces, zlib.decompressobj(wbits=31), what) - _BEHIND)
    compression = {".zst": "zstd", ".lz4": "lz4"}.get(name[-4:], "none")
    return max(0, _decoded(pieces, compression, what) - _BEHIND)
