"""A full snapshot of a shard, made of an earlier one and a partial one: what the server would stream now.

For each segment of the partial snapshot: the files that its manifest names, from the partial snapshot where it has them, else
from the earlier one; then everything beside the segments (log, clocks, state) from the partial snapshot. A server takes the
result as one of its own. Members are copied as they stand, so that what did not change keeps its bytes and its place.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from recoup.errors import DamagedError, UnsafePathError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._staged import Readable
from recoup.sources.qdrant._manifests import DoubtfulError, Manifest, from_base
from recoup.sources.qdrant._members import END, members
from recoup.sources.qdrant._shard_tar import SEGMENT_MANIFEST, ShardContents
from recoup.sources.qdrant._tar import Entry

_OF_SEGMENT = re.compile(r"segments/(?P<segment>[0-9a-f-]{36})/files/(?P<file>.+)", re.DOTALL)
_PIECE = 1 << 20  # bytes read at once


class Base(Struct):
    """An earlier full snapshot of a shard.

    Attributes:
        known: the manifest of its segments.
        segments: segment id to its files, with their length in bytes.
    """

    known: Manifest
    segments: Mapping[str, Mapping[str, int]]


def merged(base: Base, earlier: Readable, partial: Path, came: ShardContents) -> Iterator[bytes]:
    """The new full snapshot, in pieces; memory for one piece and one header.

    Args:
        base: what the earlier snapshot holds.
        earlier: its bytes; read once, in order.
        partial: the partial snapshot, checked to be whole.
        came: what it holds.

    Raises:
        DoubtfulError: they do not surely fit each other; what was yielded is to be dropped.
        DamagedError: stored bytes of the earlier snapshot are wrong.
    """
    wanted = from_base(came.partial, base.known, came.segments, base.segments)
    with _Changed(partial) as changed:
        merge = _Merge(changed, wanted)
        try:
            for piece in members(earlier, "the earlier snapshot"):
                yield from merge.begin(piece) if isinstance(piece, Entry) else merge.copy(piece)
        except UnsafePathError as error:
            raise DoubtfulError(error.message) from None
        yield from merge.finish()


class _Changed:
    """The partial snapshot's members, each taken once.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._places: dict[str, tuple[int, int]] = {}
        try:
            self._find()
        except BaseException:
            self._file.close()
            raise

    def _find(self) -> None:
        name, begin, end = "", 0, 0
        for piece in members(self._file, "the partial snapshot"):
            if isinstance(piece, Entry):
                name, begin = piece.name, end
                if name in self._places:
                    raise DoubtfulError(f"the partial snapshot holds {shown(name)} twice")
            else:
                end += len(piece)
                self._places[name] = begin, end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self, segment: str = "") -> list[str]:
        """Those not taken yet, in their order; of one segment, or all."""
        begin = f"segments/{segment}/" if segment else ""
        return [name for name in self._places if name.startswith(begin)]

    def take(self, name: str) -> Iterator[bytes]:
        """A member's bytes."""
        at, end = self._places.pop(name)
        if name.endswith(f"/files/{SEGMENT_MANIFEST}"):
            return  # an ordinary snapshot has none: the server would refuse it
        self._file.seek(at)
        while at < end:
            data = self._file.read(min(_PIECE, end - at))
            if not data:
                raise DamagedError("the partial snapshot is cut short")
            yield data
            at += len(data)


class _Merge:
    """The merge while the earlier snapshot passes.

    Args:
        changed: what came.
        wanted: segment to the files that have to be copied, with their length in bytes.
    """

    def __init__(self, changed: _Changed, wanted: dict[str, dict[str, int]]) -> None:
        self._changed, self._wanted = changed, wanted
        self._segment = ""
        self._copying = False

    def begin(self, entry: Entry) -> Iterator[bytes]:
        """Decides on a member of the earlier snapshot; yields what comes before or instead of it."""
        self._copying = False
        found = _OF_SEGMENT.fullmatch(entry.name)
        if entry.name.startswith("segments/") and not found and not entry.folder:
            raise DoubtfulError(f"the earlier snapshot holds {shown(entry.name)}, which is no file of a segment")
        segment = found["segment"] if found else ""
        if segment != self._segment:
            yield from self._rest()
            self._segment = segment
        if not found:
            return  # what stands beside the segments belongs to its moment
        if entry.name in self._changed:
            yield from self._changed.take(entry.name)
        else:
            self._copying = self._wants(segment, found["file"], entry.size)

    def _wants(self, segment: str, file: str, size: int) -> bool:
        expected = self._wanted.get(segment, {}).pop(file, None)
        if expected not in (None, size):
            raise DoubtfulError(
                f"{shown(file)} of segment {segment} in the earlier set has another length than recorded"
            )
        return expected is not None

    def _rest(self) -> Iterator[bytes]:
        """What is new in the segment that ends here."""
        if self._segment:
            for name in self._changed.names(self._segment):
                yield from self._changed.take(name)

    def copy(self, piece: bytes) -> Iterator[bytes]:
        """Bytes of that member."""
        if self._copying:
            yield piece

    def finish(self) -> Iterator[bytes]:
        """What follows the last file of the earlier snapshot's segments."""
        yield from self._rest()
        for segment, files in self._wanted.items():
            for name in files:
                raise DoubtfulError(f"the earlier set lacks {shown(name)} of segment {segment}")
        for name in self._changed.names():
            yield from self._changed.take(name)
        yield END
