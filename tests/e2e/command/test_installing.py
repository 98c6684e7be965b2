"""The schedule in cron's hands and in systemd's, and out of them again; below a folder that stands for `/`."""

import json
import os
import stat
from pathlib import Path

import pytest

from recoup.scheduler import _systemd
from recoup.system.statefile import state_path

from .conftest import Recoup

SCHEDULE = 'schedule:\n  - {run: backup, cron: "0 2 * * *"}\n'

CRONTAB = """\
#!/bin/sh
case $1 in
    -l) [ -e "$HOME/table" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$HOME/table" ;;
    -r) rm "$HOME/table" ;;
    -) cat > "$HOME/table" ;;
esac
"""
SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$HOME/told"\n[ ! -e "$HOME/broken" ] || { echo "no bus" >&2; exit 1; }\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder that stands for `/` of a machine with cron."""
    (tmp_path / "root/etc/cron.d").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def small(fresh: Path) -> Path:
    """The stack with a schedule."""
    with (fresh / "recoup.yaml").open("a") as file:
        file.write(SCHEDULE)
    return fresh


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a `crontab` and a `systemctl` that write down what they are told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"crontab": CRONTAB, "systemctl": SYSTEMCTL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.requirement("CI-3", "SR-6")
def test_crons_file_is_installed_under_the_teams_name_and_removed_again(
    small: Path, machine: Path, inside: Recoup
) -> None:
    where = ("--root", str(machine))
    shown = inside(small, "schedule", "install", "--cron", "--system", "--name", "qdrant-backup", *where, "-n")
    assert shown.returncode == 0, shown.stderr
    file = machine / "etc/cron.d/qdrant-backup"
    assert f"Write   {file}" in shown.stdout
    assert "schedule tick" in shown.stdout
    assert not file.exists(), "-n changes nothing"
    asked = inside(small, "schedule", "install", "--cron", "--system", "--name", "qdrant-backup", *where)
    assert (asked.returncode, file.exists()) == (2, False), "nobody was there to be asked"
    for _ in range(2):  # the second time changes nothing
        done = inside(small, "schedule", "install", "--cron", "--system", "--name", "qdrant-backup", *where, "--yes")
        assert done.returncode == 0, done.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert "was there already" in done.stdout
    assert f"-c {small / 'recoup.yaml'} -q schedule tick\n" in file.read_text()
    removed = inside(small, "schedule", "remove", *where, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert f"Removed, and looked: {file} is gone." in removed.stdout
    assert list(file.parent.iterdir()) == []
    again = inside(small, "schedule", "remove", *where, "--yes")
    assert (again.returncode, again.stdout) == (0, "Nothing is installed for small.\n")


@pytest.mark.requirement("CI-3")
def test_the_record_may_be_lost_and_the_file_is_removed_all_the_same(
    small: Path, machine: Path, inside: Recoup
) -> None:
    where = ("--root", str(machine))
    assert inside(small, "schedule", "install", "--cron", "--system", *where, "--yes").returncode == 0
    state_path("small").unlink()
    done = inside(small, "schedule", "remove", *where, "--yes")
    assert done.returncode == 0, done.stderr
    assert list((machine / "etc/cron.d").iterdir()) == []


def test_a_changed_file_is_left_and_the_exit_code_says_so(small: Path, machine: Path, inside: Recoup) -> None:
    where = ("--root", str(machine))
    assert inside(small, "schedule", "install", "--cron", "--system", *where, "--yes").returncode == 0
    file = machine / "etc/cron.d/recoup-small"
    file.write_text(file.read_text() + "# mine\n")
    left = inside(small, "schedule", "remove", *where, "--yes")
    assert left.returncode == 13
    assert f"{file} is left" in left.stderr
    assert inside(small, "schedule", "remove", *where, "--yes", "--force").returncode == 0
    assert not file.exists()


@pytest.mark.requirement("SR-6")
def test_where_systemd_does_not_run_the_units_are_written_and_the_commands_said(
    small: Path, machine: Path, inside: Recoup
) -> None:
    done = inside(small, "schedule", "install", "--systemd", "--system", "--root", str(machine), "--yes")
    assert done.returncode == 0, done.stderr
    folder = machine / "etc/systemd/system"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "recoup-small.service",
        "recoup-small.timer",
        "recoup-small-status.service",
        "recoup-small-status.timer",
        "recoup-small-recover.service",
    }
    assert "systemctl enable --now recoup-small.timer recoup-small-status.timer" in done.stdout
    assert "has to be started" in done.stdout
    removed = inside(small, "schedule", "remove", "--root", str(machine), "--yes", "--json")
    assert removed.returncode == 0, removed.stderr
    told = [json.loads(line) for line in removed.stdout.splitlines()]
    assert {Path(name).name for line in told if line["type"] == "remove" for name in line["removed"]} == names
    assert list(folder.iterdir()) == []


@pytest.mark.requirement("CI-3")
def test_an_accounts_crontab_keeps_its_other_lines(small: Path, programs: Path, inside: Recoup) -> None:
    own = "# my lines\n5 5 * * * true"
    (programs / "table").write_text(own)
    done = inside(small, "schedule", "install", "--cron", "--user")
    assert done.returncode == 0, done.stderr
    table = (programs / "table").read_text()
    assert table.startswith(f"{own}\n# BEGIN recoup small\n")
    lines = [line for line in table.splitlines() if "backup" in line]
    assert lines, "`crontab -l | grep backup` finds it"
    assert inside(small, "schedule", "install", "--cron", "--user").returncode == 0
    assert (programs / "table").read_text() == table
    assert inside(small, "schedule", "remove", "--yes").returncode == 0
    assert (programs / "table").read_text() == f"{own}\n"


def test_a_crontab_that_was_ours_alone_goes_with_our_lines(small: Path, programs: Path, inside: Recoup) -> None:
    assert inside(small, "schedule", "install", "--cron", "--user").returncode == 0
    assert inside(small, "schedule", "remove", "--yes").returncode == 0
    assert not (programs / "table").exists()


@pytest.mark.requirement("CI-13")
def test_the_record_may_be_lost_and_the_lines_in_a_crontab_are_removed_all_the_same(
    small: Path, programs: Path, inside: Recoup
) -> None:
    assert inside(small, "schedule", "install", "--cron", "--user").returncode == 0
    state_path("small").unlink()
    done = inside(small, "schedule", "remove", "--yes")
    assert (done.returncode, "Removed, and looked: crontab of" in done.stdout) == (0, True), done.stderr
    assert not (programs / "table").exists()


@pytest.mark.requirement("SR-6")
def test_systemd_is_told_what_to_start_and_before_the_files_go_what_to_end(
    small: Path, programs: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_systemd, "_BOOTED", programs)
    done = inside(small, "schedule", "install", "--systemd", "--user", "--daemon")
    assert done.returncode == 0, done.stderr
    told = (programs / "told").read_text().splitlines()
    assert told == [
        "--user daemon-reload",
        "--user enable --now recoup-small.service recoup-small-status.timer",
        "--user enable recoup-small-recover.service",
    ]
    folder = programs / "config/systemd/user"
    assert "ExecStart=" in (folder / "recoup-small.service").read_text()
    (programs / "told").unlink()
    assert inside(small, "schedule", "install", "--systemd", "--user").returncode == 0  # timers instead of the daemon
    told = (programs / "told").read_text().splitlines()
    assert told[:3] == [
        "--user disable --now recoup-small.service",
        "--user daemon-reload",
        "--user enable --now recoup-small.timer recoup-small-status.timer",
    ]
    (programs / "told").unlink()
    assert inside(small, "schedule", "install", "--cron", "--user").returncode == 0  # cron instead of systemd
    told = (programs / "told").read_text().splitlines()
    assert told == [
        "--user disable --now recoup-small-recover.service recoup-small-status.timer recoup-small.timer",
        "--user daemon-reload",
    ]
    assert list(folder.iterdir()) == []
    assert "schedule tick" in (programs / "table").read_text()


def test_what_systemd_refuses_is_no_success(
    small: Path, programs: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_systemd, "_BOOTED", programs)
    (programs / "broken").touch()
    done = inside(small, "schedule", "install", "--systemd", "--user")
    assert done.returncode == 1
    assert "`systemctl --user daemon-reload` failed (exit 1): no bus" in done.stderr
    (programs / "broken").unlink()
    assert inside(small, "schedule", "install", "--systemd", "--user").returncode == 0
    assert inside(small, "schedule", "remove", "--yes").returncode == 0


@pytest.mark.requirement("CI-1", "CI-3")
def test_variables_that_cron_will_not_have_are_refused_by_name(
    small: Path, machine: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, cron = small / "recoup.yaml", machine / "etc/cron.d/recoup-small"
    file.write_text(file.read_text().replace("path: backups", 'path: "${WHERE_TO:-backups}"'))
    install = ("schedule", "install", "--cron", "--system", "--root", str(machine), "--yes")
    monkeypatch.setenv("WHERE_TO", str(small / "elsewhere"))
    refused = inside(small, *install)
    assert refused.returncode == 2
    assert "(WHERE_TO)" in refused.stderr
    assert str(small / ".env") in refused.stderr
    assert not cron.exists()
    (small / ".env").write_text(f"WHERE_TO={small / 'elsewhere'}\n")
    assert inside(small, *install).returncode == 0
    (small / ".env").unlink()
    assert inside(small, *install, "--env", "WHERE_TO").returncode == 0
    assert f"\nWHERE_TO={small / 'elsewhere'}\n" in cron.read_text()


def test_a_variable_that_cron_will_not_have_at_all_is_refused(
    small: Path, machine: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small / "recoup.yaml"
    file.write_text(file.read_text().replace("path: backups", 'path: "${WHERE_TO}"'))
    monkeypatch.setenv("WHERE_TO", str(small / "backups"))
    refused = inside(small, "schedule", "install", "--cron", "--system", "--root", str(machine), "--yes")
    assert refused.returncode == 2
    assert "no variables of your shell (WHERE_TO)" in refused.stderr


def test_a_secret_goes_into_no_file_that_everybody_reads(
    small: Path, machine: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = small / "recoup.yaml"
    source = 'vectors: {kind: qdrant, url: "http://127.0.0.1:9", api_key: "${QDRANT_API_KEY:-}", optional: true}\n'
    file.write_text(file.read_text().replace("sources:\n", f"sources:\n  {source}"))
    monkeypatch.setenv("QDRANT_API_KEY", "a-very-secret-key")
    install = ("schedule", "install", "--cron", "--system", "--root", str(machine), "--yes")
    for more in ((), ("--env", "QDRANT_API_KEY")):
        refused = inside(small, *install, *more)
        assert refused.returncode == 2
        assert "a-very-secret-key" not in refused.stdout + refused.stderr
    assert list((machine / "etc/cron.d").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say who calls the schedule"),
        (("--cron", "--systemd"), "say who calls the schedule"),
        (("--cron", "--system", "--name", "recoup.small"), "passes over files with dots"),
        (("--cron", "--daemon", "--system"), "--daemon goes with --systemd"),
        (("--cron", "--system", "--as", "nobody-of-this-name"), "there is no account"),
        (("--cron", "--user", "--as", "root"), "--as goes with --system"),
        (("--cron", "--set", "staging=/x"), "--set counts for one run"),
        (("--cron", "-r", "local"), "-r counts for one run"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], said: str, small: Path, machine: Path, inside: Recoup
) -> None:
    done = inside(small, "schedule", "install", *arguments, "--root", str(machine), "--yes")
    assert done.returncode == 2
    assert said in done.stderr
    assert list(machine.rglob("*")) == [machine / "etc", machine / "etc/cron.d"]


def test_another_account_runs_it_and_remembers_it_in_its_own_home(small: Path, machine: Path, inside: Recoup) -> None:
    done = inside(small, "schedule", "install", "--cron", "--system", "--as", "nobody", "--root", str(machine), "--yes")
    assert done.returncode == 0, done.stderr
    text = (machine / "etc/cron.d/recoup-small").read_text()
    assert "* * * * * nobody " in text
    assert "XDG_STATE_HOME" not in text, "that is the place of who installs it"


def test_without_a_schedule_there_is_nothing_to_call(fresh: Path, machine: Path, inside: Recoup) -> None:
    done = inside(fresh, "schedule", "install", "--cron", "--system", "--root", str(machine), "--yes")
    assert done.returncode == 2
    assert "the configuration has no `schedule`" in done.stderr
    assert 'cron: "0 2 * * *"' in done.stderr


def test_a_machine_without_cron_is_told_so(small: Path, tmp_path: Path, inside: Recoup) -> None:
    done = inside(small, "schedule", "install", "--cron", "--system", "--root", str(tmp_path / "none"), "--yes")
    assert done.returncode == 13
    assert "cron is not installed here" in done.stderr


@pytest.mark.requirement("CI-8", "SR-6")
def test_what_cron_was_given_runs(small: Path, machine: Path, recoup: Recoup) -> None:
    """The very lines of the file, by the shell, with the variables of the file and no other."""
    import shlex
    import subprocess

    done = recoup(small, "schedule", "install", "--cron", "--system", "--root", str(machine), "--yes")
    assert done.returncode == 0, done.stderr
    lines = (machine / "etc/cron.d/recoup-small").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line.split(" ")[0] and not line.startswith("#"))
    ran = []
    for line in lines:
        if line.endswith(("schedule tick", "recover")):
            command = line.split(" ", 2 if line.startswith("@") else 6)[-1]
            assert shlex.split(command)[0].endswith("recoup")
            ran.append(
                subprocess.run(
                    ["/bin/sh", "-c", command],
                    env=variables,
                    cwd="/",
                    capture_output=True,
                    text=True,
                    check=False,
                )
            )
    assert [(one.returncode, one.stdout, one.stderr) for one in ran] == [(0, "", "")] * 2, "cron would mail any word"
