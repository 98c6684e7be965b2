"""The promise of a storage, as tests. Derive a class from `StorageContract` and give it a `storage` fixture."""

import hashlib

import pytest

from recoup.errors import UnsafePathError
from recoup.storage._base import Storage

ODD_KEYS = ("a b", "ä/ö", "quote'\"", "percent%2F", "back\\slash", "new\nline", "dash-", "#hash?query&x=y", "~tilde")
HOSTILE_KEYS = ("/absolute", "../up", "a/../../up", "a//b", ".", "", "nul\0", "a/.", "./a")


class StorageContract:
    """What every storage promises (`recoup.storage._base`)."""

    many = 10_000
    """Objects of the test with many; a storage beyond a network may have fewer, but more than one page of a listing."""

    large = 300 << 20
    """Bytes of the large object; a storage beyond a network may have a smaller one, but one of several parts."""

    @pytest.fixture
    def storage(self) -> Storage:
        """An empty storage; to be given by the plug's own tests."""
        raise NotImplementedError

    def test_what_was_put_is_read_and_listed_at_once(self, storage: Storage) -> None:
        """Read after write, list after write."""
        storage.put("folder/object", b"bytes")
        assert storage.get("folder/object") == b"bytes"
        assert [(o.key, o.size) for o in storage.list()] == [("folder/object", 5)]
        assert storage.size("folder/object") == 5

    def test_putting_again_replaces(self, storage: Storage) -> None:
        """The last one wins."""
        storage.put("a", b"one")
        storage.put("a", b"two, longer")
        assert storage.get("a") == b"two, longer"

    def test_a_put_that_demands_absence_fails_on_presence_and_changes_nothing(self, storage: Storage) -> None:
        """Conditional put."""
        storage.put("a", b"one", if_absent=True)
        with pytest.raises(FileExistsError):
            storage.put("a", b"two", if_absent=True)
        assert storage.get("a") == b"one"
        assert [o.key for o in storage.list()] == ["a"]

    @pytest.mark.parametrize("hidden", [False, True])
    def test_a_written_object_appears_whole(self, storage: Storage, *, hidden: bool) -> None:
        """Writers."""
        writer = storage.writer("deep/er/object", hidden=hidden)
        writer.write(b"first ")
        writer.write(memoryview(b"second"))
        writer.commit()
        writer.abort()
        assert storage.get("deep/er/object") == b"first second"

    def test_an_object_does_not_appear_before_its_commit(self, storage: Storage) -> None:
        """Nobody sees half an object."""
        writer = storage.writer("object")
        writer.write(b"half")
        with pytest.raises(FileNotFoundError):
            storage.get("object")
        writer.commit()
        assert storage.get("object") == b"half"

    @pytest.mark.parametrize("hidden", [False, True])
    def test_an_aborted_object_leaves_nothing(self, storage: Storage, *, hidden: bool) -> None:
        """Abort."""
        writer = storage.writer("gone", hidden=hidden)
        writer.write(b"half")
        writer.abort()
        assert list(storage.list()) == []

    def test_holes_read_as_zeros(self, storage: Storage) -> None:
        """Holes in the middle and at the end."""
        writer = storage.writer("sparse")
        writer.write(b"a")
        writer.hole(10)
        writer.write(b"b")
        writer.hole(5)
        writer.commit()
        assert storage.get("sparse") == b"a" + bytes(10) + b"b" + bytes(5)

    def test_an_empty_object_is_an_object(self, storage: Storage) -> None:
        """Empty objects."""
        writer = storage.writer("empty")
        writer.commit()
        assert storage.get("empty") == b""
        assert storage.size("empty") == 0

    def test_ranges_are_read_exactly(self, storage: Storage) -> None:
        """Ranges."""
        storage.put("a", bytes(range(100)))
        with storage.reader("a", 10, 20) as reader:
            assert reader.read(15) + reader.read(15) + reader.read(15) == bytes(range(10, 30))
        with storage.reader("a", 90) as reader:
            assert reader.read(1000) == bytes(range(90, 100))
            assert reader.read(1) == b""

    def test_a_missing_key_is_said_to_be_missing(self, storage: Storage) -> None:
        """Missing keys, folders among them."""
        storage.put("folder/object", b"")
        for key in ("missing", "missing/deeper", "folder"):
            with pytest.raises(FileNotFoundError):
                storage.get(key)
            with pytest.raises(FileNotFoundError):
                storage.size(key)
            with pytest.raises(FileNotFoundError), storage.reader(key):
                pass

    def test_a_lock_that_is_extended_leaves_the_object_as_it_is(self, storage: Storage) -> None:
        """Whether anything is locked is the storage's affair."""
        storage.put("a/b", b"data")
        before = storage.locked_until("a/b")
        storage.extend_lock("a/b")
        after = storage.locked_until("a/b")
        assert (after is None) == (before is None)
        assert storage.get("a/b") == b"data"
        with pytest.raises(FileNotFoundError):
            storage.extend_lock("a/c")

    def test_deleting_is_idempotent(self, storage: Storage) -> None:
        """Delete, also twice, also what is not there."""
        storage.put("a/b", b"x")
        storage.put("a/c", b"y")
        storage.delete("a/b")
        storage.delete("a/b")
        assert [o.key for o in storage.list()] == ["a/c"]
        storage.delete_all("a")
        storage.delete_all("a")
        assert list(storage.list()) == []

    def test_a_prefix_means_whole_components(self, storage: Storage) -> None:
        """`set` is not a prefix of `set_2`."""
        storage.put("set/a", b"")
        storage.put("set_2/b", b"")
        assert [o.key for o in storage.list("set")] == ["set/a"]
        storage.delete_all("set")
        assert [o.key for o in storage.list()] == ["set_2/b"]

    def test_folders_are_the_first_components(self, storage: Storage) -> None:
        """Folders, sorted."""
        for key in ("b/x/1", "a/y", "c", "b/z"):
            storage.put(key, b"")
        assert list(storage.folders()) == ["a", "b"]
        assert list(storage.folders("b")) == ["x"]
        assert list(storage.folders("missing")) == []

    def test_a_move_takes_the_whole_prefix_in_one_step(self, storage: Storage) -> None:
        """Move, and its refusal to replace."""
        if not storage.properties.moves:
            pytest.skip("this storage says that it cannot move")
        storage.put("new/a", b"1")
        storage.put("new/deep/b", b"2")
        storage.move("new", "final")
        assert sorted(o.key for o in storage.list()) == ["final/a", "final/deep/b"]
        storage.put("other/a", b"3")
        with pytest.raises(FileExistsError):
            storage.move("other", "final")
        assert storage.get("final/a") == b"1"

    def test_what_is_shared_is_an_object_of_its_own(self, storage: Storage) -> None:
        """Deleting either leaves the other; a name that is taken is refused."""
        storage.put("old/a", b"model")
        if not storage.share("new/deep/b", "old/a"):
            pytest.skip("this storage says that it cannot share")
        storage.delete_all("old")
        assert storage.get("new/deep/b") == b"model"
        assert [o.key for o in storage.list()] == ["new/deep/b"]
        storage.put("c", b"other")
        with pytest.raises(FileExistsError):
            storage.share("c", "new/deep/b")
        assert storage.get("c") == b"other"

    def test_what_is_missing_cannot_be_shared(self, storage: Storage) -> None:
        """And nothing is stored then."""
        assert not storage.share("new", "missing")
        assert list(storage.list()) == []

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_characters_survive_in_keys(self, storage: Storage, key: str) -> None:
        """Odd keys."""
        storage.put(key, b"odd")
        assert storage.get(key) == b"odd"
        assert [o.key for o in storage.list()] == [key]

    @pytest.mark.parametrize("key", HOSTILE_KEYS)
    def test_hostile_keys_are_refused_at_every_door(self, storage: Storage, key: str) -> None:
        """Names that lead elsewhere."""
        for door in (storage.get, storage.size, storage.delete, storage.writer, storage.delete_all):
            with pytest.raises(UnsafePathError):
                door(key)
        with pytest.raises(UnsafePathError):
            storage.put(key, b"")

    def test_a_large_object_arrives_whole(self, storage: Storage) -> None:
        """Written and read piece by piece, so that no more of it need be in memory."""
        piece, wanted, found = bytes(range(256)) * 4095, hashlib.sha256(), hashlib.sha256()
        writer = storage.writer("large")
        for _ in range(0, self.large, len(piece)):
            writer.write(piece)
            wanted.update(piece)
        writer.commit()
        with storage.reader("large") as reader:
            while block := reader.read(1 << 20):
                found.update(block)
        assert found.digest() == wanted.digest()
        assert storage.size("large") >= self.large

    def test_many_keys_are_listed_once_each(self, storage: Storage) -> None:
        """Many keys."""
        for number in range(self.many):
            writer = storage.writer(f"{number % 100:02}/{number:05}", hidden=True)
            writer.commit()
        keys = [o.key for o in storage.list()]
        assert len(keys) == len(set(keys)) == self.many
