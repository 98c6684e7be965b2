"""`recoup status` for people and monitoring, and room at once, by the real command."""

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Recoup


@pytest.mark.requirement("CI-9", "SR-17")
def test_status_for_nagios_says_ok_warning_critical_and_unknown(stack: Path, inside: Recoup) -> None:
    done = inside(stack, "status", "--nagios")
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert line.startswith("RECOUP OK - 2 copies of sources, ")
    assert "'age chat local'=" in line.partition(" | ")[2]

    done = inside(stack, "--set", "watch.max_age=0s", "status", "--nagios")
    assert done.returncode == 2
    assert done.stdout.startswith("RECOUP CRITICAL - chat in local: no recent backup")
    assert done.stdout.splitlines()[1].startswith("CRITICAL: chat in local: no recent backup")

    (stack / "data/uploads/a.txt").unlink()
    (stack / "data/uploads/b.txt").write_text("x")
    assert inside(stack, "backup").returncode == 3
    done = inside(stack, "status", "--nagios")
    assert done.returncode == 1
    assert done.stdout.startswith("RECOUP WARNING - uploads in local: the newest try")

    shutil.rmtree(stack / "backups")
    assert inside(stack, "status", "--nagios").returncode == 2
    (stack / "recoup.yaml").write_text("version: 2\n")
    done = inside(stack, "status", "--nagios")
    assert done.returncode == 3
    assert done.stdout.startswith("RECOUP UNKNOWN - ")
    assert len(done.stdout.splitlines()) == 1


def test_status_as_json_has_every_problem_with_its_key(stack: Path, inside: Recoup) -> None:
    done = inside(stack, "--set", "watch.max_age=0s", "status", "--json")
    assert done.returncode == 3
    [report] = map(json.loads, done.stdout.splitlines())
    assert [(one["key"], one["level"]) for one in report["problems"]] == [
        ("too-old:local:chat", "critical"),
        ("too-old:local:uploads", "critical"),
    ]
    assert {"change", "max_age_seconds", "next_due"} <= set(report["rows"][0])
    assert {"days_until_full", "free_bytes"} <= set(report["repositories"][0])


def test_room_that_cannot_be_made_removes_nothing_and_is_refused(stack: Path, inside: Recoup) -> None:
    inside(stack, "backup")
    done = inside(stack, "prune", "--free", "500T", "--yes")
    assert done.returncode == 13
    assert "cannot be freed" in done.stderr
    assert len(list((stack / "backups").glob("backup_*"))) == 2
    shown = inside(stack, "prune", "--free", "1K", "-n")
    assert shown.returncode == 0
    assert "space is needed" in shown.stdout
    assert inside(stack, "prune", "--free", "much").returncode == 2
