"""What a set keeps of a collection beside its snapshots: everything that Qdrant leaves out of them, and what has to be in them.

Qdrant's snapshots lose aliases, do not say which server made them, and can lack a segment without anybody noticing. So each
collection has a part of its own, `collection.json`, which the manifest pins by its SHA-256. `docs/format.md` describes it.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from recoup.errors import DamagedError, RefusedError
from recoup.model.facts import Probe
from recoup.model.names import shown
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
"""Version of `collection.json` that this Recoup writes; it reads this one and refuses higher ones."""

RECORD = "collection.json"
"""The record's own name inside the collection's folder."""

POINTS = "points.jsonl.zst"
"""The points of a collection that was read by scrolling, inside the collection's folder."""

Method = Literal["stream", "stored", "collection", "scroll"]
"""How a collection was captured: each shard streamed; each shard's snapshot stored on the server and downloaded; one snapshot of
the whole collection from each node; or the points read one by one."""

ShardKey = str | int
"""Qdrant's shard key: text or a number; the two are different keys."""

_LONGEST = 200  # bytes of a folder's name: file systems end at 255, and a suffix has to fit


class SegmentRecord(Struct):
    """One segment as it has to be in the shard's snapshot.

    Attributes:
        files: names of its files relative to the segment, with their length in bytes.
    """

    files: Mapping[str, int]


class IncrementRecord(Struct):
    """What the next capture of a shard can build on.

    Attributes:
        manifest: segment id to what the server said of its files' versions; none is higher than that of the file in the part.
        full: when the server last sent all of the shard (UTC).
        merges: how many partial snapshots were merged into that since; 0 where this is it.
    """

    manifest: Mapping[str, Any]
    full: datetime
    merges: int = 0


class ShardRecord(Struct):
    """One shard as it was captured.

    Attributes:
        id: the shard's number; ids of points are routed by it, so that a restore has to bring it back.
        key: its shard key; None without custom sharding.
        node: URL of the node it was taken from, without user, password and query.
        peer: that node's peer id; None where the server runs alone.
        replicas: peer id (text) to state (`Active`, ...) of all copies.
        first: when its freeze began (UTC): the snapshot shows a moment between `first` and `last`.
        last: when it ended.
        points: exact count, from opening what was captured; -1 where the engine could not open it. With `scroll` nobody knows
            which shard a point came from: all points of a shard key stand at its first shard.
        ids: order-independent digest of the point ids, as in the facts; that of none where the points are not known.
        part: name of the part that holds it; several shards share one with the methods `collection` and `scroll`.
        segments: segments that the part has to hold, by id; empty with `scroll`.
        increment: what the next capture can build on; None where none shall.
    """

    id: int
    first: datetime
    last: datetime
    points: int
    ids: str
    part: str
    key: ShardKey | None = None
    node: str = ""
    peer: int | None = None
    replicas: Mapping[str, str] = field(default_factory=dict)
    segments: Mapping[str, SegmentRecord] = field(default_factory=dict)
    increment: IncrementRecord | None = None


class CollectionRecord(Struct):
    """One collection as it was captured.

    Attributes:
        name: the collection's own name (never an alias).
        method: how its points were captured.
        server: version of the server, e.g. `1.18.3`.
        config: the collection's `config` as the server tells it (parameters, HNSW, optimizers, WAL, quantization, strict mode,
            metadata).
        payload_schema: field name to its index parameters as the server tells them, without the counts.
        aliases: names that lead to it, sorted.
        shard_keys: shard keys in the order of the lowest id of their shards, which is the order to create them in.
        shards: its shards, by id.
        probes: nearest-neighbour questions with their exact answers, as in the manifest's facts.
        seed: seed of the random choice of the probes; None without probes.
    """

    name: str
    method: Method
    server: str
    config: Mapping[str, Any]
    payload_schema: Mapping[str, Any]
    aliases: tuple[str, ...]
    shards: tuple[ShardRecord, ...]
    shard_keys: tuple[ShardKey, ...] = ()
    probes: tuple[Probe, ...] = ()
    seed: int | None = None
    format: Literal["recoup-qdrant-collection"] = "recoup-qdrant-collection"
    version: int = VERSION


def folder_of(collection: str) -> str:
    """The folder of a collection's parts inside its source: its name, percent-encoded where a file system could object.

    A name whose encoded form is too long for a file system is cut and gets a digest of the whole; the record has the name.
    """
    encoded = quote(collection, safe="")
    if encoded in (".", ".."):
        encoded = encoded.replace(".", "%2E")
    if len(encoded) <= _LONGEST:
        return encoded
    return f"{encoded[: _LONGEST - 17]}~{sha256(collection.encode()).hexdigest()[:16]}"


def collection_of(folder: str) -> str:
    """What `folder_of` made `folder` from, for people; a long name is cut."""
    return unquote(folder)


def shard_part(collection: str, shard: int) -> str:
    """Name of the part that holds one shard's snapshot."""
    return f"{folder_of(collection)}/shard-{shard}.snapshot"


def record_part(collection: str) -> str:
    """Name of the part that holds a collection's record."""
    return f"{folder_of(collection)}/{RECORD}"


@lru_cache(maxsize=1)
def _adapter() -> "TypeAdapter[CollectionRecord]":
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="ignore"))(CollectionRecord))


def schema() -> dict[str, Any]:
    """JSON schema of `collection.json`, as published."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}


def encode(record: CollectionRecord) -> bytes:
    """The record as UTF-8 JSON, indented, ending with a newline."""
    fields = _adapter().dump_python(record, mode="json")
    for shard in fields["shards"]:
        if shard["increment"] is None:
            del shard["increment"]
    document = {"format": fields.pop("format"), "version": fields.pop("version"), **fields}
    return (json.dumps(document, indent=1) + "\n").encode()


def decode(data: bytes, origin: str) -> CollectionRecord:
    """Reads a record that may be damaged or hostile.

    Args:
        data: the JSON.
        origin: what to call it in an error.

    Raises:
        DamagedError: it is no record, or cut short.
        RefusedError: its version is higher than this Recoup knows.
    """
    from pydantic import ValidationError

    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{shown(origin)} is not valid JSON (cut short or damaged): {error}") from None
    if not isinstance(document, dict) or document.get("format") != "recoup-qdrant-collection":
        raise DamagedError(f"{shown(origin)} is not the record of a Qdrant collection")
    if document.get("version") != VERSION:
        raise RefusedError(
            f"{shown(origin)} has format version {document.get('version')!r}; this Recoup reads version {VERSION}",
            "Use the Recoup that wrote it, or a newer one.",
        )
    try:
        return _adapter().validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise DamagedError(f"{shown(origin)} is damaged at {where}: {first['msg']}") from None
