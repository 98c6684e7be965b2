"""Backup and delete on a storage without renames, killed at every step: nothing false is listed, the next run cleans up."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from crash.killing import kill_points
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.operations.selection import listing
from recoup.repository._base import Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage, LocalWriter
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store

FIRST = SetName.at(NOW)


class Flat(LocalStorage):
    """A folder that behaves like an object store: nothing is renamed, there are no folders and links to see."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.properties = replace(self.properties, moves=False, shares=False, local_root=None)

    def writer(self, key: str, *, hidden: bool = False) -> LocalWriter:
        return super().writer(key)

    def make_folder(self, key: str) -> None:
        pass

    def make_link(self, key: str, target: str) -> None:
        pass

    def move(self, source: str, target: str) -> None:
        raise AssertionError(f"an object store cannot rename {source} to {target}")


def opened(root: Path) -> PlainRepository:
    return open_repository("r", Flat(root), "tree", "none", None, SystemClock())


def add(repository: PlainRepository, hours: int = 0) -> SetName:
    attributes = Attributes(0o600, 0)
    members = [Member(".", "folder", attributes), Member("a", "file", attributes, 3, content=Given(b"abc"))]
    with repository.begin(NOW + timedelta(hours=hours)) as writer:
        stream = store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        tree = store(writer, "tree", TreePart(".", iter(members)))
        writer.commit(manifest_of(writer.name, {"db": record_of(stream), "tree": record_of(tree)}))
        return writer.name


def sound_sets(root: Path) -> list[str]:
    """Names of the sets; each of them verifies, and the listing says the same."""
    repository = opened(root)
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == [], name
    found = [str(name) for name in repository.names()]
    assert [info.name for info in listing(repository, NOW) if not info.problem] == found
    return found


def leftovers(root: Path) -> list[str]:
    """Files of claims, markers and locks, and of sets that are not listed."""
    listed = {*sound_sets(root), "marks", ".catalog"}
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if len(path.parts) > 1 and path.parts[0] not in listed)


@pytest.mark.requirement("DM-12", "CO-14")
def test_a_backup_killed_anywhere_leaves_no_false_set_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    root = tmp_path / "repository"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        for hours in range(3):  # the fourth makes the catalogue grow
            add(repository, hours)
        return locked_backup

    def locked_backup() -> None:
        repository = opened(root)
        with repository.lock("backup", "backup", "stack"):
            add(repository, 3)

    kills, outcomes = 0, set()
    for _ in kill_points(prepare):
        kills += 1
        before = sound_sets(root)
        outcomes.add(len(before))
        repository = opened(root)
        with repository.lock("backup", "backup", "stack"):
            add(repository, 4)
        assert sound_sets(root) == [*before, "backup_20261121_060000"]
        assert leftovers(root) == []
    assert kills > 25
    assert outcomes == {3, 4}


@pytest.mark.requirement("DM-12", "CO-14")
@pytest.mark.parametrize("days", [0.0, 7.0])
def test_a_delete_killed_anywhere_leaves_the_set_whole_or_gone_and_is_finished_later(
    tmp_path: Path, days: float
) -> None:
    root = tmp_path / "repository"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        for hours in range(4):
            add(repository, hours)
        repository.mark(FIRST, Mark("note", NOW, "", {"text": "old"}))
        return lambda: opened(root).delete([FIRST], keep_days=days)

    for _ in kill_points(prepare):
        names = sound_sets(root)
        assert len(names) in (3, 4)
        repository = opened(root)
        repository.delete([FIRST] if str(FIRST) in names else [], keep_days=days)
        assert len(sound_sets(root)) == 3
        if days:
            repository.undelete(FIRST)
            assert sound_sets(root)[0] == str(FIRST)
        else:
            assert not (root / "marks" / str(FIRST)).exists()
        assert leftovers(root) == []


def test_an_undelete_killed_anywhere_leaves_the_set_in_one_place(tmp_path: Path) -> None:
    root = tmp_path / "repository"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        add(repository)
        repository.delete([FIRST], keep_days=7)
        return lambda: opened(root).undelete(FIRST)

    for _ in kill_points(prepare):
        repository = opened(root)
        assert (FIRST in repository.names()) != (FIRST in repository.trashed())
        if FIRST in repository.trashed():
            repository.undelete(FIRST)
        assert sound_sets(root) == [str(FIRST)]


def test_a_clean_up_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    root = tmp_path / "repository"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        add(repository, 1)
        dead_writer(root)
        return lambda: opened(root).delete([])

    for _ in kill_points(prepare):
        assert sound_sets(root) == ["backup_20261121_030000"]
        opened(root).delete([])
        assert leftovers(root) == []


def dead_writer(root: Path) -> None:
    """What a backup leaves that is killed before its manifest is there."""
    import os
    import signal

    pid = os.fork()
    if pid == 0:
        with opened(root).begin(NOW) as writer:
            store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
