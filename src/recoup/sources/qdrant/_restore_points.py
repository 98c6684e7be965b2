"""A set's points, one by one, from its snapshots opened without a server, or from its file of points."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from recoup.errors import DamagedError
from recoup.model.events import Progress
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.sources._base import Site
from recoup.sources.qdrant._checking import counted, points_of
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._opened import opened
from recoup.sources.qdrant._points_file import Point, PointsReader
from recoup.sources.qdrant._preflight import Undertaking
from recoup.sources.qdrant._record import POINTS, CollectionRecord
from recoup.sources.qdrant._restore_spool import require_all, require_recorded, require_room
from recoup.sources.qdrant._unpacking import unpack
from recoup.sources.qdrant._upserting import upsert
from recoup.system.tempdirs import remove_tree


def write_points(
    plan: Undertaking,
    parts: Iterable[StreamPart],
    server: Server,
    folder: Path,
    site: Site,
    rate: float,
    *,
    skip: int = 0,
    noted: Callable[[int], None] = lambda _count: None,
) -> None:
    """Writes all points of a collection; all stored bytes are read and checked before the first one goes out.

    Args:
        plan: whose, and where to.
        parts: what holds them.
        server: any node.
        folder: for what has to be unpacked.
        site: clock and news.
        rate: points a second at most; 0 for no limit.
        skip: points that an earlier run wrote; they come first.
        noted: is told after each batch how many points are written in all.

    Raises:
        DamagedError: the stored bytes are wrong, or not all points are there.
        RestoreError: the server refuses, or stays away.
    """
    record, total = plan.record, points_of(plan.record)
    work = folder / "points"
    work.mkdir(mode=0o700)
    try:
        points = _scrolled(record, parts, work) if record.method == "scroll" else _unpacked(record, parts, work)
        passing = _passing(plan.into, skip, total, site, noted)
        written = skip + upsert(server, plan.into, islice(points, skip, None), site.clock, rate=rate, passing=passing)
    finally:
        remove_tree(work)
    site.emit(Progress(f"write points to {plan.into}", written, total, finished=True, unit="points"))
    if counted(record) and written != total:
        raise DamagedError(f"the set holds {written:,} points of {shown(record.name)}, recorded are {total:,}")


def _passing(into: str, skip: int, total: int, site: Site, noted: Callable[[int], None]) -> Callable[[int], None]:
    def told(count: int) -> None:
        noted(skip + count)
        site.emit(Progress(f"write points to {into}", skip + count, total, unit="points"))

    return told


def _scrolled(record: CollectionRecord, parts: Iterable[StreamPart], work: Path) -> Iterator[Point]:
    """The points of a file of points, which is read to its end and checked first."""
    kept = work / POINTS
    found = False
    for part in parts:
        if part.name.endswith(f"/{POINTS}"):
            require_room(work, part.size or 0)
            _copy(part, kept)
            with kept.open("rb") as file:
                for _ in PointsReader(file, part.name):
                    pass
            found = True
    if not found:
        raise DamagedError(f"the set lacks {POINTS} of {shown(record.name)}")
    return _points_in(kept)


def _points_in(path: Path) -> Iterator[Point]:
    with path.open("rb") as file:
        yield from PointsReader(file, path.name)


def _copy(part: StreamPart, path: Path) -> None:
    with path.open("xb") as file, part.content.open() as reader:
        path.chmod(0o600)
        while data := reader.read(1 << 20):
            file.write(data)


def _unpacked(record: CollectionRecord, parts: Iterable[StreamPart], work: Path) -> Iterator[Point]:
    """The points of snapshots, which are unpacked, checked, and opened by Qdrant's own engine."""
    folders: dict[int, Path] = {}
    seen = set()
    for number, part in enumerate(parts):
        recorded = [shard for shard in record.shards if shard.part == part.name]
        require_room(work, 2 * (part.size or 0))
        folder = work / str(number)
        with part.content.open() as reader:
            contents = unpack(reader, folder, part.name, recorded[0].id if recorded else 0)
        for shard in require_recorded(record, part.name, contents):
            folders[shard.id] = folder / str(shard.id)
        seen.add(part.name)
    require_all(record, seen)
    return _points_of(record, folders)


def _points_of(record: CollectionRecord, folders: dict[int, Path]) -> Iterator[Point]:
    for shard in sorted(record.shards, key=lambda one: one.id):
        with opened({shard.id: folders[shard.id]}) as shards:
            for point in shards.scroll():
                yield point if shard.key is None else {**point, "shard_key": shard.key}
