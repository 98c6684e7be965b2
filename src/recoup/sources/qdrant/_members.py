"""The members of an archive one by one, each with its bytes as they stand there: headers, map of holes, content, padding.

Who copies these bytes gets the same member again, holes and times included, whatever wrote the archive.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from recoup.sources._staged import Readable
from recoup.sources.qdrant._tar import Archive, Bytes, Entry, Sink

END = bytes(1024)
"""What an archive ends with: two blocks of zeros."""

_PIECE = 1 << 20  # bytes read at once


def members(reader: Readable, what: str) -> Iterator[Entry | bytes]:
    """Each member as its header tells it, then its bytes in pieces; memory for one piece and one header.

    Args:
        reader: the archive; read once, to its end.
        what: it is called in errors.

    Raises:
        DamagedError: it is no archive, or cut short.
        UnsafePathError: a member is no file and no folder.
    """
    marks = _Marks(what)
    archive = marks.archive
    held, at = bytearray(), 0  # bytes that nobody got yet, and where in the archive they begin
    inside = False
    while data := reader.read(_PIECE):
        archive.feed(data)
        held += data
        for place, entry in marks.passed():
            if entry is not None:
                yield entry
                inside = not entry.folder
            if entry is None or entry.folder:
                yield bytes(held[: place - at])
                del held[: place - at]
                at, inside = place, False
        if inside or archive.ended:
            if inside:
                yield bytes(held)
            held.clear()
            at = archive.position
    archive.finish()


@dataclass
class _End:
    """Wants nothing of a content but to know where it ends."""

    marks: "_Marks"

    def write(self, data: Bytes) -> None:
        pass

    def hole(self, size: int) -> None:
        pass

    def close(self) -> None:
        self.marks.add(None)


class _Marks:
    """Where members begin to be known, and where they end."""

    def __init__(self, what: str) -> None:
        self.archive = Archive(self._begin, what)
        self._marks: deque[tuple[int, Entry | None]] = deque()
        self._end = _End(self)

    def _begin(self, entry: Entry) -> Sink | None:
        self.add(entry)
        return None if entry.folder else self._end

    def add(self, entry: Entry | None) -> None:
        self._marks.append((self.archive.position, entry))

    def passed(self) -> Iterator[tuple[int, Entry | None]]:
        """The places since the last time; with an entry where a member's header ends, with None where a file does."""
        while self._marks:
            yield self._marks.popleft()
