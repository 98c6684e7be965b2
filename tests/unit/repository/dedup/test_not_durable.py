"""What a storage could not keep is never named: neither by a set nor by an index that the next backup believes."""

import errno
from pathlib import Path

import pytest

from recoup.errors import DamagedError, RecoupError, RefusedError, StorageError
from recoup.model.names import SetName
from recoup.repository._base import Subset
from recoup.repository.dedup import storing
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.system.clock import SystemClock
from unit.operations.scripted import back_up, good
from unit.repository.dedup.golden import KEY_FILE, add_day, kept, restored
from unit.repository.dedup.small_sets import Small, noise


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


class Doubtful(MemoryStorage):
    """A storage that reads back what it was given, finds one pack to be something else, and removes it again."""

    error: RecoupError | None = None

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        return DoubtfulWriter(self, key)


class DoubtfulWriter(MemoryWriter):
    def __init__(self, storage: Doubtful, key: str) -> None:
        super().__init__(storage._objects, key)
        self._storage = storage

    def commit(self) -> None:
        error, self._storage.error = self._storage.error, None
        if error is not None:
            self.abort()
            raise error
        super().commit()


@pytest.mark.requirement("DM-12")
@pytest.mark.parametrize("error", [DamagedError("it gave back something else"), RefusedError("it does not take this")])
def test_a_source_that_was_read_before_does_not_stay_in_a_set_whose_pack_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RecoupError
) -> None:
    monkeypatch.setattr(storing, "_PACK", 60_000)
    storage = Doubtful()
    small = Small(tmp_path, storage)
    storage.error = error
    sources = {"before": good(noise(1, 3000)), "half-way": good(noise(2, 90_000)), "behind": good(noise(1, 3000))}
    with pytest.raises(StorageError, match=error.message):
        back_up(small.repository, sources)
    assert small.again().names() == []
    sources = {"before": good(noise(1, 3000)), "half-way": good(noise(2, 90_000)), "behind": good(noise(1, 3000))}
    report = back_up(small.repository, sources)
    assert report.exit_code == 0
    [name] = small.repository.names()
    assert list(small.again().verify(name, Subset())) == []
