"""Chosen points as files for other programs."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recoup.errors import UsageError
from recoup.sources.qdrant._extracting import write_file
from recoup.sources.qdrant._points_file import Point

NAMED = {
    "params": {
        "vectors": {
            'it\'s "dense"': {"size": 2, "distance": "Dot"},
            "multi": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {"words": {}},
    }
}
POINTS: list[Point] = [
    {
        "id": 2**64 - 1,
        "vector": {
            'it\'s "dense"': [0.5, -1.0],
            "multi": [[1.0, 2.0], [3.0, 4.0]],
            "words": {"indices": [4_000_000_000], "values": [0.25]},
        },
        "payload": {"kind": "page", "nested": {"a": [1, None, "ü"]}},
    },
    {"id": "936da01f-9abd-4d9d-80c7-02af85c822a8", "vector": {}, "payload": {}, "shard_key": "eu"},
]


def rows(path: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM '{path}' ORDER BY id")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_json_lines_hold_each_point_in_qdrants_form(tmp_path: Path) -> None:
    path = tmp_path / "points.jsonl"
    assert write_file(path, POINTS, NAMED) == 2
    assert [json.loads(line) for line in path.read_text().splitlines()] == POINTS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parquet_has_a_column_for_each_vector_and_the_payload_as_json(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    assert write_file(path, POINTS, NAMED) == 2
    numbered, other = rows(path)
    assert numbered["id"] == str(2**64 - 1)
    assert json.loads(numbered["payload"]) == POINTS[0]["payload"]
    assert numbered['vector.it\'s "dense"'] == [0.5, -1.0]
    assert numbered["vector.multi"] == [[1.0, 2.0], [3.0, 4.0]]
    assert numbered["vector.words"] == {"indices": [4_000_000_000], "values": [0.25]}
    assert (other["shard_key"], other["vector.multi"]) == ("eu", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_of_more_rows_than_a_group_keeps_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    config = {"params": {"vectors": {"size": 3, "distance": "Dot"}}}
    many = ({"id": n, "vector": [float(n), 0.1, 0.2], "payload": {"n": n}} for n in range(5000))
    assert write_file(path, many, config) == 5000
    found = rows(path)
    assert len({row["id"] for row in found}) == 5000
    assert all(row["vector"][0] == float(row["id"]) for row in found)


def test_no_points_make_an_empty_table(tmp_path: Path) -> None:
    assert write_file(tmp_path / "none.parquet", [], NAMED) == 0
    assert rows(tmp_path / "none.parquet") == []


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_that_is_there_stays_as_it_is(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"points{ending}"
    path.write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        write_file(path, POINTS, NAMED)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_nothing_stays_of_points_that_could_not_be_read_to_the_end(ending: str, tmp_path: Path) -> None:
    def breaking() -> Iterator[Point]:
        yield POINTS[0]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        write_file(tmp_path / f"points{ending}", breaking(), NAMED)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format"):
        write_file(tmp_path / "points.csv", POINTS, NAMED)
