"""What is sent in a replay where the recording says only how long it was: points, and snapshots whole and damaged."""

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import zstandard

from qdrant_server.asking import ask
from qdrant_server.recordings import DATA
from qdrant_server.surgery import cut_after, cut_before, find, flipped, members, place_in, without

if TYPE_CHECKING:
    from qdrant_server.playing import Playing

Substitute = Callable[["Playing"], Any]

_EMPTY_0 = "0/segments/8cf237db-d767-4359-9fd5-58feb537583b.tar"
_BIG_0 = "0/segments/4232aefd-df7f-447a-a229-f7ba39156b8e.tar"
_FIRST_1 = "1/segments/1c44a09c-3d45-41c5-b0d6-ab9e40896900.tar"
_BIG_1 = "1/segments/e8ff163c-99aa-40ff-9ab2-71ac3663efcd.tar"


@cache
def snapshot(name: str) -> bytes:
    """A real snapshot of `tests/data/qdrant/snapshots`."""
    with (
        (DATA / "snapshots" / f"{name}.snapshot.zst").open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as data,
    ):
        return bytes(data.read())


@cache
def points(*shards: str) -> tuple[dict[str, Any], ...]:
    """The points of real shard snapshots, as one upserts them, in the order of their ids."""
    from qdrant_edge import EdgeShard, ScrollRequest

    found: list[dict[str, Any]] = []
    for name in shards:
        with TemporaryDirectory() as folder:
            file = Path(folder, "snapshot")
            file.write_bytes(snapshot(name))
            EdgeShard.unpack_snapshot(str(file), f"{folder}/shard")
            shard = EdgeShard.load(f"{folder}/shard")
            page, _ = shard.scroll(ScrollRequest(limit=10_000, with_payload=True, with_vector=True))
            found += [{"id": _id(each.id), "vector": _vector(each.vector), "payload": each.payload} for each in page]
            shard.close()
    return tuple(sorted(found, key=lambda point: (str(type(point["id"])), point["id"])))


def _id(value: object) -> int | str:
    return value if isinstance(value, int) else str(value)


def _vector(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _vector(vector) for name, vector in value.items()}
    return {"indices": value.indices, "values": value.values} if hasattr(value, "indices") else value


def _docs() -> tuple[dict[str, Any], ...]:
    return points("docs-shard0-stored", "docs-shard1-stored")


def _batch(first: int, last: int) -> Substitute:
    return lambda _: {"points": list(_docs()[first:last])}


def _new_points(first: int, last: int) -> Substitute:
    """Points of the collection `docs` under other ids."""
    return lambda _: {"points": [{**_docs()[number], "id": first + number} for number in range(last - first)]}


def _query(**more: object) -> Substitute:
    return lambda _: {"query": _docs()[5]["vector"], "limit": 5, "with_payload": ["name"], **more}


def _manifest(recording: str, number: int) -> Substitute:
    return lambda playing: json.loads(playing.answers[recording, number].content)["result"]


def _whole(name: str) -> Substitute:
    return lambda _: snapshot(name)


def _changed(change: Callable[[bytes], bytes]) -> Substitute:
    return lambda _: change(snapshot("docs-collection"))


def _without(*names: str) -> Substitute:
    """Without the members of these names, or whose names begin or end so."""
    return _changed(
        lambda data: without(
            data, lambda member: any(member.name.startswith(name) or member.name.endswith(name) for name in names)
        )
    )


def _flipped(file: str) -> Substitute:
    """Two bytes of a file of shard 0's big segment turned."""
    return _changed(lambda data: flipped(data, place_in(data, _BIG_0, file, 0.5), place_in(data, _BIG_0, file, 0.6)))


def _broken(data: bytes, segment: str) -> bytes:
    """A segment's tar with a bit turned in a header in its middle."""
    outer = next(member for member in members(data) if member.name == segment)
    inner = list(members(data[outer.content : outer.content + outer.size]))
    return flipped(data, outer.content + inner[len(inner) // 2].start + 1)


def _wal(data: bytes) -> int:
    member = find(data, "0/wal/open-1")
    return member.content + member.size // 2


def _received(recording: str, number: int) -> Substitute:
    """What the server gave at an earlier exchange."""
    return lambda playing: playing.answers[recording, number].content


def _streamed(shard: int) -> Substitute:
    """A shard of the collection `c`, streamed now."""

    def stream(playing: "Playing") -> bytes:
        return ask(playing.nodes[0].url, "GET", f"/collections/c/shards/{shard}/snapshot", {}, None).content

    return stream


_DOCS = _whole("docs-collection")

_SINGLE: dict[int, Substitute] = {
    **{14 + batch: _batch(200 * batch, 200 * batch + 200) for batch in range(8)},
    24: lambda _: {"points": list(points("hybrid-shard0-streamed"))},
    41: _query(),
    42: _query(params={"exact": True}),
    89: _manifest("single-node", 87),
    90: _new_points(1600, 1616),
    93: _manifest("single-node", 87),
    **dict.fromkeys((98, 107, 109, 110, 114, 118, 137, 140, 142, 146), _DOCS),
    **dict.fromkeys((144, 145), lambda _: b"any"),
    122: _changed(lambda data: data[: len(data) // 2]),
    125: lambda _: random.Random(0).randbytes(10_000),
    127: lambda _: b"",
    128: _changed(lambda data: cut_before(data, _FIRST_1)),
    131: _without(_EMPTY_0),
    134: _changed(lambda data: _broken(data, _BIG_0)),
    148: _whole("docs-shard0-stored"),
    165: _whole("docs-shard0-streamed"),
    166: _whole("docs-shard1-streamed"),
    170: _whole("docs-shard1-streamed"),
    172: _whole("docs-shard0-partial-full"),
    173: _whole("docs-shard0-partial-full"),
    175: _whole("docs-shard0-partial-delta"),
}

_AUTH: dict[int, Substitute] = {number: _received("auth", 4) for number in range(30, 291, 26)}

_CUSTOM: dict[int, Substitute] = {
    **{number: _streamed(shard) for number, shard in zip(range(15, 21), (3, 4, 5, 6, 1, 2), strict=True)},
    **{number: _streamed(shard) for number, shard in zip(range(44, 50), (1, 2, 3, 4, 5, 6), strict=True)},
}

_DAMAGED: dict[int, Substitute] = {
    0: _DOCS,
    5: _without("1/"),
    6: _without(_BIG_0),
    11: _without(_BIG_0, "wal/open-1", "wal/open-2", "wal/first-index"),
    12: _without("wal/open-1", "wal/open-2", "wal/first-index"),
    13: _without("shard_config.json"),
    14: _without("replica_state.json"),
    15: _without("payload_index.json"),
    20: _without("version.info"),
    25: _without("shard_key_mapping.json"),
    30: _changed(lambda data: cut_before(data, "config.json")),
    31: _changed(lambda data: cut_after(data, "config.json")),
    36: _changed(lambda data: data[:-1024]),
    41: _flipped("vector_storage/matrix.dat"),
    46: _flipped("payload_storage/page_0.dat"),
    51: _flipped("id_tracker.mappings"),
    56: _flipped("vector_index/links_compressed.bin"),
    61: _changed(lambda data: flipped(data, _wal(data))),
    69: _DOCS,
    73: _batch(0, 100),
    74: _changed(lambda data: _broken(data, _BIG_1)),
    78: _without("1/"),
}

_CLUSTER: dict[int, Substitute] = {
    **{3 + batch: _batch(300 * batch, 300 * batch + 300) for batch in range(3)},
    18: _received("cluster", 11),
    63: _received("cluster", 53),
    91: _received("cluster", 82),
    27: _received("cluster", 55),
    28: _received("cluster", 14),
    68: _received("cluster", 13),
    41: _received("cluster", 40),
    75: _received("cluster", 74),
    102: _received("cluster", 101),
}

_FULL: dict[int, Substitute] = {7: _DOCS, 8: lambda _: random.Random(1).randbytes(40_000_000)}

SUBSTITUTES: dict[tuple[str, int], Substitute] = {
    (recording, number): substitute
    for recording, table in (
        ("single-node", _SINGLE),
        ("auth", _AUTH),
        ("custom-sharding", _CUSTOM),
        ("damaged-snapshots", _DAMAGED),
        ("cluster", _CLUSTER),
        ("disk-full", _FULL),
    )
    for number, substitute in table.items()
}
"""By recording and number: what to send there."""
