"""Writing points one by one: into any version, any number of shards, any quantization; slower than whole shards.

Upserts may be repeated, so a connection that breaks in the middle loses nothing: the batch is sent again.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from recoup.errors import RestoreError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ServerError, UnreachableError
from recoup.sources.qdrant._points_file import Point
from recoup.sources.qdrant._record import ShardKey
from recoup.sources.qdrant._restore_making import done
from recoup.system.clock import Clock

_POINTS = 256  # of one request
_BYTES = 4 << 20  # of one request's JSON, roughly; servers take 32 MiB by default
_NUMBER = 20  # bytes of one number in JSON, about
_PATIENCE = 60.0  # seconds that a server may be away, for a restart
_BUSY = (429, 502, 503, 504)
_PAUSE = 0.5  # seconds between tries
_NAP = 0.5  # seconds; longest sleep for the rate


class _Batch(Struct):
    key: ShardKey | None
    points: list[Point]


def upsert(
    server: Server,
    collection: str,
    points: Iterable[Point],
    clock: Clock,
    *,
    rate: float = 0.0,
    passing: Callable[[int], None] = lambda _count: None,
) -> int:
    """Writes points, each batch done and found before the next is sent; returns how many.

    Args:
        server: where to.
        collection: its own name.
        points: in Qdrant's JSON form; `shard_key` says where, in collections with such keys.
        clock: time.
        rate: points a second at most; 0 for no limit.
        passing: is told after each batch how many are written.

    Raises:
        RestoreError: the server refuses, stays away, or does not find what it accepted.
    """
    begun, written = clock.monotonic(), 0
    for batch in _batches(points):
        _write(server, collection, batch, clock)
        _require_found(server, collection, batch)
        written += len(batch.points)
        passing(written)
        while rate and (ahead := written / rate - (clock.monotonic() - begun)) > 0:
            clock.sleep(min(ahead, _NAP))
    return written


def _batches(points: Iterable[Point]) -> Iterator[_Batch]:
    batch, size = _Batch(None, []), 0
    for point in points:
        key, weight = point.get("shard_key"), _weight(point)
        full = len(batch.points) >= _POINTS or size + weight > _BYTES
        if batch.points and (full or key != batch.key or type(key) is not type(batch.key)):
            yield batch
            batch, size = _Batch(None, []), 0
        if not batch.points:
            batch = _Batch(key, [])
        batch.points.append({"id": point["id"], "vector": _vector(point), "payload": point.get("payload") or {}})
        size += weight
    if batch.points:
        yield batch


def _vector(point: Point) -> Any:
    """A point may lack all its named vectors; then Qdrant wants an empty object."""
    vector = point.get("vector")
    return {} if vector is None else vector


def _weight(point: Point) -> int:
    """Bytes of a point in JSON, roughly."""
    return _NUMBER * _numbers(point.get("vector")) + len(json.dumps(point.get("payload") or {}))


def _numbers(vector: Any) -> int:
    if isinstance(vector, dict):
        return sum(map(_numbers, vector.values()))
    if isinstance(vector, list):
        return sum(map(_numbers, vector)) if vector and isinstance(vector[0], list) else len(vector)
    return 0


def _write(server: Server, collection: str, batch: _Batch, clock: Clock) -> None:
    body: dict[str, Any] = {"points": batch.points}
    if batch.key is not None:
        body["shard_key"] = batch.key
    path = done(at("collections", collection, "points"))
    patiently(lambda: server.put(path, body, wait=None), f"points could not be written to {shown(collection)}", clock)


def patiently(call: Callable[[], Any], what: str, clock: Clock) -> Any:
    """Makes a call that may be repeated until the server, which may be starting again, does it.

    Raises:
        RestoreError: it refuses, or is away for too long.
    """
    end = clock.monotonic() + _PATIENCE
    while True:
        try:
            return call()
        except ServerError as error:
            passing = isinstance(error, UnreachableError) or error.status in _BUSY
            if not passing or clock.monotonic() > end:
                raise RestoreError(f"{what}: {error.message}", error.hint) from None
        clock.sleep(_PAUSE)


def _require_found(server: Server, collection: str, batch: _Batch) -> None:
    """Asks for what was just written: an answer of 200 is no proof."""
    body: dict[str, Any] = {"ids": [p["id"] for p in batch.points], "with_payload": False, "with_vector": False}
    if batch.key is not None:
        body["shard_key"] = batch.key
    found = server.post(at("collections", collection, "points"), body, safe=True, wait=None) or []
    if len(found) != len({str(point["id"]) for point in batch.points}):
        raise RestoreError(
            f"of {len(batch.points)} points that {shown(collection)} accepted, {len(found)} are there",
            "See the server's log.",
        )
