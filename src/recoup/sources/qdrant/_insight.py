"""What can be told of a collection in files: as much as possible, also of one that is damaged or that the engine cannot read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoup.errors import DamagedError, ExitCode, RecoupError
from recoup.sources.qdrant._gathering import differences, gather
from recoup.sources.qdrant._opened import Limits, opened
from recoup.sources.qdrant._pieces import Piece, Pieces
from recoup.sources.qdrant._points_file import PointsReader
from recoup.sources.qdrant._shard_tar import Contents, ShardContents, SnapshotCheck, expected_shards
from recoup.system.tempdirs import temporary_folder

_READ = 1 << 20  # bytes read at once


def insight(pieces: Pieces, limits: Limits, staging: Path | None) -> dict[str, Any]:
    """What can be told, in JSON types (`SnapshotFile.inspect` describes them); what is wrong is among it, and not raised.

    Args:
        pieces: the collection's files.
        limits: for the engine.
        staging: where to unpack; the system's temporary folder by default.
    """
    told = _of_record(pieces)
    shards: dict[int, dict[str, Any]] = {}
    for piece in pieces.pieces:
        told["files"].append(_of_points(piece, told) if piece.points else _of_snapshot(piece, pieces, told, shards))
    _open(pieces, limits, staging, told, shards)
    told["shards"] = [{"id": number, **shards[number]} for number in sorted(shards)]
    return json.loads(json.dumps(told))  # type: ignore[no-any-return] # an object goes in, and comes out


def _note(told: dict[str, Any], error: RecoupError) -> None:
    """Adds what is wrong; of several faults, damage says the most."""
    told["faults"].append(error.message)
    if told["exit_code"] != ExitCode.DAMAGED:
        told["exit_code"] = int(error.exit_code)


def _of_record(pieces: Pieces) -> dict[str, Any]:
    record = pieces.record
    return {
        "collection": pieces.collection,
        "method": record.method if record else None,
        "server": record.server if record else None,
        "aliases": list(record.aliases) if record else None,
        "config": record.config if record else None,
        "payload_schema": record.payload_schema if record else None,
        "points": None,
        "shards": [],
        "missing_shards": [],
        "files": [],
        "faults": [],
        "exit_code": 0,
    }


def _of_points(piece: Piece, told: dict[str, Any]) -> dict[str, Any]:
    size = piece.path.stat().st_size
    try:
        with piece.path.open("rb") as file:
            header = PointsReader(file, piece.name).header
    except RecoupError as error:
        _note(told, error)
    else:
        told["collection"] = header.collection
        told["server"] = told["server"] or header.server
        told["config"] = told["config"] or header.config
        told["payload_schema"] = told["payload_schema"] or header.payload_schema
    return {"name": piece.path.name, "bytes": size, "form": "points"}


def _of_snapshot(
    piece: Piece, pieces: Pieces, told: dict[str, Any], shards: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """Reads a snapshot to its end, or as far as it goes."""
    check = SnapshotCheck(piece.name, piece.shard)
    try:
        with piece.open() as reader:
            while data := reader.read(_READ):
                check.feed(data)
        check.finish()
    except RecoupError as error:
        _note(told, error)
    contents = check.contents
    for one in differences(pieces.record, piece.name, contents):
        _note(told, DamagedError(f"{piece.name} {one}"))
    told["config"] = told["config"] or contents.config
    schema = (contents.payload_index or {}).get("schema")
    told["payload_schema"] = told["payload_schema"] or schema
    _missing(told, contents, shards)
    for number, held in contents.shards.items():
        if held.local and not shards.get(number, {}).get("active"):
            shards[number] = _of_shard(number, held, piece, pieces, contents)
    return {
        "name": piece.path.name,
        "bytes": piece.path.stat().st_size,
        "form": contents.form,
        "plain_bytes": contents.bytes,
        "unpacked_bytes": contents.unpacked,
        "version": contents.version or None,
    }


def _missing(told: dict[str, Any], contents: Contents, shards: Mapping[int, Any]) -> None:
    expected = {*told["missing_shards"], *shards, *expected_shards(contents), *contents.shards}
    local = {number for number, held in contents.shards.items() if held.local}
    told["missing_shards"] = sorted(expected - local - set(shards))


def _of_shard(number: int, held: ShardContents, piece: Piece, pieces: Pieces, contents: Contents) -> dict[str, Any]:
    keys = {shard.id: shard.key for shard in pieces.record.shards} if pieces.record else {}
    keys |= {shard: key for key, numbers in contents.shard_keys or () for shard in numbers}
    return {
        "key": keys.get(number),
        "file": piece.path.name,
        "points": None,
        "active": held.active,
        "peer": held.peer,
        "replicas": held.replicas,
        "segments": [
            {"id": segment, "files": len(files), "bytes": sum(files.values())}
            for segment, files in sorted(held.segments.items())
        ],
        "wal": [
            {"name": name, "state": log.state, "records": log.records, "bytes": log.bytes, "fault": log.fault or None}
            for name, log in sorted(held.wal.items())
        ],
    }


def _open(
    pieces: Pieces, limits: Limits, staging: Path | None, told: dict[str, Any], shards: dict[int, dict[str, Any]]
) -> None:
    """Adds what only the engine can tell, if it can."""
    if told["faults"]:
        return
    try:
        with temporary_folder("look", staging) as root:
            gathered = gather(pieces, root)
            told["missing_shards"] = list(gathered.missing)
            with opened(gathered.folders, limits, pieces.collection) as found:
                counts = found.counts()
                for number, about in found.about.items():
                    one = shards.setdefault(number, {"key": gathered.keys.get(number), "segments": [], "wal": []})
                    one["points"] = counts[number]
                    one["indexed_vectors"] = about.indexed_vectors
                    one["payload_schema"] = about.payload_schema
                told["points"] = sum(counts.values())
                told["vectors"], told["sparse_vectors"] = found.vectors, found.sparse_vectors
    except RecoupError as error:
        _note(told, error)
