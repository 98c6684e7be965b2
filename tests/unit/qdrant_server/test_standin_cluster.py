"""Stand-ins that form a cluster keep copies of shards, ask each other, and do without one of them."""

import contextlib
import time
from collections.abc import Sequence
from hashlib import sha256

import pytest

from qdrant_server.starting import Cluster, Started


def make(cluster: Cluster, name: str, copies: int, points: int = 300) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 3, "replication_factor": copies}
    first = cluster.nodes[0]
    first.ask("PUT", f"/collections/{name}", body)
    found = [{"id": number, "vector": [number, 1, 2, 3], "payload": {"n": number}} for number in range(points)]
    first.ask("PUT", f"/collections/{name}/points", {"points": found}, wait="true")


def count(node: Started, name: str) -> int:
    return int(node.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


def local(node: Started, name: str) -> dict[int, int]:
    shards = node.ask("GET", f"/collections/{name}/cluster")["local_shards"]
    return {shard["shard_id"]: shard["points_count"] for shard in shards}


def upload(node: Started, path: str, data: bytes) -> None:
    parameters = {"priority": "snapshot", "checksum": sha256(data).hexdigest()}
    answer = node.http.post(f"/collections/{path}", params=parameters, files={"snapshot": ("x.snapshot", data)})
    assert answer.status_code == 200, answer.text


def wait_for_all_active(cluster: Cluster, name: str) -> None:
    latest = time.monotonic() + 30
    while True:
        told = cluster.nodes[0].ask("GET", f"/collections/{name}/cluster")
        if {shard["state"] for shard in told["local_shards"] + told["remote_shards"]} == {"Active"}:
            return
        assert time.monotonic() < latest
        time.sleep(0.1)


def until_all_count(nodes: Sequence[Started], name: str, expected: int) -> None:
    """Waits until the nodes have told each other; before, one may even say that it does not know the shard."""
    latest = time.monotonic() + 30
    found: list[int] = []
    while found != [expected] * len(nodes):
        assert time.monotonic() < latest, found
        with contextlib.suppress(AssertionError):
            found = [count(node, name) for node in nodes]


def test_every_node_answers_for_all_shards_and_has_its_own(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "docs", copies=2)
    assert [count(node, "docs") for node in qdrant_cluster.nodes] == [300, 300, 300]
    held = [local(node, "docs") for node in qdrant_cluster.nodes]
    assert [len(shards) for shards in held] == [2, 2, 2]
    assert sum(sum(shards.values()) for shards in held) == 600


def test_a_shard_is_streamed_by_its_nodes_alone(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "docs", copies=1)
    for node in qdrant_cluster.nodes:
        own = local(node, "docs")
        codes = [node.http.get(f"/collections/docs/shards/{shard}/snapshot").status_code for shard in range(3)]
        assert codes == [200 if shard in own else 400 for shard in range(3)]


def test_a_snapshot_is_listed_by_the_node_that_made_it(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "docs", copies=2)
    made = qdrant_cluster.nodes[1].ask("POST", "/collections/docs/snapshots")["name"]
    listed = [
        [entry["name"] for entry in node.ask("GET", "/collections/docs/snapshots")] for node in qdrant_cluster.nodes
    ]
    assert listed == [[], [made], []]


def test_one_nodes_snapshot_restores_its_part_and_all_nodes_snapshots_the_whole(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "docs", copies=1)
    data = []
    for node in qdrant_cluster.nodes:
        name = node.ask("POST", "/collections/docs/snapshots")["name"]
        data.append(node.http.get(f"/collections/docs/snapshots/{name}").content)
    part = sum(local(qdrant_cluster.nodes[0], "docs").values())
    upload(qdrant_cluster.nodes[0], "copy/snapshots/upload", data[0])
    wait_for_all_active(qdrant_cluster, "copy")
    until_all_count(qdrant_cluster.nodes[1:2], "copy", part)
    for node, own in zip(qdrant_cluster.nodes[1:], data[1:], strict=True):
        upload(node, "copy/snapshots/upload", own)
    wait_for_all_active(qdrant_cluster, "copy")
    until_all_count(qdrant_cluster.nodes, "copy", 300)


def test_a_shard_that_is_restored_once_reaches_its_other_copies(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "docs", copies=2)
    make(qdrant_cluster, "copy", copies=2, points=1)
    for shard in range(3):
        source = next(node for node in qdrant_cluster.nodes if shard in local(node, "docs"))
        target = next(node for node in qdrant_cluster.nodes if shard in local(node, "copy"))
        data = source.http.get(f"/collections/docs/shards/{shard}/snapshot").content
        upload(target, f"copy/shards/{shard}/snapshots/upload", data)
    wait_for_all_active(qdrant_cluster, "copy")
    held = [local(node, "copy") for node in qdrant_cluster.nodes]
    assert sum(sum(shards.values()) for shards in held) == 600
    assert [count(node, "copy") for node in qdrant_cluster.nodes] == [300, 300, 300]


@pytest.mark.parametrize(("copies", "survives"), [(2, True), (1, False)])
def test_without_a_node_replicated_shards_answer_and_others_do_not(
    qdrant_cluster: Cluster, copies: int, survives: bool
) -> None:
    make(qdrant_cluster, "docs", copies=copies)
    qdrant_cluster.nodes[2].kill()
    answer = qdrant_cluster.nodes[0].http.post("/collections/docs/points/count", json={"exact": True})
    assert (answer.status_code == 200) == survives
    assert len(qdrant_cluster.nodes[0].ask("GET", "/cluster")["peers"]) == 3


def test_a_node_that_comes_back_knows_what_was_decided_without_it(qdrant_cluster: Cluster) -> None:
    make(qdrant_cluster, "old", copies=2)
    qdrant_cluster.nodes[2].kill()
    qdrant_cluster.nodes[0].ask("DELETE", "/collections/old")
    make(qdrant_cluster, "new", copies=2)
    alias = {"create_alias": {"collection_name": "new", "alias_name": "current"}}
    qdrant_cluster.nodes[0].ask("POST", "/collections/aliases", {"actions": [alias]})
    qdrant_cluster.nodes[2].start()
    assert qdrant_cluster.nodes[2].collections() == ["new"]
    wait_for_all_active(qdrant_cluster, "new")
    assert count(qdrant_cluster.nodes[2], "current") == 300
    assert sum(sum(local(node, "new").values()) for node in qdrant_cluster.nodes) == 600
