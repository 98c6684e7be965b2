"""In a cluster every shard comes from a node that has an active copy of it; what no node has is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qdrant_server.starting import Cluster
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep, points

Make = Callable[..., QdrantSource]


@pytest.fixture
def docs(qdrant_cluster: Cluster, clean_staging: Path) -> Cluster:
    first = qdrant_cluster.nodes[0]
    fill(first, "docs", 0, shards=3, replication_factor=2)
    fill(first, "single", 0, shards=3, replication_factor=1)
    for name in ("docs", "single"):
        first.ask("PUT", f"/collections/{name}/points", {"points": points(60)}, wait="true")
    return qdrant_cluster


@pytest.mark.parametrize("method", ["auto", "stored", "collection", "scroll"])
def test_every_shard_comes_from_a_node_that_has_it(docs: Cluster, source: Make, method: str) -> None:
    kept = keep(source(docs.nodes[0], nodes=docs.urls[1:], method=method))
    assert kept.serious == kept.doubts == []
    for name in ("docs", "single"):
        record = kept.records[name]
        assert [shard.id for shard in record.shards] == [0, 1, 2]
        assert sum(shard.points for shard in record.shards) == 60
        if method != "scroll":
            assert all(str(shard.peer) in shard.replicas for shard in record.shards)
    if method != "scroll":
        assert len({shard.node for shard in kept.records["single"].shards}) > 1


def test_a_node_that_is_down_is_replaced_by_its_replicas_and_what_it_alone_had_is_named(
    docs: Cluster, source: Make
) -> None:
    gone = docs.nodes[2]
    peer = gone.ask("GET", "/cluster")["peer_id"]
    alone = [one["shard_id"] for one in gone.ask("GET", "/collections/single/cluster")["local_shards"]]
    gone.kill()
    kept = keep(source(docs.nodes[0], nodes=docs.urls[1:], connect_timeout=1.0))
    assert sum(shard.points for shard in kept.records["docs"].shards) == 60
    lost = [line for line in kept.serious if "no reachable active copy" in line]
    assert [line.partition(": ")[0] for line in lost] == [f"collection single shard {number}" for number in alone]
    assert all(str(peer) in line or "cannot be reached" in line for line in lost)
    assert all(line.startswith("collection single") for line in kept.serious)


def test_a_copy_that_is_not_active_is_not_taken(docs: Cluster, source: Make) -> None:
    node = docs.nodes[1]
    held = [one["shard_id"] for one in node.ask("GET", "/collections/docs/cluster")["local_shards"]]
    node.faults.set(replica_states={f"docs/{number}": "Dead" for number in held})
    kept = keep(source(docs.nodes[0], nodes=docs.urls[1:], collections=["docs"]))
    assert kept.serious == kept.doubts == []
    assert node.url not in {shard.node for shard in kept.records["docs"].shards}


def test_a_node_that_nobody_listed_is_named_with_its_shards(docs: Cluster, source: Make) -> None:
    kept = keep(source(docs.nodes[0], collections=["single"]))
    assert kept.serious
    assert all("`nodes:`" in line for line in kept.serious)
