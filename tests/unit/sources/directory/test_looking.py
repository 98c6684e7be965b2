"""What is said of a service before anything is done, and copies by reflinks."""

import os
import shutil
from pathlib import Path

import pytest

from recoup.sources._directory_copy import reflinked
from recoup.sources._directory_options import seconds
from recoup.sources._service_reach import unreachable


@pytest.mark.parametrize(("text", "expected"), [("90s", 90.0), ("30m", 1800.0), ("1h30m", 5400.0), ("0.5s", 0.5)])
def test_lengths_of_time_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of the names that matter; they are never run."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("systemctl", "docker", "sudo"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o700)
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "none"))
    return folder


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["systemctl", "stop", "qdrant"], "systemd does not run here"),
        (["sudo", "-n", "systemctl", "stop", "qdrant"], "systemd does not run here"),
        (["systemctl", "--user", "stop", "qdrant"], ""),
        (["docker", "compose", "stop", "qdrant"], "Docker does not answer here"),
        (["docker", "--host", "ssh://there", "stop", "qdrant"], ""),
        (["no-such-program"], "no-such-program is not installed here"),
        (["./no-such-script"], "no-such-script is not installed here"),
    ],
)
def test_what_cannot_work_from_here_is_said(programs: Path, tmp_path: Path, command: list[str], said: str) -> None:
    nowhere = tmp_path / "nowhere"
    found = unreachable(command, programs, systemd=nowhere, docker=nowhere)
    assert found == "" if not said else said in found


def test_where_systemd_and_docker_run_nothing_is_said(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "socket").touch()
    for command in (["systemctl", "stop", "qdrant"], ["docker", "stop", "qdrant"]):
        assert unreachable(command, programs, systemd=tmp_path, docker=tmp_path / "socket") == ""


def copying(source: int, target: int) -> bool:
    """What a file system with reflinks does, as far as it can be seen."""
    with os.fdopen(os.dup(source), "rb") as reading, os.fdopen(os.dup(target), "wb") as writing:
        shutil.copyfileobj(reading, writing)
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with something of everything."""
    root = tmp_path / "data"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "file").write_bytes(b"x" * 100_000)
    (root / "same").hardlink_to(root / "inner" / "file")
    (root / "link").symlink_to("inner")
    (root / "empty").touch(mode=0o400)
    os.mkfifo(root / "pipe")
    os.utime(root / "inner", ns=(1_000_000_001, 1_000_000_001))
    return root


def test_a_copy_has_the_same_files_links_modes_and_times(folder: Path) -> None:
    with reflinked(folder, lambda: None, clone=copying) as copy:
        assert copy.path
        assert sorted(os.listdir(copy.path)) == ["empty", "inner", "link", "same"]
        assert (copy.path / "same").samefile(copy.path / "inner" / "file")
        assert (copy.path / "same").read_bytes() == b"x" * 100_000
        assert (copy.path / "inner").stat().st_mtime_ns == 1_000_000_001
        assert (copy.path / "empty").stat().st_mode & 0o777 == 0o400
        assert (copy.path / "link").readlink() == Path("inner")
    assert sorted(os.listdir(folder.parent)) == ["data"]


def test_where_there_are_no_reflinks_there_is_no_copy_and_the_reason(folder: Path) -> None:
    with reflinked(folder, lambda: None, clone=lambda _source, _target: False) as copy:
        assert copy.path is None
        assert copy.refused == "this file system has no reflinks"
    assert sorted(os.listdir(folder.parent)) == ["data"]


def test_a_file_that_was_shared_in_part_is_no_copy(folder: Path) -> None:
    with reflinked(folder, lambda: None, clone=lambda _source, _target: True) as copy:
        assert copy.path is None
        assert copy.refused == "a file has another size in the copy"


def test_an_interrupted_copy_leaves_nothing(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt), reflinked(folder, _interrupt, clone=copying):
        pass
    assert sorted(os.listdir(folder.parent)) == ["data"]


def _interrupt() -> None:
    raise KeyboardInterrupt
