"""One command takes away what was put on the machine; the backups only when their stack's name is given."""

import shutil
from pathlib import Path

import pytest

from recoup.system.clock import SystemClock
from recoup.system.journal import state_folder
from recoup.web.jobs import Jobs

from .conftest import Recoup, sets


@pytest.fixture
def installed(stack: Path, tmp_path: Path, inside: Recoup) -> Path:
    """A stack with one set, a schedule in cron's folder, and two scripts."""
    with (stack / "recoup.yaml").open("a") as file:
        file.write('schedule:\n  - {run: backup, cron: "0 2 * * *"}\n')
    text = (stack / "recoup.yaml").read_text()
    vectors = '  vectors: {kind: qdrant, url: "http://127.0.0.1:9", optional: true}\n'
    (stack / "recoup.yaml").write_text(text.replace("sources:\n", f"sources:\n{vectors}"))
    (tmp_path / "root/etc/cron.d").mkdir(parents=True)
    where = ("--root", str(tmp_path / "root"))
    assert inside(stack, "schedule", "install", "--cron", "--system", *where, "--yes").returncode == 0
    assert inside(stack, "wrappers", "install", "scripts", "--for", "citadel").returncode == 0
    return stack


def left(folder: Path, tmp_path: Path) -> set[str]:
    """What is there of all that was installed or remembered."""
    places = (tmp_path / "root", folder / "scripts", state_folder())
    return {path.name for place in places for path in place.rglob("*") if path.is_file()}


@pytest.mark.requirement("CI-13")
def test_one_command_takes_away_schedule_scripts_and_memory_and_leaves_the_backups(
    installed: Path, tmp_path: Path, inside: Recoup
) -> None:
    where = ("--root", str(tmp_path / "root"))
    everything = {"recoup-small", "backup_collections.sh", "restore_collections.sh", "small.db"}
    assert left(installed, tmp_path) == everything
    shown = inside(installed, "uninstall", *where, "-n")
    assert shown.returncode == 0, shown.stderr
    assert all(name in shown.stdout for name in ("recoup-small", "backup_collections.sh", "restore_collections.sh"))
    assert inside(installed, "uninstall", *where).returncode == 2, "nobody was there to be asked"
    assert left(installed, tmp_path) == everything
    done = inside(installed, "uninstall", *where, "--yes")
    assert done.returncode == 0, done.stderr
    assert left(installed, tmp_path) == set()
    assert len(sets(installed)) == 1
    assert f"Backups stay in local: {installed / 'backups'}" in done.stdout
    assert str(installed / "recoup.yaml") in done.stdout
    again = inside(installed, "uninstall", *where, "--yes")
    assert again.returncode == 0
    assert "No schedule and no scripts are known to be installed." in again.stdout


@pytest.mark.requirement("CI-13")
def test_the_backups_go_only_when_the_name_of_their_stack_is_given(
    installed: Path, tmp_path: Path, inside: Recoup
) -> None:
    (name,) = sets(installed)
    assert inside(installed, "pin", name).returncode == 0
    uninstall = ("uninstall", "--with-backups", "--root", str(tmp_path / "root"), "--yes")
    assert "DELETE FOR GOOD 1 set" in inside(installed, *uninstall, "-n").stdout
    for more in ((), ("--confirm", "smal")):
        refused = inside(installed, *uninstall, *more)
        assert refused.returncode == 2
        assert "--confirm small" in refused.stderr
        assert sets(installed) == [name]
        assert (installed / "scripts/backup_collections.sh").exists()
    done = inside(installed, *uninstall, "--confirm", "small")
    assert done.returncode == 0, done.stderr
    assert "Deleted 1 set in local." in done.stdout
    assert sets(installed) == []
    assert left(installed, tmp_path) == set()


def test_sets_of_another_stack_stay(installed: Path, tmp_path: Path, inside: Recoup) -> None:
    other = tmp_path / "other.yaml"
    text = (installed / "recoup.yaml").read_text().replace("stack: small", "stack: other")
    other.write_text(text.replace("path: data", f"path: {installed}/data").replace("backups", f"{installed}/backups"))
    assert inside(installed, "-c", str(other), "backup", "--source", "uploads").returncode == 0
    mine, others = sets(installed)
    assert (
        inside(installed, "delete", mine, "--force", "--yes", "--set", "repositories.local.trash_days=5").returncode
        == 0
    )
    assert inside(installed, "undelete", mine).returncode == 0
    arguments = ("uninstall", "--with-backups", "--root", str(tmp_path / "root"), "--confirm", "small", "--yes")
    done = inside(installed, *arguments)
    assert done.returncode == 0, done.stderr
    assert "What other stacks have there stays: 1 set, and the trash." in done.stdout
    assert sets(installed) == [others]


def test_the_trash_is_emptied_too(installed: Path, tmp_path: Path, inside: Recoup) -> None:
    (name,) = sets(installed)
    delete = ("delete", name, "--force", "--yes", "--set", "repositories.local.trash_days=5")
    assert inside(installed, *delete).returncode == 0
    arguments = ("uninstall", "--with-backups", "--root", str(tmp_path / "root"), "--yes")
    assert inside(installed, *arguments).returncode == 2, "it is a backup still"
    done = inside(installed, *arguments, "--confirm", "small")
    assert done.returncode == 0, done.stderr
    assert not [path for path in (installed / "backups").rglob("*") if name in path.name]


def test_what_cannot_be_read_is_named_and_stays(installed: Path, tmp_path: Path, inside: Recoup) -> None:
    (name,) = sets(installed)
    shutil.copytree(installed / "backups" / name, installed / "backups/backup_20200101_000000")
    (installed / "backups/backup_20200101_000000/manifest.json").write_text("{")
    arguments = ("uninstall", "--with-backups", "--root", str(tmp_path / "root"), "--confirm", "small", "--yes")
    done = inside(installed, *arguments)
    assert done.returncode == 13
    assert "LEFT: backup_20200101_000000 in local" in done.stderr
    assert sets(installed) == ["backup_20200101_000000"]


def test_a_changed_script_is_left_and_still_known(installed: Path, tmp_path: Path, inside: Recoup) -> None:
    script = installed / "scripts/backup_collections.sh"
    script.write_text(script.read_text() + "# mine\n")
    where = ("--root", str(tmp_path / "root"))
    done = inside(installed, "uninstall", *where, "--yes")
    assert done.returncode == 13
    assert f"LEFT: {script}" in done.stderr
    assert left(installed, tmp_path) == {"backup_collections.sh", "small.db", "small.schedule.lock", "small.job.lock"}
    assert inside(installed, "uninstall", *where, "--yes", "--force").returncode == 0
    assert left(installed, tmp_path) == set()


def test_what_is_kept_of_jobs_that_people_clicked_goes_too_and_none_of_them_is_broken_off(
    installed: Path, tmp_path: Path, inside: Recoup
) -> None:
    where = ("--root", str(tmp_path / "root"))
    jobs = Jobs("small", (), SystemClock(), ("/bin/sh", "-c", "exec sleep 60"))
    job = jobs.start(("drill",))
    done = inside(installed, "uninstall", *where, "--yes")
    assert done.returncode == 11
    assert "a job of small still runs: drill, begun" in done.stderr
    jobs.cancel(job.id)
    while jobs.running:
        SystemClock().sleep(0.01)
    assert "news.jsonl" in left(installed, tmp_path)
    assert inside(installed, "uninstall", *where, "--yes").returncode == 0
    assert left(installed, tmp_path) == set()
    assert not [*state_folder().glob("stacks/*")]


def test_a_schedule_that_still_runs_is_not_forgotten(installed: Path, tmp_path: Path, inside: Recoup) -> None:
    from recoup.scheduler._starting import job_lock

    with job_lock("small").held("backup", "a job"):
        done = inside(installed, "uninstall", "--root", str(tmp_path / "root"), "--yes")
        assert done.returncode == 11
        assert "still runs" in done.stderr
    assert "small.db" in left(installed, tmp_path)
    assert inside(installed, "uninstall", "--root", str(tmp_path / "root"), "--yes").returncode == 0
    assert left(installed, tmp_path) == set()
