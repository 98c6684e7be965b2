"""`recoup demo` as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.fewer_documents import FEWER


def environment(temporary: Path) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RECOUP")}
    return {**clean, "TMPDIR": str(temporary), "NO_COLOR": "1", "COLUMNS": "80"}


def recoup(*arguments: str, cwd: Path, temporary: Path, fewer: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(("-c", FEWER) if fewer else ("-m", "recoup")), *arguments],
        cwd=cwd,
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def answers(output: str) -> list[list[str]]:
    """The lines below each of the three times the question is asked."""
    found = []
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith('"'):
            found.append(lines[number + 1 : number + 4])
    return found


@pytest.mark.slow
@pytest.mark.requirement("CI-6")
@pytest.mark.requirement("CI-7")
def test_the_answers_return_every_claim_is_proven_and_it_runs_twice(tmp_path: Path, temporary: Path) -> None:
    done = recoup("demo", "--dir", "mine", cwd=tmp_path, temporary=temporary)
    assert done.returncode == 0, done.stdout + done.stderr
    before, broken, regained = answers(done.stdout)
    assert before == regained
    assert before != broken
    assert all("its text is lost" in line for line in broken)
    assert "wordllama" in done.stdout
    proofs = done.stdout.partition("What was proven")[2].partition("Time")[0].strip().splitlines()
    assert len(proofs) == 7
    assert all(line.strip().startswith("yes ") for line in proofs)
    for command in ("recoup init", "recoup doctor", "recoup backup"):
        assert f"   {command}\n" in done.stdout
    assert max(map(len, done.stdout.partition("This stack stays")[0].splitlines())) <= 80
    assert list(temporary.iterdir()) == []

    again = recoup("demo", "--dir", "mine", "--json", cwd=tmp_path, temporary=temporary, fewer=True)
    assert again.returncode == 0, again.stdout + again.stderr
    *steps, ending = [json.loads(line) for line in again.stdout.splitlines()]
    assert [step["type"] for step in steps] == ["demo_step"] * 9
    assert ending["type"] == "demo"
    assert all(proof["holds"] for proof in ending["proofs"])
    listed = recoup("-c", "mine/recoup.yaml", "list", "--json", cwd=tmp_path, temporary=temporary)
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) == 1


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    done = recoup("demo", "--dir", "mine", cwd=tmp_path, temporary=temporary)
    assert done.returncode == 13
    assert "was not made by the demo" in done.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_dry_run_builds_nothing(tmp_path: Path, temporary: Path) -> None:
    done = recoup("demo", "--keep", "-n", cwd=tmp_path, temporary=temporary)
    assert done.returncode == 0
    assert "recoup-demo" in done.stdout
    assert list(tmp_path.iterdir()) == [temporary]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["1  Build", "6  Judge"])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, temporary: Path, step: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", FEWER, "demo"],
        cwd=tmp_path,
        env=environment(temporary),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        if step.startswith("1"):
            while not list(temporary.glob("*/recoup-demo.json")):
                time.sleep(0.05)
        else:
            previous = f"{int(step[0]) - 1}  "
            while not process.stdout.readline().startswith(previous):
                pass
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert "interrupted" in process.stderr.read().lower()
    assert list(temporary.iterdir()) == []
