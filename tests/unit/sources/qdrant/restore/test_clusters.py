"""Restoring to a cluster: every copy on every node, and shards with keys under the numbers that they had."""

import dataclasses
from pathlib import Path

import pytest

from qdrant_server.starting import Cluster
from recoup.sources.qdrant._record import CollectionRecord, ShardRecord
from recoup.sources.qdrant.server import QdrantSource

from .conftest import Rig, Set, path_of, points

KEYS: tuple[str | int, ...] = ("eu", "us", 7)


class ClusterRig(Rig):
    """The first node of a cluster, with the others beside it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(cluster.nodes[0], folder)
        self.cluster = cluster

    def source(self, **options: object) -> QdrantSource:
        return super().source(nodes=tuple(self.cluster.urls[1:]), **options)

    def counts(self, name: str) -> list[int]:
        """Exact counts as each node answers."""
        asked = [node.ask("POST", f"{path_of(name)}/points/count", {"exact": True}) for node in self.cluster.nodes]
        return [int(answer["count"]) for answer in asked]

    def fill_with_keys(self, name: str, keys: tuple[str | int, ...] = KEYS) -> None:
        self.fill(name, shards=2, sharding_method="custom", replication_factor=1)
        for number, key in enumerate(keys):
            self.server.ask("PUT", f"{path_of(name)}/shards", {"shard_key": key})
            self.upsert(name, points(100 * number, 30), key)

    def shards(self, name: str) -> dict[int, str | int]:
        about = self.server.ask("GET", f"{path_of(name)}/cluster")
        listed = [*about["local_shards"], *about["remote_shards"]]
        return {shard["shard_id"]: shard["shard_key"] for shard in listed}


@pytest.fixture
def cluster(qdrant_cluster: Cluster, tmp_path: Path) -> ClusterRig:
    return ClusterRig(qdrant_cluster, tmp_path)


def test_every_copy_on_every_node_has_all_points(cluster: ClusterRig, tmp_path: Path) -> None:
    cluster.fill(aliases=["current"], shards=3, replication_factor=2)
    a_set = cluster.take(tmp_path / "set")
    cluster.restore(a_set)
    assert cluster.counts("current") == [60, 60, 60]
    (made,) = cluster.restored()
    for node in cluster.cluster.nodes:
        about = node.ask("GET", f"{path_of(made)}/cluster")
        assert {copy["state"] for copy in (*about["local_shards"], *about["remote_shards"])} == {"Active"}
    assert cluster.stays_equal_after_upserting_again(made)
    assert cluster.counts(made) == [60, 60, 60]
    assert cluster.leaves_nothing()


def test_each_nodes_own_snapshot_makes_a_whole_collection(cluster: ClusterRig, tmp_path: Path) -> None:
    cluster.fill(shards=3)
    a_set = cluster.take(tmp_path / "set", method="collection")
    cluster.server.ask("DELETE", path_of("docs"))
    cluster.restore(a_set)
    assert cluster.counts("docs") == [60, 60, 60]
    assert cluster.stays_equal_after_upserting_again("docs")


def test_shards_with_keys_get_the_numbers_that_they_had(cluster: ClusterRig, tmp_path: Path) -> None:
    cluster.fill_with_keys("docs")
    numbers = cluster.shards("docs")
    a_set = cluster.take(tmp_path / "set")
    cluster.server.ask("DELETE", path_of("docs"))
    cluster.restore(a_set)
    assert cluster.shards("docs") == numbers
    assert cluster.count("docs") == 90
    for number, key in enumerate(KEYS):
        assert cluster.stays_equal_after_upserting_again("docs", key, points(100 * number, 30))
    assert cluster.leaves_nothing()


def test_gaps_in_the_numbers_come_back_as_well(cluster: ClusterRig, tmp_path: Path) -> None:
    cluster.fill_with_keys("docs")
    cluster.server.ask("POST", f"{path_of('docs')}/shards/delete", {"shard_key": "us"})
    numbers = cluster.shards("docs")
    assert sorted(numbers) == [1, 2, 5, 6]
    a_set = cluster.take(tmp_path / "set")
    cluster.server.ask("DELETE", path_of("docs"))
    cluster.restore(a_set)
    assert cluster.shards("docs") == numbers
    assert cluster.count("docs") == 60
    for number, key in ((0, "eu"), (2, 7)):
        assert cluster.stays_equal_after_upserting_again("docs", key, points(100 * number, 30))


def test_numbers_that_cannot_be_made_again_send_the_points_one_by_one_to_their_keys(
    cluster: ClusterRig, tmp_path: Path
) -> None:
    cluster.fill_with_keys("docs")
    a_set = cluster.take(tmp_path / "set")
    mixed: dict[int, str | int] = {1: "eu", 2: "us", 3: "us", 4: "eu", 5: 7, 6: 7}
    kept = {record.id: record for record in a_set.record("docs").shards}
    of_key: dict[str | int, list[ShardRecord]] = {
        "eu": [kept[1], kept[2]],
        "us": [kept[3], kept[4]],
        7: [kept[5], kept[6]],
    }

    def renumbered(record: CollectionRecord) -> CollectionRecord:
        shards = [dataclasses.replace(of_key[key].pop(), id=number, key=key) for number, key in mixed.items()]
        return dataclasses.replace(record, shards=tuple(shards))

    a_set.change("docs", renumbered)
    cluster.server.ask("DELETE", path_of("docs"))
    cluster.restore(a_set)
    assert cluster.count("docs") == 90
    for number, key in enumerate(KEYS):
        assert cluster.stays_equal_after_upserting_again("docs", key, points(100 * number, 30))


def test_a_node_that_is_away_is_told_and_the_others_get_everything(cluster: ClusterRig, tmp_path: Path) -> None:
    cluster.fill(aliases=["current"], shards=2, replication_factor=3)
    a_set: Set = cluster.take(tmp_path / "set")
    gone = cluster.cluster.nodes[2]
    gone.kill()
    try:
        cluster.restore(a_set, timeout=60)
        assert cluster.events("node_unreachable")
        assert cluster.count("current") == 60
        assert cluster.aliases() == {"current": cluster.restored()[0]}
    finally:
        gone.kill()
        gone.start()
    assert cluster.count("docs") == 60
