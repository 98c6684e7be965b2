"""What opened shards show, for facts: counts, digests, samples, and neighbour questions with their exact answers.

Runs in the engine's child, so that points need not come through a pipe.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from recoup.errors import DamagedError
from recoup.sources._point_ids import Choice, IdDigest, canonical_id, rank
from recoup.sources.qdrant._shards import Shards, json_vector

PROBES = 20
"""Neighbour questions for each dense vector of a collection."""

NEIGHBOURS = 10
"""Answers that a question keeps, at most: those that tie with the first one left out are left out, too."""

SAMPLES = 50
"""Points of each shard whose payload and vectors are compared."""

_CLOSE = 1e-5  # of a score: two engines may differ as much, and then order two points differently
_AGREEING = 0.9  # mean overlap of indexed with exact search at which an index is called sound


def describe(shards: Shards, seed: int) -> dict[str, Any]:
    """The facts of one collection.

    Args:
        shards: all of its shards.
        seed: of what is chosen at random; also the salt of the samples' digests.

    Returns:
        `shards`: number to values; `probes`: vector, point, neighbours; `indexed`: vector to overlap of indexed with exact
        search, where something is indexed; `sound`: whether that is as it should be; `having`: vector to the points that have it;
        `vectors` and `sparse_vectors`: their parameters.
    """
    everyone = Choice(seed, PROBES)
    values = {shard: _shard_values(shards, shard, seed, everyone) for shard in sorted(shards.opened)}
    probes, indexed = [], {}
    has_index = any(shards.about(shard)["indexed_vectors"] for shard in shards.opened)
    for name, parameters in sorted(shards.vectors.items()):
        if parameters.get("multivector_config"):
            continue
        found = list(_probes(shards, name, _having(shards, name, seed, everyone)))
        probes += [{"vector": name, "point": point, "neighbours": near} for point, near, _ in found]
        if has_index and found:
            indexed[name] = sum(overlap for _, _, overlap in found) / len(found)
    return {
        "shards": values,
        "probes": probes,
        "indexed": indexed,
        "having": {name: shards.having(name) for name in (*sorted(shards.vectors), *sorted(shards.sparse))},
        "sound": all(overlap >= _AGREEING for overlap in indexed.values()) if indexed else None,
        "vectors": shards.vectors,
        "sparse_vectors": shards.sparse,
    }


def _shard_values(shards: Shards, shard: int, seed: int, everyone: Choice) -> dict[str, Any]:
    digest, sample = IdDigest(), Choice(seed, SAMPLES)
    for point in shards.ids(shard):
        digest.add_text(point)
        ranked = rank(seed, point)
        sample.add(point, ranked)
        everyone.add(point, ranked)
    counted = shards.count(shard, None)
    if counted != digest.count:
        raise DamagedError(f"shard {shard} counts {counted:,} points, and lists {digest.count:,}")
    payloads, vectors = _sampled(shards, shard, sample.chosen, seed)
    about = shards.about(shard)
    return {
        "points": digest.count,
        "ids": digest.hex(),
        "sampled payloads": payloads,
        "sampled vectors": vectors,
        "segments": about["segments"],
        "indexed_vectors": about["indexed_vectors"],
        "payload_schema": about["payload_schema"],
    }


def _sampled(shards: Shards, shard: int, chosen: list[str], seed: int) -> tuple[str, str]:
    """Digests of the chosen points' payloads and vectors, salted, in the order of their choice."""
    records = {canonical_id(record.id): record for record in shards.records(shard, chosen)}
    payloads, vectors = hashlib.sha256(f"{seed}".encode()), hashlib.sha256(f"{seed}".encode())
    for point in chosen:
        if point not in records:
            raise DamagedError(f"shard {shard} lists point {point}, and cannot show it")
        payloads.update(b"\0" + point.encode() + b"\0" + canonical_json(records[point].payload or {}))
        vectors.update(b"\0" + point.encode() + b"\0")
        for piece in _vector_bytes(json_vector(records[point].vector)):
            vectors.update(piece)
    return payloads.hexdigest(), vectors.hexdigest()


def canonical_json(value: Any) -> bytes:
    """One spelling of a JSON value: sorted keys, no spaces; a number that is whole has no point."""
    return json.dumps(_whole_numbers(value), sort_keys=True, separators=(",", ":")).encode()


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole_numbers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _vector_bytes(vector: Any) -> Iterator[bytes]:
    """A vector's numbers as 32-bit floats, with what tells one form from another."""
    if isinstance(vector, dict) and set(vector) == {"indices", "values"} and isinstance(vector["indices"], list):
        yield b"sparse" + array("I", vector["indices"]).tobytes() + array("f", vector["values"]).tobytes()
    elif isinstance(vector, dict):
        for name, one in sorted(vector.items()):
            yield b"\0" + name.encode() + b"\0"
            yield from _vector_bytes(one)
    elif vector and isinstance(vector[0], list):
        for row in vector:
            yield b"row" + array("f", row).tobytes()
    else:
        yield array("f", vector or ()).tobytes()


def _having(shards: Shards, name: str, seed: int, everyone: Choice) -> list[str]:
    """Points to ask about: the choice among those that have the vector."""
    if len(shards.vectors) + len(shards.sparse) == 1:
        return everyone.chosen
    choice = Choice(seed, PROBES)
    for shard in shards.opened:
        for point in shards.ids(shard, {"must": [{"has_vector": name}]}):
            choice.add(point)
    return choice.chosen


def _probes(shards: Shards, name: str, points: Iterable[str]) -> Iterator[tuple[str, list[str], float]]:
    """Each point with its exact neighbours, and how many of them the index finds.

    A point is left out when none of its neighbours is clearly nearer than the rest: any answer would be right.
    """
    for point in points:
        vector = _vector(shards, point, name)
        if vector is None:
            continue
        exact = _near(shards, name, vector, point, exact=True)
        near = settled(exact, NEIGHBOURS)
        if near or not exact:
            found = {other for _, other in _near(shards, name, vector, point, exact=False)[:NEIGHBOURS]}
            yield point, near, len(found & set(near)) / len(near) if near else 1.0


def _vector(shards: Shards, point: str, name: str) -> Any:
    for shard in shards.opened:
        for record in shards.records(shard, [point]):
            return record.vector.get(name) if isinstance(record.vector, dict) else record.vector
    return None


def _near(shards: Shards, name: str, vector: Any, itself: str, *, exact: bool) -> list[tuple[float, str]]:
    found = shards.nearest(vector, name, NEIGHBOURS + 2, exact=exact)
    return [(score, canonical_id(point.id)) for score, point, _ in found if canonical_id(point.id) != itself]


def settled(found: list[tuple[float, str]], most: int) -> list[str]:
    """The first `most` of the points found, without those that tie with the first one behind them.

    Args:
        found: score and id, best first; one more than `most`, where there are so many.
        most: how many.
    """
    if len(found) <= most:
        return [point for _, point in found]
    edge = found[most][0]
    return [point for score, point in found[:most] if abs(score - edge) > _CLOSE * max(1.0, abs(edge))]
