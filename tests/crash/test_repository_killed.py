"""Backup, delete and undelete killed at every file operation: then no false set, no lost set, nothing left over."""

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from crash.killing import kill_points
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.repository._base import Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store


def opened(root: Path, pack: str = "tree") -> PlainRepository:
    return open_repository("r", LocalStorage(root), pack, "none", None, SystemClock())  # type: ignore[arg-type]


def add_small_set(repository: PlainRepository, hours: int = 0) -> SetName:
    attributes = Attributes(0o600, 0)
    members = [
        Member(".", "folder", attributes),
        Member("a", "file", attributes, 3, content=Given(b"abc")),
        Member("link", "symlink", attributes, link="a"),
    ]
    with repository.begin(NOW + timedelta(hours=hours)) as writer:
        stream = store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        tree = store(writer, "tree", TreePart(".", iter(members)))
        records = {"db": record_of(stream), "tree": record_of(tree)}
        writer.commit(manifest_of(writer.name, records))
        return writer.name


def sound_sets(root: Path) -> list[str]:
    """Names of the sets; each of them verifies."""
    repository = opened(root)
    for name in repository.names():
        assert list(repository.verify(name, Subset())) == [], name
    return [str(name) for name in repository.names()]


def leftovers(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for f in (".partial", ".trash", ".locks") for p in (root / f).rglob("*"))


@pytest.mark.requirement("DM-12", "DM-8")
@pytest.mark.parametrize("pack", ["tree", "tar.gz"])
def test_a_backup_killed_anywhere_leaves_no_false_set_and_the_next_one_tidies_up(tmp_path: Path, pack: str) -> None:
    root = tmp_path / "repository"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root, pack)
        repository.create()
        add_small_set(repository)
        return lambda: locked_backup(opened(root, pack))

    def locked_backup(repository: PlainRepository) -> None:
        with repository.lock("backup", "backup", "stack"):
            add_small_set(repository, 1)

    kills = 0
    for _ in kill_points(prepare):
        kills += 1
        before = sound_sets(root)
        assert before[0] == "backup_20261121_020000"
        assert before[1:] in ([], ["backup_20261121_030000"])
        repository = opened(root, pack)
        with repository.lock("backup", "backup", "stack"):
            add_small_set(repository, 2)
        assert sound_sets(root) == [*before, "backup_20261121_040000"]
        assert leftovers(root) == []
    assert kills > 15


@pytest.mark.requirement("DM-12")
@pytest.mark.parametrize("days", [0.0, 7.0])
def test_a_delete_killed_anywhere_leaves_the_set_whole_or_gone_and_is_finished_later(
    tmp_path: Path, days: float
) -> None:
    root = tmp_path / "repository"
    first = SetName.at(NOW)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        add_small_set(repository)
        add_small_set(repository, 1)
        return lambda: opened(root).delete([first], keep_days=days)

    for _ in kill_points(prepare):
        names = sound_sets(root)
        assert names[-1] == "backup_20261121_030000"
        repository = opened(root)
        if str(first) in names:
            repository.delete([first], keep_days=days)
        else:
            repository.delete([], keep_days=days)
        assert sound_sets(root) == ["backup_20261121_030000"]
        if days:
            repository.undelete(first)
            assert sound_sets(root) == [str(first), "backup_20261121_030000"]
        assert leftovers(root) == []


def test_an_undelete_killed_anywhere_leaves_the_set_in_one_place(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    first = SetName.at(NOW)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        repository = opened(root)
        repository.create()
        add_small_set(repository)
        repository.delete([first], keep_days=7)
        return lambda: opened(root).undelete(first)

    for _ in kill_points(prepare):
        repository = opened(root)
        assert (first in repository.names()) != (first in repository.trashed())
        if first in repository.trashed():
            repository.undelete(first)
        assert sound_sets(root) == [str(first)]


def test_a_full_disk_is_said_and_nothing_is_listed(tmp_path: Path) -> None:
    """A tmpfs of one megabyte where this user may mount one, else a limit on the size of files."""
    import resource
    import subprocess

    from recoup.errors import NoSpaceError
    from recoup.operations._pump import Pump

    root = tmp_path / "repository"
    root.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", root], check=False).returncode == 0
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        repository = opened(root)
        repository.create()
        kept = add_small_set(repository)
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        with pytest.raises(NoSpaceError) as caught, repository.begin(NOW + timedelta(hours=1)) as writer:
            Pump(writer, "db", None, lambda _: None).store(StreamPart("big", Given(b"\1" * 3_000_000), None))
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert "full" in caught.value.message
        assert caught.value.hint
        assert sound_sets(root) == [str(kept)]
        assert leftovers(root) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", root], check=True)
