"""The disaster-recovery drill: everything, from the repository alone."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, NoSuchSetError, UsageError
from recoup.model.reports import RecoveryPoint
from recoup.system.clock import SystemClock

CONFIG = """
version: 1
stack: small
sources:
  data: {kind: files, path: data}
  logs: {kind: files, path: logs}
  env: {kind: files, path: .env, optional: true}
repositories:
  local: {path: backups, keep: {last: 9}}
"""


class MovingClock(SystemClock):
    """The machine's clock, put forward by a test."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


Opened = Callable[[], recoup.Stack]


@pytest.fixture
def opened(tmp_path: Path, clock: MovingClock) -> Opened:
    for name in ("data", "logs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(f"{name} of the first day")
    (tmp_path / "recoup.yaml").write_text(CONFIG)

    def make() -> recoup.Stack:
        return recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path, clock=clock)

    make().create_repositories()
    return make


def points(found: tuple[RecoveryPoint, ...]) -> dict[str, tuple[str, int, int | None]]:
    """Source to its set, and hours."""
    return {
        p.source: (
            p.set,
            round(p.age_seconds / 3600),
            None if p.interval_seconds is None else round(p.interval_seconds / 3600),
        )
        for p in found
    }


@pytest.mark.requirement("SR-17")
def test_the_newest_good_copy_of_each_source_comes_back_and_time_and_loss_are_measured(
    opened: Opened, clock: MovingClock
) -> None:
    stack = opened()
    names = []
    for sources in (None, ["data"], ["logs"]):
        report = stack.backup(sources=sources)
        assert report.manifest is not None
        names.append(report.manifest.name)
        clock.ahead += timedelta(hours=10)
    found = stack.drill_recovery()
    assert found.exit_code == ExitCode.OK
    assert points(found.points) == {"data": (names[1], 20, 10), "logs": (names[2], 10, 20)}
    assert {drilled.set: [s.source for s in drilled.sources] for drilled in found.drills} == {
        names[2]: ["logs"],
        names[1]: ["data"],
    }
    assert found.rpo_seconds is not None
    assert round(found.rpo_seconds / 3600) == 20
    times = [source.restore_seconds for source in found.sources]
    assert found.rto_seconds == sum(time for time in times if time is not None)
    assert all(
        time is not None and 0 < time <= source.seconds for time, source in zip(times, found.sources, strict=True)
    )
    assert found.skipped == {"env": "it was absent at every backup"}
    assert all(info.standing.proven for info in stack.sets() if info.name in names[1:])


@pytest.mark.requirement("SR-17")
def test_settings_come_from_the_manifests_and_live_data_is_not_needed(opened: Opened, tmp_path: Path) -> None:
    opened().backup()
    config = (tmp_path / "recoup.yaml").read_text().replace("kind: files, path: logs", "kind: sqlite, path: gone.db")
    (tmp_path / "recoup.yaml").write_text(config)
    for name in ("data", "logs"):
        shutil.rmtree(tmp_path / name)
    assert opened_again(tmp_path).drill_recovery().passed
    (tmp_path / "recoup.yaml").unlink()
    machine = tmp_path / "empty machine"
    machine.mkdir()
    stack = recoup.open(repository=str(tmp_path / "backups"), environ={}, cwd=machine)
    assert {source.source for source in stack.drill_recovery().sources} == {"data", "logs"}
    assert not list(machine.iterdir())


def opened_again(root: Path) -> recoup.Stack:
    return recoup.open(root / "recoup.yaml", environ={}, cwd=root)


@pytest.mark.requirement("SR-17")
def test_a_damaged_copy_fails_the_drill_with_4_and_no_time_is_claimed(opened: Opened, tmp_path: Path) -> None:
    stack = opened()
    stack.backup()
    (stored,) = (tmp_path / "backups").glob("backup_*/data/file")
    stored.write_text("data of the wrong day")
    found = stack.drill_recovery()
    assert found.exit_code == ExitCode.DAMAGED
    assert {source.source: source.passed for source in found.sources} == {"data": False, "logs": True}
    assert found.rto_seconds is None
    assert found.rpo_seconds is None


def test_a_configured_source_without_a_copy_ends_with_3_though_all_else_is_proven(opened: Opened) -> None:
    stack = opened()
    stack.backup(sources=["data"])
    found = stack.drill_recovery()
    assert found.exit_code == ExitCode.INCOMPLETE
    assert not found.passed
    assert found.lost["logs"] == "the configuration has it, and no set does"
    assert found.rto_seconds is None


def test_a_source_that_always_failed_is_lost_and_said_why(opened: Opened, tmp_path: Path) -> None:
    stack = opened()
    shutil.rmtree(tmp_path / "logs")
    assert stack.backup().exit_code == ExitCode.INCOMPLETE
    found = stack.drill_recovery()
    assert found.lost == {"logs": "no set has a good copy, only: failed"}
    assert found.exit_code == ExitCode.INCOMPLETE


def test_an_older_copy_stands_in_for_a_failed_one_and_the_loss_shows_it(
    opened: Opened, tmp_path: Path, clock: MovingClock
) -> None:
    stack = opened()
    first = stack.backup().manifest
    assert first is not None
    clock.ahead += timedelta(hours=30)
    shutil.rmtree(tmp_path / "logs")
    stack.backup()
    found = stack.drill_recovery()
    assert found.exit_code == ExitCode.OK
    assert points(found.points)["logs"] == (first.name, 30, None)


def test_a_set_that_cannot_be_read_is_named(opened: Opened, tmp_path: Path, clock: MovingClock) -> None:
    stack = opened()
    stack.backup()
    clock.ahead += timedelta(hours=1)
    second = stack.backup().manifest
    assert second is not None
    (tmp_path / "backups" / second.name / "manifest.json").write_text("{")
    found = opened_again(tmp_path).drill_recovery()
    assert found.passed
    assert list(found.unreadable) == [second.name]


def test_a_set_whose_kind_is_not_installed_here_fails_and_the_others_are_drilled(
    opened: Opened, tmp_path: Path
) -> None:
    stack = opened()
    stack.backup(sources=["data"])
    stack.backup(sources=["logs"])
    newest = max((tmp_path / "backups").glob("backup_*/manifest.json"))
    newest.write_text(newest.read_text().replace('"kind": "files"', '"kind": "tape-robot"'))
    found = opened_again(tmp_path).drill_recovery()
    assert found.exit_code == ExitCode.DAMAGED
    assert {source.source: source.passed for source in found.sources} == {"data": True, "logs": False}
    assert "tape-robot" in next(source.error for source in found.sources if source.error)


def test_an_empty_repository_proves_nothing(opened: Opened) -> None:
    with pytest.raises(NoSuchSetError, match="nothing can be recovered"):
        opened().drill_recovery()


def test_sets_of_several_stacks_are_not_mixed(opened: Opened, tmp_path: Path) -> None:
    opened().backup()
    config = (tmp_path / "recoup.yaml").read_text()
    (tmp_path / "recoup.yaml").write_text(config.replace("stack: small", "stack: other"))
    opened_again(tmp_path).backup()
    (tmp_path / "recoup.yaml").unlink()
    with pytest.raises(UsageError, match="other, small"):
        recoup.open(repository=str(tmp_path / "backups"), environ={}, cwd=tmp_path).drill_recovery()
