"""Recoup killed at each step of a backup and a restore of a directory: the service is up again each time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crash.killing import run_killed_at
from recoup.app import Stack, open_stack
from recoup.sources._service_watch import PURPOSE, log_file
from services.standing import ToyService

STEPS = ["stop-begin", "stop-end", "start-begin", "start-end"]


@pytest.fixture
def config(service: ToyService, tmp_path: Path) -> Path:
    """A stack with the service's directory alone."""
    document = {
        "version": 1,
        "stack": "small",
        "sources": {"qdrant": service.settings()},
        "repositories": {"local": {"path": "backups", "keep": {"last": 9}}},
    }
    path = tmp_path / "recoup.yaml"
    path.write_text(json.dumps(document))
    opened(path).create_repositories()
    return path


def opened(config: Path) -> Stack:
    return open_stack([config], environ={}, cwd=config.parent)


def begin(config: Path, service: ToyService, *arguments: str) -> "subprocess.Popen[bytes]":
    """Recoup in a process of its own, known to the service as its victim."""
    command = [sys.executable, "-m", "recoup", "-c", str(config), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    service.switch("victim", str(process.pid))
    return process


def end(process: "subprocess.Popen[bytes]") -> bytes:
    """Waits for its end, and returns what it said."""
    with process:
        assert process.stderr
        said = process.stderr.read()
    return said


def await_rest(state: Path) -> None:
    """Waits until no watchdog is at work any more."""
    until = time.monotonic() + 60
    while list(state.glob(f"{PURPOSE}-*")):
        assert time.monotonic() < until, log_file().read_text()
        time.sleep(0.05)


def good_sets(config: Path) -> int:
    infos = opened(config).sets()
    assert all(info.manifest and info.manifest.outcome == "complete" for info in infos)
    return len(infos)


@pytest.mark.slow
@pytest.mark.requirement("SR-4")
@pytest.mark.parametrize("step", STEPS)
def test_a_backup_killed_at_a_command_leaves_the_service_up(
    config: Path, service: ToyService, state: Path, step: str
) -> None:
    service.switch("kill-at", step)
    process = begin(config, service, "backup")
    end(process)
    assert process.returncode == -signal.SIGKILL
    await_rest(state)
    assert service.is_up
    if step.startswith("stop"):
        assert "Recoup has ended and left the service stopped" in log_file().read_text()
    assert good_sets(config) == 0
    assert opened(config).backup().exit_code == 0
    assert good_sets(config) == 1
    assert service.is_up


@pytest.mark.slow
@pytest.mark.requirement("SR-10")
@pytest.mark.parametrize("step", STEPS)
def test_a_restore_killed_at_a_command_leaves_the_service_up_on_a_whole_directory(
    config: Path, service: ToyService, state: Path, step: str
) -> None:
    opened(config).backup()
    (service.data / "new").write_text("since the backup")
    service.switch("kill-at", step)
    process = begin(config, service, "restore", "latest", "--in-place", "--yes")
    end(process)
    assert process.returncode == -signal.SIGKILL
    await_rest(state)
    service.await_up()
    assert (service.data / "collections" / "points").stat().st_size == 200_000
    assert (service.data / "new").exists() == step.startswith("stop")
    assert opened(config).restore(text="latest", in_place=True).exit_code == 0
    assert not (service.data / "new").exists()
    assert service.is_up


@pytest.mark.slow
@pytest.mark.requirement("SR-4")
def test_a_backup_killed_at_its_own_file_operations_leaves_the_service_up(
    config: Path, service: ToyService, state: Path
) -> None:
    for n in (2, 6, 10, 14, 20, 40):
        if run_killed_at(n, lambda: opened(config).backup()):
            break
        await_rest(state)
        assert service.is_up
    shutil.rmtree(config.parent / "backups" / ".partial", ignore_errors=True)
    assert opened(config).backup().exit_code == 0
    assert good_sets(config) >= 1
    assert service.is_up


@pytest.mark.slow
@pytest.mark.requirement("SR-10")
def test_a_restore_killed_at_its_own_file_operations_leaves_the_service_up_on_a_whole_directory(
    config: Path, service: ToyService, state: Path
) -> None:
    opened(config).backup()
    for n in (10, 24, *range(30, 80, 3)):
        (service.data / "new").write_text("since the backup")
        if run_killed_at(n, lambda: opened(config).restore(text="latest", in_place=True)):
            break
        await_rest(state)
        service.await_up()
        assert (service.data / "collections" / "points").stat().st_size == 200_000
    assert "Recoup has ended and left the service stopped" in log_file().read_text()
    list(opened(config).recover())
    assert opened(config).restore(text="latest", in_place=True).exit_code == 0
    assert not (service.data / "new").exists()
    assert [path.name for path in service.root.iterdir() if "recoup" in path.name] == []
    assert service.is_up


@pytest.mark.requirement("SR-4")
def test_where_the_watchdog_is_killed_too_the_next_run_starts_the_service(
    config: Path, service: ToyService, state: Path
) -> None:
    service.switch("deaf")  # it does not stop, so that the run waits for it
    process = begin(config, service, "backup")
    watchdog = _await_watchdog(state, process)
    while "stop" not in service.calls():
        time.sleep(0.01)
    for number, victim in ((signal.SIGSTOP, process.pid), (signal.SIGKILL, watchdog), (signal.SIGKILL, process.pid)):
        os.kill(victim, number)
    end(process)
    (service.root / "deaf").unlink()
    service.run("stop")
    service.await_down()
    recovered = end_of([sys.executable, "-m", "recoup", "-c", str(config), "recover"])
    assert recovered.returncode == 0, recovered.stderr
    assert "was left stopped by a run that was killed; it is up" in recovered.stdout
    service.await_up()
    assert not list(state.glob(f"{PURPOSE}-*"))


def end_of(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _await_watchdog(state: Path, process: "subprocess.Popen[bytes]") -> int:
    """The number of the watchdog, as its journal's name tells it."""
    until = time.monotonic() + 60
    while not (found := list(state.glob(f"{PURPOSE}-*"))):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    return int(found[0].stem.split("-")[3])


@pytest.mark.requirement("SR-4")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_the_service_up_and_nothing_half(
    config: Path, service: ToyService, state: Path, number: signal.Signals
) -> None:
    service.switch("deaf")  # it does not stop, so that the run waits for it
    process = begin(config, service, "backup")
    _await_watchdog(state, process)
    process.send_signal(number)
    end(process)
    assert process.returncode == 130
    (service.root / "deaf").unlink()
    await_rest(state)
    assert service.is_up
    assert good_sets(config) == 0


def test_a_start_that_fails_is_exit_3_with_the_archive_kept(config: Path, service: ToyService) -> None:
    service.switch("refuse-start")
    process = begin(config, service, "backup")
    said = end(process).decode()
    assert process.returncode == 3
    assert "the service is not up" in said
    assert "the archive is whole" in said
    [info] = opened(config).sets()
    assert info.manifest
    record = info.manifest.sources["qdrant"]
    assert record.outcome == "incomplete"
    assert record.facts
    assert record.facts.values["folder"]["files"] == 2
