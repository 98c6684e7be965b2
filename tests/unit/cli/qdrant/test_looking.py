"""Snapshots that a real server made, looked into from the command line."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import duckdb
import pytest

from .conftest import SNAPSHOTS, TRUTH, Recoup

DOCS = SNAPSHOTS / "docs-collection.snapshot.zst"
TRUE = TRUTH["docs-collection"]


def test_inspect_shows_what_a_snapshot_holds(recoup: Recoup) -> None:
    done = recoup("qdrant", "inspect", DOCS)
    assert done.code == 0, done.err
    assert done.out.startswith("docs-collection: 1,600 points\n")
    for words in ("256 x Cosine", "kind: keyword", "0: 833 points, 2 segments, log with 19 records", "1: 767 points"):
        assert words in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_inspect_tells_machines_everything(recoup: Recoup) -> None:
    (told,) = recoup("--json", "qdrant", "inspect", DOCS).results
    assert told["type"] == "collection"
    assert told["points"] == TRUE["count"]
    assert {str(shard["id"]): shard["points"] for shard in told["shards"]} == TRUE["points_per_shard"]
    assert told["config"]["params"]["vectors"] == TRUE["config"]["params"]["vectors"]
    assert set(told["payload_schema"]) == set(TRUE["payload_schema"])


def test_count_is_exact_with_filters_that_the_server_answered(recoup: Recoup) -> None:
    case = TRUE["filters"][4]
    (told,) = recoup("--json", "qdrant", "count", DOCS, "--filter", json.dumps(case["filter"])).results
    assert told == {"type": "count", "points": case["count"]}
    simple = recoup("qdrant", "count", DOCS, "--filter", "line>=100", "--filter", "line<500")
    assert int(simple.out) == next(c["count"] for c in TRUE["filters"] if "lt" in json.dumps(c["filter"]))


def test_scroll_shows_points_in_the_order_of_their_ids_and_says_that_there_are_more(recoup: Recoup) -> None:
    done = recoup("--json", "qdrant", "scroll", DOCS, "--limit", 3, "--vectors")
    assert [point["id"] for point in done.results] == TRUE["first_ids"][:3]
    assert all(len(point["vector"]) == 256 for point in done.results)
    assert "There are more" in done.err
    everything = recoup("--json", "qdrant", "scroll", DOCS, "--limit", 0, "--filter", "kind=ClassDef")
    assert len(everything.results) == 255
    assert "There are more" not in everything.err
    assert "vector" not in everything.results[0]


def test_get_shows_points_and_names_those_that_are_not_there(recoup: Recoup) -> None:
    wanted = {str(point["id"]): point["payload"] for point in TRUE["points"][:2]}
    done = recoup("--json", "qdrant", "get", DOCS, ",".join(wanted))
    assert done.code == 0
    assert {str(point["id"]): point["payload"] for point in done.results} == wanted
    missing = recoup("qdrant", "get", DOCS, "1", "99999", "936da01f-9abd-4d9d-80c7-02af85c822a8")
    assert missing.code == 1
    assert "There is no point 99999." in missing.err
    assert "936da01f-9abd-4d9d-80c7-02af85c822a8" in missing.err
    assert missing.out.startswith("1  {")


def test_search_finds_the_neighbours_that_the_server_found(recoup: Recoup) -> None:
    hits = recoup("--json", "qdrant", "search", DOCS, "--id", "80").results
    expected = dict(TRUE["exact_neighbours"]["80"])
    assert {hit["id"] for hit in hits} == set(expected)
    assert [hit["score"] for hit in hits] == pytest.approx(list(expected.values()), abs=1e-4)
    (found,) = recoup("--json", "qdrant", "get", DOCS, "80", "--vectors").results
    hits = recoup("--json", "qdrant", "search", DOCS, "--vector", json.dumps(found["vector"]), "--limit", 2).results
    assert {hit["id"] for hit in hits} == {80, 368}


def test_nodes_and_shards_are_merged_and_a_missing_one_is_told(recoup: Recoup) -> None:
    nodes = [SNAPSHOTS / f"cluster-node{number}-collection.snapshot.zst" for number in range(3)]
    alone = recoup("qdrant", "count", nodes[0])
    assert alone.code == 2
    assert "shard" in alone.err
    assert int(recoup("qdrant", "count", nodes[0], "--partial").out) == 618
    assert int(recoup("qdrant", "count", nodes[0], "--with", nodes[1], "--with", nodes[2]).out) == 900
    shards = [SNAPSHOTS / f"docs-shard{number}-streamed.snapshot.zst" for number in range(2)]
    assert int(recoup("qdrant", "count", shards[0], "--with", shards[1]).out) == 1600


def plain(path: Path, folder: Path) -> bytes:
    target = folder / path.with_suffix("").name
    subprocess.run(["zstd", "-dqf", path, "-o", target], check=True)
    data = target.read_bytes()
    target.unlink()
    return data


@pytest.mark.requirement("SR-11")
def test_a_damaged_snapshot_ends_with_4_and_inspect_still_tells_what_there_is(recoup: Recoup, tmp_path: Path) -> None:
    cut = tmp_path / "cut.snapshot"
    cut.write_bytes(plain(DOCS, tmp_path)[:3_000_000])
    for verb in (["count"], ["scroll"], ["get", "1"], ["search", "--id", "1"], ["extract", "--to", "x.jsonl"]):
        done = recoup("qdrant", verb[0], cut, *verb[1:])
        assert done.code == 4, verb
        assert "cut short" in done.err
        assert "Traceback" not in done.err
    told = recoup("qdrant", "inspect", cut)
    assert told.code == 4
    assert "FAULT" in told.out
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["count", "{docs}", "--filter", "kind"],
        ["search", "{docs}"],
        ["search", "{docs}", "--id", "1", "--vector", "[1]"],
        ["search", "{docs}", "--vector", "[1.0, 2.0]"],
        ["search", "{docs}", "--id", "1", "--using", "nope"],
        ["get", "{docs}", "not-an-id"],
        ["count", "nowhere.snapshot"],
        ["count", "{docs}", "--source", "vectors"],
        ["extract", "{docs}"],
        ["extract", "{docs}", "--to", "a.jsonl", "--into", "http://127.0.0.1:1/docs"],
        ["extract", "{docs}", "--to", "a.csv"],
        ["extract", "{docs}", "--into", "no-url"],
        ["extract", "{docs}", "--into", "http://key:secret-in-url@127.0.0.1:1/docs"],
        ["extract", "{docs}", "--to", "a.jsonl", "--ids", "@nowhere"],
        ["count", "latest"],
    ],
    ids=lambda value: " ".join(value[:1] + value[2:]),
)
def test_what_makes_no_sense_is_refused_with_a_sentence(arguments: list[str], recoup: Recoup, tmp_path: Path) -> None:
    done = recoup("qdrant", *[one.format(docs=DOCS) if "{docs}" in one else one for one in arguments])
    assert done.code in (1, 2)
    assert done.err.startswith("Error: ")
    assert "this is a bug" not in done.err
    assert "secret-in-url" not in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_chosen_points_become_a_file(recoup: Recoup, tmp_path: Path) -> None:
    assert recoup("qdrant", "extract", DOCS, "--filter", "kind=ClassDef", "--to", "classes.jsonl", "-n").code == 0
    assert not (tmp_path / "classes.jsonl").exists()
    done = recoup("--json", "qdrant", "extract", DOCS, "--filter", "kind=ClassDef", "--to", "classes.jsonl")
    assert done.results == [{"type": "extract", "points": 255, "to": "classes.jsonl"}]
    points = [json.loads(line) for line in (tmp_path / "classes.jsonl").read_text().splitlines()]
    assert {point["payload"]["kind"] for point in points} == {"ClassDef"}
    assert all(len(point["vector"]) == 256 for point in points)
    (tmp_path / "ids").write_text("0\n80, 99999")
    missing = recoup("qdrant", "extract", DOCS, "--ids", "1,@x", "--ids", "@ids", "--to", "some.parquet")
    assert missing.code == 2
    missing = recoup("qdrant", "extract", DOCS, "--ids", "1", "--ids", "@ids", "--to", "some.parquet")
    assert missing.code == 1
    assert "There is no point 99999." in missing.err
    assert "3 points were written" in missing.out


def test_a_shards_snapshot_alone_has_vectors_enough_for_a_table_and_for_a_collection(
    recoup: Recoup, tmp_path: Path
) -> None:
    shard = SNAPSHOTS / "hybrid-shard0-streamed.snapshot.zst"
    done = recoup("qdrant", "extract", shard, "--filter", "n<5", "--to", "five.parquet")
    assert done.code == 0, done.err
    with duckdb.connect() as connection:
        rows = connection.execute(
            'SELECT len("vector.dense"), len("vector.colbert"[1]) FROM \'five.parquet\''
        ).fetchall()
    assert len(rows) == 5
    assert set(rows) == {(256, 16)}


def of_a_later_version(path: Path) -> Path:
    """A copy of a streamed shard's snapshot whose segments say that a later engine wrote them; every other byte is as it was."""
    target = path.with_name(f"later-{path.name}")
    with tarfile.open(path) as old, tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as new:
        for member in old:
            file = old.extractfile(member) if member.isfile() else None
            data = file.read() if file else b""
            if member.name.endswith("/version.info"):
                data = b"9.0.0"
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.mode, plain.size = member.type if not file else tarfile.REGTYPE, member.mode, len(data)
            new.addfile(plain, io.BytesIO(data))
    return target


def test_what_the_engine_cannot_read_is_no_damage_and_inspect_tells_what_the_archive_does(
    recoup: Recoup, tmp_path: Path
) -> None:
    shard = tmp_path / "shard-0.snapshot"
    shard.write_bytes(plain(SNAPSHOTS / "hybrid-shard0-streamed.snapshot.zst", tmp_path))
    later = of_a_later_version(shard)
    counted = recoup("qdrant", "count", later)
    assert counted.code == 13
    assert "9.0.0" in counted.err
    told = recoup("qdrant", "inspect", later)
    assert told.code == 13
    assert "2 segments" in told.out
    assert "9.0.0" in told.out


def test_a_word_that_is_neither_set_nor_snapshot_is_told_for_what_it_is(recoup: Recoup, tmp_path: Path) -> None:
    text = "version: 1\nstack: s\nsources: {}\nrepositories: {local: {path: b}}\n"
    (tmp_path / "recoup.yaml").write_text(text)
    assert recoup("init").code == 0
    assert "neither a set nor a file 'nowhere'" in recoup("qdrant", "inspect", "nowhere").err
    assert "write ./recoup.yaml" in recoup("qdrant", "inspect", "recoup.yaml").err


def test_a_server_that_is_no_url_is_told_what_one_looks_like(recoup: Recoup) -> None:
    done = recoup("qdrant", "cleanup", "--url", "planted:6333")
    assert done.code == 2
    assert "http://127.0.0.1:6333" in done.err
    assert "planted" not in done.err
