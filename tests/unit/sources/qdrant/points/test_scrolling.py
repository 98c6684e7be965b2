"""All points of a running collection, by gRPC and by REST."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.starting import Started
from recoup.errors import InterruptedRunError
from recoup.sources.qdrant import _scrolling
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ForbiddenError, MissingError, UnreachableError
from recoup.sources.qdrant._points_file import Header, Point, PointsReader
from recoup.sources.qdrant._scrolling import GrpcReader, Page, Reader, RestReader, opened, scrolled, write_points

VECTORS = {
    "vectors": {
        "dense": {"size": 4, "distance": "Dot"},
        "multi": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
    },
    "sparse_vectors": {"words": {}},
}
UUID = "936da01f-9abd-4d9d-80c7-02af85c822a8"


def points(count: int) -> list[Point]:
    return [
        {
            "id": n or UUID,
            "vector": {
                "dense": [n / 7, -0.1, 1e-7, 3.5],
                "multi": [[1.0, n + 0.5], [0.25, -2.0]],
                "words": {"indices": [1, 70_000 + n], "values": [0.5, n / 3]},
            },
            "payload": {"n": n, "half": n / 2, "none": None, "deep": {"a": [1, "ü", True, {"b": 1.0}]}},
        }
        for n in range(count)
    ]


@pytest.fixture
def docs(qdrant: Qdrant) -> Qdrant:
    qdrant.ask("PUT", "/collections/docs", {**VECTORS, "shard_number": 2})
    qdrant.ask("PUT", "/collections/docs/points", {"points": points(300)}, wait="true")
    return qdrant


@pytest.fixture
def server(docs: Qdrant) -> Iterator[Server]:
    with Server(docs.url, docs.api_key) as server:
        yield server


def exact(point: Point) -> str:
    """A point as the 32-bit numbers that it has, in a form that compares."""
    from array import array

    def rounded(value: Any) -> Any:
        if isinstance(value, list):
            return (
                [rounded(one) for one in value] if value and isinstance(value[0], list) else array("f", value).tolist()
            )
        return {"indices": value["indices"], "values": array("f", value["values"]).tolist()}

    vectors = {name: rounded(one) for name, one in point["vector"].items()}
    return json.dumps({**point, "vector": vectors}, sort_keys=True)


def sorted_points(found: list[Point]) -> list[str]:
    return sorted(map(exact, found))


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_every_point_comes_with_the_very_numbers_that_it_has(
    way: str, docs: Qdrant, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scrolling, "_FIRST_PAGE", 7)
    with opened(server, "docs", api_key=docs.api_key, grpc_port=docs.grpc_port if way == "grpc" else None) as reader:
        assert isinstance(reader, GrpcReader if way == "grpc" else RestReader)
        found = list(scrolled(reader))
    assert sorted_points(found) == sorted_points(points(300))


def test_rest_is_taken_where_grpc_does_not_answer(docs: Qdrant, server: Server) -> None:
    with opened(server, "docs", grpc_port=1) as reader:
        assert isinstance(reader, RestReader)
        assert len(list(scrolled(reader))) == 300


def test_a_scrolled_collection_becomes_a_file_of_points(docs: Qdrant, server: Server, tmp_path: Path) -> None:
    header = Header("docs", server.version, docs.ask("GET", "/collections/docs")["config"])
    with opened(server, "docs", grpc_port=docs.grpc_port) as reader:
        tally = write_points(tmp_path / "points.jsonl.zst", header, scrolled(reader))
    assert tally.points == 300
    assert (tmp_path / "points.jsonl.zst").stat().st_mode & 0o777 == 0o600
    with (tmp_path / "points.jsonl.zst").open("rb") as file:
        assert sorted_points(list(PointsReader(file, "points"))) == sorted_points(points(300))


def test_nothing_stays_of_a_file_whose_points_stop_coming(tmp_path: Path) -> None:
    class Breaking:
        def page(self, offset: object, limit: int, key: object) -> Page:
            if offset is not None:
                raise UnreachableError("gone")
            return Page([{"id": 1, "vector": [1.0], "payload": {}}], 2, 100)

    with pytest.raises(UnreachableError):
        write_points(tmp_path / "points.jsonl.zst", Header("docs"), scrolled(Breaking()))
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_asked_for_again_when_the_connection_breaks() -> None:
    asked: list[object] = []

    class Stumbling:
        def page(self, offset: Any, limit: int, key: object) -> Page:
            asked.append(offset)
            if len(asked) % 3:
                raise UnreachableError("gone for a moment")
            following = None if offset == 2 else (offset or 0) + 1
            return Page([{"id": offset or 0}], following, 10)

    assert [point["id"] for point in scrolled(Stumbling())] == [0, 1, 2]
    assert asked == [None, None, None, 1, 1, 1, 2, 2, 2]


def test_pages_of_large_points_are_short_and_of_small_ones_long(docs: Qdrant, server: Server) -> None:
    limits = []

    class Watching:
        def __init__(self, reader: Reader, size: int) -> None:
            self.reader, self.size = reader, size

        def page(self, offset: Any, limit: int, key: Any) -> Page:
            limits.append(limit)
            page = self.reader.page(offset, min(limit, 100), key)
            return Page(page.points, page.following, self.size * len(page.points))

    assert len(list(scrolled(Watching(RestReader(server, "docs"), 100)))) == 300
    assert limits[1] > 1000
    limits.clear()
    assert len(list(scrolled(Watching(RestReader(server, "docs"), 2 << 20)))) == 300
    assert set(limits[1:]) == {2}


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_a_missing_collection_and_a_missing_key_are_told(way: str, qdrant_with_keys: Started) -> None:
    served = qdrant_with_keys

    def first(key: str, name: str) -> Any:
        with Server(served.url, key) as server:
            if way == "rest":
                return RestReader(server, name).page(None, 1, None)
            with closing(GrpcReader(served.url, name, key, served.grpc_port)) as reader:
                return reader.page(None, 1, None)

    with pytest.raises(MissingError):
        first(served.api_key, "nope")
    for key in ("", "wrong-key-of-nobody"):
        with pytest.raises(ForbiddenError) as told:
            first(key, "nope")
        assert "wrong-key-of-nobody" not in f"{told.value.message}{told.value.hint}"
    served.ask("PUT", "/collections/docs", VECTORS)
    assert first(served.read_only_key, "docs").points == []


def test_a_reader_that_is_stopped_says_that_it_was_interrupted(docs: Qdrant) -> None:
    with closing(GrpcReader(docs.url, "docs", "", docs.grpc_port)) as reader:
        assert reader.page(None, 1, None).points
        reader.kill()
        with pytest.raises(InterruptedRunError):
            reader.page(None, 1, None)


@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_custom_shard_keys_are_read_one_after_another(way: str, qdrant_cluster: Any) -> None:
    node = qdrant_cluster.nodes[0]
    body = {"vectors": {"size": 2, "distance": "Dot"}, "sharding_method": "custom"}
    node.ask("PUT", "/collections/tenants", body)
    for key in ("eu", 7):
        node.ask("PUT", "/collections/tenants/shards", {"shard_key": key})
        same_ids = [{"id": n, "vector": [1.0, float(n)], "payload": {"key": key}} for n in range(20)]
        node.ask("PUT", "/collections/tenants/points", {"points": same_ids, "shard_key": key}, wait="true")
    with (
        Server(node.url) as server,
        opened(server, "tenants", grpc_port=node.grpc_port if way == "grpc" else None) as reader,
    ):
        found = list(scrolled(reader, ["eu", 7]))
    assert len(found) == 40
    assert all(point["shard_key"] == point["payload"]["key"] for point in found)
