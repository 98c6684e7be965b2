"""What a machine remembers of runs: in order, bounded, and nothing made by looking."""

from datetime import UTC, datetime, timedelta

import pytest

from recoup.model.reports import VerbRun
from recoup.system import runs
from recoup.system.statefile import StateError, state_path

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def a_run(number: int, verb: str = "backup", code: int = 0) -> VerbRun:
    begin = NOW + timedelta(seconds=number)
    return VerbRun(verb, ("chat", "logs"), "near, far", begin, begin + timedelta(seconds=1), code, "it broke" * code)


def test_runs_come_back_as_they_were_the_newest_first() -> None:
    told = [a_run(1), a_run(2, "prune", 1)]
    for run in told:
        runs.remember("shop", run)
    assert runs.runs("shop") == tuple(reversed(told))
    assert runs.runs("other") == ()


def test_looking_makes_nothing() -> None:
    assert runs.runs("shop") == ()
    assert not state_path("shop").exists()


def test_the_oldest_are_forgotten_but_the_last_that_went_well_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 5)
    runs.remember("shop", a_run(0))
    runs.remember("shop", a_run(1))
    runs.remember("shop", a_run(2, "prune"))
    for number in range(3, 12):
        runs.remember("shop", a_run(number, code=1))
    found = [run for run in runs.runs("shop") if run.verb == "backup"]
    assert [(run.started - NOW).seconds for run in found] == [11, 10, 9, 8, 7, 1]
    assert len(runs.runs("shop")) == 7


def test_a_memory_that_cannot_be_written_is_a_typed_error() -> None:
    state_path("shop").parent.parent.mkdir(parents=True)
    state_path("shop").parent.write_text("no folder")
    with pytest.raises(StateError):
        runs.remember("shop", a_run(1))
