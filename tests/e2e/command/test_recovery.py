"""`recoup drill --full`: what a person on an empty machine sees."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Recoup = Callable[..., CompletedProcess[str]]


@pytest.fixture
def machine(backed_up: Path, tmp_path: Path) -> Path:
    """A folder that has nothing but the repository."""
    folder = tmp_path / "machine"
    folder.mkdir()
    shutil.copytree(backed_up / "backups", folder / "backups")
    return folder


@pytest.mark.requirement("SR-17", "CI-6")
@pytest.mark.parametrize("ending", ["json", "md", "html"])
def test_everything_is_recovered_without_a_configuration_and_the_report_names_both_measures(
    machine: Path, recoup: Recoup, ending: str
) -> None:
    done = recoup(machine, "-r", "./backups", "drill", "--full", "--report", f"recovery.{ending}")
    assert done.returncode == 0, done.stderr
    assert "Measured recovery time (RTO)" in done.stdout
    assert "Measured recovery point (RPO)" in done.stdout
    file = machine / f"recovery.{ending}"
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "chat" in text
    assert "uploads" in text
    if ending == "json":
        found = json.loads(text)
        assert found["type"] == "recovery"
        assert found["passed"] is True
        assert found["rto_seconds"] > 0
        assert found["rpo_seconds"] > 0
        return
    assert "Disaster-recovery drill passed" in text
    assert "(RTO)" in text
    assert "(RPO)" in text
    assert sorted(entry.name for entry in machine.iterdir()) == ["backups", f"recovery.{ending}"]


def test_a_recovery_that_fails_says_so_and_ends_with_4(machine: Path, recoup: Recoup) -> None:
    (stored,) = machine.glob("backups/backup_*/uploads/a.txt")
    stored.write_text("first upl0ad")
    done = recoup(machine, "-r", "./backups", "drill", "--full", "--report", "recovery.md")
    assert done.returncode == 4
    assert "NOT proven: uploads did not come back" in done.stdout
    assert "Measured recovery time (RTO): none" in (machine / "recovery.md").read_text()


def test_a_dry_run_tells_the_sets_and_drills_nothing(machine: Path, recoup: Recoup) -> None:
    done = recoup(machine, "-r", "./backups", "drill", "--full", "-n")
    assert done.returncode == 0
    assert "Would recover chat, uploads from backup_" in done.stdout
    assert not list(machine.glob("backups/marks/*"))


@pytest.mark.parametrize("more", [("latest",), ("--source", "chat")])
def test_full_means_everything(machine: Path, recoup: Recoup, more: tuple[str, ...]) -> None:
    done = recoup(machine, "-r", "./backups", "drill", *more, "--full")
    assert done.returncode == 2
    assert "--full is everything" in done.stderr
