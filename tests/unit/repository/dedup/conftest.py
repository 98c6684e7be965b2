import pytest

from recoup.repository.dedup.keys import Keys, new_keys
from recoup.repository.dedup.record import Record
from recoup.storage.memory import MemoryStorage


@pytest.fixture(scope="module")
def keys() -> Keys:
    return new_keys("00112233445566778899aabbccddeeff")


@pytest.fixture
def record(keys: Keys) -> Record:
    return Record.of(keys)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()
