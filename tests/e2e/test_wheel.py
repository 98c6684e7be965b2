"""The wheel, as a user installs it: into an environment of its own, without this folder."""

import json
import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from e2e.fewer_documents import FEWER

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, timeout: float = 300) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("RECOUP", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.requirement("DM-16")
def test_the_wheel_installs_elsewhere_and_its_demo_runs(tmp_path: Path) -> None:
    uv = os.environ.get("UV", "uv")
    run(uv, "build", "--wheel", "--out-dir", tmp_path, ROOT, cwd=tmp_path)
    [wheel] = tmp_path.glob("recoup-*.whl")
    run(uv, "venv", tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    run(uv, "pip", "install", "--python", python, f"{wheel}[demo,web]", cwd=tmp_path)
    recoup = tmp_path / "env" / "bin" / "recoup"
    assert run(recoup, "version", cwd=tmp_path).startswith("recoup 0.")
    told = run(python, "-c", FEWER, "demo", "--dir", tmp_path / "stack", cwd=tmp_path)
    assert "What was proven" in told
    listed = run(recoup, "-c", tmp_path / "stack" / "recoup.yaml", "list", cwd=tmp_path)
    assert "complete" in listed
    typed = "import recoup; print(recoup.__file__); print(recoup.open, recoup.Stack, recoup.capture_duckdb)"
    assert str(tmp_path) in run(python, "-c", typed, cwd=tmp_path)
    assert list((tmp_path / "env").rglob("recoup/py.typed"))
    assert all(served(recoup, tmp_path / "stack", "", "static/style.css", "static/vendor/htmx.min.js"))


def served(recoup: Path, stack: Path, *paths: str) -> list[bytes]:
    """What the page of the installed program answers."""
    command = [str(recoup), "--json", "web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, cwd=stack, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            return [_answer(f"{url}{path}") for path in paths]
        finally:
            server.terminate()


def _answer(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())
