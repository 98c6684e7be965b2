"""Plain log lines."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.events import Event, Level, Progress
from recoup.model.secrets import Masker
from recoup.sinks.log import Options, connect, line

NOON = datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC)


def event(message: str, level: Level = Level.INFO) -> Event:
    return Event("e", NOON, message, level)


@pytest.mark.requirement("CI-10")
def test_a_line_is_time_level_and_message() -> None:
    assert line(event("stored"), Masker(), UTC) == "[2026-11-21 12:00:05] INFO: stored"


def test_the_time_is_that_of_the_zone() -> None:
    assert line(event("stored"), Masker(), timezone(timedelta(hours=2))).startswith("[2026-11-21 14:00:05]")


@pytest.mark.requirement("CI-10")
@given(st.text(), st.sampled_from(Level))
def test_every_event_is_one_line_of_the_form(message: str, level: Level) -> None:
    text = line(event(message, level), Masker(), UTC)
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (DEBUG|INFO|WARNING|ERROR): [^\n\r\x1b]*", text)


@pytest.mark.requirement("DM-11")
def test_a_secret_is_masked(tmp_path: Path) -> None:
    path = tmp_path / "backup.log"
    sink = connect(Options(path), Masker(["hunter2secret"]))
    sink(event("cannot reach http://me:pass@host/x with hunter2secret"))
    sink.close()
    assert "hunter2secret" not in path.read_text()
    assert "pass" not in path.read_text()


def test_quieter_events_and_progress_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "backup.log"
    sink = connect(Options(path, Level.WARNING, UTC), Masker())
    sink(event("quiet"))
    sink(Progress("backup cache", 1, 2))
    sink(event("loud", Level.WARNING))
    sink.close()
    assert path.read_text() == "[2026-11-21 12:00:05] WARNING: loud\n"
