"""`recoup key` on a dedup repository: who can open it, from the command line."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recoup.repository.dedup import openers
from recoup.repository.dedup.keys import Keys, new_keys
from recoup.repository.dedup.keyslots import create, open_keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.record import Record, read_record
from recoup.storage.local import connect
from sealing_keys import age_key, private

Recoup = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIG = """\
version: 1
stack: small
repositories:
  main: {{path: backups, layout: dedup, {opening}}}
"""
SECRET = "correct horse battery staple"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack with an empty dedup repository that a passphrase opens."""
    monkeypatch.setattr(openers, "SCRYPT", {"n": 16, "r": 8, "p": 1})
    folder = tmp_path / "stack"
    folder.mkdir()
    private(folder / "password", f"{SECRET}\n")
    opened_by(folder, "password_file: password")
    keys = new_keys("00112233445566778899aabbccddeeff")
    storage = connect(folder / "backups")
    create(storage, keys, DedupOptions(password_file=folder / "password"), "laptop", datetime(2026, 11, 21, tzinfo=UTC))
    record = {"format": "recoup-repository", "version": 1, "id": keys.repository, "layout": "dedup"}
    storage.put("recoup-repository.json", json.dumps({**record, **Record.of(keys).shape}).encode())
    return folder


def opened_by(folder: Path, opening: str) -> None:
    (folder / "recoup.yaml").write_text(CONFIG.format(opening=opening))


def keys_by(folder: Path, options: DedupOptions) -> Keys:
    storage = connect(folder / "backups")
    return open_keys(storage, read_record(storage), options)


def slots(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "backups" / "keys").glob("*.json"))


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_second_secret_opens_the_repository_too(folder: Path, inside: Recoup) -> None:
    private(folder / "file", bytes(range(32)))
    done = inside(folder, "key", "add", "--new-key-file", "file", "--label", "in the safe")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Added keyslot ")
    assert keys_by(folder, DedupOptions(key_file=folder / "file")).can_read
    listed = inside(folder, "key", "list")
    assert "in the safe" in listed.stdout
    assert listed.stdout.count("used here") == 1
    first, second = rows(inside(folder, "key", "list", "--json"))
    assert (first["method"], first["label"], first["opens"]) == ("passphrase", "laptop", True)
    assert (second["method"], second["label"], second["opens"]) == ("key-file", "in the safe", False)


def test_recipients_of_age_get_a_slot_that_is_said_to_be_untried(folder: Path, inside: Recoup, tmp_path: Path) -> None:
    public, identity = age_key(tmp_path)
    done = inside(folder, "key", "add", "--recipient", public)
    assert "could not be tried here" in done.stdout
    assert keys_by(folder, DedupOptions(identity_file=identity)).can_read


def test_rotating_replaces_the_secret_that_is_configured(folder: Path, inside: Recoup) -> None:
    [old] = slots(folder)
    private(folder / "new", "another passphrase")
    done = inside(folder, "key", "rotate", "--new-password-file", "new")
    assert done.returncode == 0, done.stderr
    assert f"takes the place of {old}" in done.stdout
    assert "`recoup key check` proves that it fits" in done.stdout
    assert old not in slots(folder)
    refused = inside(folder, "key", "rotate", "--new-password-file", "new")
    assert refused.returncode == 12
    assert "password opens no keyslot" in refused.stderr
    assert "laptop" in refused.stderr
    opened_by(folder, "password_file: new")
    assert inside(folder, "key", "list").stdout.count("used here") == 1


def test_the_last_slot_stays_and_another_one_goes(folder: Path, inside: Recoup) -> None:
    [first] = slots(folder)
    refused = inside(folder, "key", "remove", first, "--yes")
    assert refused.returncode == 13
    assert "is the last one that can be read" in refused.stderr
    private(folder / "file", bytes(32))
    inside(folder, "key", "add", "--new-key-file", "file")
    assert inside(folder, "key", "remove", first[:6], "-y").stdout == f"Removed {first}.\n"
    assert first not in slots(folder)


def test_without_a_terminal_nothing_is_removed_or_asked_for(folder: Path, recoup: Recoup) -> None:
    before = slots(folder)
    private(folder / "file", bytes(32))
    done = recoup(folder, "key", "add")
    assert (done.returncode, "nobody can be asked" in done.stderr) == (2, True)
    done = recoup(folder, "key", "remove", before[0])
    assert (done.returncode, "nobody can be asked" in done.stderr) == (2, True)
    assert slots(folder) == before


@pytest.mark.parametrize(
    "verb",
    [
        ("add",),
        ("add", "--new-password-file", "password"),
        ("rotate",),
        ("remove",),
        ("export", "--recovery", "x"),
        ("export", "--write-only", "x"),
    ],
)
def test_a_dry_run_changes_nothing(folder: Path, inside: Recoup, verb: tuple[str, ...]) -> None:
    before = slots(folder)
    named = [before[0]] if verb[0] in ("rotate", "remove") else []
    done = inside(folder, "key", *verb, *named, "-n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Would ")
    assert slots(folder) == before
    assert not (folder / "x").exists()


@pytest.mark.parametrize("verb", ["add", "rotate"])
def test_a_dry_run_says_when_the_new_key_cannot_be_read(folder: Path, inside: Recoup, verb: str) -> None:
    done = inside(folder, "key", verb, "-n", "--new-password-file", "nowhere")
    assert done.returncode == 12
    assert "nowhere cannot be read" in done.stderr


def test_a_repository_without_any_keyslot_is_not_called_well(folder: Path, inside: Recoup) -> None:
    for slot in (folder / "backups" / "keys").iterdir():
        slot.unlink()
    done = inside(folder, "key", "list")
    assert done.returncode == 4
    assert "there is no keyslot that can be read" in done.stderr
    made = inside(folder, "init")
    assert made.returncode == 12
    assert "Keep a copy" not in made.stdout, "of what opens nothing"


def test_a_host_with_a_writer_key_adds_and_reads_nothing_and_changes_no_key(folder: Path, inside: Recoup) -> None:
    done = inside(folder, "key", "export", "--write-only", "writer", "--label", "web server")
    assert done.returncode == 0, done.stderr
    assert (folder / "writer").stat().st_mode & 0o777 == 0o600
    opened_by(folder, "writer_key_file: writer")
    assert not keys_by(folder, DedupOptions(writer_key_file=folder / "writer")).can_read
    listed = rows(inside(folder, "key", "list", "--json"))
    assert [(row["method"], row["opens"]) for row in listed] == [("passphrase", False), ("writer", True)]
    private(folder / "file", bytes(32))
    for verb in (("add", "--new-key-file", "file"), ("remove", listed[0]["id"], "-y"), ("export", "--recovery", "r")):
        refused = inside(folder, "key", *verb)
        assert refused.returncode == 12
        assert "cannot be read on this host" in refused.stderr
    assert not (folder / "r").exists()


def test_a_writer_is_shut_out(folder: Path, inside: Recoup) -> None:
    inside(folder, "key", "export", "--write-only", "writer")
    writer = rows(inside(folder, "key", "list", "--json"))[1]["id"]
    assert inside(folder, "key", "remove", writer, "-y").returncode == 0
    opened_by(folder, "writer_key_file: writer")
    done = inside(folder, "key", "export", "--recovery", "r")
    assert done.returncode == 12
    assert "does not count any more" in done.stderr


def test_a_recovery_file_opens_the_repository_and_is_never_written_over(folder: Path, inside: Recoup) -> None:
    assert inside(folder, "key", "export", "--recovery", "recovery").returncode == 0
    assert keys_by(folder, DedupOptions(key_file=folder / "recovery")).can_read
    before, there = (folder / "recovery").read_bytes(), slots(folder)
    again = inside(folder, "key", "export", "--recovery", "recovery")
    assert again.returncode == 13
    assert "is there already" in again.stderr
    assert (folder / "recovery").read_bytes() == before
    assert slots(folder) == there


def test_a_damaged_slot_is_listed_as_such(folder: Path, inside: Recoup) -> None:
    [slot] = slots(folder)
    (folder / "backups" / "keys" / f"{slot}.json").write_text("{")
    done = inside(folder, "key", "list")
    assert done.returncode == 4
    assert "DAMAGED" in done.stdout
    assert f"keys/{slot}.json is damaged" in done.stderr


def test_two_new_secrets_at_once_are_refused(folder: Path, inside: Recoup) -> None:
    done = inside(folder, "key", "add", "--new-key-file", "a", "--new-password-file", "b")
    assert done.returncode == 2
    assert "exactly one thing" in done.stderr
    assert inside(folder, "key", "export").returncode == 2


def test_a_repository_of_another_layout_has_no_keyslots(folder: Path, inside: Recoup) -> None:
    (folder / "recoup.yaml").write_text("version: 1\nstack: small\nrepositories:\n  main: {path: plain}\n")
    inside(folder, "init")
    done = inside(folder, "key", "list")
    assert done.returncode == 13
    assert "has no keyslots: its layout is 'sets'" in done.stderr
    named = inside(folder, "key", "list", "-r", str(folder / "backups"))
    assert named.returncode == 13
    assert "Set `layout: dedup`" in named.stderr


def test_where_there_is_no_repository_that_is_said(folder: Path, inside: Recoup) -> None:
    (folder / "backups" / "recoup-repository.json").unlink()
    assert inside(folder, "key", "list").returncode == 10


def test_a_passphrase_is_asked_for_twice_on_a_terminal_and_never_shown(folder: Path) -> None:
    before = slots(folder)
    shown = typed(folder, ["key", "add", "--label", "typed"], "a new passphrase\n" * 2)
    assert "Added keyslot" in shown
    assert "a new passphrase" not in shown
    private(folder / "other", "a new passphrase")
    assert len(slots(folder)) == len(before) + 1
    assert keys_by(folder, DedupOptions(password_file=folder / "other")).can_read


def typed(folder: Path, arguments: list[str], text: str) -> str:
    """What the command shows on a terminal on which a person types."""
    ours, theirs = pty.openpty()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP")} | {"NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "recoup", *arguments],
        cwd=folder,
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown, left = b"", text.splitlines(keepends=True)
        while piece := _read(ours, process):
            shown += piece
            if left and shown.endswith(b": "):  # the space comes when what was typed before is thrown away
                os.write(ours, left.pop(0).encode())
        process.wait(60)
    os.close(ours)
    return shown.decode()


def _read(descriptor: int, process: "subprocess.Popen[bytes]") -> bytes:
    if not select.select([descriptor], [], [], 60)[0]:
        process.kill()  # it waits for something else than was typed
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side has ended
        return b""
