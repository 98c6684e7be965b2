"""What the example promises to its user, on a Qdrant server, by the real command."""

import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import ConfigError
from recoup.system.clock import SystemClock

from .conftest import NOBODY, Citadel, whole

KEPT = ["e5_multilingual", "minilm_general", "mixtral_embeddings"]
KEY = "made-up-qdrant-key-5b2e"


class Calendar(SystemClock):
    """A clock that stands where the test puts it."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-1", "CI-2")
def test_without_any_variable_the_file_has_the_values_of_the_server(alone: Citadel) -> None:
    for name in ("QDRANT_BACKUP_PATH", "QDRANT_URL"):
        del alone.environ[name]
    settings = alone.opened().settings
    local = settings.repositories["local"]
    assert local.path == Path("/opt/qdrant/backups")
    assert (local.keep.within, local.compression) == ("7d", "zstd")
    assert settings.schedule[0].cron == "0 2 * * *"


@pytest.mark.requirement("CI-1", "CI-2")
def test_the_file_is_changed_for_good_and_the_environment_wins_over_it(alone: Citadel) -> None:
    file = alone.config / "backup.yaml"
    written = file.read_text().replace("RETENTION_DAYS:-7}", "RETENTION_DAYS:-30}")
    file.write_text(written.replace('"${BACKUP_COMPRESSION:-true}"', "false"))
    local = alone.opened().settings.repositories["local"]
    assert (local.keep.within, local.compression) == ("30d", "none")
    file.write_text(written)
    chosen = {"BACKUP_RETENTION_DAYS": "14", "BACKUP_SCHEDULE": "30 1 * * 1-5", "BACKUP_COMPRESSION": "false"}
    settings = alone.opened(environ=chosen).settings
    local = settings.repositories["local"]
    assert (local.keep.within, local.compression, settings.schedule[0].cron) == ("14d", "none", "30 1 * * 1-5")


@pytest.mark.requirement("CI-1")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BACKUP_RETENTION_DAYS", "seven"),
        ("BACKUP_RETENTION_DAYS", "0"),
        ("BACKUP_RETENTION_DAYS", "-7"),
        ("BACKUP_COMPRESSION", "perhaps"),
        ("BACKUP_SCHEDULE", "0 2 * *"),
        ("BACKUP_SCHEDULE", "0 25 * * *"),
    ],
)
def test_a_wrong_value_is_told_with_the_name_of_its_variable(alone: Citadel, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"from {variable}"):
        alone.opened(environ={variable: value})


# --- backups ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-1", "CI-4", "CI-10", "CI-11")
def test_every_collection_is_a_compressed_snapshot_with_the_teams_name(citadel: Citadel) -> None:
    citadel.recoup("backup")
    names = citadel.artefacts()
    form = re.compile(r"(\w+)-\d{4}(-\d\d){5}\.snapshot\.zst")
    assert [match[1] if (match := form.fullmatch(name)) else name for name in names] == KEPT
    assert whole([citadel.backups / name for name in names])
    lines = citadel.log.splitlines()
    assert lines
    assert [
        line for line in lines if not re.match(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (INFO|WARNING): \S", line)
    ] == []


@pytest.mark.requirement("CI-4", "CI-9")
def test_collections_come_and_go_and_one_that_is_gone_is_told_once_and_kept(citadel: Citadel) -> None:
    plain = {"BACKUP_COMPRESSION": "false"}
    citadel.recoup("backup", environ=plain)
    citadel.make("bge_small")
    citadel.drop("minilm_general")
    citadel.recoup("backup", environ=plain)
    stored = [name.partition("-")[0] for name in citadel.artefacts()]
    assert stored == sorted([*KEPT, "bge_small", "e5_multilingual", "mixtral_embeddings"])
    assert all(name.endswith(".snapshot") for name in citadel.artefacts())
    first, second = citadel.manifests()
    said = f"collection minilm_general is no longer there; {first['name']} is the newest set that has it"
    assert citadel.log.count(said) == 1
    assert second["outcome"] == "complete"
    citadel.recoup("backup", environ=plain)
    assert citadel.log.count("is no longer there") == 1
    assert [name for name in citadel.artefacts() if name.startswith("minilm_general-")]


@pytest.mark.requirement("CI-5")
def test_sets_go_after_seven_days_with_their_files(citadel: Citadel) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    calendar = Calendar(now)
    for days in (8, 6, 0):
        calendar.at = now - timedelta(days=days)
        assert citadel.opened(calendar).backup().exit_code == 0
    kept = {f"{now - timedelta(days=days):%Y-%m-%d-%H-%M-%S}" for days in (6, 0)}
    assert {name.partition("-")[2].partition(".")[0] for name in citadel.artefacts()} == kept
    assert len(citadel.artefacts()) == 2 * len(KEPT)


@pytest.mark.requirement("CI-12")
def test_a_run_that_overlaps_another_one_is_refused(alone: Citadel) -> None:
    stack = alone.opened()
    with stack.repository.lock("backup", "backup", "citadel", 0.0):
        assert "backup" in alone.recoup("backup", "--source", "config", code=11)
    alone.recoup("backup", "--source", "config")
    assert len(alone.manifests()) == 1


@pytest.mark.requirement("CI-4")
def test_a_server_that_does_not_answer_fails_its_source_and_is_told(alone: Citadel) -> None:
    assert "127.0.0.1:9" in alone.recoup("backup", code=3)
    [manifest] = alone.manifests()
    assert manifest["outcome"] == "incomplete"
    assert manifest["sources"]["config"]["outcome"] == "complete"


# --- proof and restore -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-6", "CI-11")
def test_a_set_is_proven_and_damage_of_a_snapshot_is_found(citadel: Citadel) -> None:
    citadel.recoup("backup")
    citadel.recoup("verify")
    assert "Proven" in citadel.recoup("drill")
    harmed = citadel.backups / citadel.artefacts()[1]
    content = bytearray(harmed.read_bytes())
    content[len(content) // 2] ^= 1
    harmed.write_bytes(content)
    assert harmed.name in citadel.recoup("verify", code=4)
    citadel.recoup("drill", code=4)


@pytest.mark.requirement("CI-7")
def test_one_collection_is_restored_alone_after_a_look_that_changes_nothing(citadel: Citadel) -> None:
    citadel.recoup("backup")
    assert citadel.qdrant is not None
    where = {"filter": {"must": [{"key": "kind", "match": {"value": "a"}}]}}
    for name in ("minilm_general", "e5_multilingual"):
        citadel.qdrant.ask("POST", f"/collections/{name}/points/delete", where, wait="true")
    before = citadel.qdrant.collections()
    order = ("restore", "latest", "--in-place", "--collections", "minilm_general")
    assert "minilm_general" in citadel.recoup(*order, "-n")
    assert citadel.qdrant.collections() == before
    assert citadel.count("minilm_general") == 75
    citadel.recoup(*order, "--yes")
    assert citadel.count("minilm_general") == 150
    assert citadel.count("e5_multilingual") == 75


# --- Qdrant's configuration ------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-14")
def test_the_configuration_folder_comes_back_and_its_key_stands_nowhere_else(alone: Citadel) -> None:
    told = alone.recoup("backup", "--source", "config")
    stored = [path for path in alone.backups.rglob("*") if not path.is_symlink()]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in stored if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in stored if path.is_dir()} == {0o700}
    holding = [path for path in stored if path.is_file() and KEY.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["production.yaml"]
    production = alone.config / "production.yaml"
    content = production.read_text()
    production.write_text("service: {}\n")
    told += alone.recoup("restore", "latest", "--source", "config", "--in-place", "--yes")
    assert production.read_text() == content
    assert stat.S_IMODE(production.stat().st_mode) == 0o600
    assert (alone.config / "backup.yaml").exists()
    assert KEY not in told + alone.log


@pytest.mark.requirement("CI-14")
def test_the_configuration_is_sealed_where_backups_leave_the_house(alone: Citadel, tmp_path: Path) -> None:
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{identity}\n")
    (tmp_path / "key").chmod(0o600)
    keys = {"BACKUP_RECIPIENT": str(identity.to_public()), "BACKUP_IDENTITY": str(tmp_path / "key")}
    sealed = ("-c", "sealed.yaml")
    alone.recoup(*sealed, "backup", "--source", "config", environ=keys)
    stored = [path for path in alone.backups.rglob("*") if path.is_file()]
    assert [path for path in stored if KEY.encode() in path.read_bytes()] == []
    alone.recoup(*sealed, "restore", "latest", "--source", "config", "--target", str(tmp_path / "back"), environ=keys)
    assert KEY in (tmp_path / "back/config/production.yaml").read_text()


# --- diagnosis -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CI-8", "CI-9", "CI-15")
def test_one_command_looks_at_everything_and_says_what_to_do(citadel: Citadel) -> None:
    citadel.recoup("backup", "--source", "config")
    said = citadel.recoup("doctor")
    for name in KEPT:
        assert f"collection {name} is green" in said
    assert "scratch_test" not in said
    assert "is usable and holds 1 set" in " ".join(said.split())
    assert "recoup schedule install" in said, "nothing calls the schedule"
    assert "last backup of local" in said
    citadel.recoup("schedule", "tick")
    citadel.recoup("backup")
    assert citadel.recoup("status", "--nagios").startswith("RECOUP OK")
    away = citadel.recoup("doctor", code=1, environ={"QDRANT_URL": NOBODY})
    assert "cannot be reached" in away
    assert "See whether Qdrant runs there" in " ".join(away.split())
