"""The table of exit codes, as a script sees it."""

import json
from pathlib import Path

import pytest

from recoup.app import open_stack

from .conftest import Recoup, sets


def test_a_complete_backup_exits_0(fresh: Path, recoup: Recoup) -> None:
    done = recoup(fresh, "backup")
    assert done.returncode == 0
    assert len(sets(fresh)) == 1
    assert sets(fresh)[0] in done.stdout


@pytest.mark.requirement("DM-12")
def test_a_backup_of_nothing_exits_1_and_lists_no_set(fresh: Path, recoup: Recoup) -> None:
    (fresh / "data").rename(fresh / "gone")
    done = recoup(fresh, "backup")
    assert done.returncode == 1
    assert "Nothing was stored" in done.stdout
    assert sets(fresh) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bakup",), "Did you mean 'backup'?"),
        (("backup", "--bogus"), "No such option: --bogus"),
        (("backup", "--source", "chart"), "there is no source chart in the configuration"),
        (("backup", "--tag", "nightly"), "--tag 'nightly' is not KEY=VALUE"),
        (("list", "--since", "soonish"), "soonish"),
        (("show", "backup_2025"), "backup_2025"),
        (("verify", "--read-data-subset", "8/7"), "'8/7' is no subset"),
        (("verify", "--read-data-subset", "0%"), "'0%' is no subset"),
        (("drill", "--report", "proof.pdf"), "proof.pdf is no report"),
        (("restore", "--in-place", "--target", "there"), "contradict each other"),
        (("restore", "--option", "chat"), "is not SOURCE.KEY=VALUE"),
        (("restore", "--bogus", "1"), "No such option: --bogus"),
        (("restore", "--overwrite", "sometimes"), "--overwrite 'sometimes' is unknown"),
        (("restore", "latest", "oldest"), "unexpected extra argument"),
        (("backup", "--wait-lock", "soon"), "'soon' is no length of time"),
        (("-r", "elsewhere", "list"), "there is no repository 'elsewhere'"),
        (("--set", "stack.name", "list"), "--set: what was given is not KEY=VALUE"),
        (("-c", "missing.yaml", "list"), "missing.yaml"),
        (("delete",), "SET"),
        (("note", "latest"), "Missing argument"),
        (("config",), "Missing command"),
    ],
)
def test_a_mistake_on_the_command_line_exits_2_and_is_said(
    stack: Path, inside: Recoup, arguments: tuple[str, ...], said: str
) -> None:
    before = sets(stack)
    done = inside(stack, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sets(stack) == before


def test_no_verb_at_all_shows_the_help_and_exits_2(fresh: Path, recoup: Recoup) -> None:
    done = recoup(fresh)
    assert done.returncode == 2
    assert "Commands" in done.stdout


def test_a_mistake_in_the_configuration_exits_2_and_names_file_line_and_key(fresh: Path, recoup: Recoup) -> None:
    text = (fresh / "recoup.yaml").read_text().replace("path: data/uploads", "paht: data/uploads")
    (fresh / "recoup.yaml").write_text(text)
    done = recoup(fresh, "backup")
    assert done.returncode == 2
    assert "recoup.yaml:5" in done.stderr
    assert "paht" in done.stderr
    assert "path" in done.stderr


@pytest.mark.requirement("DM-12")
def test_a_source_that_fails_exits_3_and_the_set_is_stored_and_marked(fresh: Path, recoup: Recoup) -> None:
    (fresh / "data" / "chat.db").unlink()
    done = recoup(fresh, "backup", "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["type"] == "backup"
    assert report["manifest"]["outcome"] == "incomplete"
    assert report["manifest"]["sources"]["uploads"]["outcome"] == "complete"
    assert "chat" in report["errors"]
    assert sets(fresh) == [report["manifest"]["name"]]


@pytest.mark.parametrize("verb", ["verify", "drill", "restore"])
def test_damage_exits_4(stack: Path, recoup: Recoup, verb: str) -> None:
    [name] = sets(stack)
    stored = stack / "backups" / name / "chat" / "chat.db"
    data = bytearray(stored.read_bytes())
    data[5000] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(data)
    done = recoup(stack, verb)
    assert done.returncode == 4
    assert "chat" in done.stdout
    assert not list((stack / f"restored_{name}").glob("chat/chat.db"))


def test_a_missing_repository_exits_10_and_is_not_made(fresh: Path, recoup: Recoup) -> None:
    (fresh / "backups").rename(fresh / "unmounted")
    done = recoup(fresh, "backup")
    assert done.returncode == 10
    assert "recoup init" in done.stderr
    assert not (fresh / "backups").exists()


def test_a_second_backup_exits_11_and_names_who_holds_the_lock(stack: Path, recoup: Recoup) -> None:
    import os

    held = open_stack([stack / "recoup.yaml"], cwd=stack, environ={})
    with held.repository.lock("backup", "backup", "small"):
        at_once = recoup(stack, "backup")
        waited = recoup(stack, "backup", "--wait-lock", "1s")
        kept = recoup(stack, "unlock")
        left = recoup(stack, "list")
    for done in (at_once, waited):
        assert done.returncode == 11
        assert str(os.getpid()) in done.stderr
    assert kept.returncode == 0
    assert "No stale locks; 1 held." in kept.stdout
    assert left.returncode == 0
    assert len(sets(stack)) == 1
    assert recoup(stack, "backup").returncode == 0


def test_what_is_refused_for_safety_exits_13(stack: Path, recoup: Recoup) -> None:
    assert recoup(stack, "pin", "latest", "--reason", "audit").returncode == 0
    done = recoup(stack, "delete", "latest", "--yes")
    assert done.returncode == 13
    assert "not deleted: pinned" in done.stderr
    assert len(sets(stack)) == 1


def test_a_repository_of_an_unknown_format_exits_13(stack: Path, recoup: Recoup) -> None:
    marker = stack / "backups" / "recoup-repository.json"
    marker.chmod(0o600)
    marker.write_text(marker.read_text().replace('"version": 1', '"version": 99'))
    done = recoup(stack, "list")
    assert done.returncode == 13
    assert "99" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("delete", "latest", "--force"), ("restore", "--in-place"), ("prune", "--set", "repositories.local.keep.last=1")],
)
def test_what_would_ask_exits_2_where_nobody_can_answer(
    stack: Path, recoup: Recoup, arguments: tuple[str, ...]
) -> None:
    if arguments[0] == "prune":
        recoup(stack, "backup")
    before = sets(stack), (stack / "data" / "chat.db").stat().st_ino
    done = recoup(stack, *arguments)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert (sets(stack), (stack / "data" / "chat.db").stat().st_ino) == before


def test_the_table_of_exit_codes_is_that_of_the_code(stack: Path, recoup: Recoup) -> None:
    from recoup.errors import ExitCode

    done = recoup(stack, "version", "--exit-codes")
    numbers = {int(line.split()[0]) for line in done.stdout.splitlines()[1:]}
    assert numbers == {int(code) for code in ExitCode}
