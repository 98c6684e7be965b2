"""Records of collections as a capture would make them, for tests of the plan."""

from datetime import UTC, datetime
from typing import Any

from recoup.sources.qdrant._record import CollectionRecord, Method, ShardKey, ShardRecord, shard_part

WHEN = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)


def config(size: int = 4, *, shards: int = 1, custom: bool = False, **params: Any) -> dict[str, Any]:
    """A collection's configuration as a server tells it."""
    method = {"sharding_method": "custom"} if custom else {}
    return {
        "params": {"vectors": {"size": size, "distance": "Dot"}, "shard_number": shards, **method, **params},
        "hnsw_config": {"m": 16, "ef_construct": 100},
        "optimizer_config": {"indexing_threshold": 10000, "max_segment_size": None},
        "quantization_config": None,
    }


def record(
    name: str = "docs",
    *,
    shards: dict[int, ShardKey | None] | None = None,
    method: Method = "stored",
    server: str = "1.18.3",
    aliases: tuple[str, ...] = (),
    settings: dict[str, Any] | None = None,
) -> CollectionRecord:
    """A record without points."""
    shards = {0: None} if shards is None else shards
    custom = any(key is not None for key in shards.values())
    keys: list[ShardKey] = []
    for number in sorted(shards):
        key = shards[number]
        if key is not None and key not in keys:
            keys.append(key)
    return CollectionRecord(
        name=name,
        method=method,
        server=server,
        config=settings or config(shards=1 if custom else len(shards), custom=custom),
        payload_schema={},
        aliases=aliases,
        shards=tuple(ShardRecord(n, WHEN, WHEN, 0, "00", shard_part(name, n), key=k) for n, k in shards.items()),
        shard_keys=tuple(keys),
    )
