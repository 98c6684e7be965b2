"""A storage far away is asked seldom, and what was looked at a moment ago is believed no further than that."""

import itertools
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import NoSuchSetError
from recoup.model.marks import Mark
from recoup.model.part import StreamPart
from recoup.repository._base import Subset
from recoup.repository.dedup import fetching
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.fetching import joined
from recoup.repository.dedup.keeping import Keeping
from recoup.repository.dedup.keys import new_keys
from recoup.repository.dedup.looking import Look
from recoup.repository.dedup.reading import Stream
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.plain import layout
from recoup.storage._base import ByteReader, Storage
from recoup.storage.memory import MemoryReader, MemoryStorage
from recoup.testing.repository_contract import Given, store, stream_bytes
from unit.repository.dedup.small_sets import Small, commit
from unit.repository.objects.places import Bucket

KEYS = new_keys("cd" * 16)


def looked(storage: Storage) -> Look:
    return Look(storage, Keeping(lambda: None))


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path, Bucket())


def other(small: Small) -> DedupRepository:
    """The same repository, as another host has it."""
    repository = DedupRepository("other", small.storage, small.options, small.clock, None)
    repository.__dict__["keys"] = small.keys
    return repository


# --- a look ----------------------------------------------------------------------------------------------------------


def test_a_look_tells_what_the_storage_tells(small: Small) -> None:
    for n in range(3):
        small.add(a=bytes([n]) * 100)
    small.delete(min(small.held), keep_days=1)
    look, storage = looked(small.storage), small.storage
    for prefix in ("", "packs", "index", "history", ".trash", "nothing", *storage.folders()):
        assert {one.key for one in look.list(prefix)} == {one.key for one in storage.list(prefix)}, prefix
        assert list(look.folders(prefix)) == list(storage.folders(prefix)), prefix
    assert look.sets() == (small.repository.names(), small.repository.trashed())
    assert look.size("recoup-repository.json") == storage.size("recoup-repository.json")


def test_a_look_says_nothing_of_sets_while_one_of_them_has_no_manifest(small: Small) -> None:
    name = small.add(a=b"one" * 100)
    with small.begun(a=b"two" * 100) as writer:
        assert looked(small.storage).sets() == ([name], [])  # a claim is no set
        small.storage.put(f"{writer.name}/recipes", b"on its way")
        assert looked(small.storage).sets() is None
        assert small.repository.names() == [name]
    small.storage.delete(f"{name}/{layout.MANIFEST}")
    assert looked(small.storage).sets() is None
    assert small.again().names() == [name]  # it has lost its manifest, and is still one


def test_where_one_request_lists_not_everything_folders_are_listed_when_they_are_asked_for(small: Small) -> None:
    name = small.add(a=b"one" * 100)
    for n in range(1000):
        small.storage.put(f"{layout.MARKS}/{name}/20261121T020000{n:06}-0000.json", b"{}")
    look, storage = looked(small.storage), small.storage
    assert look.sets() is None
    for prefix in ("packs", "index", "history", "damaged", layout.MARKS, layout.PARTIAL):
        assert {one.key for one in look.list(prefix)} == {one.key for one in storage.list(prefix)}, prefix
    assert list(look.folders()) == list(storage.folders())
    assert small.again().names() == [name]
    small.check()


def test_what_is_gone_when_it_is_read_makes_a_look_too_old(small: Small) -> None:
    small.add(a=b"one" * 100)
    look = looked(small.storage)
    index, *_ = small.storage.list("index")
    data = small.storage.get(index.key)
    small.storage.delete(index.key)
    small.storage.put("index/other", data)
    with pytest.raises(FileNotFoundError):
        look.get(index.key)
    assert [one.key for one in look.list("index")] == ["index/other"]


def test_an_index_file_that_a_prune_replaces_meanwhile_is_no_loss(small: Small) -> None:
    old, kept = small.add(a=b"one" * 100), small.add(a=b"two" * 100)
    repository = small.again()
    with repository.lock("shared", "restore", "tests"):
        repository.there()
        host = Small.__new__(Small)  # another one, whose lock nobody saw
        host.__dict__ |= small.__dict__
        host.delete(old)
        host.prune(after=timedelta(days=2))
        small.clock.time -= timedelta(days=2)
        part = repository.manifest(kept).sources["db"].parts[0]
        assert stream_bytes(repository.fetch(kept, "db", part)) == b"two" * 100


def test_a_set_that_came_after_the_look_is_read_with_an_index_that_has_it(small: Small) -> None:
    small.add(a=b"one" * 100)
    repository = small.again()
    with repository.lock("shared", "verify", "tests"):
        name = Small.add(small, a=b"two" * 100)
        assert list(repository.verify(name, Subset())) == []


def test_one_run_after_the_other_under_one_lock_sees_what_the_first_one_stored(small: Small) -> None:
    repository, data = small.again(), random.Random(1).randbytes(100_000)
    with repository.lock("backup", "copy", "tests"):
        for _ in range(2):
            with repository.begin(small.clock.now()) as writer:
                parts = [store(writer, "db", StreamPart("a", Given(data), len(data)))]
                writer.parts = parts  # type: ignore[attr-defined]
                commit(writer, {"a": data})
    assert sum(one.size for one in small.storage.list("packs")) < 2 * len(data)


def test_without_a_lock_each_question_is_asked_anew(small: Small) -> None:
    name = small.add(a=b"one" * 100)
    repository = small.again()
    assert repository.manifest(name).name == str(name)
    assert list(repository.overview().names) == [name]
    other(small).delete([name], keep_days=1)
    assert list(repository.overview().names) == []
    assert repository.names() == []
    with pytest.raises(NoSuchSetError):
        repository.manifest(name)


def test_a_mark_shows_at_once_under_the_lock_that_it_was_made_under(small: Small) -> None:
    name = small.add(a=b"one" * 100)
    repository = small.again()
    with repository.lock("shared", "pin", "tests"):
        assert repository.overview().marks(name) == []
        repository.mark(name, Mark("pin", small.clock.now(), "here", {"reason": "why"}))
        assert [mark.kind for mark in repository.overview().marks(name)] == ["pin"]


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_what_never_changes_is_read_once_until_it_is_another_object(small: Small, tmp_path: Path) -> None:
    name, bucket = small.add(a=b"one" * 100), small.storage
    assert isinstance(bucket, Bucket)
    key = f"{name}/{layout.MANIFEST}"
    cache = Cache(tmp_path / "cache", KEYS)
    for keeping in (Keeping(lambda: cache), Keeping(lambda: cache)):
        assert Look(bucket, keeping).get(key) == MemoryStorage.get(bucket, key)
    before = bucket.requests["get"]
    assert Look(bucket, Keeping(lambda: cache)).get(key)
    assert bucket.requests["get"] == before
    bucket.put(key, b"?" * bucket.size(key))
    bucket.modified += timedelta(seconds=1)
    assert Look(bucket, Keeping(lambda: cache)).get(key).startswith(b"???")


def test_what_was_kept_of_an_object_that_is_gone_goes_too(tmp_path: Path) -> None:
    cache, storage = Cache(tmp_path, KEYS), MemoryStorage(moves=False)
    for key in ("marks/backup_20261121_020000/a.json", "marks/backup_20261121_020000/b.json"):
        storage.put(key, key.encode())
        Look(storage, Keeping(lambda: cache)).get(key)
    assert len(cache.names()) == 2
    storage.delete("marks/backup_20261121_020000/a.json")
    Look(storage, Keeping(lambda: cache)).keep_only()
    assert len(cache.names()) == 1


def test_a_verification_reads_a_set_itself_whatever_was_kept_of_it(small: Small) -> None:
    name = small.add(a=b"one" * 100)
    repository = small.again()
    overview = repository.overview()
    overview.expect_all()
    assert overview.manifest(name).name == str(name)
    key = f"{name}/{layout.MANIFEST}"
    small.storage.put(key, small.storage.get(key).replace(b'"counter": 1', b'"counter": 2'))
    with repository.lock("shared", "verify", "tests"):
        assert [found.item for found in repository.verify(name, Subset())] == [layout.MANIFEST]


# --- ranges of packs -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(104, 40_000_000), st.integers(17, 1_100_000)), min_size=1, max_size=60))
def test_joined_ranges_hold_all_that_is_wanted_and_little_else(found: list[tuple[int, int]]) -> None:
    ranges, at = list[tuple[int, int]](), 104
    for gap, length in found:  # one behind the other, as chunks lie
        begin = at + gap % 3_000_000
        ranges.append((begin, begin + length))
        at = begin + length
    asked = joined(ranges)
    for begin, end in ranges:
        assert any(first <= begin and end <= last for first, last in asked)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(asked))
    wanted, come = sum(end - begin for begin, end in ranges), sum(end - begin for begin, end in asked)
    assert come <= 1.5 * wanted + 65_536


class Harming(MemoryStorage):
    """What is read of packs is harmed on the way, as long as it is in large ranges."""

    largest, asked = 1 << 40, 0

    def __init__(self) -> None:
        super().__init__(moves=False)
        self._counting = threading.Lock()

    @contextmanager
    def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        data = self.get(key)[start : None if length is None else start + length]
        with self._counting:
            self.asked += key.startswith("packs/")
        yield MemoryReader(bytes(len(data)) if len(data) > self.largest and key.startswith("packs/") else data)


def stored(small: Small, size: int) -> tuple[bytes, DedupRepository]:
    data = random.Random(2).randbytes(size)
    small.add(a=data)
    return data, small.again()


def restored(small: Small, repository: DedupRepository) -> bytes:
    [name] = small.held
    part = repository.manifest(name).sources["db"].parts[0]
    return stream_bytes(repository.fetch(name, "db", part))


def content_of(small: Small, repository: DedupRepository) -> Stream:
    [name] = small.held
    part = repository.fetch(name, "db", repository.manifest(name).sources["db"].parts[0])
    assert isinstance(part, StreamPart)
    assert isinstance(part.content, Stream)
    return part.content


def test_a_stream_takes_few_requests_and_comes_whole(tmp_path: Path) -> None:
    storage = Harming()
    small = Small(tmp_path, storage)
    data, repository = stored(small, 12_000_000)
    storage.asked = 0
    assert restored(small, repository) == data
    assert storage.asked <= 6


def test_a_range_that_was_harmed_on_the_way_is_read_again_chunk_by_chunk(tmp_path: Path) -> None:
    storage = Harming()
    small = Small(tmp_path, storage)
    data, repository = stored(small, 5_000_000)
    storage.largest = 2_500_000
    assert restored(small, repository) == data


def test_a_reader_that_stops_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    small = Small(tmp_path, Harming())
    data, repository = stored(small, 12_000_000)
    content = content_of(small, repository)
    before = threading.active_count()
    with content.open() as reader:
        assert reader.read(1000) == data[:1000]
    for thread in threading.enumerate():
        if thread.name.startswith("packs"):
            thread.join(5)
    assert threading.active_count() <= before
    fetched = content.chunks._fetching
    assert not fetched._extents


def test_what_is_asked_for_ahead_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_WINDOW", 1_000_000)
    small = Small(tmp_path, Harming())
    data, repository = stored(small, 16_000_000)
    content = content_of(small, repository)
    most, whole = 0, 0
    with content.open() as reader:
        while piece := reader.read(1_000_000):
            whole += len(piece)
            held = [one for extents in content.chunks._fetching._extents.values() for one in extents]
            most = max(most, sum(one.end - one.begin for one in held))
    assert whole == len(data)
    assert most <= 6 * 2_100_000


class Watched(Bucket):
    """Notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = list[str]()

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return super().get(key)


def test_a_host_reads_its_own_index_file_from_what_it_kept_once(tmp_path: Path) -> None:
    bucket = Watched()
    small = Small(tmp_path, bucket)

    def again() -> DedupRepository:
        repository = DedupRepository("r", bucket, small.options, small.clock, tmp_path / "cache")
        repository.__dict__["keys"] = small.keys
        return repository

    data = random.Random(3).randbytes(50_000)
    for _ in range(2):
        small.clock.time += timedelta(seconds=1)
        with again().begin(small.clock.now()) as writer:
            writer.parts = [store(writer, "db", StreamPart("a", Given(data), len(data)))]  # type: ignore[attr-defined]
            commit(writer, {"a": data})
        small.held[writer.name] = {"a": data}
    assert len(list(bucket.list("packs"))) == 1  # the second run found all that the first one stored
    assert not any(read.startswith("index/") for read in bucket.read)
    small.check()


def test_a_host_tidies_a_storage_a_few_times_a_day(tmp_path: Path) -> None:
    cache, now = Cache(tmp_path, KEYS), 1_800_000_000.0
    keeping = Keeping(lambda: cache)
    hour = 3600.0
    assert [keeping.tidied(now + hours * hour) for hours in (0, 1, 5, 7, 8, 2, 3)] == [
        False,
        True,
        True,
        False,
        True,
        False,  # the clock went back
        True,
    ]
    assert not Keeping(lambda: None).tidied(now)
