"""A file of points becomes shards that the engine opens."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from recoup.errors import DamagedError
from recoup.sources.qdrant._points_file import Header, Point, PointsWriter
from recoup.sources.qdrant._points_shard import build

CONFIG = {
    "params": {
        "vectors": {
            "dense": {"size": 3, "distance": "Euclid"},
            "multi": {"size": 2, "distance": "Cosine", "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {"words": {"modifier": "idf"}},
    }
}
SCHEMA = {
    "kind": {"data_type": "keyword", "params": {"type": "keyword", "is_tenant": True}},
    "n": {"data_type": "integer"},
    "text": {"data_type": "text", "params": {"type": "text", "tokenizer": "word", "lowercase": True}},
}


def file_of(path: Path, points: Iterable[Point], config: Mapping[str, Any] = CONFIG) -> Path:
    with path.open("wb") as file:
        writer = PointsWriter(file, Header("docs", "1.18.3", config, SCHEMA))
        for point in points:
            writer.add(point)
        writer.finish()
    return path


def point(number: int) -> Point:
    vectors = {
        "dense": [float(number), 0.0, 1.0],
        "multi": [[1.0, 0.0], [0.0, 1.0]],
        "words": {"indices": [number], "values": [1.5]},
    }
    return {"id": number, "vector": vectors, "payload": {"n": number, "kind": "even" if number % 2 == 0 else "odd"}}


def test_its_points_are_counted_and_found_by_the_engine(tmp_path: Path) -> None:
    answer = build(str(file_of(tmp_path / "points", map(point, range(600)))), str(tmp_path / "shards"))
    assert answer["shards"] == [{"key": None, "points": 600}]
    assert (answer["collection"], answer["server"], answer["config"]) == ("docs", "1.18.3", CONFIG)
    shard = edge.EdgeShard.load(str(tmp_path / "shards/0"))
    even = edge.Filter(must=[edge.FieldCondition("kind", match=edge.MatchValue("even"))])
    assert shard.count(edge.CountRequest(exact=True)) == 600
    assert shard.count(edge.CountRequest(exact=True, filter=even)) == 300
    assert set(shard.info().payload_schema) == set(SCHEMA)
    (found,) = shard.retrieve([7], True, True)
    assert isinstance(found.vector, dict)
    assert found.vector["dense"] == [7.0, 0.0, 1.0]
    shard.close()


def test_each_shard_key_has_a_shard_of_its_own_since_ids_are_unique_within_one_only(tmp_path: Path) -> None:
    points = [{**point(n), "shard_key": key} for key in ("1", 1) for n in range(10)]
    answer = build(str(file_of(tmp_path / "points", points)), str(tmp_path / "shards"))
    assert answer["shards"] == [{"key": "1", "points": 10}, {"key": 1, "points": 10}]


def test_no_points_make_an_empty_shard(tmp_path: Path) -> None:
    answer = build(str(file_of(tmp_path / "points", [])), str(tmp_path / "shards"))
    assert answer["shards"] == [{"key": None, "points": 0}]
    shard = edge.EdgeShard.load(str(tmp_path / "shards/0"))
    assert shard.count(edge.CountRequest(exact=True)) == 0
    shard.close()


@pytest.mark.parametrize(
    "wrong",
    [{"dense": [1.0]}, {"other": [1.0, 2.0, 3.0]}, {"words": [1.0]}, {"dense": {"indices": [1], "values": [1.0]}}],
    ids=["size", "name", "dense for sparse", "sparse for dense"],
)
def test_points_that_do_not_fit_their_own_configuration_are_damage(wrong: dict[str, Any], tmp_path: Path) -> None:
    path = file_of(tmp_path / "points", [{"id": 1, "vector": wrong, "payload": {}}])
    with pytest.raises(DamagedError, match="refuses"):
        build(str(path), str(tmp_path / "shards"))


@pytest.mark.parametrize(
    "config",
    [{"params": {"vectors": {"size": 3, "distance": "Far"}}}, {"params": {"vectors": {"a": 5}}}, {"params": []}],
    ids=["distance", "no object", "params"],
)
def test_a_header_that_makes_no_sense_is_damage(config: dict[str, Any], tmp_path: Path) -> None:
    path = file_of(tmp_path / "points", [{"id": 1, "vector": [1.0, 2.0, 3.0]}], config)
    with pytest.raises(DamagedError):
        build(str(path), str(tmp_path / "shards"))
