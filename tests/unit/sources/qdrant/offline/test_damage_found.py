"""Whatever is wrong with a stored collection is found and named: by `verify`, by a drill, or by both."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge

from qdrant_server.surgery import flipped, members, place_in, without
from recoup.app import Stack
from recoup.errors import DamagedError, ExitCode
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.model.reports import DrillReport, VerifyReport
from recoup.operations import drill, verify
from recoup.repository._base import Subset
from recoup.repository.plain.repository import PlainRepository
from recoup.sources._base import NoRestoreOptions, Site, SourceOptions
from recoup.sources.qdrant._examining import examine
from recoup.sources.qdrant._points_file import Header, PointsWriter
from recoup.sources.qdrant._record import record_part, shard_part
from recoup.sources.qdrant._twin import QdrantTwin, scratch
from recoup.system.clock import SystemClock
from unit.operations.scripted import back_up, content, made_repository
from unit.sources.qdrant.offline.sets import SEED, Made, changed, docs, nodes, read, scrolled

FIRST, SECOND = shard_part("docs", 0), shard_part("docs", 1)
BIG = "segments/4232aefd-df7f-447a-a229-f7ba39156b8e"
EMPTY = "segments/8cf237db-d767-4359-9fd5-58feb537583b"


@pytest.fixture(scope="module")
def sound(plain: Callable[[str], bytes], truth: Mapping[str, Any]) -> Made:
    return docs(plain, truth)


@pytest.fixture
def repository(tmp_path: Path) -> PlainRepository:
    return made_repository(tmp_path / "repository")


def verified(repository: PlainRepository, made: Made, subset: Subset = Subset()) -> VerifyReport:  # noqa: B008
    manifest = back_up(repository, {"vectors": made.source()}).manifest
    assert manifest is not None
    name = SetName.parse(manifest.name)
    assert name is not None
    [report] = verify.run([name], repository, subset, SystemClock(), lambda _: None, "host", Stack._examine_of_plug)
    return report


def drilled(repository: PlainRepository, made: Made, tmp_path: Path) -> DrillReport:
    manifest = back_up(repository, {"vectors": made.source()}).manifest
    assert manifest is not None
    folder = tmp_path / f"scratch-{manifest.name}"
    folder.mkdir()
    site = Site("vectors", tmp_path, tmp_path, SystemClock(), SEED)
    live = QdrantTwin(SourceOptions(kind="qdrant"), site, tmp_path)
    report = drill.run(
        drill.plan(manifest, None),
        {"vectors": live},
        {"vectors": NoRestoreOptions()},
        repository,
        folder,
        SystemClock(),
        lambda _: None,
        "host",
    )
    assert list((folder / "vectors").iterdir()) == []
    return report


def differing(report: DrillReport) -> set[tuple[str, str]]:
    [source] = report.sources
    return {(line.subject, line.name) for line in source.comparisons if not line.equal}


@pytest.mark.requirement("CI-6", "CI-7")
def test_a_sound_set_passes_both(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    assert verified(repository, sound).damage == ()
    report = drilled(repository, sound, tmp_path)
    assert report.exit_code == ExitCode.OK, differing(report)
    assert len(report.sources[0].comparisons) > 15


@pytest.mark.parametrize("how", ["streamed", "nodes"])
def test_a_sound_set_of_another_method_passes_both(
    repository: PlainRepository, plain: Callable[[str], bytes], truth: Mapping[str, Any], how: str, tmp_path: Path
) -> None:
    made = nodes(plain) if how == "nodes" else docs(plain, truth, "streamed")
    assert verified(repository, made).damage == ()
    report = drilled(repository, made, tmp_path)
    assert report.exit_code == ExitCode.OK, report


# --- what the issue of a false success is about ---------------------------------------------------------------------


@pytest.mark.requirement("CI-7", "SR-9")
def test_a_segment_that_is_missing_is_found_by_both(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    made = sound.with_file(FIRST, without(sound.files[FIRST], lambda one: one.name == f"{BIG}.tar"))
    [damage] = verified(repository, made).damage
    assert damage.item.endswith(FIRST)
    assert f"lacks segment {BIG.removeprefix('segments/')} of shard 0" in damage.message
    assert "lacks segment" in drilled(repository, made, tmp_path).sources[0].error


@pytest.mark.requirement("CI-7", "SR-9")
def test_a_file_of_a_segment_that_is_missing_or_shorter_is_found(
    repository: PlainRepository, plain: Callable[[str], bytes], truth: Mapping[str, Any]
) -> None:
    streamed = docs(plain, truth, "streamed")
    data = without(streamed.files[FIRST], lambda one: one.name == f"{BIG}/files/vector_storage/deleted.dat")
    [damage] = verified(repository, streamed.with_file(FIRST, data)).damage
    assert f"lacks vector_storage/deleted.dat in segment {BIG.removeprefix('segments/')}" in damage.message
    [found] = examine(sound_with_longer_record(streamed).parts())
    assert "instead of" in found.message


def sound_with_longer_record(made: Made) -> Made:
    shard = made.record.shards[0]
    segments = {
        name: replace(one, files={**one.files, "segment.json": 1})
        for name, one in shard.segments.items()
        if name in BIG
    }
    shards = (replace(shard, segments={**shard.segments, **segments}), *made.record.shards[1:])
    return replace(made, record=replace(made.record, shards=shards))


@pytest.mark.requirement("CI-7")
def test_one_percent_of_the_points_deleted_is_found_by_the_drill(
    repository: PlainRepository, sound: Made, tmp_path: Path
) -> None:
    gone: list[Any] = [0, 1, 3, 4, 5, 7, 8, 11]

    def delete(shard: Any) -> None:
        shard.update(edge.UpdateOperation.delete_points(gone))

    made = sound.with_file(FIRST, changed(sound.files[FIRST], delete)).recorded_again()
    assert verified(repository, made).damage == ()
    report = drilled(repository, made, tmp_path)
    assert report.exit_code == ExitCode.DAMAGED
    assert {("collection docs", "points"), ("collection docs", "ids")} <= differing(report)
    assert {("collection docs shard 0", "points"), ("collection docs shard 0", "ids")} <= differing(report)
    assert not any("shard 1" in about for about, _ in differing(report))


@pytest.mark.requirement("CI-7")
def test_a_payload_index_that_is_missing_is_found_by_the_drill(
    repository: PlainRepository, sound: Made, tmp_path: Path
) -> None:
    def drop(shard: Any) -> None:
        shard.update(edge.UpdateOperation.delete_field_index("kind"))

    made = sound.with_file(SECOND, changed(sound.files[SECOND], drop)).recorded_again()
    report = drilled(repository, made, tmp_path)
    assert differing(report) == {("collection docs shard 1", "payload indexes")}
    [line] = [line for line in report.sources[0].comparisons if not line.equal]
    assert "kind keyword" in line.expected
    assert "kind keyword" not in line.found


@pytest.mark.requirement("CI-7")
def test_two_shards_that_changed_places_are_found_by_both(
    repository: PlainRepository, sound: Made, tmp_path: Path
) -> None:
    made = sound.with_file(FIRST, sound.files[SECOND]).with_file(SECOND, sound.files[FIRST])
    assert {damage.item.rpartition("/")[2] for damage in verified(repository, made).damage} == {
        FIRST.rpartition("/")[2],
        SECOND.rpartition("/")[2],
    }
    report = drilled(repository, made.recorded_again(), tmp_path)
    assert {("collection docs shard 0", "ids"), ("collection docs shard 1", "points")} <= differing(report)
    assert ("collection docs", "points") not in differing(report), "in total nothing is missing"


@pytest.mark.requirement("CI-7")
def test_vectors_that_are_all_zero_are_found_by_the_drill(
    repository: PlainRepository, sound: Made, tmp_path: Path
) -> None:
    data, before = bytearray(sound.files[FIRST]), sound.files[FIRST]
    outer = next(one for one in members(before) if one.name == f"{BIG}.tar")
    inner = next(one for one in members(before[outer.content : outer.end]) if one.name.endswith("matrix.dat"))
    begin = outer.content + inner.content
    data[begin + 4 : begin + inner.size] = bytes(inner.size - 4)
    made = sound.with_file(FIRST, bytes(data))
    assert verified(repository, made).damage == (), "the files are all there, and as long as they were"
    report = drilled(repository, made, tmp_path)
    assert ("collection docs shard 0", "sampled vectors") in differing(report)
    assert ("collection docs", "neighbours (20 probes)") in differing(report)


@pytest.mark.requirement("CI-7")
def test_changed_payloads_are_found_by_the_drill(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    def overwrite(shard: Any) -> None:
        ids = [record.id for record in shard.scroll(edge.ScrollRequest(limit=10_000))[0]]
        shard.update(edge.UpdateOperation.set_payload(ids, {"line": 0}))

    made = sound.with_file(FIRST, changed(sound.files[FIRST], overwrite)).recorded_again()
    assert ("collection docs shard 0", "sampled payloads") in differing(drilled(repository, made, tmp_path))


@pytest.mark.requirement("CI-7", "SR-11")
def test_a_byte_that_makes_the_engine_abort_fails_the_drill_and_not_us(
    repository: PlainRepository, plain: Callable[[str], bytes], truth: Mapping[str, Any], sound: Made, tmp_path: Path
) -> None:
    data = sound.files[FIRST]
    start = place_in(data, f"{BIG}.tar", "id_tracker.mappings", 0.0)
    made = sound.with_file(FIRST, flipped(data, *range(start, start + 64)))
    report = drilled(repository, made, tmp_path)
    assert report.exit_code == ExitCode.DAMAGED
    assert "shard 0" in report.sources[0].error


@pytest.mark.requirement("CI-7", "SR-9")
def test_a_snapshot_that_ends_early_is_found_by_both(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    data = sound.files[FIRST]
    for cut in (data[:-2048], without(data, lambda one: one.name == "shard_config.json"), b""):
        made = sound.with_file(FIRST, cut)
        [damage] = [one for one in verified(repository, made).damage if one.kind == "content"][-1:]
        assert damage.item.endswith(FIRST)
        assert drilled(repository, made, tmp_path).exit_code == ExitCode.DAMAGED


@pytest.mark.requirement("CI-7")
def test_a_part_that_is_missing_is_found_by_both(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    made = sound.without_file(SECOND)
    [damage] = verified(repository, made).damage
    assert (damage.item, damage.kind) == (SECOND, "missing")
    assert "the set lacks shard 1 of docs" in drilled(repository, made, tmp_path).sources[0].error


def test_the_snapshot_of_another_collection_under_this_name_is_found_by_both(
    repository: PlainRepository, plain: Callable[[str], bytes], tmp_path: Path
) -> None:
    made = nodes(plain)
    part = made.record.shards[0].part
    other = made.with_file(part, plain("docs-collection"))
    messages = [damage.message for damage in verified(repository, other).damage]
    assert any("is of a collection with other shard_number than cluster has" in message for message in messages)
    assert any("lacks segment" in message for message in messages)
    assert drilled(repository, other, tmp_path).exit_code == ExitCode.DAMAGED


def test_a_record_of_another_collection_in_this_folder_is_found(sound: Made) -> None:
    parts = [replace(part, name=part.name.replace("docs/", "other/")) for part in sound.parts()]
    messages = [damage.message for damage in examine(parts)]
    assert messages[0] == "other/collection.json is the record of another collection: docs"
    assert "docs/shard-0.snapshot is missing, which the record of other names" in messages


def test_a_part_that_no_record_names_is_found(sound: Made) -> None:
    def parts() -> Iterator[Any]:
        yield from sound.parts()
        yield replace(next(iter(sound.parts())), name="docs/shard-9.snapshot")

    messages = [damage.message for damage in examine(parts())]
    assert "docs/shard-9.snapshot holds nothing that the record of docs names" in messages


def test_a_damaged_log_is_found_by_verify(repository: PlainRepository, plain: Callable[[str], bytes]) -> None:
    made = nodes(plain)
    part = made.record.shards[0].part
    data = made.files[part]
    log = next(one for one in members(data) if one.name.endswith("wal/open-1"))
    [damage] = verified(repository, made.with_file(part, flipped(data, log.content + 5000))).damage
    assert "the write-ahead log open-1 the checksum of the next record is wrong" in damage.message


# --- how verify asks ------------------------------------------------------------------------------------------------


def test_a_part_whose_bytes_changed_in_the_repository_is_told_once(
    repository: PlainRepository, sound: Made, tmp_path: Path
) -> None:
    manifest = back_up(repository, {"vectors": sound.source()}).manifest
    assert manifest is not None
    [path] = (tmp_path / "repository").rglob("shard-0.snapshot")
    path.chmod(0o600)
    path.write_bytes(flipped(path.read_bytes(), 700_000))
    name = SetName.parse(manifest.name)
    assert name is not None
    [report] = verify.run([name], repository, Subset(), SystemClock(), lambda _: None, "host", Stack._examine_of_plug)
    assert [(damage.kind, damage.item.rpartition("/")[2]) for damage in report.damage] == [
        ("changed", "shard-0.snapshot")
    ]
    path.unlink()
    [report] = verify.run([name], repository, Subset(), SystemClock(), lambda _: None, "host", Stack._examine_of_plug)
    assert {damage.item.rpartition("/")[2] for damage in report.damage} == {"shard-0.snapshot"}
    assert [damage.kind for damage in report.damage][:1] == ["missing"]


def test_a_verification_of_some_of_the_bytes_does_not_ask_plugs(repository: PlainRepository, sound: Made) -> None:
    made = sound.without_file(SECOND)
    assert verified(repository, made, Subset(share=0.5)).damage == ()
    assert verified(repository, made, Subset(1, 2)).damage == ()


def test_a_kind_without_such_a_look_or_without_a_plug_is_passed_over() -> None:
    assert Stack._examine_of_plug("files") is None
    assert Stack._examine_of_plug("from-the-future") is None
    assert Stack._examine_of_plug("qdrant") is examine


# --- points read one by one -----------------------------------------------------------------------------------------


def points_file(count: int, collection: str = "docs") -> tuple[bytes, Mapping[str, Any], str]:
    config = {"params": {"vectors": {"size": 2, "distance": "Dot"}}}
    buffer = io.BytesIO()
    writer = PointsWriter(buffer, Header(collection, "1.18.3", config))
    for number in range(count):
        writer.add({"id": number, "vector": [float(number), 1.0], "payload": {"n": number}})
    tally = writer.finish()
    return buffer.getvalue(), config, tally.ids


def test_a_file_of_points_is_verified_and_drilled(repository: PlainRepository, tmp_path: Path) -> None:
    data, config, ids = points_file(40)
    made = scrolled(data, config, 40, ids)
    site = Site("vectors", tmp_path, tmp_path, SystemClock(), SEED)
    with scratch(SourceOptions(kind="qdrant"), site, tmp_path) as twin:
        twin.restore(made.parts(), NoRestoreOptions())
        made = replace(made, facts=twin.facts())
    assert made.facts.values["collection docs"]["points"] == 40
    assert verified(repository, made).damage == ()
    assert drilled(repository, made, tmp_path).exit_code == ExitCode.OK
    fewer, _, _ = points_file(39)
    [damage] = verified(repository, made.with_file("docs/points.jsonl.zst", fewer)).damage
    assert "holds 39 points; the record says 40" in damage.message
    report = drilled(repository, made.with_file("docs/points.jsonl.zst", fewer), tmp_path)
    assert ("collection docs", "points") in differing(report)
    gone = made.without_file("docs/points.jsonl.zst")
    assert [damage.kind for damage in verified(repository, gone).damage] == ["missing"]
    assert "the set lacks shard 0 of docs" in drilled(repository, gone, tmp_path).sources[0].error
    cut = made.with_file("docs/points.jsonl.zst", data[:-20])
    assert verified(repository, cut).damage
    assert "points.jsonl.zst" in drilled(repository, cut, tmp_path).sources[0].error
    other, _, _ = points_file(40, "another")
    [damage] = verified(repository, made.with_file("docs/points.jsonl.zst", other)).damage
    assert "holds the points of another, not of docs" in damage.message


# --- the twin -------------------------------------------------------------------------------------------------------


def test_a_twin_refuses_parts_without_a_record(sound: Made, tmp_path: Path) -> None:
    site = Site("vectors", tmp_path, tmp_path, SystemClock(), SEED)
    with scratch(SourceOptions(kind="qdrant"), site, tmp_path) as twin:
        assert not twin.present()
        with pytest.raises(DamagedError, match=r"without the collection\.json"):
            twin.restore(list(sound.parts())[1:], NoRestoreOptions())
    assert list(tmp_path.iterdir()) == []


def test_a_twin_tells_what_it_holds_and_is_gone_afterwards(sound: Made, tmp_path: Path) -> None:
    site = Site("vectors", tmp_path, tmp_path, SystemClock(), SEED)
    with scratch(SourceOptions(kind="qdrant"), site, tmp_path) as twin:
        twin.restore(sound.parts(), NoRestoreOptions())
        assert twin.present()
        assert twin.estimate() > 1 << 20
        assert twin.facts() == sound.facts
        assert twin.facts() == sound.facts, "asked twice, it says the same"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_found_by_both(repository: PlainRepository, sound: Made, tmp_path: Path) -> None:
    def parts() -> Iterator[Any]:
        first, *rest = sound.parts()
        yield StreamPart(first.name, content(b'{"format": "recoup-qdrant-coll'))
        yield from rest

    messages = [damage.message for damage in examine(parts())]
    assert "not valid JSON" in messages[0]
    site = Site("vectors", tmp_path, tmp_path, SystemClock(), SEED)
    with scratch(SourceOptions(kind="qdrant"), site, tmp_path) as twin, pytest.raises(DamagedError, match="JSON"):
        twin.restore(parts(), NoRestoreOptions())


def test_the_recorded_segments_are_those_of_the_files(sound: Made) -> None:
    for shard in sound.record.shards:
        held = read(sound.files[shard.part], shard.id).shards[shard.id]
        assert {name: dict(one.files) for name, one in shard.segments.items()} == held.segments
    assert record_part("docs") == "docs/collection.json"
