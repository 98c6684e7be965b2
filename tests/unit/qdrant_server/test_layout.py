"""Snapshots of the tests' server have the layout of real ones: the same members in the same order."""

import re
from itertools import groupby

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.substitutes import snapshot
from qdrant_server.surgery import END, members

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shape(data: bytes) -> list[str]:
    """Names of the members in their order, without what is of this snapshot: segments' ids, numbers of the WAL's files.

    What is repeated for each segment, for each of its files and for each WAL file stands once. Clocks and the WAL's
    first index are there only after a while.
    """
    names = (_UUID.sub("<uuid>", member.name) for member in members(data))
    names = (re.sub(r"(/files/).*", r"\1...", name) for name in names)
    names = (re.sub(r"(open|closed)-\d+$", r"\1-N", name) for name in names)
    return [name for name, _ in groupby(names) if not name.endswith(("newest_clocks.json", "first-index"))]


@pytest.fixture
def docs(qdrant: Qdrant) -> Qdrant:
    qdrant.ask("PUT", "/collections/docs", {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2})
    points = [{"id": number, "vector": [number, 1, 1, 1], "payload": {"n": number}} for number in range(50)]
    qdrant.ask("PUT", "/collections/docs/points", {"points": points}, wait="true")
    return qdrant


def test_a_collection_snapshot_is_laid_out_as_a_real_one(docs: Qdrant) -> None:
    name = docs.ask("POST", "/collections/docs/snapshots", wait="true")["name"]
    data = docs.http.get(f"/collections/docs/snapshots/{name}").content
    assert shape(data) == shape(snapshot("docs-collection"))
    assert data.endswith(END)


def test_a_stored_shard_is_laid_out_as_a_real_one(docs: Qdrant) -> None:
    name = docs.ask("POST", "/collections/docs/shards/1/snapshots", wait="true")["name"]
    data = docs.http.get(f"/collections/docs/shards/1/snapshots/{name}").content
    assert shape(data) == shape(snapshot("docs-shard1-stored"))
    assert data.endswith(END)


def test_a_streamed_shard_is_laid_out_as_a_real_one(docs: Qdrant) -> None:
    data = docs.http.get("/collections/docs/shards/1/snapshot").content
    assert shape(data) == shape(snapshot("docs-shard1-streamed"))
    assert data.endswith(END)


def test_a_full_partial_snapshot_is_laid_out_as_a_real_one(docs: Qdrant) -> None:
    data = docs.http.post("/collections/docs/shards/0/snapshot/partial/create", json={}).content
    assert shape(data) == shape(snapshot("docs-shard0-partial-full"))
    assert [member.name for member in members(data) if member.name.endswith("files/segment_manifest.json")]
