"""The worked example of CONTRIBUTING.md is a source like any other, with no other file edited."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"

BESIDE = "import recoup.sources\nrecoup.sources.__path__.append({folder!r})\n"
"""Puts the example's folder into the room of the sources, as a file in it would be."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    blocks = re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert [name for name, _ in blocks] == ["jsonlines.py", "test_jsonlines.py"]
    (tmp_path / "sources").mkdir()
    for name, code in blocks:
        (tmp_path / ("sources" if name == "jsonlines.py" else ".") / name).write_text(code)
    (tmp_path / "conftest.py").write_text(BESIDE.format(folder=str(tmp_path / "sources")))
    return tmp_path


def test_the_example_keeps_the_promise_of_a_source(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 15


@pytest.mark.parametrize("command", [["check"], ["format", "--diff"]], ids=" ".join)
def test_the_example_is_clean_by_the_projects_own_checks(folder: Path, command: list[str]) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    place = PAGE.with_name("src") / "recoup/sources/jsonlines.py"
    done = subprocess.run(
        [ruff, *command, "--stdin-filename", place, "-"],
        input=(folder / "sources/jsonlines.py").read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_example_is_backed_up_proven_and_restored(folder: Path) -> None:
    (folder / "log.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    (folder / "recoup.yaml").write_text(
        "version: 1\nstack: example\nsources:\n  log: {kind: jsonlines, path: log.jsonl}\n"
        "repositories:\n  local: {path: backups}\n"
    )
    program = BESIDE.format(folder=str(folder / "sources")) + (
        "import pathlib, recoup\n"
        "stack = recoup.open('recoup.yaml')\n"
        "stack.create_repositories()\n"
        "assert stack.backup().exit_code == 0\n"
        "assert stack.drill().passed\n"
        "pathlib.Path('log.jsonl').write_text('lost')\n"
        "assert stack.restore(in_place=True).exit_code == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "log.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'
