"""The example as its user has it: a copy of the folder, its data made, and its tables on a real server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from loading_scripts import loaded
from postgres_server.running import Database, Postgres
from qdrant_server.running import Qdrant
from services.standing import ToyService

EXAMPLE = Path(__file__).parents[3] / "examples" / "selfrag"
TABLES = ("users", "api_keys", "memory_logs", "documents", "document_chunks")
WHOLE_ONLY = ("conversations", "messages")
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class SelfRag:
    """A copy of the example.

    Attributes:
        root: its folder.
        database: where its tables are.
        qdrant_url: where it looks for Qdrant.
        programs: where `python` is.
    """

    root: Path
    database: Database
    programs: Path
    qdrant_url: str = NOBODY

    def recoup(self, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs the command, and expects an exit code."""
        done = self.run([str(self.programs / "python"), "-m", "recoup", *arguments], **environ)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def program(self, name: str, *arguments: str, **environ: str) -> str:
        """Runs one of PostgreSQL's programs, or another one, to its good end; its output."""
        done = self.run([name, *arguments], **environ)
        assert done.returncode == 0, f"{name} {arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(self, command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("RECOUP", "PG", "XDG"))}
        own = {
            "DATABASE_URL": self.database.url,
            "QDRANT_URL": self.qdrant_url,
            "XDG_STATE_HOME": str(self.root.parent / "state"),
            "PATH": os.pathsep.join((str(self.database.server.programs), os.environ["PATH"])),
            "COLUMNS": "120",
        }
        return subprocess.run(
            command, cwd=self.root, env={**clean, **own, **environ}, capture_output=True, text=True, check=False
        )

    def sets(self, repository: str = "backups") -> list[Path]:
        """The sets, oldest first."""
        return sorted((self.root / repository).glob("backup_*"))

    def back_up(self, *arguments: str, repository: str = "local", code: int = 0) -> Path:
        """Backs up, and returns the new set."""
        self.recoup("-r", repository, "backup", *arguments, code=code)
        return self.sets({"local": "backups"}.get(repository, repository))[-1]

    def manifest(self, path: Path) -> dict[str, Any]:
        """What a set claims."""
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text())
        return manifest

    def counts(
        self, database: Database | None = None, tables: tuple[str, ...] = (*TABLES, *WHOLE_ONLY)
    ) -> dict[str, int]:
        """Rows by table."""
        where = database or self.database
        return {table: where.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}

    def collection(self, method: str, path: str, body: object = None) -> Any:
        """What its Qdrant server answers."""
        answer = httpx.request(method, self.qdrant_url + path, json=body, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()["result"]

    def points(self, collection: str = "documents") -> int:
        """How many a collection has."""
        return int(self.collection("POST", f"/collections/{collection}/points/count", {"exact": True})["count"])

    def digests(self) -> dict[str, str]:
        """Of each table's rows, in no order."""
        query = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text COLLATE \"C\")) FROM {} AS t"
        return {table: self.database.rows(query.format(table))[0][0] for table in (*TABLES, *WHOLE_ONLY)}


@pytest.fixture(scope="session")
def template(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Database]]:
    """The example's folder and database, made once by its own script."""
    root = tmp_path_factory.mktemp("selfrag") / "selfrag"
    root.mkdir()
    for part in ("recoup.yaml", "notify.yaml", "compose.yaml", "make_data.py"):
        shutil.copy(EXAMPLE / part, root / part)
    database = postgres.create("selfrag_template")
    environ = {**os.environ, "DATABASE_URL": database.url, "QDRANT_URL": NOBODY}
    subprocess.run([sys.executable, "make_data.py"], cwd=root, env=environ, check=True, capture_output=True)
    (root / "backup.key").write_text("a passphrase of the tests, made up\n")
    (root / "backup.key").chmod(0o600)
    yield root, database
    postgres.drop(database.name)


@pytest.fixture
def selfrag(
    template: tuple[Path, Database],
    databases: Callable[..., Database],
    postgres: Postgres,
    preloaded: Path,
    tmp_path: Path,
) -> Iterator[SelfRag]:
    """The example, with repositories and without sets."""
    source, made = template
    name = "selfrag_db"
    before = postgres.databases()
    postgres.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {made.name}")
    found = SelfRag(shutil.copytree(source, tmp_path / "selfrag"), Database(postgres, name), preloaded)
    found.recoup("init")
    yield found
    for left in postgres.databases() - before:
        postgres.drop(left)


@pytest.fixture
def with_qdrant(selfrag: SelfRag, qdrant: Qdrant) -> SelfRag:
    """The example with its collection on a server."""
    loaded(EXAMPLE / "make_data.py").make_vectors(qdrant.url)
    return replace(selfrag, qdrant_url=qdrant.url)


@pytest.fixture
def empty(databases: Callable[..., Database], postgres: Postgres) -> Database:
    """A database with nothing in it."""
    return databases(postgres)


@pytest.fixture
def qdrant_files(selfrag: SelfRag) -> Iterator[ToyService]:
    """A service that owns the folder of the example's cold source; its commands are laid over those of the compose file."""
    service = ToyService(selfrag.root.parent / "service", selfrag.root / "qdrant_storage")
    (service.data / "collections/documents").mkdir(parents=True)
    (service.data / "collections/documents/segment").write_bytes(os.urandom(50_000))
    service.start()
    settings = service.settings() | {"wait": {"url": "", "port": service.port, "timeout": "20s"}}
    (selfrag.root / "here.json").write_text(json.dumps({"sources": {"qdrant-files": settings}}))
    yield service
    service.close()
