"""What a storage could not keep is never named: neither by a set nor by an index that the next backup believes."""

import errno
from pathlib import Path

import pytest

from recoup.errors import RecoupError
from recoup.model.names import SetName
from recoup.repository._base import Subset
from recoup.repository.dedup import storing
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.system.clock import SystemClock
from unit.repository.dedup.golden import KEY_FILE, add_day, kept, restored


class Failing(MemoryStorage):
    """A storage in which the n-th pack is lost: where it is made durable, or (`commit`) where it is ended."""

    def __init__(self, lost: int, *, commit: bool) -> None:
        super().__init__()
        self._left, self._commit = lost, commit

    def lose(self, key: str, *, commit: bool) -> None:
        if key.startswith("packs/") and commit == self._commit:
            self._left -= 1
            if self._left == 0:
                self._objects.pop(key, None)
                raise OSError(errno.EIO, "the disk does not answer", key)

    def sync(self, prefix: str) -> None:
        self.lose(prefix, commit=False)

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        return FailingWriter(self, key)


class FailingWriter(MemoryWriter):
    def __init__(self, storage: Failing, key: str) -> None:
        super().__init__(storage._objects, key)
        self._storage = storage

    def commit(self) -> None:
        self._storage.lose(self._key, commit=True)
        super().commit()


@pytest.mark.requirement("DM-12")
@pytest.mark.parametrize("commit", [False, True], ids=["not durable", "not ended"])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_pack_that_the_disk_lost_ends_the_backup_and_is_stored_again_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int, commit: bool
) -> None:
    monkeypatch.setattr(storing, "_PACK", 60_000)
    (tmp_path / "key").write_bytes(KEY_FILE)
    storage = Failing(lost, commit=commit)
    options = DedupOptions(key_file=tmp_path / "key")
    repository = DedupRepository("r", storage, options, SystemClock(), tmp_path / "cache")
    repository.create()
    with pytest.raises((OSError, RecoupError)):
        add_day(repository, 0)
    assert repository.names() == []
    there = {found.key for found in storage.list("packs")}
    assert {pack.key for pack in repository.index().packs} <= there
    name = SetName.parse(add_day(repository, 0))
    assert name is not None
    assert restored(repository, name) == kept(0)
    assert list(repository.verify(name, Subset())) == []
