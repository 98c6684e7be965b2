import secrets
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.errors import RefusedError
from recoup.model.manifest import StoredPart
from recoup.model.names import SetName
from recoup.repository._base import Repository
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.storage.object_store import Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, RepositoryContract, add_set
from s3_server.buckets import Bucket


class TestDedup(RepositoryContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return LocalStorage(tmp_path / "repository")

    @pytest.fixture
    def repository(self, storage: Storage, tmp_path: Path) -> Repository:
        key = tmp_path / "key"
        key.write_bytes(secrets.token_bytes(32))
        return DedupRepository("r", storage, DedupOptions(key_file=key), SystemClock(), tmp_path / "cache")

    @pytest.fixture
    def damage(self, storage: Storage, repository: DedupRepository) -> Callable[[SetName, StoredPart], None]:
        def flip(name: SetName, part: StoredPart) -> None:
            place = next(repository.place(name).stream(part.path, part.sha256).places())
            data = bytearray(storage.get(place.pack.key))
            data[place.offset + place.row.stored // 2] ^= 1
            storage.delete(place.pack.key)
            storage.put(place.pack.key, bytes(data))

        return flip


class TestDedupInMemory(TestDedup):
    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()


class TestDedupOnS3(TestDedup):
    @pytest.fixture
    def storage(self, bucket: Bucket) -> Storage:
        return connect(f"{bucket.url}/backups", Options.model_validate(bucket.options))


def test_a_storage_that_shows_an_older_state_is_noticed_by_who_saw_the_newer_one(tmp_path: Path) -> None:
    key, place = tmp_path / "key", tmp_path / "repository"
    key.write_bytes(secrets.token_bytes(32))

    def opened(cache: str) -> DedupRepository:
        options = DedupOptions(key_file=key)
        return DedupRepository("r", LocalStorage(place), options, SystemClock(), tmp_path / cache)

    opened("ours").create()
    add_set(opened("ours"))
    shutil.copytree(place, tmp_path / "older")
    add_set(opened("ours"), NOW + timedelta(hours=1), b"more")
    place.rename(tmp_path / "newer")
    (tmp_path / "older").rename(place)
    with pytest.raises(RefusedError, match="older state"), opened("ours").begin(NOW + timedelta(hours=2)):
        pass
    with pytest.raises(RefusedError, match="older state"):
        opened("ours").delete(opened("ours").names())
    add_set(opened("of a host that saw nothing"), NOW + timedelta(hours=2))
    kept = opened("ours").kept()
    assert kept is not None
    assert len(kept.accept()) == 2  # the set and its index file
    add_set(opened("ours"), NOW + timedelta(hours=3))
