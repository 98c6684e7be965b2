from pathlib import Path

import pytest

from recoup.repository.keyed.template import parse
from recoup.repository.keyed.view import KeyedStorage
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.testing.storage_contract import StorageContract

TEMPLATE = parse("{user_id}/snapshots/{collection}/{date}.snapshot", {"user_id": "user-123"})
SET = "backup_20261121_020000"
KEY = "user-123/snapshots/docs/2026-11-21T02-00-00.snapshot"


class TestKeyedObjects(StorageContract):
    large = 20 << 20

    @pytest.fixture
    def storage(self) -> Storage:
        return KeyedStorage(MemoryStorage(moves=False), TEMPLATE)


class TestKeyedFolder(StorageContract):
    large = 20 << 20

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return KeyedStorage(LocalStorage(tmp_path), TEMPLATE)


@pytest.fixture
def view() -> KeyedStorage:
    return KeyedStorage(MemoryStorage(moves=False), TEMPLATE)


def test_an_artefact_is_listed_below_its_set_and_lies_at_its_key(view: KeyedStorage) -> None:
    view.put(f"{SET}/.root/{KEY}", b"bytes")
    view.put(f"{SET}/manifest.json", b"{}")
    assert view.inner.get(KEY) == b"bytes"
    expected = [(f"{SET}/manifest.json", 2), (f"{SET}/.root/{KEY}", 5)]
    for prefix in ("", SET):
        assert [(found.key, found.size) for found in view.list(prefix)] == expected
    assert [found.key for found in view.list(f"{SET}/.root")] == [f"{SET}/.root/{KEY}"]
    assert list(view.list(f"{SET}/vectors")) == []
    assert list(view.folders()) == [SET]
    assert view.owned() == {KEY}


def test_deleting_an_artefact_that_the_set_did_not_write_leaves_it(view: KeyedStorage) -> None:
    view.inner.put(KEY, b"of another tool")
    view.delete(f"{SET}/.root/{KEY}")
    view.delete_all(SET)
    assert view.inner.get(KEY) == b"of another tool"


def test_an_artefact_that_is_replaced_stays_its_sets(view: KeyedStorage) -> None:
    view.put(f"{SET}/.root/{KEY}", b"old")
    writer = view.writer(f"{SET}/.root/{KEY}")
    writer.write(b"new")
    view.delete(f"{SET}/.root/{KEY}")
    writer.commit()
    assert view.inner.get(KEY) == b"new"
    assert view.owned() == {KEY}


def test_an_artefact_that_was_begun_and_never_written_is_none(view: KeyedStorage) -> None:
    writer = view.writer(f"{SET}/.root/{KEY}")
    writer.write(b"half")
    assert list(view.list()) == []
    writer.abort()
    view.delete_all(SET)
    assert list(view.inner.list()) == []
