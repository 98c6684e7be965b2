"""What goes out as a download or a stream: pieces of a file, compressed where the client likes that, and damaged by faults."""

import re
import time
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import zstandard

from qdrant_server.standin.errors import Dropped
from qdrant_server.standin.faults import Faults

_PIECE = 1 << 18

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """First byte and number of bytes that a `Range` header asks for; None: all.

    Raises:
        ValueError: they are past the end.
    """
    match = _RANGE.fullmatch(header)
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    start = int(first)
    if start >= size:
        raise ValueError(header)
    return start, min(int(last) + 1 if last else size, size) - start


def of_file(path: Path, start: int, length: int) -> Iterator[bytes]:
    """A part of a file."""
    with path.open("rb") as reader:
        reader.seek(start)
        while length:
            piece = reader.read(min(_PIECE, length))
            if not piece:
                return
            length -= len(piece)
            yield piece


def coding(accepted: str) -> str:
    """The compression that a client's `Accept-Encoding` leads to; empty: none."""
    names = {part.partition(";")[0].strip() for part in accepted.split(",")}
    return next((name for name in ("zstd", "gzip") if name in names), "")


def compressed(pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The pieces in a coding."""
    if not name:
        yield from pieces
        return
    packer = zlib.compressobj(wbits=31) if name == "gzip" else zstandard.ZstdCompressor(level=1).compressobj()
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def damaged(pieces: Iterator[bytes], faults: Faults) -> Iterator[bytes]:
    """The pieces as the faults let them out.

    Raises:
        Dropped: the connection ends here.
    """
    sent = 0
    stalls = faults.stall
    for piece in pieces:
        for part in _parts(piece, sent, faults):
            if stalls and sent >= faults.stall_at:
                time.sleep(stalls)
                stalls = 0
            if faults.cut is not None and sent >= faults.cut:
                raise Dropped
            if faults.cut_normally is not None and sent >= faults.cut_normally:
                return
            if faults.rate:
                time.sleep(len(part) / faults.rate)
            sent += len(part)
            yield part
    if faults.cut is not None and sent >= faults.cut:
        raise Dropped


def _parts(piece: bytes, sent: int, faults: Faults) -> Iterator[bytes]:
    """A piece split where a fault strikes, and in parts that a rate lets through evenly."""
    if faults.flip is not None and sent <= faults.flip < sent + len(piece):
        turned = bytearray(piece)
        turned[faults.flip - sent] ^= 0xFF
        piece = bytes(turned)
    at = {0, len(piece)}
    for place in (faults.cut, faults.cut_normally, faults.stall_at if faults.stall else None):
        if place is not None and sent < place < sent + len(piece):
            at.add(place - sent)
    if faults.rate:
        at.update(range(0, len(piece), max(1, int(faults.rate / 20))))
    places = sorted(at)
    for start, end in pairwise(places):
        yield piece[start:end]
