"""The image and the compose file: right by the published schema, and what they start works as plain processes."""

import fnmatch
import json
import os
import shutil
import socket
import stat
import tomllib
from pathlib import Path

import jsonschema
import pytest

import recoup
from postgres_server.running import PASSWORD

from .conftest import SERVICE, Container
from .reading import CONTAINER, ROOT, compose, image, instructions, mounts, stages

SCHEMA = ROOT / "tests/data/compose/compose-spec.json"
FILES = ("deploy/container/compose.yaml", "examples/selfrag/compose.yaml")
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()


# --- the files -------------------------------------------------------------------------------------------------------


def validator() -> jsonschema.Draft7Validator:
    """By the schema that the Compose specification publishes."""
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))


@pytest.mark.requirement("SR-7")
@pytest.mark.parametrize("file", FILES)
def test_the_compose_file_is_right_by_the_published_schema(file: str) -> None:
    assert [error.message for error in validator().iter_errors(compose(ROOT / file))] == []


@pytest.mark.parametrize(
    ("key", "value"), [("volums", []), ("depends_on", {"qdrant": {"condition": "soon"}}), ("read_only", [])]
)
def test_the_schema_finds_mistakes(key: str, value: object) -> None:
    wrong = compose(CONTAINER / "compose.yaml")
    wrong["services"][SERVICE][key] = value
    assert list(validator().iter_errors(wrong))


@pytest.mark.requirement("SR-7")
def test_the_service_stands_beside_both_stores_and_only_reads_qdrants_volume() -> None:
    file = compose(CONTAINER / "compose.yaml")
    service = file["services"][SERVICE]
    assert set(service["depends_on"]) == {"postgres", "qdrant"}
    for name, entry in service["depends_on"].items():
        assert entry["condition"] == "service_healthy"
        assert "healthcheck" in file["services"][name]
    found = mounts(service)
    assert found["/backup"] == ("backup-data", False)
    assert found["/qdrant/storage"] == ("qdrant_data", True)
    named = {source for source, _ in found.values() if not source.startswith(".")}
    assert named <= set(file["volumes"])
    assert all((CONTAINER / source).is_file() for source, _ in found.values() if source.startswith("."))


@pytest.mark.requirement("SR-7", "SR-14")
def test_the_password_is_in_no_variable_of_a_container() -> None:
    file = compose(CONTAINER / "compose.yaml")
    assert file["secrets"] == {"postgres_password": {"environment": "POSTGRES_PASSWORD"}}
    for name, service in file["services"].items():
        values = [str(value) for value in service.get("environment", {}).values()]
        assert not [value for value in values if "${POSTGRES_PASSWORD" in value], name


@pytest.mark.requirement("SR-7")
def test_the_image_is_built_apart_runs_as_nobody_special_and_keeps_its_promises() -> None:
    built, last = stages(DOCKERFILE)
    made = image(DOCKERFILE)
    assert (made.user, [*made.entry, *made.command]) == ("recoup", ["recoup", "daemon"])
    assert made.health == ["recoup", "status", "--nagios"]
    assert [one.text for one in last if one.word == "COPY"] == ["--from=build /opt/recoup /opt/recoup"]
    words = [one.word for one in last]
    assert "RUN" not in words[words.index("USER") :], "nothing is installed by the account that runs it"
    assert any("uv sync --locked" in one.text and "--no-dev" in one.text for one in built)


@pytest.mark.requirement("SR-7")
def test_nothing_but_what_the_image_is_made_of_reaches_a_layer() -> None:
    copied = {
        name
        for one in instructions(DOCKERFILE)
        if one.word in ("COPY", "ADD") and "--from" not in one.text and "https://" not in one.text
        for name in one.text.split()[:-1]
    }
    rules = (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines()
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {project["readme"], *project["license-files"], "uv.lock"}
    assert {name.partition("/")[0] for name in needed} <= copied, "the build needs them"
    secret = ("*.key", "*.agekey", "*.pem", ".env", ".env.*", "*password*")
    tracked = [path.name for name in ("src",) for path in (ROOT / name).rglob("*") if path.is_file()]
    assert not [name for name in tracked for pattern in secret if fnmatch.fnmatch(name, pattern)]
    declared = [one.text for one in instructions(DOCKERFILE) if one.word in ("ENV", "ARG")]
    assert not [text for text in declared if "PASSWORD" in text or "API_KEY" in text]


# --- what they start -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SR-7", "SR-14")
def test_what_the_image_starts_runs_the_schedule_backs_up_both_stores_and_is_healthy(container: Container) -> None:
    made = image(DOCKERFILE)
    said = container.run([*made.entry, "init"])
    assert "never backed up" in container.run(made.health, code=2)
    daemon = container.start([*made.entry, *made.command])
    container.await_said(daemon, "the schedule runs")
    said += container.run([*made.entry, "backup"])
    [manifest] = container.backups.glob("sets/backup_*/manifest.json")
    outcomes = {name: one["outcome"] for name, one in json.loads(manifest.read_text())["sources"].items()}
    assert outcomes == {"db": "complete", "vectors": "complete"}
    said += container.run(made.health)
    daemon.terminate()
    assert daemon.wait(60) == 0, container.said.read_text()
    assert "Warning" not in said + container.said.read_text()
    written = [path for path in container.root.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in said
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600


@pytest.mark.requirement("SR-4", "SR-7")
def test_the_cold_copy_is_refused_while_somebody_answers_and_taken_when_nobody_does(tmp_path: Path) -> None:
    for name in ("recoup.yaml", "cold.yaml"):
        shutil.copy(CONTAINER / name, tmp_path / name)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o400)
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage/segment").write_bytes(b"x" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        environ = {
            "PATH": os.environ["PATH"],
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "BACKUP_PATH": str(tmp_path),
            "DATABASE_URL": "postgresql://127.0.0.1:9/none",
            "POSTGRES_PASSWORD_FILE": str(tmp_path / "password"),
            "QDRANT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "QDRANT_STORAGE": str(tmp_path / "storage"),
        }
        files = ["recoup.yaml", "cold.yaml"]
        overrides = ["sources.qdrant-files.wait.timeout=1s"]
        stack = recoup.open(files, environ=environ, cwd=tmp_path, overrides=overrides)
        stack.create_repositories()
        refused = stack.backup(sources=["qdrant-files"])
        assert refused.manifest is None
        assert "qdrant-files" in refused.errors
    taken = stack.backup(sources=["qdrant-files"])
    assert taken.exit_code == 0
    assert taken.manifest is not None
    assert taken.manifest.sources["qdrant-files"].bytes == 1000
    assert not (tmp_path / ".cold").exists()
