"""The example as its user has it: a copy of its folder as `/opt/qdrant`, its collections on a Qdrant server."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from qdrant_client import QdrantClient

from loading_scripts import loaded
from qdrant_server.running import Qdrant
from recoup.app import Stack, open_stack
from recoup.system.clock import Clock

EXAMPLE = Path(__file__).parents[3] / "examples" / "citadel"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def make_data() -> ModuleType:
    """The script that makes the collections."""
    return loaded(EXAMPLE / "make_data.py")


@dataclass
class Citadel:
    """A copy of the example.

    Attributes:
        root: what is `/opt/qdrant` on the server.
        environ: the variables that its user sets, and nothing of the test's own.
        capture: how to get at what is printed.
        qdrant: its server; None where nobody answers.
        make_data: the script that makes the collections.
    """

    root: Path
    environ: dict[str, str]
    capture: pytest.CaptureFixture[str]
    make_data: ModuleType
    qdrant: Qdrant | None = None

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def backups(self) -> Path:
        return Path(self.environ["QDRANT_BACKUP_PATH"])

    @property
    def log(self) -> str:
        return Path(self.environ["QDRANT_BACKUP_LOG"]).read_text()

    def recoup(self, *arguments: str, code: int = 0, environ: Mapping[str, str] | None = None) -> str:
        """Runs the command in this process, and expects an exit code; what it printed."""
        from recoup.cli.main import run

        self.capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.config)
            for name, value in {**self.environ, **(environ or {})}.items():
                patch.setenv(name, value)
            done = run(["-c", "backup.yaml", *arguments])
        told = self.capture.readouterr()
        assert done == code, f"{arguments}\n{told.out}\n{told.err}"
        return told.out + told.err

    def opened(self, clock: Clock | None = None, environ: Mapping[str, str] | None = None) -> Stack:
        """The stack, for what the command line cannot be told."""
        return open_stack(
            ["backup.yaml"], environ={**os.environ, **self.environ, **(environ or {})}, cwd=self.config, clock=clock
        )

    def artefacts(self) -> list[str]:
        """Names of the files right in the folder of backups, oldest and first in the alphabet first."""
        return sorted(path.name for path in self.backups.iterdir() if path.is_file())

    def manifests(self) -> list[dict[str, Any]]:
        """What the sets claim, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.backups.glob("_recoup/backup_*/manifest.json"))]

    def make(self, *names: str) -> None:
        """Makes collections."""
        assert self.qdrant is not None
        with closing(QdrantClient(url=self.qdrant.url, timeout=60, check_compatibility=False)) as client:
            for name in names:
                self.make_data.make(client, name, self.make_data.COLLECTIONS.get(name, 16))

    def drop(self, name: str) -> None:
        assert self.qdrant is not None
        self.qdrant.ask("DELETE", f"/collections/{name}")

    def count(self, name: str) -> int:
        assert self.qdrant is not None
        return int(self.qdrant.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


@pytest.fixture
def alone(
    make_data: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Citadel]:
    """The example where no Qdrant answers, with a repository."""
    for name in [name for name in os.environ if name.startswith(("RECOUP", "QDRANT", "BACKUP", "XDG"))]:
        monkeypatch.delenv(name)
    root = tmp_path / "opt/qdrant"
    shutil.copytree(EXAMPLE / "config", root / "config")
    make_data.make_config(root / "config")
    environ = {
        "QDRANT_URL": NOBODY,
        "QDRANT_BACKUP_PATH": str(root / "backups"),
        "QDRANT_BACKUP_LOG": str(root / "logs/backup.log"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "COLUMNS": "120",
    }
    before = signal.getsignal(signal.SIGTERM)
    found = Citadel(root, environ, capfd, make_data)
    found.opened().create_repositories()
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def citadel(alone: Citadel, qdrant: Qdrant) -> Citadel:
    """The example with its collections."""
    alone.environ["QDRANT_URL"], alone.qdrant = qdrant.url, qdrant
    alone.make(*alone.make_data.COLLECTIONS)
    return alone


def whole(files: list[Path]) -> bool:
    """Whether zstd reads files to their ends."""
    return subprocess.run(["zstd", "-t", "-q", *files], check=False).returncode == 0
