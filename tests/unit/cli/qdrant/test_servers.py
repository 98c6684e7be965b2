"""Points and collections put on a server from the command line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.starting import Started
from recoup.sources.qdrant._points_file import Header, Point, PointsWriter

from .conftest import SNAPSHOTS, TRUTH, Recoup

CONFIG = {"params": {"vectors": {"size": 4, "distance": "Dot"}}}


def points(count: int) -> list[Point]:
    return [
        {"id": n, "vector": [float(n), 1.0, 0.0, -1.0], "payload": {"n": n, "kind": "ab"[n % 2]}} for n in range(count)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 60 points."""
    path = tmp_path / "points.jsonl.zst"
    with path.open("wb") as target:
        writer = PointsWriter(target, Header("docs", "1.18.3", CONFIG, {"kind": {"data_type": "keyword"}}))
        for point in points(60):
            writer.add(point)
        writer.finish()
    return path


@pytest.fixture
def docs(qdrant: Qdrant) -> Qdrant:
    """A collection with 50 of these points, 10 of them changed since, and an alias."""
    qdrant.ask("PUT", "/collections/docs", CONFIG["params"])
    changed = [{**point, "payload": {"n": -1}} for point in points(10)]
    qdrant.ask("PUT", "/collections/docs/points", {"points": [*changed, *points(50)[10:]]}, wait="true")
    actions = [{"create_alias": {"collection_name": "docs", "alias_name": "current docs"}}]
    qdrant.ask("POST", "/collections/aliases", {"actions": actions})
    return qdrant


def count(server: Qdrant, name: str = "docs") -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


def payload(server: Qdrant, point: int, name: str = "docs") -> Any:
    return server.ask("GET", f"/collections/{name}/points/{point}")["payload"]


def test_the_plan_says_what_would_be_overwritten_and_changes_nothing(recoup: Recoup, file: Path, docs: Qdrant) -> None:
    done = recoup("qdrant", "extract", file, "--into", f"{docs.url}/docs", "-n")
    assert done.code == 0, done.err
    assert "10 are not there, 50 are there and would be overwritten" in done.out
    asked = recoup("qdrant", "extract", file, "--into", f"{docs.url}/docs")
    assert asked.code == 2
    assert "--yes" in asked.err
    assert count(docs) == 50
    assert payload(docs, 3) == {"n": -1}


def test_deleted_points_are_taken_back_and_the_others_stay_as_they_are(
    recoup: Recoup, file: Path, docs: Qdrant
) -> None:
    docs.ask("POST", "/collections/docs/points/delete", {"points": [20, 21, 22]}, wait="true")
    into = f"{docs.url}/current%20docs"
    done = recoup("--json", "qdrant", "extract", file, "--ids", "20,21,22", "--into", into, "--yes")
    assert done.code == 0, done.err
    expected = {"points": 3, "overwritten": 0, "into": f"{docs.url}/docs"}
    assert done.results == [{"type": "extract", **expected}]
    assert count(docs) == 50
    assert payload(docs, 21) == {"n": 21, "kind": "b"}
    assert payload(docs, 3) == {"n": -1}


def test_a_filter_and_ids_have_both_to_be_met(recoup: Recoup, file: Path, docs: Qdrant) -> None:
    done = recoup(
        "qdrant", "extract", file, "--ids", "1,2,3,4", "--filter", "kind=a", "--into", f"{docs.url}/docs", "--yes"
    )
    assert done.code == 0, done.err
    assert [payload(docs, n)["n"] for n in (1, 2, 3, 4)] == [-1, 2, -1, 4]


@pytest.mark.parametrize("wrong", ["size", "distance", "missing"])
def test_points_that_do_not_fit_are_refused(wrong: str, recoup: Recoup, file: Path, docs: Qdrant) -> None:
    other = {"size": 5 if wrong == "size" else 4, "distance": "Cosine" if wrong == "distance" else "Dot"}
    if wrong != "missing":
        docs.ask("PUT", "/collections/other", {"vectors": other})
    done = recoup("qdrant", "extract", file, "--into", f"{docs.url}/other", "--yes")
    assert done.code == 1
    assert "other" in done.err


def test_the_key_comes_from_the_environment_and_is_never_shown(
    recoup: Recoup, file: Path, qdrant_with_keys: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = qdrant_with_keys
    served.ask("PUT", "/collections/docs", CONFIG["params"])
    arguments = ["qdrant", "extract", file, "--into", f"{served.url}/docs", "--yes"]
    without = recoup(*arguments)
    assert without.code == 1
    assert "401" in without.err
    for key, code in ((served.read_only_key, 1), (served.api_key, 0)):
        monkeypatch.setenv("QDRANT_API_KEY", key)
        done = recoup("-vv", *arguments)
        assert done.code == code, done.err
        assert key not in done.out + done.err
    assert count(served) == 60


@pytest.mark.requirement("SR-9")
@pytest.mark.requirement("CI-7")
def test_a_snapshot_of_any_tool_is_restored_after_a_look_at_the_plan(recoup: Recoup, qdrant: Qdrant) -> None:
    snapshot = SNAPSHOTS / "docs-collection.snapshot.zst"
    plan = recoup("qdrant", "restore", snapshot, "--target", qdrant.url, "--name", "docs", "-n")
    assert plan.code == 0, plan.err
    assert "docs is created" in plan.out
    assert qdrant.collections() == []
    done = recoup("qdrant", "restore", snapshot, "--target", qdrant.url, "--name", "docs", "--yes")
    assert done.code == 0, done.err
    assert count(qdrant) == TRUTH["docs-collection"]["count"]
    schema = qdrant.ask("GET", "/collections/docs")["payload_schema"]
    assert set(schema) == set(TRUTH["docs-collection"]["payload_schema"])
    (one,) = TRUTH["docs-collection"]["points"][:1]
    assert payload(qdrant, one["id"]) == one["payload"]


def test_all_nodes_files_of_a_cluster_make_the_whole_collection_on_one_server(recoup: Recoup, qdrant: Qdrant) -> None:
    first, *others = (SNAPSHOTS / f"cluster-node{number}-collection.snapshot.zst" for number in range(3))
    alone = recoup("qdrant", "restore", first, "--target", qdrant.url, "--name", "all", "--yes")
    assert alone.code == 2
    assert "shard" in alone.err
    named = [word for other in others for word in ("--with", other)]
    done = recoup("qdrant", "restore", first, *named, "--target", qdrant.url, "--name", "all", "--yes")
    assert done.code == 0, done.err
    assert count(qdrant, "all") == 900


def test_a_file_of_points_is_restored_with_its_indexes_and_switched_back_again(
    recoup: Recoup, file: Path, docs: Qdrant
) -> None:
    done = recoup("qdrant", "restore", file, "--target", docs.url, "--name", "docs", "--yes")
    assert done.code == 0, done.err
    assert count(docs, "current%20docs") == 60
    assert payload(docs, 3, "current%20docs") == {"n": 3, "kind": "b"}
    plan = recoup("qdrant", "rollback", "--url", docs.url, "-n")
    assert plan.code == 0, plan.err
    assert count(docs, "current%20docs") == 60
    back = recoup("qdrant", "rollback", "--url", docs.url, "--yes")
    assert back.code == 0, back.err
    assert payload(docs, 3, "current%20docs") == {"n": -1}
    again = recoup("qdrant", "rollback", "--url", docs.url, "--yes")
    assert again.code == 1


def test_a_shards_snapshot_alone_cannot_make_a_collection_and_says_what_can_be_done(
    recoup: Recoup, qdrant: Qdrant
) -> None:
    shard = SNAPSHOTS / "docs-shard0-streamed.snapshot.zst"
    done = recoup("qdrant", "restore", shard, "--target", qdrant.url, "--yes")
    assert done.code == 2
    assert "configuration" in done.err
    assert "--into" in done.err
    assert qdrant.collections() == []


def test_a_file_that_does_not_go_into_the_server_is_refused_and_the_way_out_told(
    recoup: Recoup, file: Path, qdrant: Qdrant
) -> None:
    snapshot = SNAPSHOTS / "empty-collection.snapshot.zst"
    done = recoup("qdrant", "restore", snapshot, "--target", qdrant.url, "--made-by", "1.5.0", "--yes")
    assert done.code == 13
    assert "--via points" in done.err
    done = recoup(
        "qdrant", "restore", snapshot, "--target", qdrant.url, "--made-by", "1.5.0", "--via", "points", "--yes"
    )
    assert done.code == 0, done.err


@pytest.mark.parametrize("option", ["--mode", "--via"])
def test_a_word_that_is_no_mode_is_told_with_what_is_known(
    option: str, recoup: Recoup, file: Path, qdrant: Qdrant
) -> None:
    done = recoup("qdrant", "restore", file, "--target", qdrant.url, option, "magic", "--yes")
    assert done.code == 2
    assert option.removeprefix("--") in done.err
    assert qdrant.collections() == []


def test_nothing_is_left_to_clean_up_after_an_orderly_run(recoup: Recoup, qdrant: Qdrant) -> None:
    done = recoup("qdrant", "cleanup", "--url", qdrant.url)
    assert done.code == 0, done.err
    assert done.out == "Nothing was left.\n"


KILLED = """
import sys
from recoup.sources.qdrant._restore_intents import Making, begin
begin().add(Making(sys.argv[1], "docs__restore_20261121_020000", "recoup_restoring_0123456789abcdef", {}))
"""
"""Writes down what it is about to do, and ends before it is done."""


def test_what_a_killed_restore_left_is_shown_asked_for_and_removed(recoup: Recoup, qdrant: Qdrant) -> None:
    subprocess.run([sys.executable, "-c", KILLED, qdrant.url], check=True)
    qdrant.ask("PUT", "/collections/docs__restore_20261121_020000", CONFIG["params"])
    mark = {"collection_name": "docs__restore_20261121_020000", "alias_name": "recoup_restoring_0123456789abcdef"}
    qdrant.ask("POST", "/collections/aliases", {"actions": [{"create_alias": mark}]})
    look = recoup("qdrant", "cleanup", "--url", qdrant.url, "-n")
    assert look.code == 0, look.err
    assert "docs__restore_20261121_020000" in look.out
    assert qdrant.collections() == ["docs__restore_20261121_020000"]
    done = recoup("qdrant", "cleanup", "--url", qdrant.url, "--yes")
    assert done.code == 0, done.err
    assert qdrant.collections() == []
    assert recoup("qdrant", "cleanup", "--url", qdrant.url).out == "Nothing was left.\n"
