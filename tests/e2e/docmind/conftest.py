"""The example as its user has it: a copy of the folder with its data made, and its script run as a program."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loading_scripts import loaded
from qdrant_server.running import Qdrant

EXAMPLE = Path(__file__).parents[3] / "examples" / "docmind"


NOBODY = "http://127.0.0.1:9"
"""Where no Qdrant answers."""


@dataclass(frozen=True)
class DocMind:
    """A copy of the example.

    Attributes:
        root: its folder.
        url: where it looks for Qdrant.
        programs: where `python` is.
    """

    root: Path
    programs: Path
    url: str = NOBODY

    @property
    def backups(self) -> Path:
        return self.root / "data/backups"

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.start([str(self.programs / "python"), "scripts/backup.py", *arguments], **environ)

    def recoup(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.start([str(self.programs / "python"), "-m", "recoup", *arguments], **environ)

    def start(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("RECOUP", "DOCMIND", "XDG"))}
        own = {"DOCMIND_QDRANT__URL": self.url, "XDG_STATE_HOME": str(self.root.parent / "state")}
        return subprocess.run(
            command, cwd=self.root, env={**clean, **own, **environ}, capture_output=True, text=True, check=False
        )

    def create(self, *flags: str, dest: Path | None = None) -> Path:
        """Backs up, and returns the new set."""
        folder = dest or self.backups
        before = set(self.sets(folder))
        done = self.run("create-backup", *flags)
        assert done.returncode == 0, done.stderr
        (new,) = [path for path in self.sets(folder) if path not in before]
        return new

    def sets(self, folder: Path | None = None) -> list[Path]:
        return sorted((folder or self.backups).glob("backup_*"))

    def manifest(self, path: Path) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
        return manifest

    def included(self, path: Path) -> set[str]:
        return {name for name, record in self.manifest(path)["sources"].items() if record["parts"]}

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "logs/backup.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("docmind") / "docmind"
    for part in ("recoup.yaml", "make_data.py", "scripts/backup.py"):
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLE / part, root / part)
    environ = {**os.environ, "DOCMIND_QDRANT__URL": NOBODY}
    subprocess.run([sys.executable, "make_data.py"], cwd=root, env=environ, check=True, capture_output=True)
    return root


@pytest.fixture
def docmind(made: Path, preloaded: Path, tmp_path: Path) -> DocMind:
    """The example where no Qdrant answers."""
    return DocMind(shutil.copytree(made, tmp_path / "docmind", symlinks=True), preloaded)


@pytest.fixture
def with_qdrant(docmind: DocMind, qdrant: Qdrant) -> DocMind:
    """The example with its vectors on a server."""
    make_data = loaded(docmind.root / "make_data.py")
    make_data.make_vectors(qdrant.url, make_data.passages())
    return replace(docmind, url=qdrant.url)
