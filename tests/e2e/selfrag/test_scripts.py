"""The team's nine scripts, written by Recoup, and run as the team runs them."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.standing import ToyService

from .conftest import SelfRag

NINE = {
    "postgres_backup.sh",
    "postgres_table_backup.sh",
    "postgres_restore.sh",
    "qdrant_backup.sh",
    "qdrant_full_backup.sh",
    "qdrant_restore.sh",
    "qdrant_full_restore.sh",
    "backup_validation.sh",
    "backup_monitor.sh",
}
CONFIG = ("-c", "recoup.yaml", "-c", "here.json", "-r", "local")

Script = Callable[..., str]


@pytest.fixture
def rag(with_qdrant: SelfRag, qdrant_files: ToyService) -> SelfRag:
    """The example with all its services, and the scripts."""
    with_qdrant.recoup(*CONFIG, "wrappers", "install", "scripts/backup", "--for", "selfrag")
    return with_qdrant


@pytest.fixture
def script(rag: SelfRag, tmp_path: Path) -> Script:
    """Runs a script from anywhere, and expects an exit code; what it printed."""

    def run(name: str, *arguments: str, code: int = 0) -> str:
        done = rag.run(["/bin/sh", "-c", 'cd / && exec "$0" "$@"', str(rag.root / "scripts/backup" / name), *arguments])
        assert done.returncode == code, f"{name}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.requirement("SR-18")
def test_each_script_does_what_its_name_says(rag: SelfRag, script: Script, qdrant_files: ToyService) -> None:
    folder = rag.root / "scripts/backup"
    assert {path.name for path in folder.iterdir()} == NINE
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0

    script("postgres_table_backup.sh", "users", "documents")
    tables = rag.sets()[-1] / "db/tables"
    assert {path.name for path in tables.iterdir()} == {"public.users.dump", "public.documents.dump"}
    assert "db " in script("postgres_backup.sh", "--dry-run")
    before = rag.digests()
    rag.database.execute("DELETE FROM memory_logs WHERE id > 3")
    script("postgres_restore.sh", "latest", "--yes")
    assert rag.digests() == before
    dump = str(rag.sets()[-1] / "db/selfrag_db.dump")
    target = rag.database.server.url("selfrag_other")
    assert "selfrag_other: nothing is there" in script("postgres_restore.sh", dump, "--target", target, "-n")

    script("qdrant_backup.sh")
    harm = {"filter": {"must": [{"key": "position", "match": {"value": 0}}]}}
    rag.collection("POST", "/collections/documents/points/delete?wait=true", harm)
    assert rag.points() < 200
    script("qdrant_restore.sh", "--yes")
    assert rag.points() == 200

    segment = qdrant_files.data / "collections/documents/segment"
    kept = segment.read_bytes()
    script("qdrant_full_backup.sh")
    assert qdrant_files.is_up
    segment.write_bytes(b"spoiled")
    script("qdrant_full_restore.sh", "--yes")
    assert segment.read_bytes() == kept
    assert qdrant_files.is_up

    script("backup_validation.sh", "latest")
    stored = next((rag.sets()[-1]).glob("qdrant-files/**/segment"))
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    script("backup_validation.sh", "latest", code=4)
    assert "db" in script("backup_monitor.sh", code=3), "files and logs were never backed up"


@pytest.mark.requirement("SR-18")
def test_the_scripts_need_what_they_work_on(selfrag: SelfRag) -> None:
    said = selfrag.recoup(
        "-c", "recoup.yaml", "--json", "wrappers", "install", "scripts", "--for", "citadel", "-n", code=0
    )
    assert "restore_collections.sh" in said.stdout
    (selfrag.root / "bare.yaml").write_text("version: 1\nstack: bare\nsources: {env: {kind: files, path: .env}}\n")
    refused = selfrag.recoup("-c", "bare.yaml", "wrappers", "install", "scripts", "--for", "selfrag", code=2)
    assert "postgres_backup.sh works on sources of kind postgres" in refused.stderr
    assert not (selfrag.root / "scripts").exists()
