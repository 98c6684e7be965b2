"""Events as JSON lines."""

import json
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.events import Event, Level, Progress
from recoup.model.secrets import Masker
from recoup.sinks import jsonl
from recoup.sinks.jsonl import Options, connect, record

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CREATED = Event(
    "backup_created",
    NOON,
    "stored",
    set="backup_20261121_120000",
    fields={"path": "data/backups/x", "included": ["cache", "env"], "bytes_written": 12, "duration_ms": 7},
)
PRUNED = Event("backup_pruned", NOON, "removed", fields={"deleted_count": 2, "keep_last": 7})
FAILED = Event("source_failed", NOON, "cache: cannot be read", Level.ERROR, fields={"source": "cache"})


def written(path: Path, *news: Event | Progress, options: Options | None = None) -> list[dict[str, object]]:
    sink = connect(options or Options(path), Masker(["hunter2secret"]))
    for piece in news:
        sink(piece)
    sink.close()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.requirement("DM-9")
def test_the_exact_form_has_one_line_for_each_of_the_two_events_and_their_keys_alone(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    lines = written(path, CREATED, FAILED, PRUNED, options=Options(path, "exact"))
    assert [list(line) for line in lines] == [
        ["path", "included", "bytes_written", "duration_ms"],
        ["deleted_count", "keep_last"],
    ]
    assert lines[0]["included"] == ["cache", "env"]


@pytest.mark.requirement("DM-9")
def test_the_full_form_adds_event_time_and_set_to_the_keys_of_the_two_events(tmp_path: Path) -> None:
    created, pruned = written(tmp_path / "backup.jsonl", CREATED, PRUNED)
    assert list(created) == ["event", "time", "set", "path", "included", "bytes_written", "duration_ms"]
    assert list(pruned) == ["event", "time", "set", "deleted_count", "keep_last"]
    assert created["event"] == "backup_created"
    assert created["time"] == "2026-11-21T12:00:00+00:00"
    assert created["set"] == "backup_20261121_120000"


def test_other_events_say_how_loud_they_are_and_what_a_person_reads() -> None:
    line = record(FAILED, Masker())
    assert (line["level"], line["message"], line["source"]) == ("error", "cache: cannot be read", "cache")


def test_an_events_own_field_never_hides_a_common_key() -> None:
    line = record(Event("e", NOON, "m", fields={"event": "forged", "time": 0, "mine": 1}), Masker())
    assert (line["event"], line["mine"]) == ("e", 1)
    assert line["time"] == NOON.isoformat()


@pytest.mark.requirement("DM-11")
def test_a_secret_in_a_message_or_deep_in_a_field_is_masked(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    fields = {"errors": {"db": ["postgres://u:hunter2secret@h/d", "password=other-secret"]}}
    written(path, Event("e", NOON, "hunter2secret", fields=fields))
    text = path.read_text()
    assert "hunter2secret" not in text
    assert "other-secret" not in text
    assert "***" in text


def test_progress_leaves_no_line_and_a_run_without_news_no_file(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    assert written(path, Progress("backup cache", 1, 2)) == []
    assert not path.exists()


def test_lines_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "backup.jsonl"
    written(path, CREATED)
    assert len(written(path, PRUNED)) == 2


@pytest.mark.requirement("SR-14")
def test_the_file_and_its_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written(tmp_path / "logs" / "backup.jsonl", CREATED)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs" / "backup.jsonl").stat().st_mode) == 0o600


def test_a_line_that_a_full_disk_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    path.write_text('{"event": "backup_cre')
    sink = connect(Options(path), Masker())
    sink(CREATED)
    sink.close()
    torn, whole = path.read_text().splitlines()
    assert torn == '{"event": "backup_cre'
    assert json.loads(whole)["event"] == "backup_created"


def test_lines_of_many_threads_and_sinks_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    sinks = [connect(Options(path), Masker()) for _ in range(2)]
    long = Event("e", NOON, "x" * 20_000)

    def speak(number: int) -> None:
        for _ in range(20):
            sinks[number % 2](long)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sink in sinks:
        sink.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 120
    assert all(json.loads(line)["message"] == "x" * 20_000 for line in lines)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    sink = connect(Options(tmp_path), Masker())
    with pytest.raises(OSError, match="directory"):
        sink(CREATED)
    sink.close()


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_every_event_is_one_line_of_json(message: str, fields: dict[str, str]) -> None:
    line = json.dumps(record(Event("e", NOON, message, fields=fields), Masker()))
    assert "\n" not in line
    assert json.loads(line)["message"] == Masker()(message)


def test_the_exact_form_knows_the_keys_that_are_promised() -> None:
    assert jsonl.EXACT == {
        "backup_created": ("path", "included", "bytes_written", "duration_ms"),
        "backup_pruned": ("deleted_count", "keep_last"),
    }


def test_progress_as_a_record_has_its_keys_and_no_secret() -> None:
    told = Progress("read hunter2secret", 3, None, unit="points")
    assert jsonl.progress_record(told, NOON, Masker(["hunter2secret"])) == {
        "event": "progress",
        "time": "2026-11-21T12:00:00+00:00",
        "work": "read ***",
        "done": 3,
        "total": None,
        "unit": "points",
        "finished": False,
    }
