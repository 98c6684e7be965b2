"""Looking into sets, comparing them and taking them out, as typed."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

from recoup.errors import ExitCode

from .conftest import Recoup, command, environment, sets


def test_ls_tells_people_and_programs(stack: Path, inside: Recoup) -> None:
    done = inside(stack, "ls")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["chat/chat.db", "uploads"]
    done = inside(stack, "ls", "latest", "uploads", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(one["type"], one["path"], one["kind"], one["bytes"]) for one in found} == {
        ("entry", "uploads/a.txt", "file", 12)
    }
    assert inside(stack, "ls", "latest", "nothing").returncode == ExitCode.USAGE


def test_cat_writes_the_bytes_and_nothing_else(stack: Path, inside: Recoup) -> None:
    assert inside(stack, "cat", "latest", "uploads/a.txt", "--json").stdout == "first upload"
    assert inside(stack, "cat", "latest", "uploads/a.txt", "--range", "6-8").stdout == "upl"
    for wrong in ("8-6", "x", "-5", "1-2-3"):
        done = inside(stack, "cat", "latest", "uploads/a.txt", f"--range={wrong}")
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
        assert "is no range" in done.stderr
    done = inside(stack, "cat", "latest", "uploads")
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")


def test_restore_of_a_path_says_what_it_takes(stack: Path, inside: Recoup) -> None:
    done = inside(stack, "restore", "--path", "uploads/a.txt", "--target", "look")
    assert done.returncode == 0
    assert "only a.txt" in done.stdout
    assert [path.name for path in (stack / "look").rglob("*") if path.is_file()] == ["a.txt"]


def test_diff_and_stats_have_a_line_for_what_changed(stack: Path, inside: Recoup) -> None:
    (stack / "data/uploads/b.txt").write_text("another")
    assert inside(stack, "backup").returncode == 0
    done = inside(stack, "diff", "oldest")
    assert "* uploads  12 B -> 19 B" in done.stdout
    assert "    + b.txt" in done.stdout
    [report] = [json.loads(line) for line in inside(stack, "diff", "oldest", "--json").stdout.splitlines()]
    assert (report["type"], report["before"], report["after"]) == ("diff", *sets(stack))
    [report] = [json.loads(line) for line in inside(stack, "stats", "--json").stdout.splitlines()]
    assert [one["set"] for one in report["sets"]] == sets(stack)
    assert "2 sets" in inside(stack, "stats").stdout


def test_stats_that_are_not_whole_end_with_another_code(stack: Path, inside: Recoup) -> None:
    [manifest] = (stack / "backups").glob("backup_*/manifest.json")
    manifest.write_text("{")
    done = inside(stack, "stats")
    assert done.returncode == ExitCode.INCOMPLETE
    assert "! backup_" in done.stdout


def test_export_to_a_pipe_leaves_words_to_stderr(stack: Path, tmp_path: Path, inside: Recoup) -> None:
    done = inside(stack, "export", "--to", "plan", "-n")
    assert done.returncode == 0
    assert not (stack / "plan").exists()
    piped = subprocess.run(
        command("export", "--to", "-"), cwd=stack, env=environment(tmp_path), capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(piped.stdout), mode="r:") as tar:
        assert "recoup-repository.json" in tar.getnames()
    assert b"exported to standard output" in piped.stderr


def test_cache_of_no_dedup_repository_is_told(stack: Path, inside: Recoup) -> None:
    assert inside(stack, "cache").returncode == ExitCode.USAGE
    assert inside(stack, "cache", "shred").returncode == ExitCode.USAGE
