"""Files that any tool made, as the parts of a set: what a set would know of them is found out by opening them.

A bare snapshot does not say which version made it, what its collection was called, how many points it should hold, or which
aliases it had. So the version is told, or taken to be that of the server it goes to; all that can be counted is counted before.
"""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from recoup.errors import UsageError
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.model.structs import Struct
from recoup.sources._staged import StagedBytes, StagedReader
from recoup.sources.qdrant._described import Described, described
from recoup.sources.qdrant._gathering import Gathering, gather
from recoup.sources.qdrant._opened import opened
from recoup.sources.qdrant._pieces import Piece, Pieces, found
from recoup.sources.qdrant._points_file import Header, PointsReader
from recoup.sources.qdrant._record import (
    POINTS,
    CollectionRecord,
    Method,
    ShardKey,
    ShardRecord,
    encode,
    folder_of,
    record_part,
)
from recoup.system.tempdirs import temporary_folder

_SEED = 0  # of the probes: any will do, as they are asked and answered once


class Told(Struct):
    """What files do not say of themselves.

    Attributes:
        name: the collection's name; that of the file by default.
        server: version of the server that made them.
        moment: when they were made, for the record.
    """

    name: str
    server: str
    moment: datetime


class Foreign(Struct):
    """Files as the parts of a set.

    Attributes:
        record: what is known of the collection.
        parts: the record, then the files, as a restore wants them.
        guessed: True when the files do not say which version made them.
    """

    record: CollectionRecord
    parts: tuple[StreamPart, ...]
    guessed: bool


def adopted(paths: list[Path], told: Told, staging: Path) -> Foreign:
    """Looks into files, and makes them parts.

    Args:
        paths: as for `SnapshotFile`.
        told: what the files do not say.
        staging: folder to unpack in; nothing stays there.

    Raises:
        UsageError: they hold several collections, or a shard without its collection's configuration.
        DamagedError: they are damaged.
    """
    pieces = _only(found(paths), told.name)
    record = pieces.record or _record(pieces, told, staging)
    names = _part_names(pieces, record.name)
    parts = (
        StreamPart(record_part(record.name), StagedBytes(encode(record))),
        *(StreamPart(names[piece.name], _PieceContent(piece), _size(piece)) for piece in pieces.pieces),
    )
    return Foreign(record, parts, guessed=pieces.record is None and not pieces.pieces[0].points)


def _size(piece: Piece) -> int | None:
    """Its length in bytes; None where it is compressed."""
    compressed = piece.path.suffix in (".zst", ".gz") and not piece.points
    return None if compressed else piece.path.stat().st_size


def _only(listed: tuple[Pieces, ...], name: str) -> Pieces:
    chosen = [pieces for pieces in listed if len(listed) == 1 or pieces.collection == name]
    if len(chosen) != 1:
        known = ", ".join(shown(pieces.collection) for pieces in listed)
        raise UsageError(f"the folder holds several collections: {known}", "Name the folder of one of them.")
    return chosen[0]


def _part_names(pieces: Pieces, name: str) -> dict[str, str]:
    """Each file's name to that of the part it is: its own without what it is compressed by."""
    if pieces.record:
        return {piece.name: piece.part for piece in pieces.pieces}
    if pieces.pieces[0].points:
        return {pieces.pieces[0].name: f"{folder_of(name)}/{POINTS}"}
    return {
        piece.name: f"{folder_of(name)}/{number}-{piece.path.name.removesuffix('.zst').removesuffix('.gz')}"
        for number, piece in enumerate(pieces.pieces)
    }


def _record(pieces: Pieces, told: Told, staging: Path) -> CollectionRecord:
    """What a set would have recorded; the files are opened for it."""
    name = told.name or pieces.collection
    with temporary_folder("look", staging) as root:
        gathered = gather(pieces, root)
        header = _header(pieces, gathered)
        if gathered.missing:
            listed = ", ".join(map(str, gathered.missing))
            raise UsageError(
                f"the files do not hold shard {listed} of {shown(name)}",
                "In a cluster each node's snapshot holds that node's shards: name the other nodes' files, too (--with).",
            )
        with opened(gathered.folders, what=pieces.collection) as shards:
            seen = described(name, shards, _SEED)
    records = _shards(pieces, gathered, seen, told.moment, _part_names(pieces, name))
    return CollectionRecord(
        name=name,
        method=_method(pieces),
        server=header.server or told.server,
        config=header.config,
        payload_schema=header.payload_schema,
        aliases=(),
        shards=records,
        shard_keys=_keys(records),
        probes=seen.probes,
        seed=seen.seed,
    )


def _method(pieces: Pieces) -> Method:
    return "scroll" if pieces.pieces[0].points else "collection"


def _header(pieces: Pieces, gathered: Gathering) -> Header:
    """Configuration and payload indexes, which a whole collection's snapshot and a file of points have."""
    first = pieces.pieces[0]
    if first.points:
        with first.path.open("rb") as file:
            return PointsReader(file, first.name).header
    for contents in gathered.contents.values():
        if contents.config:
            return Header(
                pieces.collection, config=contents.config, payload_schema=_schema(contents.payload_index or {})
            )
    raise UsageError(
        f"{shown(first.path.name)} is the snapshot of a shard: it does not hold its collection's configuration",
        "Name the folder of the collection in a set, or take the points: recoup qdrant extract FILE --into URL/COLLECTION.",
    )


def _schema(index: Mapping[str, Any]) -> dict[str, Any]:
    """`payload_index.json` as a server tells the same: its parameters are a type's name, or an object with its `type`."""
    fields = index.get("schema") or {}
    return {
        name: {"data_type": about.get("type"), "params": about} if isinstance(about, dict) else {"data_type": about}
        for name, about in fields.items()
    }


def _shards(
    pieces: Pieces, gathered: Gathering, seen: Described, moment: datetime, names: Mapping[str, str]
) -> tuple[ShardRecord, ...]:
    keys = gathered.shard_keys()
    records = []
    for number in sorted(gathered.folders):
        origin = _origin(pieces, gathered, number)
        held = gathered.contents[origin].shards[number] if origin in gathered.contents else None
        record = ShardRecord(
            id=number,
            first=moment,
            last=moment,
            points=seen.points[number],
            ids=seen.ids[number],
            part=names[origin],
            key=keys.get(number),
            peer=held.peer if held else None,
            replicas=held.replicas if held else {},
            segments=held.records() if held else {},
        )
        records.append(record)
    return tuple(records)


def _origin(pieces: Pieces, gathered: Gathering, number: int) -> str:
    """Name of the file that a shard was taken from."""
    folder = gathered.folders[number].parent.name
    if folder.isdecimal():
        return [*gathered.contents][int(folder)]
    return pieces.pieces[0].name


def _keys(shards: tuple[ShardRecord, ...]) -> tuple[ShardKey, ...]:
    found: dict[tuple[type, ShardKey], None] = {}
    for shard in shards:
        if shard.key is not None:
            found.setdefault((type(shard.key), shard.key))
    return tuple(key for _, key in found)


class _PieceContent(Struct):
    """A file as a part's content, decompressed on the way."""

    piece: Piece
    local_path: None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[StagedReader]:
        """Opens from the beginning."""
        if self.piece.points:
            with self.piece.path.open("rb") as file:
                yield StagedReader(file)
            return
        with self.piece.open() as reader:
            yield StagedReader(reader)
