"""Reading packs of a storage far away in few requests: what a stream needs is looked up first, and what lies near comes too."""

import contextlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass

from recoup.errors import RecoupError
from recoup.repository.dedup.index import PackFacts, Place
from recoup.repository.dedup.packs import PackRef

Work = tuple[int, list[Place] | int]
"""How many bytes to skip, and chunks that lie one behind the other, or the length of a gap."""

Wanted = dict[PackRef, Counter[tuple[int, int]]]
"""Ranges of packs, begins and ends, and how often each is wanted."""

Read = Callable[[PackRef, int, int], bytes]
"""Gives a range of a pack."""

_WINDOW = 4 * 1024 * 1024  # bytes of packs that are looked up at once; what waits to be decoded stays in memory
_GAPS = (512 * 1024, 128 * 1024, 0)  # bytes between two ranges that come along: cheaper than a request of 20 ms
_EXCESS = 1.5  # times the wanted bytes that may come, of more than a small pack
_HELD = 6  # windows of which something may still be wanted, most of it taken
_ITEMS = 4096  # pieces of work that are looked up at once
_EXTENT = 4 * 1024 * 1024  # bytes of one request: with all copies of it on its way, more would take too much memory
_SMALL = 2 * 1024 * 1024  # bytes of a pack that comes whole: it has what was new on some day, of all the stream
_KEPT = 4 * 1024 * 1024  # bytes of such packs that stay a while
_HEAD = 64 * 1024  # bytes from its begin where a range brings the head of its pack along, which opens it
_THREADS = 2  # requests at once: each takes twice its bytes for a moment


@dataclass(eq=False)
class Extent:
    """A range of a pack that is on its way.

    Attributes:
        begin: where.
        end: behind its last byte.
        data: what comes.
        left: how often something of it will be taken.
    """

    begin: int
    end: int
    data: Future[bytes]
    left: int = 1


class Fetching:
    """Ranges of packs that were asked for before they are wanted.

    Args:
        read: reads a range.
        packs: what is known of packs.
        bases: where the chunks lie that a chunk is stored against.
    """

    def __init__(
        self, read: Read, packs: Mapping[PackRef, PackFacts], bases: Callable[[Place], Iterable[Place]]
    ) -> None:
        self._read, self._packs, self._bases = read, packs, bases
        self._lock = threading.Lock()
        self._extents: dict[PackRef, list[Extent]] = {}
        self._whole: OrderedDict[PackRef, Extent] = OrderedDict()  # of these, the small packs

    @contextlib.contextmanager
    def ahead(self, work: Iterator[Work]) -> Iterator[Iterator[Work]]:
        """The same work, and what it needs is on its way before it is handed out."""
        pool = ThreadPoolExecutor(_THREADS, "packs")
        held: list[list[tuple[PackRef, Extent]]] = []
        try:
            yield self._in_windows(work, pool, held)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for extents in held:
                self._let_go(extents)

    def _in_windows(
        self, work: Iterator[Work], pool: ThreadPoolExecutor, held: list[list[tuple[PackRef, Extent]]]
    ) -> Iterator[Work]:
        before: list[Work] = []
        for window, wanted in self._windows(work):
            held.append(self._ask(wanted, pool))
            while len(held) > _HELD:  # its last chunks may still be waiting to be decoded
                self._let_go(held.pop(0))
            yield from before
            before = window
        yield from before

    def _windows(self, work: Iterator[Work]) -> Iterator[tuple[list[Work], Wanted]]:
        """Pieces of work, and the ranges that they and their bases take."""
        window, wanted, held = list[Work](), Wanted(), 0
        for one in work:
            ranges = list(self._ranges_of(one[1])) if not isinstance(one[1], int) else []
            fresh = sum(end - begin for pack, begin, end in ranges if (begin, end) not in wanted.get(pack, ()))
            if window and (held + fresh > _WINDOW or len(window) >= _ITEMS):
                yield window, wanted
                window, wanted, held = [], {}, 0
            window.append(one)
            held += fresh
            for pack, begin, end in ranges:
                wanted.setdefault(pack, Counter())[begin, end] += 1
        if window:
            yield window, wanted

    def _ranges_of(self, chunks: Sequence[Place]) -> Iterator[tuple[PackRef, int, int]]:
        """The range of chunks that lie one behind the other, which is taken at once, and those of their bases."""
        first, last = chunks[0], chunks[-1]
        yield first.pack, first.offset, last.offset + last.row.stored
        for chunk in chunks:
            for base in self._bases(chunk) if chunk.row.bases else ():
                yield base.pack, base.offset, base.offset + base.row.stored

    def _ask(self, wanted: Wanted, pool: ThreadPoolExecutor) -> list[tuple[PackRef, Extent]]:
        asked = []
        for pack, ranges in wanted.items():
            if pack in self._packs and self._packs[pack].size <= _SMALL:
                self._ask_whole(pack, pool)
                continue
            for begin, end in joined(sorted(ranges)):
                left = sum(n for (first, last), n in ranges.items() if begin <= first and last <= end)
                left += begin == 0  # the head of the pack
                extent = Extent(begin, end, pool.submit(self._read, pack, begin, end - begin), left)
                asked.append((pack, extent))
                with self._lock:
                    self._extents.setdefault(pack, []).append(extent)
        return asked

    def _ask_whole(self, pack: PackRef, pool: ThreadPoolExecutor) -> None:
        with self._lock:
            if pack not in self._whole or self._whole[pack].data.cancelled():
                size = self._packs[pack].size
                self._whole[pack] = Extent(0, size, pool.submit(self._read, pack, 0, size))
            self._whole.move_to_end(pack)
            held = sum(extent.end for extent in self._whole.values())
            while held > _KEPT and len(self._whole) > 1:
                held -= self._whole.popitem(last=False)[1].end

    def _let_go(self, extents: Iterable[tuple[PackRef, Extent]]) -> None:
        with self._lock:
            for pack, extent in extents:
                left = [one for one in self._extents.get(pack, ()) if one is not extent]
                if left:
                    self._extents[pack] = left
                else:
                    self._extents.pop(pack, None)

    def take(self, pack: PackRef, offset: int, length: int) -> memoryview | None:
        """A range that was asked for; None when it was not, or did not come."""
        with self._lock:
            known = [*self._extents.get(pack, ()), *filter(None, [self._whole.get(pack)])]
            found = next((one for one in known if one.begin <= offset and offset + length <= one.end), None)
            if found is not None:
                found.left -= 1
        if found is None:
            return None
        if found.left == 0:
            self._let_go([(pack, found)])
        with contextlib.suppress(RecoupError, OSError, CancelledError):  # whoever needs it asks for it alone, and tells
            return memoryview(found.data.result())[offset - found.begin : offset - found.begin + length]
        return None

    def forget(self, pack: PackRef) -> None:
        """Lets go of what came of a pack: it may have been harmed on the way."""
        with self._lock:
            self._whole.pop(pack, None)
            self._extents.pop(pack, None)


def joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of one pack as few requests ask for them.

    Args:
        ranges: begins and ends, sorted.
    """
    least = sum(end - begin for begin, end in ranges)
    for gap in _GAPS:
        found = list(_joined(ranges, gap))
        if sum(end - begin for begin, end in found) <= _EXCESS * least:
            break
    return found


def _joined(ranges: Iterable[tuple[int, int]], gap: int) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for first, last in ranges:
        if end >= 0 and first - end <= gap and last - begin <= _EXTENT:
            end = max(end, last)
            continue
        if end >= 0:
            yield begin, end
        begin, end = (0 if end < 0 and first <= _HEAD else first), last
    if end >= 0:
        yield begin, end
