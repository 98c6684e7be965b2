"""Backup and delete of keyed sets killed at every file operation: no false set, no artefact without one, none of others lost."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crash.killing import kill_points
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.repository._base import Subset
from recoup.repository.keyed.repository import KeyedRepository
from recoup.repository.keyed.template import parse
from recoup.repository.opening import Shape, open_repository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store

TEMPLATE = parse("backups/{database}/{date}.db", {})
FOREIGN = "backups/main/2026-01-01T02-00-00.db"


def opened(root: Path) -> KeyedRepository:
    found = open_repository("r", LocalStorage(root), "tree", "none", None, SystemClock(), shape=Shape(TEMPLATE))
    assert isinstance(found, KeyedRepository)
    return found


def add_set(root: Path, hours: int) -> SetName:
    repository = opened(root)
    with repository.begin(NOW + timedelta(hours=hours)) as writer:
        parts = [StreamPart("main.db", Given(b"database"), 8), StreamPart("beside.json", Given(b"{}"), 2)]
        record = record_of(*(store(writer, "db", part) for part in parts))
        writer.commit(manifest_of(writer.name, {"db": record}))
        return writer.name


def prepared(root: Path) -> None:
    """A set at two o'clock, and an artefact of another tool."""
    shutil.rmtree(root, ignore_errors=True)
    repository = opened(root)
    repository.create()
    add_set(root, 0)
    (root / FOREIGN).write_bytes(b"of another tool")


def sound(root: Path) -> list[int]:
    """Hours of the sets, each of which verifies; foreign is one artefact, whatever was killed."""
    repository = opened(root)
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == [], name
    assert [one.key for one in repository.foreign()] == [FOREIGN]
    assert (root / FOREIGN).read_bytes() == b"of another tool"
    return [name.time.hour for name in repository.names()]


def artefacts(root: Path) -> list[int]:
    """Hours of the artefacts that are no other tool's, and of the objects that say whose they are."""
    found = [int(path.name[11:13]) for path in (root / "backups/main").iterdir() if path.name != Path(FOREIGN).name]
    owners = [int(path.name[11:13]) for path in (root / "backups/_recoup/.artefacts").rglob("*.db")]
    assert sorted(found) == sorted(owners)
    return sorted(found)


@pytest.mark.requirement("CO-14")
def test_a_backup_killed_anywhere_lists_nothing_false_and_leaves_no_artefact_for_good(tmp_path: Path) -> None:
    root, kills = tmp_path / "bucket", 0

    def prepare() -> Callable[[], object]:
        prepared(root)
        return lambda: add_set(root, 1)

    for _ in kill_points(prepare):
        kills += 1
        before = sound(root)
        assert before in ([2], [2, 3])
        add_set(root, 2)
        assert sound(root) == [*before, 4]
        assert artefacts(root) == [*before, 4]
    assert kills > 15


@pytest.mark.requirement("CO-14")
def test_a_delete_killed_anywhere_is_finished_by_the_next_one(tmp_path: Path) -> None:
    root = tmp_path / "bucket"

    def prepare() -> Callable[[], object]:
        prepared(root)
        add_set(root, 1)
        return lambda: opened(root).delete([SetName.at(NOW)])

    for _ in kill_points(prepare):
        names = sound(root)
        assert names in ([2, 3], [3])
        opened(root).delete([SetName.at(NOW)] if 2 in names else [])
        assert sound(root) == [3]
        assert artefacts(root) == [3]
