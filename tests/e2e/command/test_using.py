"""The command as people and scripts use it: twice, in pipes, with JSON, on a terminal, stopped half way."""

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recoup.app import open_stack

from .conftest import Done, Recoup, command, environment, sets

HEAVY = ("pydantic", "yaml", "duckdb", "numpy", "rich.progress", "qdrant_client", "recoup.app")


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_help_loads_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from recoup.cli.main import run; code = run(['--help']);"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "backup" in done.stdout


def test_init_twice_changes_nothing(tmp_path: Path, recoup: Recoup) -> None:
    (tmp_path / "app" / "uploads").mkdir(parents=True)
    (tmp_path / "app" / "uploads" / "a.txt").write_text("a")
    first = recoup(tmp_path / "app", "init")
    assert first.returncode == 0
    text = (tmp_path / "app" / "recoup.yaml").read_text()
    again = recoup(tmp_path / "app", "init")
    assert again.returncode == 0
    assert "stays as it is" in again.stdout
    assert (tmp_path / "app" / "recoup.yaml").read_text() == text
    assert recoup(tmp_path / "app", "backup").returncode == 0


def test_init_says_what_it_found_and_does_not_back_up(tmp_path: Path, recoup: Recoup) -> None:
    (tmp_path / "app" / "uploads").mkdir(parents=True)
    (tmp_path / "app" / "uploads" / "a.txt").write_text("a")
    (tmp_path / "app" / ".env").write_text("DATABASE_URL=postgresql://me:planted@db.example/app\n")
    done = recoup(tmp_path / "app", "init")
    assert "  uploads  files  uploads\n" in done.stdout
    assert "NOT backed up by it:\n  PostgreSQL: postgresql://db.example/app" in done.stdout
    assert "planted" not in done.stdout + done.stderr
    (tmp_path / "empty").mkdir()
    assert "Nothing was found" in recoup(tmp_path / "empty", "init").stdout


def test_init_dry_shows_the_file_and_writes_nothing(tmp_path: Path, recoup: Recoup) -> None:
    done = recoup(tmp_path, "init", "-n")
    assert done.returncode == 0
    assert "version: 1" in done.stdout
    assert not (tmp_path / "recoup.yaml").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup",),
        ("restore",),
        ("drill",),
        ("verify",),
        ("prune",),
        ("pin", "latest"),
        ("unpin", "latest"),
        ("note", "latest", "text"),
        ("accept", "latest"),
        ("delete", "latest", "--force"),
        ("unlock",),
    ],
)
def test_a_dry_run_changes_nothing(stack: Path, inside: Recoup, arguments: tuple[str, ...]) -> None:
    def everything() -> dict[Path, tuple[int, int]]:
        return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in stack.rglob("*") if not p.is_dir()}

    before = everything()
    done = inside(stack, *arguments, "--dry-run")
    assert done.returncode == 0
    assert everything() == before


def test_every_result_is_json_with_a_type_and_text_goes_to_stderr(stack: Path, inside: Recoup) -> None:
    verbs = {
        ("doctor",): "finding",
        ("backup", "--tag", "run=nightly", "--note", "before the move"): "backup",
        ("list", "--tag", "run=nightly"): "set",
        ("show",): "set",
        ("verify",): "verify",
        ("drill",): "drill",
        ("status",): "status",
        ("prune", "-n"): "verdict",
        ("restore",): "restore",
        ("pin", "latest"): "pin",
        ("version",): "version",
        ("config", "check"): "config",
        ("config", "show"): "config",
    }
    for arguments, kind in verbs.items():
        done = inside(stack, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        found = lines(done.stdout)
        assert found, arguments
        assert {line["type"] for line in found} == {kind}


def test_an_error_is_json_too(stack: Path, recoup: Recoup) -> None:
    for arguments, code in {("show", "backup_1999"): 2, ("bakup",): 2, ("-r", "./nowhere", "list"): 10}.items():
        done = recoup(stack, "--json", *arguments)
        assert done.returncode == code
        [line] = lines(done.stdout)
        assert line["type"] == "error"
        assert line["exit_code"] == code
        assert line["message"]


def test_global_options_work_before_and_after_the_verb(stack: Path, recoup: Recoup) -> None:
    before = recoup(stack, "-r", "./backups", "--json", "list")
    after = recoup(stack, "list", "--json", "-r", "./backups")
    assert before.returncode == after.returncode == 0
    assert lines(before.stdout)[0]["name"] == lines(after.stdout)[0]["name"] == sets(stack)[0]


def test_a_value_that_looks_like_a_global_option_stays_a_value(stack: Path, recoup: Recoup) -> None:
    assert recoup(stack, "pin", "latest", "--reason=--json").returncode == 0
    assert "Pinned: --json" in recoup(stack, "show").stdout


@pytest.mark.parametrize(("alias", "verb"), [("snapshots", "list"), ("check", "verify"), ("forget", "prune")])
def test_names_known_from_other_tools_work(stack: Path, recoup: Recoup, alias: str, verb: str) -> None:
    by_alias = recoup(stack, alias, "-n")
    assert by_alias.returncode == 0
    assert by_alias.stdout == recoup(stack, verb, "-n").stdout


def test_quiet_prints_nothing_but_errors(stack: Path, recoup: Recoup) -> None:
    done = recoup(stack, "backup", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    failed = recoup(stack, "show", "backup_1999", "-q")
    assert failed.returncode == 2
    assert failed.stderr.startswith("Error: ")


def test_nothing_is_coloured_in_a_pipe(stack: Path, recoup: Recoup) -> None:
    done = recoup(stack, "list", NO_COLOR="")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.requirement("CI-10")
def test_events_go_where_they_are_asked_to(stack: Path, recoup: Recoup) -> None:
    done = recoup(stack, "backup", "--log-json", "--log-file", "logs/recoup.log")
    assert done.returncode == 0
    events = lines(done.stderr)
    assert "backup_created" in {event["event"] for event in events}
    text = (stack / "logs" / "recoup.log").read_text()
    assert "] INFO: backup_" in text
    assert (stack / "logs" / "recoup.log").stat().st_mode & 0o777 == 0o600


def test_progress_is_told_to_programs_that_ask_for_it(stack: Path, recoup: Recoup) -> None:
    assert "progress" not in {event["event"] for event in lines(recoup(stack, "backup", "--log-json").stderr)}
    told = lines(recoup(stack, "--log-progress", "verify", "--log-json", "--quiet").stderr)
    found = [line for line in told if line["event"] == "progress"]
    assert found
    assert all([*line] == ["event", "time", "work", "done", "total", "unit", "finished"] for line in found)
    ends = [line for line in found if line["finished"]]
    assert {line["work"] for line in ends} == {f"verify {name}" for name in sets(stack)}
    assert all(line["done"] == line["total"] != 0 and line["unit"] == "" for line in ends)
    refused = recoup(stack, "verify", "--log-progress")
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: --log-progress goes with --log-json only")


@pytest.mark.requirement("DM-9")
def test_the_configured_events_are_written_in_the_exact_form(stack: Path, recoup: Recoup) -> None:
    text = (stack / "recoup.yaml").read_text() + "events: {jsonl: logs/backup.jsonl, format: exact}\n"
    (stack / "recoup.yaml").write_text(text)
    assert recoup(stack, "backup").returncode == 0
    assert recoup(stack, "backup", "--prune").returncode == 0
    found = lines((stack / "logs" / "backup.jsonl").read_text())
    created = ["path", "included", "bytes_written", "duration_ms"]
    assert [list(line) for line in found] == [created, created, ["deleted_count", "keep_last"]]
    assert found[0]["included"] == ["chat", "uploads"]
    assert found[2] == {"deleted_count": 1, "keep_last": 2}


def test_a_reader_that_goes_away_is_no_failure(stack: Path, tmp_path: Path) -> None:
    for arguments in (("list",), ("list", "--json"), ("config", "schema"), ("backup",)):
        process = subprocess.Popen(
            command(*arguments),
            cwd=stack,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == 0
        assert "Broken pipe" not in told
        assert "Error" not in told
    assert len(sets(stack)) == 2


def test_a_backup_whose_reader_went_away_still_says_that_it_is_incomplete(fresh: Path, tmp_path: Path) -> None:
    (fresh / "data" / "chat.db").unlink()
    process = subprocess.Popen(
        command("backup"),
        cwd=fresh,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 3


def test_closed_outputs_do_not_stop_a_backup(fresh: Path, tmp_path: Path) -> None:
    line = f"exec {' '.join(command('backup'))} >&- 2>&-"
    done = subprocess.run(
        ["sh", "-c", line], cwd=fresh, env=environment(tmp_path), stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0
    assert len(sets(fresh)) == 1


def test_results_that_cannot_be_printed_are_a_failure(stack: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("list", "--json"),
            cwd=stack,
            env=environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_that_was_deleted_for_good_is_said_to_be(fresh: Path, inside: Recoup) -> None:
    for _ in range(3):  # the newest copy is never deleted without force
        inside(fresh, "backup")
    first, second, _ = sets(fresh)
    assert "Would delete 1 set." in inside(fresh, "delete", first, "-n").stdout
    assert inside(fresh, "delete", "latest", "-n").returncode == 13, "nor does it promise to"
    assert "For good." in inside(fresh, "delete", first, "--yes").stdout
    gone = inside(fresh, "undelete", first)
    assert gone.returncode == 2
    assert "the trash is empty" in gone.stderr
    kept = inside(fresh, "--set", "repositories.local.trash_days=3", "delete", second, "--yes")
    assert "takes back within 3 days" in kept.stdout
    assert inside(fresh, "undelete", second).returncode == 0


def test_a_newest_set_that_cannot_be_read_is_named_by_status_and_read_by_nobody(stack: Path, inside: Recoup) -> None:
    inside(stack, "backup")
    (stack / "backups" / sets(stack)[-1] / "manifest.json").write_text("{")
    assert f"newest {sets(stack)[-1]} (unreadable)" in inside(stack, "status").stdout
    verified = inside(stack, "verify", "latest", "--json").stdout
    assert json.loads(verified.splitlines()[0])["share"] == 0


def test_a_log_file_that_cannot_be_written_is_told_once_and_stops_nothing(fresh: Path, inside: Recoup) -> None:
    done = inside(fresh, "backup", "--log-file", "/dev/full")
    assert done.returncode == 0
    assert done.stderr.count("no longer written to /dev/full: No space left on device") == 1
    assert len(sets(fresh)) == 1


def _on_terminal(folder: Path, tmp_path: Path, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Runs the command on a terminal of its own and gives one answer."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env={**environment(tmp_path), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, answer)
    told = b""
    with contextlib.suppress(OSError):  # the terminal ends with its last user
        while data := os.read(ours, 4096):
            told += data
    os.close(ours)
    return process.wait(60), told.decode(errors="replace")


def test_a_person_who_says_no_changes_nothing(stack: Path, tmp_path: Path) -> None:
    code, told = _on_terminal(stack, tmp_path, b"n\n", "delete", "latest", "--force")
    assert code == 130
    assert "Nothing was changed." in told
    assert len(sets(stack)) == 1


def test_a_person_who_says_yes_gets_what_was_asked_for(stack: Path, tmp_path: Path) -> None:
    code, told = _on_terminal(stack, tmp_path, b"y\n", "delete", "latest", "--force")
    assert code == 0
    assert "Deleted backup_" in told
    assert sets(stack) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopping_while_a_source_is_awaited_leaves_nothing(fresh: Path, tmp_path: Path, stop: signal.Signals) -> None:
    blocker = sqlite3.connect(fresh / "data" / "chat.db", isolation_level=None)
    blocker.execute("begin exclusive")
    process = subprocess.Popen(
        command("backup"), cwd=fresh, env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while not list((fresh / "backups" / ".locks").glob("*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(stop)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
        blocker.close()
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert "ERROR" not in told, "a source that was stopped is not a source that failed"
    assert sets(fresh) == []
    assert not list((fresh / "backups" / ".locks").glob("*"))
    assert not list((fresh / "backups").glob(".partial-*"))


def test_stopping_while_a_lock_is_awaited_exits_130(stack: Path, tmp_path: Path) -> None:
    held = open_stack([stack / "recoup.yaml"], cwd=stack, environ={})
    with held.repository.lock("exclusive", "prune", "small"):
        locks = stack / "backups/.locks"
        before = locks.stat().st_mtime_ns
        process = subprocess.Popen(
            command("backup", "--wait-lock", "5m"),
            cwd=stack,
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
        )
        while locks.stat().st_mtime_ns == before:  # until it has tried to take its own
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in told
    assert len(sets(stack)) == 1


@pytest.mark.parametrize("patterns", ["[/chat.db*]", "[]"], ids=["left out", "taken twice"])
def test_a_database_inside_another_source_s_folder_is_back_in_place(fresh: Path, inside: Recoup, patterns: str) -> None:
    (fresh / "recoup.yaml").write_text(f"""\
version: 1
stack: nested
sources:
  a-chat: {{kind: sqlite, path: data/chat.db}}
  data: {{kind: files, path: data, exclude: {patterns}}}
repositories:
  local: {{path: backups}}
""")
    assert inside(fresh, "backup").returncode == 0
    with contextlib.closing(sqlite3.connect(fresh / "data" / "chat.db")) as connection:
        connection.execute("delete from messages")
        connection.commit()
    done = inside(fresh, "restore", "--in-place", "--yes")
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(fresh / "data" / "chat.db")) as connection:
        assert connection.execute("select count(*) from messages").fetchall() == [(50,)]
    assert len(list((fresh / "data").glob("chat.db.before-restore-*"))) == 1, "what was there is kept"
    assert inside(fresh, "restore", "--source", "data", "--in-place", "--yes").returncode == 0
    assert (fresh / "data" / "chat.db").exists()


def test_prune_looks_only_at_sets_with_the_tag(stack: Path, recoup: Recoup) -> None:
    for _ in range(2):
        assert recoup(stack, "backup", "--tag", "run=hourly").returncode == 0
    one = ("--set", "repositories.local.keep.last=1")
    done = recoup(stack, "prune", "--tag", "run=hourly", *one, "--yes", "--json")
    assert done.returncode == 0
    verdicts = [line for line in lines(done.stdout) if line["type"] == "verdict"]
    assert [line["keep"] for line in verdicts] == [True, False, True]
    assert len(sets(stack)) == 2


@pytest.mark.parametrize("ending", ["json", "md", "html"])
def test_a_drill_writes_its_report(stack: Path, recoup: Recoup, ending: str) -> None:
    done = recoup(stack, "drill", "--report", f"proof.{ending}")
    assert done.returncode == 0
    text = (stack / f"proof.{ending}").read_text()
    assert sets(stack)[0] in text
    assert "chat" in text
    assert (stack / f"proof.{ending}").stat().st_mode & 0o777 == 0o600
    assert "proven" in recoup(stack, "list").stdout.lower()


PLUG = """
from pydantic import Field
from recoup.sources import files
Options = files.Options
class RestoreOptions(files.RestoreOptions):
    motto: str = Field("", description="A sentence that changes nothing.")
    gently: bool = Field(False, description="As always.")
def connect(options, site):
    folder = files.connect(options, site)
    plain = folder.restore
    folder.restore = lambda parts, own: plain(parts, files.RestoreOptions())
    return folder
"""


def test_an_option_that_a_plug_declares_is_known_to_restore(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "plugs").mkdir()
    (tmp_path / "plugs" / "mottos.py").write_text(PLUG)
    text = (stack / "recoup.yaml").read_text().replace("{kind: files", "{kind: mottos")
    (stack / "recoup.yaml").write_text(text)
    program = (
        "import sys, recoup.sources; recoup.sources.__path__.append(sys.argv[1]);"
        "from recoup.cli.main import run; sys.exit(run(sys.argv[2:]))"
    )

    def run(*arguments: str) -> Done:
        return subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "plugs"), *arguments],
            cwd=stack,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("backup").returncode == 0
    told = run("restore", "--help").stdout
    assert "motto" in told
    assert "A sentence that changes nothing." in told
    for own in (("--motto", "be brief", "--gently"), ("--motto=be brief",), ("--option", "uploads.motto=be brief")):
        done = run("restore", *own, "latest", "--source", "uploads", "--in-place", "--yes")
        assert done.returncode == 0, done.stderr
    wrong = run("restore", "--gently=perhaps", "--in-place", "--yes")
    assert wrong.returncode == 2
    assert "gently" in wrong.stderr
    useless = run("restore", "--motto", "x", "--source", "chat", "--in-place", "--yes")
    assert useless.returncode == 2
    assert "--motto has no meaning here" in useless.stderr


def test_an_unexpected_error_is_one_sentence_and_how_to_report_it(tmp_path: Path) -> None:
    program = (
        "import sys, recoup.app;"
        "recoup.app.open_stack = lambda *a, **k: 1 / 0;"
        "from recoup.cli.main import run; sys.exit(run(['list', *sys.argv[1:]]))"
    )
    told = {
        flags: subprocess.run(
            [sys.executable, "-c", program, *flags],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        for flags in ((), ("-vv",))
    }
    assert [done.returncode for done in told.values()] == [1, 1]
    assert told[()].stderr.startswith("Error: this is a bug in Recoup: ZeroDivisionError")
    assert "Traceback" not in told[()].stderr
    assert "Traceback" in told[("-vv",)].stderr


@pytest.mark.parametrize(
    ("line", "position", "offered"),
    [("recoup ba", "1", "backup"), ("recoup backup --dry", "2", "--dry-run"), ("recoup config sch", "2", "schema")],
)
def test_the_shell_completes_verbs_and_options(tmp_path: Path, line: str, position: str, offered: str) -> None:
    asked = {"_RECOUP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": position}
    done = subprocess.run(command(), env={**environment(tmp_path), **asked}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]
