"""Making room where there is none: neither the lock nor the trash may need any."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import LockedError
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import add_set

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class FullDisk(LocalStorage):
    """A folder on a file system that, once `full`, has a name left for a file and no block for its content, or for a folder."""

    full = False

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.full and data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), key)
        super().put(key, data, if_absent=if_absent)

    def move(self, source: str, target: str) -> None:
        root = self.properties.local_root
        assert root is not None
        blocks = [folder for folder in (".staging", ".partial") if (root / folder).exists()]
        if self.full and blocks and not (root / target).parent.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        super().move(source, target)


@pytest.fixture
def disk(tmp_path: Path) -> FullDisk:
    return FullDisk(tmp_path / "backups")


@pytest.fixture
def repository(disk: FullDisk) -> PlainRepository:
    found = open_repository("local", disk, "tree", "none", None, SystemClock())
    found.create()
    for number in range(2):
        add_set(found, NOW + timedelta(days=number))
    disk.make_folder(".staging")
    disk.full = True
    return found


def test_a_set_is_deleted_on_a_full_disk(repository: PlainRepository, disk: FullDisk) -> None:
    oldest, newest = repository.names()
    with repository.lock("exclusive", "prune", "shop"):
        repository.delete([oldest])
    assert repository.names() == [newest]
    assert repository.trashed() == []
    assert repository.locks() == []
    disk.full = False
    add_set(repository, NOW + timedelta(days=2))
    assert len(repository.names()) == 2


def test_on_a_full_disk_too_only_one_has_the_lock(repository: PlainRepository) -> None:
    with repository.lock("exclusive", "prune", "shop"):
        for mode in ("exclusive", "shared", "backup"):
            with pytest.raises((LockedError, OSError)), repository.lock(mode, "other", "shop"):
                pass
        [lock] = repository.locks()
        assert (lock.mode, lock.stale) == ("exclusive", False)


def test_who_wants_to_write_more_gets_no_lock_on_a_full_disk(repository: PlainRepository) -> None:
    with pytest.raises(OSError, match="No space left"), repository.lock("backup", "backup", "shop"):
        pass


def test_what_others_are_writing_is_not_removed_to_make_room(repository: PlainRepository, tmp_path: Path) -> None:
    for folder in (".staging", ".partial"):
        (tmp_path / "backups" / folder / "of-somebody").mkdir(parents=True, exist_ok=True)
    with repository.lock("exclusive", "prune", "shop"), pytest.raises(OSError, match="No space left"):
        repository.delete(repository.names()[:1])
    assert (tmp_path / "backups/.staging/of-somebody").is_dir()
    assert len(repository.names()) == 2
