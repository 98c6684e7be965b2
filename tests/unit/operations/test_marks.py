"""What a person says about a set."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import UsageError
from recoup.model.marks import Mark, standing
from recoup.model.names import SetName
from recoup.operations import marks
from recoup.repository._base import Repository
from recoup.repository.opening import open_repository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import add_set, name_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = open_repository("local", LocalStorage(tmp_path / "backups"), "tree", "none", None, SystemClock())
    made.create()
    return made


@pytest.fixture
def name(repository: Repository) -> SetName:
    return name_of(add_set(repository))


def test_a_pin_has_a_reason_and_an_end(repository: Repository, name: SetName) -> None:
    marks.pin(repository, name, "audit", NOW + timedelta(days=1), NOW, "host")
    pinned = standing(repository.marks(name), NOW)
    assert (pinned.pinned, pinned.pin_reason) == (True, "audit")
    assert not standing(repository.marks(name), NOW + timedelta(days=2)).pinned


def test_a_pin_that_has_ended_already_is_refused(repository: Repository, name: SetName) -> None:
    with pytest.raises(UsageError, match="would have ended"):
        marks.pin(repository, name, "", NOW, NOW)
    assert not repository.marks(name)


def test_the_newest_of_pin_and_unpin_counts(repository: Repository, name: SetName) -> None:
    marks.pin(repository, name, "", None, NOW)
    marks.unpin(repository, name, NOW + timedelta(seconds=1))
    assert not standing(repository.marks(name), NOW + timedelta(days=1)).pinned
    marks.pin(repository, name, "again", None, NOW + timedelta(seconds=2))
    assert standing(repository.marks(name), NOW + timedelta(days=1)).pinned


def test_notes_add_up(repository: Repository, name: SetName) -> None:
    marks.note(repository, name, "first", NOW)
    marks.note(repository, name, "second", NOW + timedelta(seconds=1))
    assert standing(repository.marks(name), NOW).notes == ("first", "second")
    with pytest.raises(UsageError, match="is empty"):
        marks.note(repository, name, "  ", NOW)


def test_only_a_suspicious_set_can_be_accepted(repository: Repository, name: SetName) -> None:
    with pytest.raises(UsageError, match="is complete; only a suspicious set"):
        marks.accept(repository, name, NOW)
    assert not standing(repository.marks(name), NOW).accepted


def test_damage_lasts_until_all_bytes_are_sound_again() -> None:
    def found(*proofs: tuple[str, bool, bool]) -> bool:
        marks = (
            Mark("proof", NOW + timedelta(hours=number), "", {"level": level, "passed": passed, "whole": whole})
            for number, (level, passed, whole) in enumerate(proofs)
        )
        return standing(marks, NOW + timedelta(days=1)).damaged is not None

    assert found(("verify", False, False))
    assert found(("verify", False, True), ("verify", True, False), ("drill", True, False))
    assert not found(("verify", False, True), ("verify", True, True))
    assert not found(("verify", False, True), ("drill", True, True))
    assert not found(("verify", True, True), ("drill", False, True))


def _drilled(second: int, **fields: object) -> Mark:
    return Mark("proof", NOW + timedelta(seconds=second), "", {"level": "drill", "whole": True, **fields})


def test_how_long_a_restore_took_is_that_of_the_newest_passed_drill() -> None:
    first, second = _drilled(0, passed=True, restore_seconds=4.5), _drilled(1, passed=True, restore_seconds=7)
    assert standing([first, second, _drilled(2, passed=False)], NOW).restore_seconds == 7.0
    assert standing([first, _drilled(1, passed=True)], NOW).restore_seconds is None


@pytest.mark.parametrize("value", ["3", True, -1, float("nan"), float("inf"), None, [1]])
def test_what_can_be_no_length_of_time_is_none(value: object) -> None:
    assert standing([_drilled(0, passed=True, restore_seconds=value)], NOW).restore_seconds is None
