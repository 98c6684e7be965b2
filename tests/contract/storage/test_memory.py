import pytest

from recoup.storage._base import Storage
from recoup.storage.memory import MemoryStorage
from recoup.testing.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    large = 20 << 20

    @pytest.fixture
    def storage(self) -> Storage:
        return MemoryStorage()
