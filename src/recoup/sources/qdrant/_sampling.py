"""What opened shards show, for facts: counts, digests, samples, and neighbour questions with their exact answers.

Runs in the engine's child, so that points need not come through a pipe.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recoup.errors import DamagedError
from recoup.model.structs import Struct
from recoup.sources._point_ids import Choice, IdDigest, canonical_id
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
    surveys = {shard: survey(shards, shard, seed) for shard in sorted(shards.opened)}
    everyone = Choice(seed, PROBES)
    for one in surveys.values():
        everyone.merge(one.ranked)
    probes, indexed = [], {}
    has_index = any(shards.about(shard)["indexed_vectors"] for shard in shards.opened)
    for name, parameters in sorted(shards.vectors.items()):
        if parameters.get("multivector_config"):
            continue
        found = list(_probes(shards, name, _having(shards, name, seed, everyone), indexed=has_index))
        probes += [{"vector": name, "point": point, "neighbours": near} for point, near, _ in found]
        if has_index and found:
            indexed[name] = sum(overlap for _, _, overlap in found) / len(found)
    return {
        "shards": {shard: one.values for shard, one in surveys.items()},
        "probes": probes,
        "indexed": indexed,
        "having": {name: shards.having(name) for name in (*sorted(shards.vectors), *sorted(shards.sparse))},
        "sound": all(overlap >= _AGREEING for overlap in indexed.values()) if indexed else None,
        "vectors": shards.vectors,
        "sparse_vectors": shards.sparse,
    }


class Survey(Struct):
    """What one shard shows by itself.

    Attributes:
        values: counts, digests, indexes.
        ranked: its points that may be asked about.
    """

    values: Mapping[str, Any]
    ranked: Choice


def survey(shards: Shards, shard: int, seed: int) -> Survey:
    """Lists a shard's points; what was found before for this seed is taken as it is."""
    if (shard, seed) not in shards.surveys:
        shards.surveys[shard, seed] = _surveyed(shards, shard, seed)
    found: Survey = shards.surveys[shard, seed]
    return found


def surveyed(shards: Shards, shard: int, seed: int) -> None:
    """Makes the survey of a shard, for later."""
    survey(shards, shard, seed)


def _surveyed(shards: Shards, shard: int, seed: int) -> Survey:
    digest, sample = IdDigest(), Choice(seed, max(SAMPLES, PROBES))
    for points in shards.ids(shard):
        digest.add_texts(points)
        sample.add_texts(points)
    counted = shards.count(shard, None)
    if counted != digest.count:
        raise DamagedError(f"shard {shard} counts {counted:,} points, and lists {digest.count:,}")
    payloads, vectors = _sampled(shards, shard, sample.chosen[:SAMPLES], seed)
    about = shards.about(shard)
    values = {
        "points": digest.count,
        "ids": digest.hex(),
        "sampled payloads": payloads,
        "sampled vectors": vectors,
        "segments": about["segments"],
        "indexed_vectors": about["indexed_vectors"],
        "payload_schema": about["payload_schema"],
    }
    return Survey(values, sample)


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
        for points in shards.ids(shard, {"must": [{"has_vector": name}]}):
            choice.add_texts(points)
    return choice.chosen


def _probes(
    shards: Shards, name: str, points: Sequence[str], *, indexed: bool
) -> Iterator[tuple[str, list[str], float]]:
    """Each point with its exact neighbours, and how many of them the index finds, where there is one.

    A point is left out when none of its neighbours is clearly nearer than the rest: any answer would be right.
    """
    known = _vectors(shards, points, name)
    asked = [point for point in points if known.get(point) is not None]
    exact = _near(shards, name, known, asked, exact=True)
    found = _near(shards, name, known, asked, exact=False) if indexed else exact
    for point, all_near, hits in zip(asked, exact, found, strict=True):
        near = settled(all_near, NEIGHBOURS)
        if near or not all_near:
            others = {other for _, other in hits[:NEIGHBOURS]}
            yield point, near, len(others & set(near)) / len(near) if near else 1.0


def _vectors(shards: Shards, points: Sequence[str], name: str) -> dict[str, Any]:
    """The vector of each point, from the first shard that has the point."""
    found: dict[str, Any] = {}
    for shard in shards.opened:
        for record in shards.records(shard, [point for point in points if point not in found]):
            vector = record.vector.get(name) if isinstance(record.vector, dict) else record.vector
            found.setdefault(canonical_id(record.id), vector)
    return found


def _near(
    shards: Shards, name: str, known: Mapping[str, Any], asked: Sequence[str], *, exact: bool
) -> list[list[tuple[float, str]]]:
    """For each point its neighbours with their scores."""
    hits = shards.nearest_of_each([known[point] for point in asked], name, NEIGHBOURS + 2, exact=exact)
    return [
        [(score, other) for score, point, _ in found if (other := canonical_id(point.id)) != itself]
        for itself, found in zip(asked, hits, strict=True)
    ]


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
