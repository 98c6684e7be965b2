"""The command in this process, and real snapshots."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SNAPSHOTS = Path(__file__).parents[3] / "data/qdrant/snapshots"
TRUTH: dict[str, Any] = json.loads((SNAPSHOTS / "truth.json").read_text())


@dataclass(frozen=True)
class Done:
    """What a command printed and returned."""

    code: int
    out: str
    err: str

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Recoup = Callable[..., Done]


@pytest.fixture
def recoup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Recoup]:
    """Runs the command in `tmp_path`, without a terminal, with nothing of the user's around."""
    for name in [name for name in os.environ if name.startswith(("RECOUP", "QDRANT", "XDG"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {"HOME": str(home), "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def run_here(*arguments: object) -> Done:
        from recoup.cli.main import run

        capfd.readouterr()
        code = run([str(one) for one in arguments])
        told = capfd.readouterr()
        return Done(code, told.out, told.err)

    yield run_here
    signal.signal(signal.SIGTERM, before)
