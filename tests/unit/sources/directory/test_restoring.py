"""Restoring a directory: the service stops for the swap, and what does not come up is taken back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from recoup.errors import BusyError, RestoreError
from recoup.sources import _placing
from recoup.sources._base import Site
from recoup.sources.directory import DirectorySource, Options, RestoreOptions, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import Taken, take
from services.standing import ToyService

Make = Callable[..., DirectorySource]


@pytest.fixture
def make(service: ToyService, tmp_path: Path) -> Make:
    """Makes the source, with further settings."""
    (tmp_path / "staging").mkdir(mode=0o700)

    def made(timeout: str = "20s", **settings: object) -> DirectorySource:
        options = Options.model_validate({**service.settings(timeout), **settings})
        return connect(options, Site("qdrant", tmp_path, tmp_path / "staging", SystemClock()))

    return made


@pytest.fixture
def taken(make: Make, service: ToyService, tmp_path: Path) -> Taken:
    """A capture; afterwards the directory has something new."""
    found = take(make(), tmp_path / "taken")
    (service.data / "new").write_text("since the backup")
    return found


def beside(service: ToyService) -> list[str]:
    """What lies beside the directory, other than the service's own."""
    own = {"calls", "where", "port", "pid", "pid.new", "refuse-start", "refuse-stop", "deaf"}
    return sorted(path.name for path in service.root.iterdir() if path.name not in own)


@pytest.mark.requirement("SR-10")
def test_a_restore_keeps_what_was_there_and_the_service_runs_on_what_was_restored(
    make: Make, service: ToyService, taken: Taken
) -> None:
    before = service.calls().count("stop")
    placement = make().restore(taken.again(), RestoreOptions())
    assert Path(placement.kept).name.startswith("data.before-restore-")
    assert (Path(placement.kept) / "new").read_text() == "since the backup"
    assert (Path(placement.kept) / "journal").read_text() == "ended\n"
    assert not (service.data / "new").exists()
    assert service.is_up
    assert service.calls().count("stop") == before + 1


@pytest.mark.requirement("SR-10")
def test_a_directory_on_which_the_service_does_not_come_up_is_taken_back(
    make: Make, service: ToyService, tmp_path: Path, state: Path
) -> None:
    (service.data / "poison").touch()
    poisoned = take(make(timeout="0.5s"), tmp_path / "poisoned")
    (service.data / "poison").unlink()
    service.start()
    (service.data / "new").write_text("since the backup")
    source = make(timeout="2s")
    source.recover()
    with pytest.raises(RestoreError, match="does not come up with the restored directory") as caught:
        source.restore(poisoned.again(), RestoreOptions())
    assert caught.value.hint == "What was there before is back in its place, and the service is up."
    assert (service.data / "new").read_text() == "since the backup"
    service.await_up()
    assert beside(service) == ["data"]
    assert not list(state.glob("service-*"))


def test_a_service_that_starts_on_nothing_is_said_to_be_down(make: Make, service: ToyService, taken: Taken) -> None:
    service.switch("refuse-start")
    with pytest.raises(RestoreError) as caught:
        make().restore(taken.again(), RestoreOptions())
    assert "does not come up either. Start it by hand: " in caught.value.hint
    assert (service.data / "new").exists()
    assert beside(service) == ["data"]


def test_a_service_that_cannot_be_stopped_keeps_its_directory(make: Make, service: ToyService, taken: Taken) -> None:
    service.switch("refuse-stop")
    with pytest.raises(RestoreError, match="`stop` failed"):
        make().restore(taken.again(), RestoreOptions())
    assert (service.data / "new").exists()
    assert beside(service) == ["data"]
    assert service.is_up


def test_a_service_that_is_stopped_already_is_left_alone(make: Make, service: ToyService, taken: Taken) -> None:
    with pytest.raises(BusyError, match="is running"):
        make().restore(taken.again(), RestoreOptions(stopped=True))
    assert (service.data / "new").exists()
    service.run("stop")
    service.await_down()
    before = service.calls()
    make().restore(taken.again(), RestoreOptions(stopped=True))
    assert not (service.data / "new").exists()
    assert service.calls() == before


def test_a_restore_to_another_place_stops_nothing(
    make: Make, service: ToyService, taken: Taken, tmp_path: Path
) -> None:
    before = service.calls()
    settings = Options.model_validate(service.settings()).moved(str(tmp_path / "elsewhere"))
    source = connect(settings, Site("qdrant", tmp_path, tmp_path / "staging", SystemClock()))
    source.restore(taken.again(), RestoreOptions())
    assert (tmp_path / "elsewhere" / "journal").read_text() == "ended\n"
    assert service.calls() == before


def test_a_restore_is_possible_where_a_killed_run_left_a_service_that_does_not_start(
    make: Make, service: ToyService, taken: Taken
) -> None:
    refusing = service.switch("refuse-start")
    take(make(), service.root / "second")
    assert "does not start" in " ".join(make().recover())
    refusing.unlink()
    make().restore(taken.again(), RestoreOptions())
    service.await_up()
    assert "it is up" in " ".join(make().recover())  # what the killed run left is seen to be right, once
    assert make().recover() == ()


# --- undoing, on its own ---------------------------------------------------------------------------------------------


def test_undoing_can_go_on_where_it_was_killed(tmp_path: Path) -> None:
    target, kept = tmp_path / "data", tmp_path / "data.before-restore-20260101_000000"
    aside = _placing.set_aside_path(kept)
    kept.mkdir()
    (kept / "old").touch()
    target.mkdir()
    (target / "new").touch()
    target.rename(aside)  # as far as it came
    assert _placing.put_back(target, kept) == aside
    assert _placing.put_back(target, kept) == aside
    assert os.listdir(target) == ["old"]
    assert os.listdir(aside) == ["new"]


@pytest.mark.parametrize("steps", range(5))
def test_undoing_in_a_mount_point_can_go_on_where_it_was_killed(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "data"
    kept = target / "data.before-restore-20260101_000000"
    kept.mkdir(parents=True)
    for name in ("one", "two"):
        (kept / name).write_text("old")
        (target / name).write_text("new")
    rename, done = Path.rename, 0

    def counted(path: Path, other: Path) -> Path:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        return rename(path, other)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", counted)
        _placing.put_back(target, kept)
    aside = _placing.put_back(target, kept)
    assert sorted(os.listdir(target)) == [aside.name, "one", "two"]
    assert (target / "one").read_text() == (target / "two").read_text() == "old"
    assert (aside / "one").read_text() == (aside / "two").read_text() == "new"
