"""Two repositories, as a person and a program see them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from e2e.command.conftest import Done, Recoup

TWO = """\
version: 1
stack: small
sources:
  uploads: {kind: files, path: data/uploads}
repositories:
  near: {path: near}
  far: {path: far, pack: tar.zst}
"""


def results(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_two_repositories_from_backup_to_repair(fresh: Path, inside: Recoup) -> None:
    run: Callable[..., Done] = lambda *arguments: inside(fresh, *arguments)  # noqa: E731 - short
    (fresh / "recoup.yaml").write_text(TWO)
    assert run("init").returncode == 0
    done = run("backup", "--json")
    assert done.returncode == 0, done.stderr
    [report] = results(done)
    assert [(copy["repository"], copy["outcome"]) for copy in report["repositories"]] == [
        ("near", "complete"),
        ("far", "complete"),
    ]
    [set_there] = (fresh / "near").glob("backup_*")
    (set_there / "uploads/a.txt").write_text("FIRST UPLOAD")

    done = run("restore", "--target", "look", "--json", "--log-json")
    assert done.returncode == 0, done.stderr
    [restored] = results(done)[0]["sources"]
    assert restored["repository"] == "far"
    assert "near" in restored["fell_back"][0]
    assert (fresh / "look/uploads/a.txt").read_text() == "first upload"
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [event["level"] for event in events if event["event"] == "restore_fell_back"] == ["warning"]

    done = run("drill")
    assert done.returncode == 4
    assert "The copy in near does NOT restore" in done.stdout

    assert run("repair", "--from", "far", "-n").returncode == 4
    done = run("repair", "--from", "far")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run("repair", "--from", "far", "-n").returncode == 0
    assert "1 file mended by far, whole again" in done.stdout
    assert (set_there / "uploads/a.txt").read_text() == "first upload"


def test_what_cannot_be_reached_is_named_and_the_exit_code_says_so(fresh: Path, inside: Recoup) -> None:
    (fresh / "recoup.yaml").write_text(TWO)
    assert inside(fresh, "init").returncode == 0
    shutil.rmtree(fresh / "far")
    done = inside(fresh, "backup")
    assert done.returncode == 3
    assert "far has NOT got it" in done.stdout
    assert "stored in near" in done.stdout
    done = inside(fresh, "list")
    assert done.returncode == 3
    assert "far was not looked into" in done.stderr
    done = inside(fresh, "verify")
    assert done.returncode == 4
    done = inside(fresh, "copy", "--from", "near", "--to", "far")
    assert done.returncode == 10
    assert inside(fresh, "copy", "--to", "far").returncode == 2  # which of the two is copied from?
