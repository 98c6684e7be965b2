"""A server that changes day by day, captured by what changed: each capture is whole, and holds what the server held."""

import hashlib
import io
from functools import partial
from pathlib import Path

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.surgery import members
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._manifests import newer, versions_of
from recoup.sources.qdrant._opened import opened
from recoup.sources.qdrant._unpacking import unpack
from unit.sources.qdrant.capture.taking import Kept, fill, points

from .days import Days, grown, live, record, settle, upsert


def scrolled(kept: Kept, folder: Path, name: str = "docs") -> dict[int, object]:
    """All points of a captured collection, as its shards alone show them."""
    folders = {}
    for shard in record(kept, name).shards:
        unpack(io.BytesIO(kept.files[shard.part]), folder / str(shard.id), shard=shard.id)
        folders[shard.id] = folder / str(shard.id) / str(shard.id)
    with opened(folders) as shards:
        return {point["id"]: (point["payload"], point["vector"]) for point in shards.scroll()}


def held(server: Qdrant, name: str = "docs") -> dict[int, object]:
    """All points that the server has."""
    body = {"limit": 100_000, "with_payload": True, "with_vector": True}
    found = server.ask("POST", f"/collections/{name}/points/scroll", body)["points"]
    return {point["id"]: (point["payload"], point["vector"]) for point in found}


@pytest.mark.requirement("SR-3")
def test_each_day_is_whole_and_what_the_server_held(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    fill(qdrant, "docs", 200, shards=2)
    qdrant.ask("PUT", "/collections/docs/index", {"field_name": "kind", "field_schema": "keyword"}, wait="true")
    for day in range(3):
        if day:
            upsert(qdrant, "docs", live(day))
            qdrant.ask("POST", "/collections/docs/points/delete", {"points": [day * 7]}, wait="true")
        kept = days.next()
        assert scrolled(kept, tmp_path / str(day)) == held(qdrant)
        assert days.merges == [day, day]
        if not day:
            full = {shard.first for shard in record(kept).shards}
        assert {grown(shard).full for shard in record(kept).shards} == full
    assert "2 of 2 shards merged" in kept.method
    assert record(kept).method == "stream"
    assert days.reasons == []
    assert len(days.told("shard_merged")) == 2


def test_a_server_takes_a_merged_shard_as_one_of_its_own(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    fill(qdrant, "docs", 100)
    days.next()
    upsert(qdrant, "docs", live(1))
    kept = days.next()
    assert days.merges == [1]
    path = tmp_path / "merged"
    path.write_bytes(kept.files[record(kept).shards[0].part])
    fill(qdrant, "again", 0)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    with Server(qdrant.url, qdrant.api_key) as server:
        server.upload("/collections/again/shards/0/snapshots/upload", path, checksum=checksum)
    assert held(qdrant, "again") == held(qdrant, "docs")


def test_where_nothing_changed_nothing_comes(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    fill(qdrant, "docs", 200, shards=2)
    first = days.next()
    second = days.next()
    snapshots = [shard.part for shard in record(first).shards]
    assert [first.files[name] for name in snapshots] == [second.files[name] for name in snapshots]
    assert [one.fields["came"] for one in days.told("shard_merged")] == [0, 0]
    assert days.merges == [1, 1]
    assert second.facts.values["collection docs"]["points"] == 200


def test_a_new_collection_comes_in_full_beside_one_that_is_merged(qdrant: Qdrant, days: Days) -> None:
    fill(qdrant, "docs", 100)
    days.next()
    fill(qdrant, "new", 10)
    kept = days.next()
    assert grown(record(kept).shards[0]).merges == 1
    assert grown(record(kept, "new").shards[0]).merges == 0
    assert days.reasons == ["backup_1 has no such collection"]


def test_every_so_many_is_full(qdrant: Qdrant, days: Days) -> None:
    fill(qdrant, "docs", 50)
    days.options = days.options.model_copy(update={"full_every": 3})
    seen = []
    for day in range(5):
        upsert(qdrant, "docs", points(1, 500 + day))
        days.next()
        seen += days.merges
    assert seen == [0, 1, 2, 0, 1]


def test_without_the_setting_nothing_is_recorded_and_nothing_built_on(qdrant: Qdrant, days: Days) -> None:
    fill(qdrant, "docs", 50)
    days.next()
    days.options = days.options.model_copy(update={"incremental": False})
    kept = days.next()
    assert record(kept).shards[0].increment is None
    assert b"increment" not in kept.files["docs/collection.json"]
    assert days.told("shard_merged") == []
    days.options = days.options.model_copy(update={"incremental": True})
    days.next()
    assert days.merges == [0]
    assert days.reasons == ["backup_2 does not have what it could be built on"]


def test_writes_while_a_shard_is_taken_do_not_spoil_the_next_one(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    fill(qdrant, "docs", 100)
    for day in range(3):
        upsert(qdrant, "docs", live(day))
        days.next(partial(upsert, qdrant, "docs", points(5, 5000 + 10 * day)))
    kept = days.next()
    assert scrolled(kept, tmp_path / "all") == held(qdrant)
    assert days.merges == [3]


def test_an_index_that_comes_and_one_that_goes_are_followed(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    fill(qdrant, "docs", 100)
    days.next()
    indexes = []
    for change in ("PUT", "DELETE"):
        body = {"field_name": "kind", "field_schema": "keyword"} if change == "PUT" else None
        qdrant.ask(change, "/collections/docs/index" + ("" if body else "/kind"), body, wait="true")
        kept = days.next()
        assert days.reasons == []
        assert scrolled(kept, tmp_path / change) == held(qdrant)
        indexes.append(kept.facts.values["collection docs shard 0"]["payload indexes"])
    assert [str(found).partition(" ")[0] for found in indexes] == ["kind", ""]


def test_of_a_large_segment_only_what_changed_comes(qdrant: Qdrant, days: Days, tmp_path: Path) -> None:
    """The optimizer has replaced the segments in between; the next day they stay."""
    wide = {"size": 64, "distance": "Dot"}
    indexed = {"indexing_threshold": 1, "default_segment_number": 1}
    fill(qdrant, "docs", 0, vectors=wide, optimizers_config=indexed)
    days.next()
    for start in range(0, 3000, 1000):
        upsert(qdrant, "docs", [{**one, "vector": one["vector"] * 16} for one in points(1000, start)])
    settle(qdrant, "docs")
    before = days.next()
    qdrant.ask("POST", "/collections/docs/points/delete", {"points": [7]}, wait="true")
    kept = days.next()
    assert scrolled(kept, tmp_path / "all") == held(qdrant)
    assert days.reasons == []
    (told,) = days.told("shard_merged")
    came, size = int(str(told.fields["came"])), int(str(told.fields["bytes"]))
    assert came < size / 2
    assert came <= 1.05 * changed(before, kept)


def changed(before: Kept, now: Kept) -> int:
    """Bytes of the members of the only shard that changed, as the server says; what stands beside the segments always does."""
    (old,), (new,) = record(before).shards, record(now).shards
    manifest, known = grown(new).manifest, grown(old).manifest
    found = 0
    for one in members(now.files[new.part]):
        _, _, path = one.name.partition("segments/")
        segment, _, file = path.partition("/files/")
        same = segment in known and file in manifest[segment]["file_versions"]
        if not same or newer(versions_of(manifest, segment), versions_of(known, segment), file):
            found += one.end - one.start
    return found
