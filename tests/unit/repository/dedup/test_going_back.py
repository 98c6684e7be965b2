from pathlib import Path

from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.going_back import accept, gone_back, went_back
from recoup.repository.dedup.history import Record, write_record
from recoup.repository.dedup.index import Index, write_index
from recoup.repository.dedup.packs import PackRef, read_directory
from recoup.storage.memory import MemoryStorage
from recoup.system.caching import cache_folder, write_cached
from unit.repository.dedup.stores import KEYS, NOW, Host, run_id


def gone(storage: MemoryStorage, root: Path, *sets: str) -> tuple[str, ...]:
    return gone_back(storage, Cache(root, KEYS), Index.load(storage, KEYS, root), sets)


def test_an_index_file_that_was_there_and_is_gone_is_noticed_until_it_is_accepted(tmp_path: Path) -> None:
    storage = MemoryStorage()
    Host(storage).add(b"one")
    name = Host(storage).add(b"two")
    assert gone(storage, tmp_path) == ()
    storage.delete(f"index/{name}")
    for _ in range(2):
        assert gone(storage, tmp_path) == (f"index/{name}",)
    accept(Cache(tmp_path, KEYS), Index.load(storage, KEYS), ())
    assert gone(storage, tmp_path) == ()


def test_what_a_prune_removed_is_not_missed(tmp_path: Path) -> None:
    storage = MemoryStorage()
    host = Host(storage)
    first, second = host.add(b"one"), Host(storage).add(b"two")
    assert gone(storage, tmp_path, "backup_20261121_020000") == ()
    storage.delete(f"index/{first}")
    write_record(storage, KEYS, Record(NOW, removed_index=(first,), removed_sets=("backup_20261121_020000",)))
    assert gone(storage, tmp_path) == ()
    packed = read_directory(storage, PackRef(run_id(int.from_bytes(host.run, "big") + 1), 0), KEYS)
    write_index(storage, KEYS, NOW, run_id(800), 0, [packed], [second])
    storage.delete(f"index/{second}")
    assert gone(storage, tmp_path) == ()


def test_a_history_record_or_a_set_that_is_gone_is_noticed(tmp_path: Path) -> None:
    storage = MemoryStorage()
    record = write_record(storage, KEYS, Record(NOW))
    assert gone(storage, tmp_path, "backup_20261121_020000") == ()
    storage.delete(f"history/{record}")
    assert gone(storage, tmp_path) == ("backup_20261121_020000", f"history/{record}")


class _Late(MemoryStorage):
    """Its listings lack one object."""

    late = ""

    def list(self, prefix: str = ""):  # type: ignore[no-untyped-def] # as the storage's
        return (found for found in super().list(prefix) if found.key != self.late)


def test_a_listing_that_is_late_is_no_step_back(tmp_path: Path) -> None:
    storage = _Late()
    name = Host(storage).add(b"one")
    storage.put("backup_20261121_020000/manifest.json", b"{}")
    assert gone(storage, tmp_path, "backup_20261121_020000") == ()
    storage.late = f"index/{name}"
    assert gone(storage, tmp_path) == ()


def test_a_host_without_a_memory_misses_nothing(tmp_path: Path) -> None:
    storage = MemoryStorage()
    Host(storage).add(b"one")
    assert gone(storage, tmp_path) == ()
    path = tmp_path / "dedup" / KEYS.repository / "seen"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert Cache(tmp_path, KEYS).read_seen() == frozenset()
    assert not path.exists()


def test_the_rule_is_about_names() -> None:
    assert went_back({"index/a", "backup_1"}, {"index/a"}, []) == ("backup_1",)
    assert went_back({"index/a", "backup_1"}, set(), [Record(NOW, removed_index=("a",))]) == ("backup_1",)
    assert went_back(set(), {"index/a"}, []) == ()


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "recoup"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "recoup"


def test_a_cached_file_is_private_and_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert write_cached(path, lambda file: file.writelines([b"one", b"two"]))
    assert path.read_bytes() == b"onetwo"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert not write_cached(path / "below a file", lambda file: file.writelines([b"?"]))
    assert [found.name for found in path.parent.iterdir()] == ["b"]
