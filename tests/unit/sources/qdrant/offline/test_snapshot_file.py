"""Collections in files, opened by name: bare snapshots of any tool, several nodes' files, folders of sets."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.surgery import members, without
from recoup.errors import DamagedError, RecoupError, RefusedError, UsageError
from recoup.model.names import checked_relative
from recoup.sources.qdrant._opened import LimitError, Limits
from recoup.sources.qdrant._points_file import Header, PointsWriter
from recoup.sources.qdrant.edge import Shard, SnapshotFile
from unit.sources.qdrant.offline.sets import Made, docs, nodes, scrolled

CLUSTER = [f"cluster-node{node}-collection.snapshot.zst" for node in range(3)]
CUSTOM = [f"custom-node{node}-collection.snapshot.zst" for node in range(3)]


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Path]:
    """Where files are unpacked; nothing may stay there."""
    folder = tmp_path / "staging"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


def test_a_bare_snapshot_is_a_collection(folder: Path, truth: Mapping[str, Any], staging: Path) -> None:
    said = truth["docs-collection"]
    with SnapshotFile(folder / "docs-collection.snapshot.zst", staging=staging) as found:
        assert found.collections == ("docs-collection",)
        assert list(staging.iterdir()) == [], "nothing is unpacked before it is needed"
        assert found.count() == 1600
        assert found.count(said["filters"][0]["filter"]) == said["filters"][0]["count"]
        assert found.config["params"] == said["config"]["params"]
        [first, second] = found.shards
        assert (first.id, first.key, first.points, first.segments) == (0, None, 833, 2)
        assert isinstance(second, Shard)
        assert set(second.payload_schema) == set(said["payload_schema"])
        assert [point["id"] for point in found.get([5, 3, 9999])] == [5, 3]
        assert "vector" not in found.get([5])[0]
        hits = found.search(0, 3, with_payload=False)
        assert [hit["id"] for hit in hits] == [point for point, _ in said["exact_neighbours"]["0"][:3]]


@pytest.mark.requirement("CI-4")
@pytest.mark.parametrize("name", ["empty-2", "empty-2-2416602204096567"])
def test_the_collections_name_stands_in_that_of_its_file(
    plain: Callable[[str], bytes], tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}-2026-11-20-02-00-00.snapshot"
    path.write_bytes(plain("empty-collection"))
    with SnapshotFile(str(path)) as found:
        assert found.collections == ("empty-2",)


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_a_snapshot_may_be_compressed(plain: Callable[[str], bytes], folder: Path, form: str, tmp_path: Path) -> None:
    data = plain("empty-collection")
    path = tmp_path / "empty-2416602204096567-2026-11-20-02-00-00.snapshot"
    content = {
        "plain": data,
        "gzip": gzip.compress(data),
        "zstd": (folder / "empty-collection.snapshot.zst").read_bytes(),
    }
    path.write_bytes(content[form])
    with SnapshotFile(str(path)) as found:
        assert found.count() == 0
        assert found.collections == ("empty",)


def test_snapshots_of_several_nodes_are_merged(folder: Path, staging: Path) -> None:
    with SnapshotFile([folder / name for name in CLUSTER], staging=staging) as found:
        assert [(shard.id, shard.points) for shard in found.shards] == [(0, 282), (1, 318), (2, 300)]
        ids = [point["id"] for point in found.scroll(with_payload=False)]
        assert len(ids) == len(set(ids)) == 900
        assert ids == sorted(ids)


def test_shard_keys_are_told(folder: Path, truth: Mapping[str, Any]) -> None:
    said = truth["custom (custom sharding, keys eu and us)"]["ids"]
    with SnapshotFile([folder / name for name in CUSTOM]) as found:
        assert {shard.key: shard.points for shard in found.shards} == {"eu": 10, "us": 10}
        points = list(found.scroll())
        assert {key: [point["id"] for point in points if point["shard_key"] == key] for key in said} == said


@pytest.mark.parametrize(("names", "missing"), [(CLUSTER[:1], "0"), (CLUSTER[1:2], "2"), (CUSTOM[2:], "1, 2")])
def test_a_part_of_a_collection_is_not_taken_for_the_whole(folder: Path, names: list[str], missing: str) -> None:
    paths = [folder / name for name in names]
    with SnapshotFile(paths) as found, pytest.raises(UsageError, match=f"do not hold shard {missing} of"):
        found.count()
    [insight] = SnapshotFile(paths).inspect()
    assert insight["missing_shards"] == [int(shard) for shard in missing.split(", ")]


def test_a_part_can_be_accepted(folder: Path) -> None:
    with SnapshotFile(folder / CLUSTER[0], partial=True) as found:
        assert found.count() == 618
    with SnapshotFile(folder / CUSTOM[2], partial=True) as found, pytest.raises(UsageError, match="do not hold"):
        found.count()  # nothing at all is no part


def test_shards_are_told_apart_by_their_names_or_by_their_order(
    plain: Callable[[str], bytes], folder: Path, tmp_path: Path
) -> None:
    with SnapshotFile([folder / f"docs-shard{shard}-streamed.snapshot.zst" for shard in (0, 1)]) as found:
        assert found.count() == 1600
    for shard in (0, 1):
        name = f"docs-shard-{1 - shard}-2026-11-20-02-00-0{shard}.snapshot"
        (tmp_path / name).write_bytes(plain(f"docs-shard{1 - shard}-stored"))
    with SnapshotFile(sorted(tmp_path.iterdir(), reverse=True)) as found:
        assert found.collections == ("docs",)
        assert [(shard.id, shard.points) for shard in found.shards] == [(0, 833), (1, 767)]
    with SnapshotFile(tmp_path) as found:
        assert found.count() == 1600, "a folder of snapshots is what they are together"


# --- folders of sets ------------------------------------------------------------------------------------------------


def stored(made: Made, folder: Path) -> Path:
    for part in made.parts():
        path = folder / checked_relative(part.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.content.open() as reader:  # type: ignore[union-attr] # there are only streams
            path.write_bytes(reader.read(1 << 30))
    return folder


@pytest.fixture(scope="module")
def source(plain: Callable[[str], bytes], truth: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source's folder with two collections."""
    folder = tmp_path_factory.mktemp("source")
    stored(docs(plain, truth), folder)
    return stored(nodes(plain), folder)


def test_a_folder_of_a_set_has_its_collections(source: Path) -> None:
    with SnapshotFile(source, collection="docs") as found:
        assert found.collections == ("cluster", "docs")
        assert found.count() == 1600
        assert found.config["metadata"] == {"owner": "search team"}
    with SnapshotFile(source / "cluster") as found:
        assert found.count() == 900
    with SnapshotFile(source) as found, pytest.raises(UsageError, match="several collections") as caught:
        found.count()
    assert "cluster, docs" in caught.value.hint
    with pytest.raises(UsageError, match="there is no collection other"):
        SnapshotFile(source, collection="other")


def test_a_set_tells_all_that_a_snapshot_does_not_know(source: Path) -> None:
    cluster, insight = SnapshotFile(source).inspect()
    assert cluster["collection"] == "cluster"
    assert (insight["method"], insight["server"], insight["aliases"]) == ("stored", "1.18.3", ["current"])
    assert insight["points"] == 1600
    assert insight["faults"] == []
    assert [(shard["id"], shard["points"], len(shard["segments"])) for shard in insight["shards"]] == [
        (0, 833, 2),
        (1, 767, 2),
    ]
    assert [file["form"] for file in insight["files"]] == ["stored", "stored"]
    assert json.loads(json.dumps(insight)) == insight


def test_what_differs_from_the_record_is_damage(
    plain: Callable[[str], bytes], truth: Mapping[str, Any], tmp_path: Path
) -> None:
    made = docs(plain, truth)
    part = made.record.shards[0].part
    less = without(made.files[part], lambda one: one.name.endswith("4232aefd-df7f-447a-a229-f7ba39156b8e.tar"))
    folder = stored(made.with_file(part, less), tmp_path / "less")
    with SnapshotFile(folder / "docs") as found, pytest.raises(DamagedError, match="lacks segment 4232aefd"):
        found.count()
    [insight] = SnapshotFile(folder / "docs").inspect()
    assert insight["points"] is None
    assert "lacks segment 4232aefd" in insight["faults"][0]
    folder = stored(made.without_file(part), tmp_path / "without")
    with SnapshotFile(folder / "docs") as found, pytest.raises(UsageError, match="do not hold shard 0 of docs"):
        found.count()


def test_a_file_of_points_is_opened_like_a_snapshot(tmp_path: Path, staging: Path) -> None:
    config = {"params": {"vectors": {"size": 2, "distance": "Euclid"}}}
    (tmp_path / "a%2Fb").mkdir()
    path = tmp_path / "a%2Fb" / "points.jsonl.zst"
    with path.open("wb") as file:
        writer = PointsWriter(file, Header("a/b", "1.18.3", config, {"n": {"data_type": "integer"}}))
        for number in range(30):
            key = "eu" if number % 3 else 7
            writer.add({"id": number, "vector": [float(number), 0.0], "payload": {"n": number}, "shard_key": key})
        writer.finish()
    with SnapshotFile(path, staging=staging) as found:
        assert found.collections == ("a/b",)
        assert found.config == config
        assert found.count({"must": [{"key": "n", "range": {"lt": 5}}]}) == 5
        assert [point["id"] for point in found.scroll()] == [*range(30)]
        assert [(hit["id"], hit["shard_key"]) for hit in found.search([9.2, 0.0], 2)] == [(9, 7), (10, "eu")]
    [insight] = SnapshotFile(path, staging=staging).inspect()
    assert (insight["collection"], insight["points"], insight["files"][0]["form"]) == ("a/b", 30, "points")
    with pytest.raises(UsageError, match="has to be named alone"):
        SnapshotFile([path, path])
    stored(scrolled(path.read_bytes(), config, 30, "00").without_file("docs/points.jsonl.zst"), tmp_path / "none")
    with SnapshotFile(tmp_path / "none", partial=True) as found, pytest.raises(UsageError, match="do not hold shard 0"):
        found.count()
    path.write_bytes(path.read_bytes()[:-10])
    with SnapshotFile(path, staging=staging) as found, pytest.raises(DamagedError):
        found.count()
    assert SnapshotFile(path, staging=staging).inspect()[0]["faults"]


# --- what cannot be opened ------------------------------------------------------------------------------------------


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        SnapshotFile(tmp_path / "nothing.snapshot")
    with pytest.raises(UsageError, match="holds neither"):
        SnapshotFile(tmp_path)
    with pytest.raises(UsageError, match="no file was named"):
        SnapshotFile([])
    (tmp_path / "x.snapshot").touch()
    with pytest.raises(UsageError, match="named alone"):
        SnapshotFile([tmp_path, tmp_path / "x.snapshot"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1024], "cut short"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: b"", "is empty"),
        (lambda data: b"\x1f\x8b" + data, "cannot be decompressed"),
        (lambda data: b"\x28\xb5\x2f\xfd" + data, "cannot be decompressed"),
        (lambda data: b"words, no snapshot" * 100, "no header of a member"),
    ],
)
def test_a_damaged_file_is_damage_and_leaves_nothing(
    plain: Callable[[str], bytes], change: Callable[[bytes], bytes], said: str, tmp_path: Path, staging: Path
) -> None:
    path = tmp_path / "c.snapshot"
    path.write_bytes(change(plain("docs-shard0-stored")))
    with SnapshotFile(path, staging=staging) as found, pytest.raises(DamagedError, match=said):
        found.count()
    [insight] = SnapshotFile(path, staging=staging).inspect()
    assert any(said in fault for fault in insight["faults"])


def test_what_can_be_told_of_a_damaged_one_is_told(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    data = plain("docs-collection")
    end = next(member.end for member in members(data) if member.name == "1/wal/open-1")
    path = tmp_path / "docs-2416602204096567-2026-11-20-02-00-00.snapshot"
    path.write_bytes(data[:end])
    [insight] = SnapshotFile(path).inspect()
    assert insight["collection"] == "docs"
    assert insight["shards"][0]["wal"][0] | {"bytes": 0} == {
        "name": "open-1",
        "state": "readable",
        "records": 19,
        "bytes": 0,
        "fault": None,
    }
    assert len(insight["faults"]) == 1


def test_one_that_the_engine_cannot_read_is_told_as_far_as_possible(
    plain: Callable[[str], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "new.snapshot"
    path.write_bytes(plain("docs-shard0-streamed").replace(b"0.6.0", b"0.9.9"))
    with SnapshotFile(path) as found, pytest.raises(RecoupError, match=r"version 0\.9\.9") as caught:
        found.count()
    assert not isinstance(caught.value, DamagedError)
    [insight] = SnapshotFile(path).inspect()
    assert "version 0.9.9" in insight["faults"][0]
    assert len(insight["shards"][0]["segments"]) == 2


def test_a_partial_snapshot_says_what_it_is(folder: Path, staging: Path) -> None:
    with SnapshotFile(folder / "docs-shard0-partial-full.snapshot.zst", staging=staging) as found:
        assert found.count() == 833, "one with everything in it can be opened"
    path = folder / "docs-shard0-partial-delta.snapshot.zst"
    with SnapshotFile(path, staging=staging) as found, pytest.raises(RefusedError, match="is a partial snapshot"):
        found.count()


def test_limits_are_kept_and_the_next_try_is_free(folder: Path, staging: Path) -> None:
    path = folder / "empty-collection.snapshot.zst"
    with SnapshotFile(path, limits=Limits(seconds=0), staging=staging) as found, pytest.raises(LimitError):
        for _ in range(100_000):
            found.count()
    assert list(staging.iterdir()) == []


def test_without_a_with_it_can_be_closed_and_used_again(folder: Path, staging: Path) -> None:
    found = SnapshotFile(folder / "empty-collection.snapshot.zst", staging=staging)
    assert found.count() == 0
    found.close()
    assert list(staging.iterdir()) == []
    assert found.count() == 0
    found.close()


def test_the_file_itself_is_only_read(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    path = tmp_path / "c.snapshot"
    path.write_bytes(plain("docs-shard0-stored"))
    path.chmod(0o400)
    before = path.stat()
    with SnapshotFile(path) as found:
        assert found.count() == 833
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert path.read_bytes() == plain("docs-shard0-stored")
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.snapshot"]
