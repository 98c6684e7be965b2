"""The facts of a collection: from opening what was captured, and from its record. A drill asks a restored copy the same."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoup.model.facts import Probe, Value
from recoup.model.structs import Struct
from recoup.sources._point_ids import MODULUS
from recoup.sources.qdrant._opened import DEFAULT, Engine, Limits, OpenShards
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._sampling import canonical_json

_LONGEST = 500  # characters of a value that people read; a longer one is told by its digest


class Described(Struct):
    """What the opened shards of a collection show.

    Attributes:
        points: shard number to its points, exactly.
        ids: shard number to the digest of their ids.
        values: facts: subject (`collection NAME`, `collection NAME shard N`) to named values.
        probes: neighbour questions with their exact answers over all shards.
        seed: of what was chosen at random.
        indexed: vector to the overlap of indexed with exact search, where something is indexed; for people.
        payload_schema: shard number to field name to the parameters of its index, as the engine tells them.
    """

    points: Mapping[int, int]
    ids: Mapping[int, str]
    values: Mapping[str, Mapping[str, Value]]
    probes: tuple[Probe, ...]
    seed: int
    indexed: Mapping[str, float]
    payload_schema: Mapping[int, Mapping[str, Any]]


def describe(
    collection: str, shards: Mapping[int, Path], seed: int, limits: Limits = DEFAULT, engine: Engine | None = None
) -> Described:
    """Opens unpacked shards and describes them; the engine writes into their folders.

    Args:
        collection: its name.
        shards: all of its shards, number to folder, as `unpack` makes them.
        seed: of what is chosen at random; the same seed asks the same questions.
        limits: for the engine.
        engine: one to use, with its own limits, where many collections are described; a new one by default.

    Raises:
        DamagedError: the engine cannot read a shard, or dies of it.
        LimitError: a limit was reached.
        UnreadableError: it was written by a server that is too old or too new.
    """
    with contextlib.ExitStack() as stack:
        engine = engine or stack.enter_context(Engine(limits))
        found = stack.enter_context(engine.opened(shards, f"collection {collection}"))
        return described(collection, found, seed)


def described(collection: str, found: OpenShards, seed: int) -> Described:
    """Describes shards that are open; raises as `describe` does."""
    told = found.described(seed)
    shards = {int(number): values for number, values in told["shards"].items()}
    values: dict[str, Mapping[str, Value]] = {subject(collection): _collection_values(shards, told)}
    values |= {f"{subject(collection)} shard {number}": _shard_values(one) for number, one in shards.items()}
    return Described(
        points={number: one["points"] for number, one in shards.items()},
        ids={number: one["ids"] for number, one in shards.items()},
        values=values,
        probes=tuple(
            Probe(collection, one["vector"], one["point"], tuple(one["neighbours"])) for one in told["probes"]
        ),
        seed=seed,
        indexed=told["indexed"],
        payload_schema={number: one["payload_schema"] for number, one in shards.items()},
    )


def recorded(record: CollectionRecord) -> dict[str, Value]:
    """Facts of the subject `collection NAME` that its record alone tells: what Qdrant leaves out of its snapshots."""
    shards = [f"{shard.id}" + (f" ({shard.key!r})" if shard.key is not None else "") for shard in record.shards]
    return {
        "aliases": readable(", ".join(record.aliases)),
        "config": digest(record.config),
        "payload schema": digest(record.payload_schema),
        "shards": readable(", ".join(shards)),
    }


def subject(collection: str) -> str:
    """What facts of a collection are about."""
    return f"collection {collection}"


def readable(text: str) -> str:
    """A text for people; a long one is cut, and told by its digest."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... (SHA-256 {hashlib.sha256(text.encode()).hexdigest()})"


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in its one spelling, hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _collection_values(shards: Mapping[int, Mapping[str, Any]], told: Mapping[str, Any]) -> dict[str, Value]:
    values: dict[str, Value] = {
        "points": sum(one["points"] for one in shards.values()),
        "ids": f"{sum(int(one['ids'], 16) for one in shards.values()) % MODULUS:064x}",
        "vectors": readable(_layout(told["vectors"], told["sparse_vectors"])),
    }
    for name, points in told["having"].items():
        values[f"points with the vector {name}" if name else "points with a vector"] = points
    if told["sound"] is not None:
        values["index finds neighbours"] = told["sound"]
    return values


def _shard_values(one: Mapping[str, Any]) -> dict[str, Value]:
    return {
        "points": one["points"],
        "ids": one["ids"],
        "sampled payloads": one["sampled payloads"],
        "sampled vectors": one["sampled vectors"],
        "payload indexes": readable(_indexes(one["payload_schema"])),
    }


def _indexes(schema: Mapping[str, Any]) -> str:
    """The payload indexes in words: `kind keyword {"is_tenant": true}, line integer`."""
    words = []
    for name, index in sorted(schema.items()):
        params = f" {json.dumps(index['params'], sort_keys=True)}" if index.get("params") else ""
        words.append(f"{name} {index['data_type']}{params}")
    return ", ".join(words)


def _layout(vectors: Mapping[str, Any], sparse: Mapping[str, Any]) -> str:
    words = []
    for name, one in sorted(vectors.items()):
        several = " multi" if one.get("multivector_config") else ""
        words.append(f"{name or '(unnamed)'}: {one['size']} {one['distance']}{several}")
    return ", ".join([*words, *(f"{name}: sparse" for name in sorted(sparse))])
