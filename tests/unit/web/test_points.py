"""Points of a set, as a page shows them: by id, by a text, all as a file, and what happens when they cannot be read."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import recoup
from qdrant_server.running import Qdrant
from recoup.errors import DamagedError
from recoup.model.facts import Facts
from recoup.model.manifest import Manifest, SourceRecord, StoredPart
from recoup.web import _points
from recoup.web._points import ROWS, Collection, collections, has_text, lines, look
from recoup.web._streaming import Blocks
from recoup.web.points import values
from unit.web.browsing import browsing, site_of, text_of

HOSTILE = "<script>alert(1)</script> \u202e\x07 'quoted' \"twice\""


def printing(*records: dict[str, object], code: int = 0, rest: str = "") -> list[str]:
    """A command that prints records as JSON lines."""
    text = "".join(f"{json.dumps(one)}\n" for one in records)
    return ["/bin/sh", "-c", f"printf %s {shlex.quote(text)}; {rest} exit {code}"]


def point(number: int, **payload: object) -> dict[str, object]:
    return {"type": "point", "id": number, "payload": payload}


# --- pure ---------------------------------------------------------------------------------------------------------------


def test_a_text_is_found_in_any_value_of_a_payload_in_whatever_case() -> None:
    one = {"id": 1, "payload": {"title": "Grüße", "deep": {"list": ["x", {"y": "The Rocket"}]}, "n": 42, "none": None}}
    assert all(has_text(one, text) for text in ("", "grüsse", "ROCKET", "42"))
    assert not any(has_text(one, text) for text in ("title", "deep", "none", "rockets"))
    assert not has_text({"id": 1}, "x")


def test_a_payload_is_shown_field_by_field_and_a_long_value_is_cut() -> None:
    long = "x" * 3000
    assert values({"payload": {"a": "text", "b": [1, {"c": "ü"}], "long": long}}) == [
        ("a", "text"),
        ("b", '[1, {"c": "ü"}]'),
        ("long", "x" * 600 + "..."),
    ]
    assert values({"payload": None}) == []
    assert values({"payload": {"long": long}}, 3000) == [("long", long)]


def test_only_what_can_be_opened_without_a_server_is_offered(a_manifest: Manifest) -> None:
    part = StoredPart("docs/0.snapshot", "stream", "v/docs", 1, 1, "0" * 64)
    facts = Facts({"collection docs": {"points": 7}, "collection notes": {}, "store": {"collections": 2}})
    kept = SourceRecord("qdrant", "complete", facts=facts, parts=(part,))
    others = {"local": replace(kept, kind="qdrant-local"), "lost": replace(kept, parts=()), "v": kept}
    made = replace(a_manifest, sources=others)
    assert collections(made) == (Collection("v", "docs", 7), Collection("v", "notes", None))


# --- a look -------------------------------------------------------------------------------------------------------------


def test_a_page_has_so_many_points_and_says_where_the_next_one_begins() -> None:
    command = printing(*(point(n, even=str(n % 2 == 0)) for n in range(3 * ROWS)))
    first = look(command, "", 0)
    assert ([one["id"] for one in first.points], first.next) == (list(range(ROWS)), ROWS)
    even = look(command, "true", 0)
    assert [one["id"] for one in even.points] == list(range(0, 2 * ROWS, 2))
    assert even.next is not None
    rest = look(command, "true", even.next)
    assert [one["id"] for one in rest.points] == list(range(2 * ROWS, 3 * ROWS, 2))
    assert rest.next is None


def test_an_error_that_the_command_tells_is_told() -> None:
    error = {"type": "error", "message": "the shard is broken", "hint": "take another set", "exit_code": 4}
    with pytest.raises(DamagedError, match="the shard is broken") as told:
        look(printing(point(1), error, code=4), "", 0)
    assert told.value.hint == "take another set"


@pytest.mark.parametrize("code", [1, 3, 137])
def test_points_that_end_before_their_end_are_not_all(code: int) -> None:
    with pytest.raises(DamagedError, match="could not be read to their end"):
        look(printing(point(1), code=code), "", 0)
    with pytest.raises(DamagedError, match="could not be read to their end"):
        b"".join(lines(printing(point(1), code=code)))


def test_a_point_that_is_not_there_is_no_damage() -> None:
    assert look(printing(code=1), "", 0, by_id=True).points == ()


def test_a_look_whose_time_is_over_says_that_it_saw_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_points, "PATIENCE", 1.0)
    found = look(printing(point(1, a="yes"), rest="exec sleep 60;"), "no", 0)
    assert (found.points, found.next, found.looked_at, found.ran_out) == ((), None, 1, True)


def test_all_points_come_as_lines_and_a_download_that_ends_early_is_broken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = b"".join(lines(printing(point(1, a="ü\n"), point(2))))
    assert [json.loads(line) for line in whole.splitlines()] == [
        {"id": 1, "payload": {"a": "ü\n"}},
        {"id": 2, "payload": {}},
    ]
    monkeypatch.setattr(_points, "_BLOCK", 10)
    blocks = Blocks(lines(printing(point(1), point(2), point(3), code=4)), None)
    with pytest.raises(DamagedError):
        while blocks.next():
            pass
    blocks.close()


# --- a real set ---------------------------------------------------------------------------------------------------------


def test_points_of_a_set_are_found_by_id_and_text_and_taken_out(
    qdrant: Qdrant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    qdrant.ask("PUT", "/collections/docs", {"vectors": {"size": 2, "distance": "Dot"}})
    points = [{"id": n, "vector": [float(n), 1.0], "payload": {"text": f"chunk {n}"}} for n in range(60)]
    points[7]["payload"] = {"text": HOSTILE, HOSTILE: 1}
    qdrant.ask("PUT", "/collections/docs/points", {"points": points}, wait="true")
    (tmp_path / "recoup.yaml").write_text(
        f"version: 1\nstack: shop\nsources:\n  v: {{kind: qdrant, url: '{qdrant.url}', grpc_port: {qdrant.grpc_port}}}\n"
        "repositories:\n  local: {path: backups}\n"
    )
    stack = recoup.open(tmp_path / "recoup.yaml")
    stack.create_repositories()
    name = stack.backup().repositories[0].set
    site = site_of(tmp_path / "recoup.yaml", (sys.executable, "-P", "-m", "recoup"))
    with browsing(site) as client:
        here = f"/sets/local/{name}/points"
        assert "docs : 60 points at the backup" in text_of(client.get(f"/sets/local/{name}/inside").text)
        first = client.get(here).text
        assert text_of(first).count("chunk ") == ROWS - 1
        assert "Go on" in first
        assert "<script>" not in first.partition("<main")[2]
        assert "\u202e" not in first
        found = text_of(client.get(here, params={"text": "CHUNK 5"}).text)
        assert "chunk 59" in found
        assert "chunk 49" not in found
        one = text_of(client.get(here, params={"id": "42"}).text)
        assert "chunk 42" in one
        wrong = client.get(here, params={"id": "--into=http://evil"})
        assert wrong.status_code == 400
        assert "is no id of a point" in wrong.text
        assert client.get(here, params={"collection": "../x"}).status_code == 400
        assert client.get(here, params={"begin": str(10**30)}).status_code == 400
        lines_of = client.get(f"/sets/local/{name}/points.jsonl?source=v&collection=docs")
        told = [json.loads(line) for line in lines_of.text.splitlines()]
        assert [one["id"] for one in told] == list(range(60))
        assert told[3]["vector"] == [3.0, 1.0]
        monkeypatch.setattr(_points, "PATIENCE", 0.0)
        in_no_time = text_of(client.get(here, params={"id": "42"}).text)
        assert "None was found in time" in in_no_time
        assert "There is no point" not in in_no_time


@pytest.fixture
def a_manifest(stack_folder: Path) -> Manifest:
    return recoup.open(stack_folder / "recoup.yaml").manifest()
