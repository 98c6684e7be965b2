"""Streams are cut into extents, extents into chunks by their content, in buffers that are used again.

FastCDC in its form of 2020 (Xia et al., "The Design of Fast Content Defined Chunking for Data Deduplication Based Storage
Systems"), keyed: where a chunk ends depends on the bytes in front of its end and on the seed alone. So the cuts of a stream do
not depend on how it was written, and what changed in the middle changes the chunks around it. See `docs/format.md`, Cutting.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from recoup.errors import RecoupError
from recoup.repository.dedup.tars import Tar

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

SHORTEST, AVERAGE, LONGEST = 64 << 10, 256 << 10, 1 << 20
"""Bytes of a chunk. Only the last one of an extent may be shorter."""

GAP = 4096
"""Bytes from which on a hole is kept as a gap; shorter ones are zero bytes like others."""

SLAB = 4 << 20
"""Bytes of a buffer."""

_POLL = 0.5  # seconds between two looks at what else may have ended the waiting


def chunker(seed: int) -> "FastCDC":
    """What cuts: FastCDC with our sizes.

    Args:
        seed: 64 bits, of which the lower 48 have an effect: FastCDC looks at none of the others. It is no strong secret: whoever
            knows content and where it was cut can work it out, bit by bit.

    Raises:
        RecoupError: the compiled part of pyfastcdc is missing; what takes its place is 200 times slower.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own about the missing part; ours says more
        from pyfastcdc import FastCDC
    if not FastCDC.__module__.startswith("pyfastcdc.cy"):
        raise RecoupError(
            "the compiled part of pyfastcdc is missing here, and without it a backup would take hours",
            "install it as a wheel: pip install --force-reinstall --only-binary :all: pyfastcdc",
        )
    seed &= (1 << 48) - 1  # pyfastcdc doubles it, in 64 bits
    return FastCDC(AVERAGE, min_size=SHORTEST, max_size=LONGEST, normalized_chunking=1, seed=seed)


class Slab:
    """A buffer, and how many still need what is in it."""

    __slots__ = ("holders", "view")

    def __init__(self, size: int) -> None:
        import numpy as np

        self.view = np.empty(size, np.uint8).data  # its pages take memory when they are first used
        self.holders = 0


class Slabs:
    """The buffers of a run; any number of streams may use them, one after another. Each is made when it is first needed.

    Args:
        count: how many there are at most. Each cutter at work keeps one; one more at least has to be left.
        size: bytes of each, at least twice the longest chunk.
        wait: is called, again and again, while all are in use, and returns when a piece was released, or raises. Without it
            the cutter waits for another thread to release one.
    """

    def __init__(self, count: int = 6, size: int = SLAB, wait: Callable[[], None] | None = None) -> None:
        if count < 2 or size < 2 * LONGEST:
            raise ValueError("there have to be two slabs of two chunks at least")
        self.size = size
        self._count, self._made = count, 0
        self._free: list[Slab] = []
        self._changed = threading.Condition()
        self._wait = wait or self._wait_for_others

    def acquire(self) -> Slab:
        """A buffer that nobody needs, held once; waits until there is one."""
        while (slab := self._unused()) is None:
            self._wait()
        return slab

    def hold(self, slab: Slab) -> None:
        """One more needs it."""
        with self._changed:
            slab.holders += 1

    def drop(self, slab: Slab) -> None:
        """One less needs it; nobody: it is used again."""
        with self._changed:
            slab.holders -= 1
            if not slab.holders:
                self._free.append(slab)
                self._changed.notify_all()

    def _unused(self) -> Slab | None:
        with self._changed:
            if not self._free and self._made < self._count:
                self._made += 1
                self._free.append(Slab(self.size))
            if not self._free:
                return None
            slab = self._free.pop()
            slab.holders = 1
            return slab

    def _wait_for_others(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._free, _POLL)


@dataclass(slots=True, eq=False)
class Piece:
    """Chunks that lie one behind the other, of one extent.

    Whoever takes it calls `release` when its bytes are not needed any more, from any thread: the buffer is then used again, and
    views of it made before show other bytes.

    Attributes:
        buffer: the bytes.
        cuts: where chunks begin and end in it: chunk `i` is `buffer[cuts[i]:cuts[i + 1]]`.
        first: whether the first chunk begins an extent.
    """

    buffer: memoryview
    cuts: tuple[int, ...]
    first: bool
    _give_back: Callable[[], None] | None

    def chunks(self) -> Iterator[memoryview]:
        """The chunks, in their order."""
        return (self.buffer[begin:end] for begin, end in pairwise(self.cuts))

    def release(self) -> None:
        """Gives the bytes back; `buffer` is unusable then. Doing it again changes nothing.

        Raises:
            BufferError: somebody is still reading from `buffer` itself.
        """
        if self._give_back is not None:
            self.buffer.release()
            give_back, self._give_back = self._give_back, None
            give_back()


class Cutter:
    """Cuts one stream. What is written is copied once, into a buffer; memory is that of the buffers.

    Whoever leaves before `finish` calls `abort`, else a buffer is lost to the run.

    Args:
        seed: the cut seed.
        take: is given the pieces in their order, in the thread that writes; each is to be released.
        gap: is told of a gap of so many bytes between the pieces; two gaps may follow each other.
        tar: whether to look for an archive at the begin of the stream, and after each boundary, and to cut along its members.
        slabs: the buffers of the run; some of its own otherwise.
    """

    def __init__(
        self,
        seed: int,
        take: Callable[[Piece], None],
        gap: Callable[[int], None],
        *,
        tar: bool = True,
        slabs: Slabs | None = None,
    ) -> None:
        self._chunker = chunker(seed)
        self._take, self._gap = take, gap
        self._slabs = slabs or Slabs()
        self._slab: Slab | None = None
        self._begin = self._end = 0  # of what lies in the slab and was not handed on
        self._first = True
        self._hole = 0  # bytes of holes that nothing followed yet
        self._tars = tar
        self._tar = Tar() if tar else None

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes."""
        view = memoryview(data).cast("B") if data else memoryview(b"")
        while view:
            slab, begin = self._room()
            count = min(self._slabs.size - begin, len(view))
            slab.view[begin : begin + count] = view[:count]
            view = view[count:]
            self._filled(slab, count)

    def read_from(self, descriptor: int, length: int) -> int:
        """Appends what a file has from where it stands, without a copy between.

        Args:
            descriptor: of the file.
            length: bytes at most.

        Returns:
            How many came: fewer than `length` only where the file ended.

        Raises:
            OSError: it cannot be read; what came before is in the stream.
        """
        left = length
        while left:
            slab, begin = self._room()
            count = os.readv(descriptor, [slab.view[begin : begin + left]])
            if not count:
                break
            left -= count
            self._filled(slab, count)
        return length - left

    def hole(self, length: int) -> None:
        """Appends zero bytes that are known as such. Neighbours are one hole."""
        if length < 0:
            raise ValueError("a hole has no negative length")
        self._hole += length

    def boundary(self) -> None:
        """Ends the extent: a file begins or ends here."""
        self._fill_hole()
        self._end_extent()
        self._tar = Tar() if self._tars else None

    def finish(self) -> None:
        """Ends the stream: all of it was handed on."""
        self._fill_hole()
        self._end_extent()
        self.abort()

    def abort(self) -> None:
        """Gives up what was not handed on, and the buffer. Harmless after the end."""
        slab, self._slab = self._slab, None
        self._begin = self._end = 0
        if slab is not None:
            self._slabs.drop(slab)

    def _fill_hole(self) -> None:
        """Says what the hole is: more of it cannot come."""
        length, self._hole = self._hole, 0
        if length < GAP:
            self.write(bytes(length))
            return
        self._end_extent()
        if self._tar is not None:
            self._tar.hole(length)
        self._gap(length)

    def _room(self) -> tuple[Slab, int]:
        """A slab that is not full, and where to go on in it."""
        if self._hole:
            self._fill_hole()
        if self._slab is None:
            self._slab = self._slabs.acquire()
        elif self._end == self._slabs.size:
            self._slab = self._turn(self._slab)
        return self._slab, self._end

    def _turn(self, full: Slab) -> Slab:
        """Hands on what a full slab has, and begins another one with its last chunk: that may not have ended yet."""
        self._hand_on(full, last=False)
        fresh = self._slabs.acquire()
        rest = self._end - self._begin
        fresh.view[:rest] = full.view[self._begin : self._end]
        self._begin, self._end = 0, rest
        self._slabs.drop(full)
        return fresh

    def _filled(self, slab: Slab, count: int) -> None:
        """So many bytes came into the slab: the extents that end among them are handed on."""
        begin, end = self._end, self._end + count
        if self._tar is not None:
            for mark in self._tar.feed(slab.view[begin:end]):
                self._end = begin + mark
                self._end_extent()
            if self._tar.over:
                self._tar = None
        self._end = end

    def _end_extent(self) -> None:
        if self._slab is not None and self._begin < self._end:
            self._hand_on(self._slab, last=True)
        self._first = True

    def _hand_on(self, slab: Slab, *, last: bool) -> None:
        """Cuts what was not handed on, and hands it on; of an extent that goes on, its last chunk stays."""
        view = slab.view[self._begin : self._end]
        cuts = [0, *(chunk.offset + chunk.length for chunk in self._chunker.cut_buf(view))]
        if not last:
            cuts = cuts[:-1]
        if len(cuts) < 2:
            return
        piece = Piece(view[: cuts[-1]], tuple(cuts), self._first, lambda: self._slabs.drop(slab))
        self._begin += cuts[-1]
        self._first = False
        self._slabs.hold(slab)
        self._take(piece)
