"""The image's programs as plain processes, with the variables of the image and of the compose file and no others."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database, Postgres
from qdrant_server.running import Qdrant

from .reading import CONTAINER, compose, image

SERVICE = "backup-service"


@dataclass
class Container:
    """What the service is without a container around it.

    Attributes:
        root: stands for `/` of the container.
        environ: the variables.
        started: its processes.
    """

    root: Path
    environ: dict[str, str]
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def run(self, command: Sequence[str], code: int = 0) -> str:
        """Runs a program to its end, and expects an exit code; what it printed."""
        done = subprocess.run(
            command, cwd=self.home, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def start(self, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Starts a program, which says what it has to say to `said`."""
        with self.said.open("w") as log:
            process = subprocess.Popen(command, cwd=self.home, env=self.environ, stdout=log, stderr=log, text=True)
        self.started.append(process)
        return process

    def await_said(self, process: "subprocess.Popen[str]", text: str) -> None:
        """Waits until it has said something.

        Raises:
            AssertionError: it ended before, or does not say it.
        """
        latest = time.monotonic() + 60
        while text not in self.said.read_text():
            assert process.poll() is None, self.said.read_text()
            assert time.monotonic() < latest, self.said.read_text()
            time.sleep(0.05)

    @property
    def said(self) -> Path:
        return self.root / "said"

    @property
    def home(self) -> Path:
        return self.root / "var/lib/recoup"

    @property
    def backups(self) -> Path:
        return self.root / "backup"

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()


def translated(text: str, root: Path, hosts: dict[str, str]) -> str:
    """A variable's value as it is here: folders of the container lie in `root`, names of services lead to their servers."""
    for name, here in hosts.items():
        text = re.sub(rf"(?<=[/@]){re.escape(name)}(?=/|$)", here, text)
    for folder in ("/run/secrets", "/backup", "/var/lib/recoup", "/etc/recoup", "/qdrant/storage"):
        text = re.sub(rf"^{folder}(?=/|$)", str(root) + folder, text)
    return text


def environment(root: Path, hosts: dict[str, str], programs: Path) -> dict[str, str]:
    """The variables that the image and the compose file set."""
    own = dict(image((CONTAINER / "Dockerfile").read_text()).environ)
    own.pop("PATH")
    own |= compose(CONTAINER / "compose.yaml")["services"][SERVICE]["environment"]
    own = {name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", value) for name, value in own.items()}
    here = {name: translated(value, root, hosts) for name, value in own.items()}
    return here | {"PATH": os.pathsep.join((str(Path(sys.executable).parent), str(programs), "/usr/bin", "/bin"))}


@pytest.fixture
def container(
    postgres: Postgres, databases: Callable[..., Database], qdrant: Qdrant, tmp_path: Path
) -> Iterator[Container]:
    """The service beside both stores, which have something in them; its volumes are empty."""
    database = databases(postgres, "selfrag_db")
    stacks.rag(database, documents=5)
    database.execute(f"CREATE ROLE selfrag_user SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
    qdrant.ask("PUT", "/collections/documents", {"vectors": {"size": 4, "distance": "Dot"}})
    points = [{"id": n, "vector": [n / 10, 1.0, 0.0, 0.5]} for n in range(20)]
    qdrant.ask("PUT", "/collections/documents/points", {"points": points}, wait="true")
    for folder in ("backup", "var/lib/recoup", "etc/recoup", "run/secrets", "qdrant/storage"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("recoup.yaml", "cold.yaml"):
        (tmp_path / "etc/recoup" / name).write_text((CONTAINER / name).read_text())
    (tmp_path / "run/secrets/postgres_password").write_text(PASSWORD)
    (tmp_path / "run/secrets/postgres_password").chmod(0o400)
    hosts = {"postgres:5432": f"127.0.0.1:{postgres.port}", "qdrant:6333": qdrant.url.removeprefix("http://")}
    found = Container(tmp_path, environment(tmp_path, hosts, postgres.programs))
    yield found
    found.close()
    postgres.drop("selfrag_db")
    postgres.drop_role("selfrag_user")
