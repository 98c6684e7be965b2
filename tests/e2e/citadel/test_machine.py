"""The team's scripts and cron file: installed by Recoup, run, and taken away again."""

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import Citadel

KEPT = "QDRANT_URL,QDRANT_BACKUP_PATH,QDRANT_BACKUP_LOG"


def script(citadel: Citadel, path: Path, *arguments: str) -> str:
    """Runs a script as its user does, from anywhere; what it printed."""
    environ = {**os.environ, **citadel.environ}
    done = subprocess.run([path, *arguments], cwd="/", env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{path.name} {arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.requirement("CI-3", "CI-13")
def test_scripts_and_cron_file_are_installed_run_and_removed_by_one_command(citadel: Citadel, tmp_path: Path) -> None:
    scripts, cron = tmp_path / "opt/citadel/scripts", tmp_path / "root/etc/cron.d/qdrant-backup"
    cron.parent.mkdir(parents=True)
    where = ("--root", str(tmp_path / "root"), "--yes")
    citadel.recoup("wrappers", "install", str(scripts), "--for", "citadel")
    name = ("--name", "qdrant-backup")
    citadel.recoup("schedule", "install", "--cron", "--system", *name, "--env", KEPT, *where)
    assert f"\nQDRANT_BACKUP_PATH={citadel.backups}\n" in cron.read_text()

    script(citadel, scripts / "backup_collections.sh")
    assert [artefact for artefact in citadel.artefacts() if artefact.startswith("minilm_general-")]
    points = citadel.count("minilm_general")
    citadel.drop("minilm_general")
    script(citadel, scripts / "restore_collections.sh", "--collections", "minilm_general", "--yes")
    assert citadel.count("minilm_general") == points

    said = citadel.recoup("uninstall", "--with-backups", "--confirm", "citadel", *where)
    assert not list(scripts.iterdir())
    assert not cron.exists()
    assert citadel.artefacts() == []
    assert citadel.manifests() == []
    assert str(citadel.config / "backup.yaml") in said, "what stays is named"
