"""Anchors: what chunks that resemble one another have in common (`docs/format.md`, Packs).

An anchor is 32 bits of a keyed hash of 64 bytes, at places that depend on these bytes alone, one in 16 KiB. Heads and tails of
chunks, where others look, add nothing to that (measured), and need cut points that did not change.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    import pyfastcdc

Buffer = bytes | memoryview

MAX_ANCHORS = 8
"""Of a chunk, in the index."""

_WINDOW = 64  # bytes that an anchor is the hash of: what the rolling hash of pyfastcdc (gear, 64 bits) depends on
_EVERY = 16 * 1024  # bytes between two places, by chance; half or twice as many change the result by less than 3 %
_MAKING = 32  # last bytes of a window, which make it a place, nearly alone
_OFTEN = (
    4  # times that a chunk may have these: what stands in each record, as the names of keys do, leads to everything
)
_MOST_CUTS = 4096  # of a chunk: such places are passed over, which takes time
_LEAST_KINDS = 4  # different bytes in a window: zeros and fillings resemble everything
_own = threading.local()


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a chunk that depends on the bytes before it alone.

    Attributes:
        end: where its 64 bytes end.
        anchor: 32 bits of their keyed hash.
    """

    end: int
    anchor: int


class Anchors:
    """Finds the anchors of chunks; may be used by several threads.

    Args:
        key: the repository's anchor key.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = blake3(key=key)
        # 48 bits: FastCDC looks at no others, and pyfastcdc refuses a seed of 64
        self._seed = int.from_bytes(self._keyed.copy().update(b"places").digest(6), "little")

    def places(self, chunk: Buffer) -> list[Place]:
        """The places of a chunk, in order, but for those that bytes which it has again and again make."""
        data = memoryview(chunk)
        alike: dict[bytes, list[int]] = {}
        for end in islice(self._ends(data), _MOST_CUTS):
            alike.setdefault(bytes(data[end - _MAKING : end]), []).append(end)
        found: dict[int, Place] = {}
        for end in sorted(end for ends in alike.values() if len(ends) <= _OFTEN for end in ends):
            self._take(found, data, end)
        return list(found.values())

    def few(self, chunk: Buffer) -> list[Place]:
        """One place of each eighth of a chunk, which takes less than half the time: what the index gets of new content."""
        data = memoryview(chunk)
        found: dict[int, Place] = {}
        seen = set[bytes]()
        for i in range(MAX_ANCHORS):
            begin, end = (len(data) * n // MAX_ANCHORS for n in (i, i + 1))
            for first in islice(self._ends(data[begin:end]), _MOST_CUTS // MAX_ANCHORS):
                making = bytes(data[begin + first - _MAKING : begin + first])
                if making not in seen and self._take(found, data, begin + first):
                    seen.add(making)
                    break
        return list(found.values())

    def _take(self, found: dict[int, Place], data: memoryview, end: int) -> bool:
        """Hashes a window, if it says something of the chunk."""
        window = data[end - _WINDOW : end]
        if len(set(window)) < _LEAST_KINDS:
            return False
        anchor = int.from_bytes(self._keyed.copy().update(window).digest(4), "little")
        return found.setdefault(anchor, Place(end, anchor)).end == end

    def _ends(self, data: memoryview) -> Iterator[int]:
        """Where windows of places end."""
        for piece in self._cutter().cut_buf(data):
            end = piece.offset + piece.length + 1  # the byte at the cut is the last that the rolling hash took in
            if end <= len(data):
                yield end

    def _cutter(self) -> "pyfastcdc.FastCDC":
        """This thread's. The smallest least size and no largest one let a place depend on nothing but its window."""
        kept: tuple[int, pyfastcdc.FastCDC] | None = getattr(_own, "cutter", None)
        if kept is None or kept[0] != self._seed:
            from pyfastcdc import FastCDC

            cutter = FastCDC(_EVERY, min_size=_WINDOW, max_size=16 << 20, normalized_chunking=0, seed=self._seed)
            kept = _own.cutter = self._seed, cutter
        return kept[1]


def chosen(places: Sequence[Place], length: int) -> tuple[int, ...]:
    """The anchors that the index gets: the first one of each eighth of the chunk, so that whatever is left of it has some."""
    eighths: dict[int, int] = {}
    for place in places:
        eighths.setdefault((place.end - 1) * MAX_ANCHORS // length, place.anchor)
    return tuple(eighths.values())
