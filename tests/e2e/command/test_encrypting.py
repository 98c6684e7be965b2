"""Encrypted repositories from the command line."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sealing_keys import age_key, private

Recoup = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIG = """\
version: 1
stack: small
staging: {staging}
sources:
  chat: {{kind: sqlite, path: chat.db}}
  papers: {{kind: files, path: papers}}
repositories:
  local: {{path: backups, compression: {compression}, encrypt_manifest: {manifest}, encrypt: {encrypt}}}
"""
SECRET = "the planted secret 7d1f"


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP")}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder / "tmp"), "NO_COLOR": "1", "COLUMNS": "200"}


class Stack:
    """A stack whose data hold a secret, and its command: in a process of its own, or by `inside`."""

    def __init__(
        self,
        folder: Path,
        encrypt: str,
        inside: Recoup | None = None,
        *,
        manifest: bool = False,
        compression: str = "none",
    ) -> None:
        self.folder, self.inside = folder, inside
        for name in ("papers", "tmp", "staging"):
            (folder / name).mkdir(mode=0o700)
        (folder / "papers" / "env").write_text(SECRET * 20)
        (folder / "papers" / "large").write_bytes(SECRET.encode() * 500_000)
        connection = sqlite3.connect(folder / "chat.db")
        connection.execute("create table messages (text text)")
        connection.executemany("insert into messages values (?)", [(SECRET,)] * 300)
        connection.commit()
        connection.close()
        self.configure(encrypt, manifest=manifest, compression=compression)

    def configure(self, encrypt: str, *, manifest: bool = False, compression: str = "none") -> None:
        text = CONFIG.format(
            staging=self.folder / "staging", compression=compression, manifest=str(manifest).lower(), encrypt=encrypt
        )
        (self.folder / "recoup.yaml").write_text(text)

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "recoup", *arguments],
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        if self.inside is not None:
            return self.inside(self.folder, *arguments)
        with self.begin(*arguments) as process:
            out, err = process.communicate(timeout=120)
            return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def sets(self) -> list[Path]:
        return sorted((self.folder / "backups").glob("backup_*"))


def passphrase(folder: Path, text: str = "correct horse") -> str:
    private(folder / "passphrase", text + "\n")
    return "{gpg: {passphrase_file: passphrase}}"


def holding(folder: Path, text: str) -> list[Path]:
    """The files that hold a text as it is."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            try:
                if text.encode() in path.read_bytes():
                    found.append(path)
            except OSError:
                continue  # gone meanwhile
    return found


@pytest.mark.slow
@pytest.mark.requirement("SR-13")
def test_a_planted_secret_is_never_plain_in_the_repository_nor_in_any_command_line(tmp_path: Path) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path, "sesame-97"))
    assert stack("init").returncode == 0
    plain: list[Path] = []
    commands: list[bytes] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            plain.extend(holding(tmp_path / "backups", SECRET))
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    commands.append((process / "cmdline").read_bytes())
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert stack("backup").returncode == 0
        assert stack("drill").returncode == 0
    finally:
        over.set()
        watcher.join()
    assert plain == []
    assert holding(tmp_path / "backups", SECRET) == []
    assert b"recoup" in b"".join(commands)
    assert b"sesame-97" not in b"".join(commands)
    assert list((tmp_path / "staging").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    restored = stack("restore", "--target", "out")
    assert restored.returncode == 0, restored.stderr
    assert (tmp_path / "out/papers/env").read_text() == SECRET * 20


@pytest.mark.slow
@pytest.mark.requirement("SR-13")
@pytest.mark.parametrize("manifest", [False, True])
def test_a_wrong_passphrase_is_exit_12_and_nothing_is_written(tmp_path: Path, inside: Recoup, manifest: bool) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), inside, manifest=manifest)
    stack("init")
    assert stack("backup").returncode == 0
    passphrase(tmp_path, "wrong")
    name = stack.sets()[0].name
    before = sorted(tmp_path.rglob("*"))
    for arguments in (
        ("backup",),
        ("restore", "--target", "out"),
        ("restore", name, "--target", "out"),
        ("restore", "--in-place", "--yes"),
        ("drill",),
        ("verify",),
        ("key", "check"),
    ):
        done = stack(*arguments)
        assert done.returncode == 12, (arguments, done.stderr)
        assert "Hint: " in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    pruned = stack("prune", "--yes")
    assert pruned.returncode == 0
    assert len(stack.sets()) == 1


def test_a_host_with_a_public_key_alone_backs_up_verifies_and_says_what_it_cannot(
    tmp_path: Path, inside: Recoup
) -> None:
    public, identity = age_key(tmp_path)
    identity.rename(tmp_path / "elsewhere")
    stack = Stack(tmp_path, f"{{age: {{recipients: [{public}]}}}}", inside, compression="zstd")
    assert "secret keys of its recipients" in stack("init").stdout
    checked = stack("key", "check")
    assert checked.returncode == 0
    assert "no secret to open it with" in checked.stdout
    assert stack("backup").returncode == 0
    verified = stack("verify")
    assert verified.returncode == 0
    assert "not looked into" in verified.stderr
    before = sorted(tmp_path.rglob("*"))
    for arguments in (("drill",), ("restore", "--target", "out")):
        done = stack(*arguments)
        assert done.returncode == 12
        assert "identity_file" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    opened = ("--set", "repositories.local.encrypt.age.identity_file=elsewhere")
    assert stack(*opened, "drill").returncode == 0
    assert "opened again" in stack(*opened, "key", "check").stdout


def test_init_says_what_to_keep_elsewhere_and_check_proves_it(tmp_path: Path, inside: Recoup) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), inside)
    told = stack("init").stdout
    assert f"Keep a copy of {tmp_path / 'passphrase'} on another machine" in told
    assert "can be opened again" in stack("doctor").stdout
    assert "there is no encrypted set yet" in stack("key", "check").stdout
    stack("backup")
    found = json.loads(stack("--json", "key", "check").stdout)
    assert (found["type"], found["method"], found["opens"], found["newest"]) == (
        "key",
        "gpg",
        True,
        stack.sets()[0].name,
    )


def test_a_passphrase_file_that_everybody_reads_is_warned_of(tmp_path: Path, inside: Recoup) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), inside)
    assert "open to everyone" not in stack("init").stderr
    (tmp_path / "passphrase").chmod(0o644)
    assert "open to everyone: `chmod 600" in stack("key", "check").stderr


def test_a_missing_key_or_program_is_told_by_doctor_and_stops_a_backup(
    tmp_path: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), inside)
    stack("init")
    (tmp_path / "passphrase").unlink()
    for verb, code in (("doctor", 1), ("backup", 12)):
        done = stack(verb)
        assert done.returncode == code
        told = "".join((done.stdout + done.stderr).split())  # a line may end within a word of the path
        assert "passphrasecannotberead" in told
    passphrase(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for verb in ("doctor", "backup"):
        done = stack(verb)
        assert done.returncode == 1
        assert "gpg is not installed" in done.stdout + done.stderr
        assert "apt install gnupg" in done.stdout + done.stderr
    assert stack.sets() == []


def test_a_missing_program_is_not_taken_for_damage(
    tmp_path: Path, inside: Recoup, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), inside)
    stack("init")
    assert stack("backup").returncode == 0
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("PATH", str(tmp_path))
        for verb in ("verify", "drill", "restore"):
            done = stack(verb)
            assert done.returncode == 1, verb
            assert "gpg is not installed" in done.stderr
            assert "damaged" not in done.stdout + done.stderr
    assert '"failed_proof": null' in stack("list", "--json").stdout
    assert stack("verify").returncode == 0


def test_a_repository_without_encryption_has_nothing_to_check(tmp_path: Path, inside: Recoup) -> None:
    stack = Stack(tmp_path, "null", inside)
    stack("init")
    assert "nothing to check" in stack("key", "check").stdout


@pytest.mark.parametrize(
    ("encrypt", "words"),
    [
        ("{}", "exactly one of"),
        ("{gpg: {}}", "neither `passphrase_file` nor `recipients`"),
        ("{gpg: {passphrase_file: p}, age: {recipients: [age1]}}", "exactly one of"),
        ("{gpg: {identity_file: i, passphrase_file: p}}", "without `recipients`"),
        ("{gpg: {recipients: [r], passphrase_file: p}}", "add `identity_file`"),
        ("{age: {recipients: []}}", "recipients"),
        ("{age: {recipients: [age1]}}, pack: tree", "choose tar"),
    ],
)
def test_settings_that_make_no_sense_are_told(tmp_path: Path, inside: Recoup, encrypt: str, words: str) -> None:
    done = Stack(tmp_path, encrypt, inside)("config", "check")
    assert done.returncode == 2
    assert words in done.stderr
    assert "recoup.yaml:8" in done.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_or_killed_backup_leaves_nothing_plain_and_the_next_one_tidies_up(
    tmp_path: Path, sign: signal.Signals
) -> None:
    stack = Stack(tmp_path, passphrase(tmp_path), compression="zstd")
    stack("init")
    with (tmp_path / "papers" / "huge").open("wb") as file:
        file.truncate(4_000_000_000)
    with stack.begin("backup") as process:
        partial = tmp_path / "backups" / ".partial"
        for _ in range(600):
            if list(partial.glob("*/papers/*.gpg")) or process.poll() is not None:
                break
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(sign)
        process.communicate(timeout=60)
        assert process.returncode == (130 if sign == signal.SIGINT else -9)
    assert stack.sets() == []
    assert holding(tmp_path / "backups", SECRET) == []
    (tmp_path / "papers" / "huge").unlink()
    assert stack("backup").returncode == 0
    assert list(partial.iterdir()) == []
    assert list((tmp_path / "staging").iterdir()) == []
