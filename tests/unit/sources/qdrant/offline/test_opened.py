"""Shards opened without a server show what the server showed."""

import hashlib
import io
import os
import signal
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from qdrant_server.surgery import flipped, place_in
from recoup.errors import DamagedError, ExitCode, UsageError
from recoup.model.facts import compare
from recoup.sources.qdrant._described import Described, describe, described, recorded
from recoup.sources.qdrant._opened import Engine, LimitError, Limits, OpenShards, UnreadableError, opened
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._sampling import canonical_json, settled
from recoup.sources.qdrant._unpacking import unpack

NAMES = [
    "docs-collection",
    "hybrid-collection",
    "empty-collection",
    "docs-shard0-stored",
    "docs-shard1-stored",
    "docs-shard0-streamed",
    "docs-shard1-streamed",
    "hybrid-shard0-streamed",
    "docs-shard0-partial-full",
]


def unpacked(plain: Callable[[str], bytes], name: str, folder: Path) -> dict[int, Path]:
    contents = unpack(io.BytesIO(plain(name)), folder, name)
    return {number: folder / str(number) for number, shard in contents.shards.items() if shard.local}


@pytest.fixture(scope="module", params=NAMES)
def both(
    request: pytest.FixtureRequest,
    plain: Callable[[str], bytes],
    truth: Mapping[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[OpenShards, Mapping[str, Any]]]:
    """An opened snapshot, and what the server said of it."""
    name = request.param
    with opened(unpacked(plain, name, tmp_path_factory.mktemp(name)), what=name) as shards:
        yield shards, truth.get(name, truth.get("hybrid-collection"))


Both = tuple[OpenShards, Mapping[str, Any]]


def test_counts_and_ids_are_the_servers(both: Both) -> None:
    shards, said = both
    assert shards.count() == said["count"] == sum(shards.counts().values())
    if "points_per_shard" in said:
        assert {str(shard): count for shard, count in shards.counts().items()} == said["points_per_shard"]
    ids = [point["id"] for point in shards.scroll(with_payload=False, with_vectors=False)]
    assert ids[:5] == said["first_ids"]
    assert hashlib.sha256("\n".join(sorted(map(str, ids))).encode()).hexdigest() == said["ids_sha256"]


def test_filters_count_what_the_server_counted(both: Both) -> None:
    shards, said = both
    for one in said["filters"]:
        assert shards.count(one["filter"]) == one["count"]
        assert sum(1 for _ in shards.scroll(one["filter"], with_vectors=False)) == one["count"]


def test_points_have_the_servers_payloads(both: Both) -> None:
    shards, said = both
    points = shards.get([point["id"] for point in said["points"]], with_vectors=False)
    assert [(point["id"], point["payload"]) for point in points] == [
        (point["id"], point["payload"]) for point in said["points"]
    ]


def test_exact_neighbours_are_the_servers(both: Both) -> None:
    """But for the order of equal scores, and for those that tie with the last one."""
    shards, said = both
    using = "dense" if "dense" in shards.vectors else ""
    for text, expected in said["exact_neighbours"].items():
        point = int(text) if text.isdecimal() else text
        hits = shards.search(point, len(expected), using=using, with_payload=False)
        assert [hit["score"] for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-4)
        last = expected[-1][1]
        assert {hit["id"] for hit in hits if hit["score"] > last + 1e-4} == {
            point for point, score in expected if score > last + 1e-4
        }


@pytest.fixture(scope="module")
def hybrid(plain: Callable[[str], bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenShards]:
    with opened(unpacked(plain, "hybrid-collection", tmp_path_factory.mktemp("hybrid"))) as shards:
        yield shards


def test_vectors_of_all_kinds_come_in_qdrants_json_form(hybrid: OpenShards) -> None:
    point = next(hybrid.scroll())
    assert set(point) == {"id", "payload", "vector"}
    assert len(point["vector"]["dense"]) == 256
    assert all(len(row) == 16 for row in point["vector"]["colbert"])
    assert set(point["vector"]["bm25"]) == {"indices", "values"}
    dense = point["vector"]["dense"]
    assert [struct.unpack("f", struct.pack("f", number))[0] for number in dense] == dense, "32-bit numbers, exactly"
    assert hybrid.get([point["id"]])[0] == point


def test_a_search_by_every_kind_of_vector_finds_the_point_itself(hybrid: OpenShards) -> None:
    point = next(hybrid.scroll())
    for name, vector in point["vector"].items():
        assert hybrid.search(vector, 1, using=name)[0]["id"] == point["id"]
        assert point["id"] not in [hit["id"] for hit in hybrid.search(point["id"], 10, using=name)]


def test_a_search_may_ask_the_index_and_show_vectors(hybrid: OpenShards) -> None:
    point = next(hybrid.scroll())["id"]
    exact, indexed = (hybrid.search(point, 5, using="dense", exact=how, with_vectors=True) for how in (True, False))
    assert {hit["id"] for hit in exact} & {hit["id"] for hit in indexed}
    assert set(exact[0]) == {"id", "score", "payload", "vector"}


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda shards: shards.search([1.0], using="dense"), "dimension"),
        (lambda shards: shards.search([1.0] * 256), "which vector is meant has to be said"),
        (lambda shards: shards.search([1.0] * 256, using="none"), "there is no vector 'none'"),
        (lambda shards: shards.search([[1.0] * 256], using="dense"), "Wrong usage"),
        (lambda shards: shards.search({"indices": [1]}, using="bm25"), "has `indices` and `values`"),
        (lambda shards: shards.search("words", using="dense"), "'words' is no id"),
        (lambda shards: shards.search(5, using="dense"), "there is no point 5"),
        (lambda shards: shards.search([1.0] * 256, 0, using="dense"), "one point at least"),
        (lambda shards: shards.search([1.0] * 256, 10**30, using="dense"), "refuses"),
        (lambda shards: shards.get([-1]), "is no id"),
        (lambda shards: shards.get([True]), "is no id"),
        (lambda shards: shards.get(["x"]), "is no id"),
    ],
)
def test_a_wrong_question_is_refused_and_the_next_one_answered(
    hybrid: OpenShards, ask: Callable[[OpenShards], Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        ask(hybrid)
    assert said in caught.value.message
    assert hybrid.count() == 200


def test_points_that_are_not_there_are_left_out_and_the_order_is_that_of_the_question(hybrid: OpenShards) -> None:
    first, second = (point["id"] for point, _ in zip(hybrid.scroll(with_vectors=False), range(2), strict=False))
    assert [point["id"] for point in hybrid.get([second, 7, first.upper()])] == [second, first]


def shard_with(
    folder: Path, points: Mapping[int, list[float]], distance: Any, payload: Mapping[str, Any] | None = None
) -> Path:
    folder.mkdir(parents=True)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=edge.EdgeVectorParams(2, distance)))
    shard.update(
        edge.UpdateOperation.upsert_points(
            [edge.Point(one, vector, dict(payload or {})) for one, vector in points.items()]
        )
    )
    shard.close()
    return folder


@pytest.mark.parametrize("distance", ["Euclid", "Manhattan", "Dot", "Cosine"])
def test_shards_are_merged_by_what_is_nearer(distance: str, tmp_path: Path) -> None:
    kind = getattr(edge.Distance, distance)
    vectors = {number: [float(number), 1.0] for number in range(1, 9)}
    parts = {
        number: shard_with(tmp_path / str(number), {one: at for one, at in vectors.items() if one % 2 == number}, kind)
        for number in (0, 1)
    }
    shard_with(tmp_path / "whole", vectors, kind)
    with opened(parts) as two, opened({0: tmp_path / "whole"}) as one:
        for query in ([2.2, 1.0], [8.0, 2.0]):
            assert [hit["id"] for hit in two.search(query, 5)] == [hit["id"] for hit in one.search(query, 5)]
        assert [point["id"] for point in two.scroll()] == [*vectors]


def test_large_points_come_page_by_page(tmp_path: Path) -> None:
    folder = shard_with(
        tmp_path / "0", {one: [1.0, float(one)] for one in range(60)}, edge.Distance.Dot, {"text": "x" * 600_000}
    )
    with opened({0: folder}) as shards:
        assert [point["id"] for point in shards.scroll()] == [*range(60)]


def test_shard_keys_are_told_and_keep_equal_ids_apart(tmp_path: Path) -> None:
    folders = {number: shard_with(tmp_path / str(number), {7: [1.0, 0.0]}, edge.Distance.Dot) for number in (1, 2)}
    with opened(folders, keys={1: "eu", 2: 5}) as shards:
        assert [point["shard_key"] for point in shards.scroll()] == ["eu", 5]
        assert [point["shard_key"] for point in shards.get([7])] == ["eu", 5]
        assert {hit["shard_key"] for hit in shards.search([1.0, 0.0])} == {"eu", 5}
        assert shards.count() == 2


def test_one_engine_opens_one_collection_after_the_other(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    with Engine() as engine:
        with engine.opened(unpacked(plain, "docs-shard0-stored", tmp_path / "a")) as first:
            assert first.count() == 833
            process = first._process.pid
            rest = first.scroll(with_vectors=False)
            next(rest)
        with engine.opened(unpacked(plain, "hybrid-collection", tmp_path / "b")) as second:
            assert (second.count(), second.counts(), second._process.pid) == (200, {0: 200}, process)
            assert set(second.vectors) == {"dense", "colbert"}, "nothing of the one before is left"
            with pytest.raises(UsageError, match="is closed"):
                list(rest)
        with pytest.raises(DamagedError), engine.opened(abort_of(plain, tmp_path / "c")):
            pass
        with engine.opened(unpacked(plain, "empty-collection", tmp_path / "d")) as third:
            assert third.count() == 0
            assert third._process.pid != process, "an engine that died is begun again"
    assert not Path(f"/proc/{third._process.pid}/cmdline").exists()


# --- limits, deaths, strangers --------------------------------------------------------------------------------------


@pytest.mark.requirement("SR-11")
@pytest.mark.parametrize(
    ("limits", "said"),
    [(Limits(seconds=0.0), "more than 0 seconds"), (Limits(memory=1), "more than 1 bytes of memory")],
)
def test_a_limit_that_is_reached_is_no_damage(
    plain: Callable[[str], bytes], limits: Limits, said: str, tmp_path: Path
) -> None:
    folders = unpacked(plain, "docs-shard0-streamed", tmp_path)
    with pytest.raises(LimitError) as caught, opened(folders, limits) as shards:
        for _ in range(100_000):
            shards.count()
    assert said in caught.value.message
    assert caught.value.exit_code == ExitCode.FAILED


def test_limits_grow_with_the_data() -> None:
    assert Limits().of(0) == Limits(300.0, 2 << 30)
    assert Limits().of(1 << 40).memory == (2 << 30) + (2 << 40)
    assert (Limits().of(1 << 40).seconds or 0) > 200_000
    assert Limits(5.0, 7).of(1 << 40) == Limits(5.0, 7)


def test_an_engine_that_is_killed_from_outside_is_no_damage(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    with opened(unpacked(plain, "empty-collection", tmp_path)) as shards:
        os.kill(shards._process.pid, signal.SIGKILL)
        with pytest.raises(LimitError, match="by the system or by somebody"):
            shards.count()


def abort_of(plain: Callable[[str], bytes], folder: Path) -> dict[int, Path]:
    """A snapshot with a flipped byte in an id mapping: the engine asks for very much memory, and aborts."""
    data = plain("hybrid-collection")
    segment = "0/segments/01c2d36f-7aa4-490d-ac41-31c6d5f90eb9.tar"
    place = place_in(data, segment, "mutable_id_tracker.mappings", 0.0)
    changed = bytearray(data)
    changed[place : place + 64] = b"\xff" * 64
    unpack(io.BytesIO(bytes(changed)), folder)
    return {0: folder / "0"}


@pytest.mark.requirement("SR-11")
def test_a_file_that_makes_the_engine_abort_is_damage_and_not_our_end(
    plain: Callable[[str], bytes], tmp_path: Path
) -> None:
    with pytest.raises(DamagedError) as caught, opened(abort_of(plain, tmp_path), what="docs"):
        pass
    assert caught.value.exit_code == ExitCode.DAMAGED
    assert "shard 0" in caught.value.message
    assert "docs" in caught.value.message


@pytest.mark.parametrize("file", ["segment.json", "id_tracker.mappings", "payload_storage/page_0.dat"])
def test_a_file_that_the_engine_cannot_read_is_damage_and_named(
    plain: Callable[[str], bytes], file: str, tmp_path: Path
) -> None:
    folders = unpacked(plain, "docs-shard0-streamed", tmp_path)
    [path] = (tmp_path / "0" / "segments").glob(f"4232aefd-*/{file}")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedError) as caught:
        describe("docs", folders, 1)
    assert str(tmp_path) not in caught.value.message


def test_vectors_that_are_cut_off_are_a_difference(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    """The engine takes a short file of vectors for points without a vector, and counts as many points as before."""
    folders = unpacked(plain, "docs-shard0-streamed", tmp_path)
    [path] = tmp_path.glob("0/segments/4232aefd-*/vector_storage/matrix.dat")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = describe("docs", folders, 1).values["collection docs"]
    assert (found["points"], found["points with a vector"]) == (833, 416)


def test_segments_of_a_newer_server_are_not_called_damaged(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    folders = unpacked(plain, "docs-shard0-streamed", tmp_path)
    for path in tmp_path.glob("0/segments/*/version.info"):
        path.write_text("9.0.0")
    with pytest.raises(UnreadableError, match=r"version 9\.0\.0, and the engine here reads 0\.6\.0"), opened(folders):
        pass


def test_segments_of_the_time_of_rocksdb_are_not_called_damaged(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    folders = unpacked(plain, "docs-shard0-streamed", tmp_path)
    for path in tmp_path.glob("0/segments/*"):
        (path / "db_backup").mkdir()
        (path / "segment.json").write_text("{}")
    with pytest.raises(UnreadableError, match="RocksDB"), opened(folders):
        pass


# --- facts ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def facts(plain: Callable[[str], bytes], tmp_path_factory: pytest.TempPathFactory) -> Described:
    return describe("docs", unpacked(plain, "docs-collection", tmp_path_factory.mktemp("facts")), 7)


def test_facts_of_a_collection_are_those_of_its_shards_together(facts: Described) -> None:
    assert facts.points == {0: 833, 1: 767}
    whole, first = facts.values["collection docs"], facts.values["collection docs shard 0"]
    assert whole["points"] == 1600
    assert whole["vectors"] == "(unnamed): 256 Cosine"
    assert whole["points with a vector"] == 1600
    assert whole["ids"] == f"{sum(int(ids, 16) for ids in facts.ids.values()) % (1 << 256):064x}"
    assert first["points"] == 833
    assert 'kind keyword {"is_tenant": true, "on_disk": true}' in str(first["payload indexes"])
    assert whole["index finds neighbours"] is True
    assert facts.indexed[""] > 0.99


def test_probes_are_twenty_points_with_neighbours_of_all_shards(facts: Described, truth: Mapping[str, Any]) -> None:
    assert len(facts.probes) == 20
    assert all(0 < len(probe.neighbours) <= 10 and probe.point not in probe.neighbours for probe in facts.probes)


def test_stored_streamed_and_collection_snapshots_have_the_same_facts(
    plain: Callable[[str], bytes], facts: Described, tmp_path: Path
) -> None:
    for how in ("stored", "streamed"):
        folders = {}
        for shard in (0, 1):
            unpack(io.BytesIO(plain(f"docs-shard{shard}-{how}")), tmp_path / how, shard=shard)
            folders[shard] = tmp_path / how / str(shard)
        again = describe("docs", folders, 7)
        assert again.values == facts.values
        assert again.probes == facts.probes


def test_another_seed_asks_about_other_points(plain: Callable[[str], bytes], facts: Described, tmp_path: Path) -> None:
    other = describe("docs", unpacked(plain, "docs-collection", tmp_path), 8)
    assert {probe.point for probe in other.probes} != {probe.point for probe in facts.probes}
    assert other.ids == facts.ids
    first = "collection docs shard 0"
    assert other.values[first]["sampled payloads"] != facts.values[first]["sampled payloads"]


def test_every_dense_vector_is_probed_and_no_other(hybrid: OpenShards) -> None:
    found = described("hybrid", hybrid, 3)
    assert {probe.vector for probe in found.probes} == {"dense"}
    assert found.values["collection hybrid"]["vectors"] == "colbert: 16 Cosine multi, dense: 256 Dot, bm25: sparse"


def test_one_point_has_a_probe_without_neighbours_and_no_point_has_none(tmp_path: Path) -> None:
    one = describe("c", {0: shard_with(tmp_path / "one", {5: [1.0, 0.0]}, edge.Distance.Dot)}, 1)
    assert [(probe.point, probe.neighbours) for probe in one.probes] == [("5", ())]
    none = describe("c", {0: shard_with(tmp_path / "none", {}, edge.Distance.Dot)}, 1)
    assert none.probes == ()
    assert none.points == {0: 0}


def test_points_that_are_all_alike_are_no_question(tmp_path: Path) -> None:
    """Any answer would be right, so that no copy could fail or pass by it."""
    same = {point: [1.0, 0.0] for point in range(30)}
    found = describe("c", {0: shard_with(tmp_path / "0", same, edge.Distance.Dot)}, 1)
    assert found.points == {0: 30}
    assert found.probes == ()


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([5.0, 4.0, 3.0, 2.0], 3),
        ([5.0, 4.0, 3.0, 3.0], 2),
        ([5.0, 3.0, 3.0, 3.0], 1),
        ([3.0, 3.0, 3.0, 3.0], 0),
        ([5.0, 4.0, 3.000001, 3.0], 2),
        ([5.0, 5.0, 4.0, 3.0], 3),
        ([5.0, 5.0, 5.0], 3),
        ([], 0),
    ],
)
def test_neighbours_that_tie_with_the_first_one_left_out_are_left_out_too(scores: list[float], kept: int) -> None:
    found = [(score, str(place)) for place, score in enumerate(scores)]
    assert settled(found, 3) == [str(place) for place in range(kept)]


def test_a_json_value_has_one_spelling() -> None:
    assert canonical_json({"b": 1.0, "a": [2.5, {"ü": None}]}) == canonical_json({"a": [2.5, {"ü": None}], "b": 1})
    assert canonical_json([1, 2]) != canonical_json([2, 1])
    assert canonical_json(True) != canonical_json(1)


def test_what_the_record_tells_is_a_fact_too() -> None:
    record = CollectionRecord("c", "stored", "1.18.3", {"a": 1}, {"kind": {}}, ("x", "y"), ())
    first = recorded(record)
    assert first["aliases"] == "x, y"
    changes: list[dict[str, Any]] = [{"aliases": ("x",)}, {"config": {"a": 2}}, {"payload_schema": {}}]
    for change in changes:
        fields = {**record.__dict__, **change}
        assert recorded(CollectionRecord(**fields)) != first


def test_the_facts_say_when_a_byte_of_a_sampled_vector_differs(
    plain: Callable[[str], bytes], facts: Described, tmp_path: Path
) -> None:
    """All points of a small shard are not sampled, so many bytes are flipped."""
    data = plain("docs-collection")
    segment = "0/segments/4232aefd-df7f-447a-a229-f7ba39156b8e.tar"
    places = [place_in(data, segment, "vector_storage/matrix.dat", number / 1000) for number in range(20, 1000)]
    unpack(io.BytesIO(flipped(data, *places)), tmp_path)
    found = describe("docs", {0: tmp_path / "0", 1: tmp_path / "1"}, 7)
    from recoup.model.facts import Facts

    lines = compare(Facts(facts.values), Facts(found.values))
    assert [(line.subject, line.name) for line in lines if not line.equal] == [
        ("collection docs shard 0", "sampled vectors")
    ]
