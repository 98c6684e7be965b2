"""Thirty days of each kind of artefact, on a calendar that the test turns."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import recoup
from recoup.model.names import SetName
from recoup.system.clock import SystemClock

CONFIG = """
version: 1
stack: selfrag
sources:
  db: {kind: files, path: db}
  vectors: {kind: files, path: vectors}
  directory: {kind: files, path: directory}
  logs: {kind: files, path: logs}
repositories:
  local: {path: backups, keep: {within: 30d}, prune_after_backup: true}
"""

DAILY = {"db": 2, "vectors": 3, "logs": 5}
WEEKLY = {"directory": 4}
SUNDAY = 6


class Calendar(SystemClock):
    """A clock that stands where the test puts it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def calendar() -> Calendar:
    return Calendar(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture
def stack(tmp_path: Path, calendar: Calendar) -> recoup.Stack:
    for name in ("db", "vectors", "directory", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "recoup.yaml").write_text(CONFIG)
    found = recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path, clock=calendar)
    found.create_repositories()
    return found


def due(day: datetime, stopped: Mapping[str, datetime]) -> list[tuple[int, str]]:
    """Hours and sources of the day's schedule."""
    plan = {**DAILY, **(WEEKLY if day.weekday() == SUNDAY else {})}
    return sorted((hour, name) for name, hour in plan.items() if name not in stopped or day < stopped[name])


def live(stack: recoup.Stack) -> dict[str, list[datetime]]:
    found: dict[str, list[datetime]] = {}
    for info in stack.sets():
        name = SetName.parse(info.name)
        assert name is not None
        assert info.manifest is not None
        (source,) = info.manifest.sources
        found.setdefault(source, []).append(name.time)
    return found


@pytest.mark.requirement("SR-16", "SR-5")
def test_of_each_kind_thirty_days_stay_and_what_stopped_being_backed_up_never_goes(
    stack: recoup.Stack, calendar: Calendar
) -> None:
    begin = calendar.at
    stopped = {"vectors": begin + timedelta(days=6)}
    made: dict[str, list[datetime]] = {}
    for number in range(36):
        day = begin + timedelta(days=number)
        for hour, source in due(day, stopped):
            calendar.at = day.replace(hour=hour)
            report = stack.backup(sources=[source])
            assert report.manifest is not None
            assert report.manifest.outcome == "complete"
            made.setdefault(source, []).append(calendar.at)
    wanted = {
        source: [moment for moment in moments if moment > moments[-1] - timedelta(days=30)]
        for source, moments in made.items()
    }
    found = live(stack)
    assert found == wanted
    assert len(found["vectors"]) == 6, "the newest of what has stopped are kept, however old"
    assert {name: len(found[name]) for name in DAILY if name != "vectors"} == {"db": 30, "logs": 30}
    assert 4 <= len(found["directory"]) <= 5
    assert all(len(made[name]) > len(found[name]) for name in ("db", "logs", "directory"))
