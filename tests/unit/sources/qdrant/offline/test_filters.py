"""Qdrant's filters in their JSON form choose the same points here as on a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from recoup.errors import UsageError
from recoup.sources.qdrant._filter import filter_of
from recoup.sources.qdrant._opened import OpenShards, opened

UUID = "11111111-2222-3333-4444-555555555555"
PAYLOADS: dict[int | str, dict[str, Any]] = {
    1: {"kind": "page", "n": 1, "good": True, "tags": ["a", "b"], "where": {"lon": 13.4, "lat": 52.5}},
    2: {"kind": "page", "n": 2, "good": False, "tags": ["a"], "where": {"lon": 2.35, "lat": 48.85}},
    3: {"kind": "image", "n": 3.5, "text": "the quick brown fox", "at": "2026-11-01T08:00:00Z"},
    4: {"kind": "image", "n": None, "text": "a lazy dog", "at": "2026-11-05T08:00:00Z"},
    5: {"n": 5, "tags": [], "diet": [{"food": "leaves", "likes": False}, {"food": "meat", "likes": True}]},
    UUID: {"kind": "ünï", "diet": [{"food": "meat", "likes": False}], "deep": {"er": 7}},
}
BERLIN = {"lon": 13.3, "lat": 52.4}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenShards]:
    folder = tmp_path_factory.mktemp("filters") / "0"
    folder.mkdir()
    shard = edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={
                "one": edge.EdgeVectorParams(2, edge.Distance.Dot),
                "two": edge.EdgeVectorParams(2, edge.Distance.Dot),
            }
        ),
    )
    points = [
        edge.Point(point, {"one": [1.0, 0.0]} if point == 1 else {"one": [0.0, 1.0], "two": [1.0, 1.0]}, payload)
        for point, payload in PAYLOADS.items()
    ]
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()
    with opened({0: Path(folder)}) as shards:
        yield shards


def field(key: str, **condition: Any) -> dict[str, Any]:
    return {"must": [{"key": key, **condition}]}


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, [*PAYLOADS]),
        ({"must": []}, [*PAYLOADS]),
        (field("kind", match={"value": "page"}), [1, 2]),
        (field("kind", match={"value": "ünï"}), [UUID]),
        (field("n", match={"value": 2}), [2]),
        (field("good", match={"value": True}), [1]),
        (field("good", match={"value": False}), [2]),
        (field("deep.er", match={"value": 7}), [UUID]),
        (field("tags", match={"any": ["b", "c"]}), [1]),
        (field("n", match={"any": [1, 5]}), [1, 5]),
        (field("kind", match={"except": ["page"]}), [3, 4, UUID]),
        (field("text", match={"text": "brown"}), [3]),
        (field("n", range={"gt": 1, "lte": 3.5}), [2, 3]),
        (field("n", range={"gte": 5}), [5]),
        (field("at", range={"lt": "2026-11-02T00:00:00Z"}), [3]),
        (field("at", range={"gte": "2026-11-05T08:00:00Z", "lt": None}), [4]),
        (field("tags", values_count={"gte": 2}), [1]),
        (field("where", geo_radius={"center": BERLIN, "radius": 50_000.0}), [1]),
        (
            field(
                "where",
                geo_bounding_box={"top_left": {"lon": 0, "lat": 50}, "bottom_right": {"lon": 5, "lat": 45}},
            ),
            [2],
        ),
        (
            field(
                "where",
                geo_polygon={
                    "exterior": {
                        "points": [
                            {"lon": 0, "lat": 45},
                            {"lon": 5, "lat": 45},
                            {"lon": 5, "lat": 50},
                            {"lon": 0, "lat": 50},
                            {"lon": 0, "lat": 45},
                        ]
                    },
                    "interiors": [],
                },
            ),
            [2],
        ),
        ({"must": [{"is_empty": {"key": "tags"}}]}, [3, 4, 5, UUID]),
        ({"must": [{"is_null": {"key": "n"}}]}, [4]),
        (field("tags", is_empty=False), [1, 2]),
        ({"must": [{"has_id": [2, UUID, 99]}]}, [2, UUID]),
        ({"must": [{"has_vector": "two"}]}, [2, 3, 4, 5, UUID]),
        (
            {
                "must": [
                    {
                        "nested": {
                            "key": "diet",
                            "filter": {
                                "must": [
                                    {"key": "food", "match": {"value": "meat"}},
                                    {"key": "likes", "match": {"value": True}},
                                ]
                            },
                        }
                    }
                ]
            },
            [5],
        ),
        ({"must_not": [{"key": "kind", "match": {"value": "page"}}]}, [3, 4, 5, UUID]),
        ({"should": [{"key": "n", "match": {"value": 1}}, {"key": "n", "match": {"value": 5}}]}, [1, 5]),
        ({"must": {"key": "kind", "match": {"value": "page"}}}, [1, 2]),  # one condition without a list
        (
            {
                "min_should": {
                    "conditions": [
                        {"key": "kind", "match": {"value": "page"}},
                        {"key": "n", "range": {"gt": 1}},
                        {"key": "tags", "match": {"value": "a"}},
                    ],
                    "min_count": 3,
                }
            },
            [2],
        ),
        ({"must": [{"should": [{"has_id": [1]}, {"has_id": [3]}]}, {"key": "kind", "match": {"value": "image"}}]}, [3]),
    ],
)
def test_a_filter_chooses_the_points_that_it_says(found: OpenShards, given: dict[str, Any], ids: list[Any]) -> None:
    assert [point["id"] for point in found.scroll(given, with_payload=False, with_vectors=False)] == ids
    assert found.count(given) == len(ids)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "filter has to be an object"),
        ("kind=page", "filter has to be an object"),
        ({"musst": []}, "filter has no 'musst' (known: must, should, must_not, min_should)"),
        ({"must": ["x"]}, "a condition in must has to be an object"),
        ({"must": [{"key": "kind"}]}, "the condition on 'kind' says nothing"),
        ({"must": [{"key": "kind", "match": {"value": 1}, "rnge": {}}]}, "condition has no 'rnge'"),
        ({"must": [{"key": "kind", "match": {"valeu": 1}}]}, "match has no 'valeu'"),
        ({"must": [{"key": "kind", "match": {"value": 1, "text": "x"}}]}, "a match has one of"),
        ({"must": [{"key": "kind", "match": {"value": 1.5}}]}, "the filter is wrong"),
        ({"must": [{"key": "n", "range": {"above": 1}}]}, "range has no 'above'"),
        ({"must": [{"key": "n", "range": {"gt": "yesterday"}}]}, "failed to parse date-time"),
        ({"must": [{"key": "a[", "match": {"value": 1}}]}, "invalid JSON path"),
        ({"must": [{"has_id": ["no-id"]}]}, "no-id"),
        ({"must": [{"has_id": 5}]}, "the filter is wrong"),
        ({"must": [{"nested": {"key": "diet"}}]}, "'filter' is missing"),
        ({"must": [{"is_empty": "tags"}]}, "is_empty has to be an object"),
        ({"min_should": {"conditions": []}}, "'min_count' is missing"),
        ({"must": [{"key": "where", "geo_radius": {"center": {"lon": 1}, "radius": 5}}]}, "'lat' is missing"),
        (
            {"must": [{"key": "where", "geo_radius": {"center": {"lon": 999, "lat": 0}, "radius": 5}}]},
            "the filter is wrong",
        ),
        ({"must": [{"slice": {"total": 2}}]}, "filter has no 'slice'"),
    ],
)
def test_a_wrong_filter_is_refused_by_name_and_chooses_nothing(found: OpenShards, given: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        filter_of(given)
    assert said in caught.value.message
    assert caught.value.hint
    with pytest.raises(UsageError, match="the filter is wrong"):
        found.count(given)
    assert found.count() == len(PAYLOADS), "the engine goes on after a wrong question"
