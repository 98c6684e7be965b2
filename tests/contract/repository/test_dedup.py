import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

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
from recoup.testing.repository_contract import RepositoryContract
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
