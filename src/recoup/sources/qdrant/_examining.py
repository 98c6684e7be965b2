"""What `recoup verify` asks of a server's collections besides the hashes: is that what was captured, and could it be read?

Hashes tell whether bytes are those that were stored. That a snapshot is whole, holds every segment that its record names, and has
a log that can be read to its end, is asked here, without the engine and without unpacking: the parts are read once, in order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from recoup.errors import RecoupError
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.reports import Damage
from recoup.sources.qdrant._gathering import differences, left_out, read_record
from recoup.sources.qdrant._points_file import PointsReader
from recoup.sources.qdrant._record import POINTS, RECORD, CollectionRecord, folder_of
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck

_READ = 1 << 20  # bytes read at once


@dataclass
class _Collection:
    """A collection while its parts come."""

    record: CollectionRecord
    seen: set[str] = field(default_factory=set)


def examine(parts: Iterable[Part]) -> Iterator[Damage]:
    """Looks at all parts of a source, each once; what is wrong comes as it is found.

    Args:
        parts: as stored; a part whose bytes are not those that were stored is passed over here, as the hashes tell it.
    """
    collections: dict[str, _Collection] = {}
    for part in parts:
        place, _, name = part.name.rpartition("/")
        if not isinstance(part, StreamPart):
            yield _damage(part.name, "is no file")
        elif name == RECORD:
            yield from _begin(place, part, collections)
        elif place not in collections:
            yield _damage(part.name, f"comes without the {RECORD} of its collection")
        else:
            collections[place].seen.add(part.name)
            yield from _look(part, collections[place].record)
    for place, one in collections.items():
        yield from _absent(place, one)


def _damage(item: str, what: str) -> Damage:
    return Damage(item, "content", f"{shown(item)} {what}")


def _begin(place: str, part: StreamPart, collections: dict[str, _Collection]) -> Iterator[Damage]:
    try:
        record = read_record(part)
    except (RecoupError, OSError) as error:
        yield Damage(part.name, "content", _said(error))
        return
    collections[place] = _Collection(record)
    if place != folder_of(record.name):
        yield _damage(part.name, f"is the record of another collection: {shown(record.name)}")


def _look(part: StreamPart, record: CollectionRecord) -> Iterator[Damage]:
    wanted = {shard.part for shard in record.shards}
    if part.name not in wanted and record.method != "collection":  # where every shard may come from other nodes
        yield _damage(part.name, f"holds nothing that the record of {shown(record.name)} names")
    try:
        if part.name.endswith(f"/{POINTS}"):
            yield from _look_at_points(part, record)
        else:
            yield from _look_at_snapshot(part, record)
    except (RecoupError, OSError) as error:
        yield Damage(part.name, "content", _said(error))


def _look_at_snapshot(part: StreamPart, record: CollectionRecord) -> Iterator[Damage]:
    shard = next((shard.id for shard in record.shards if shard.part == part.name), 0)
    check = SnapshotCheck(part.name, shard)
    with part.content.open() as reader:
        while data := reader.read(_READ):
            check.feed(data)
    yield from (_damage(part.name, what) for what in differences(record, part.name, check.contents))
    contents = check.finish()
    yield from _other_collection(part.name, record, contents)
    for number, held in contents.shards.items():
        if left_out(held):
            yield _damage(part.name, f"is a partial snapshot: shard {number} lacks {len(left_out(held)):,} files")


def _other_collection(name: str, record: CollectionRecord, contents: Contents) -> Iterator[Damage]:
    """A collection's own snapshot has the configuration in it; that of another one would be restored without a word."""
    if contents.config is None:
        return
    for key in ("vectors", "sparse_vectors", "shard_number", "sharding_method"):
        found, wanted = _param(contents.config, key), _param(record.config, key)
        if found != wanted:
            yield _damage(name, f"is of a collection with other {key} than {shown(record.name)} has")


def _param(config: object, key: str) -> object:
    params = config.get("params") if isinstance(config, dict) else None
    return (params.get(key) if isinstance(params, dict) else None) or None


def _look_at_points(part: StreamPart, record: CollectionRecord) -> Iterator[Damage]:
    with part.content.open() as reader:
        points = PointsReader(reader, part.name)
        if points.header.collection != record.name:
            yield _damage(
                part.name, f"holds the points of {shown(points.header.collection)}, not of {shown(record.name)}"
            )
        for _ in points:
            pass
        while reader.read(_READ):
            pass
    found, wanted = points.tally.points if points.tally else 0, sum(shard.points for shard in record.shards)
    counted = all(shard.points >= 0 for shard in record.shards)
    if counted and found != wanted:
        yield _damage(part.name, f"holds {found:,} points; the record says {wanted:,}")


def _absent(place: str, collection: _Collection) -> Iterator[Damage]:
    for part in sorted({shard.part for shard in collection.record.shards} - collection.seen):
        yield Damage(part, "missing", f"{shown(part)} is missing, which the record of {shown(place)} names")


def _said(error: RecoupError | OSError) -> str:
    return error.message if isinstance(error, RecoupError) else f"cannot be read: {error}"
