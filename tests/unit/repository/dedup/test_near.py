"""Copies of packs on this machine, by which a repository far away stores differences, too."""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.repository._base import Subset
from recoup.repository.dedup.near import NearPacks
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.rows import DELTA
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, add_set, name_of, stream_bytes

FIRST = hashlib.shake_256(b"first").digest(3_000_000)
SECOND = b"".join(FIRST[at : at + 9_000] + b"changed" for at in range(0, len(FIRST), 10_000))


@pytest.fixture
def opened(tmp_path: Path) -> DedupRepository:
    key = tmp_path / "key"
    key.write_bytes(secrets.token_bytes(32))
    options = DedupOptions(key_file=key, cache=100_000_000)
    repository = DedupRepository("r", MemoryStorage(), options, SystemClock(), tmp_path / "cache")
    repository.create()
    return repository


def again(repository: DedupRepository, **changed: object) -> DedupRepository:
    options = replace(repository.options, **changed)  # type: ignore[arg-type]
    return DedupRepository("r", repository._storage, options, SystemClock(), repository._cache)


def deltas(repository: DedupRepository) -> int:
    index = repository.index()
    return sum(place.row.encoding == DELTA for pack in index.packs for place in index.of_pack(pack))


def test_with_copies_near_a_repository_far_away_stores_differences_and_without_it_does_not(
    opened: DedupRepository,
) -> None:
    add_set(opened, data=FIRST)
    add_set(again(opened, cache=0), NOW + timedelta(hours=1), SECOND[1:])
    add_set(again(opened, delta="off"), NOW + timedelta(hours=1), SECOND[2:])
    assert deltas(opened) == 0
    made = add_set(again(opened), NOW + timedelta(hours=2), SECOND)
    assert deltas(opened) > 0
    [part] = made.sources["db"].parts
    assert stream_bytes(again(opened).fetch(name_of(made), "db", part)) == SECOND
    assert list(again(opened).verify(name_of(made), Subset())) == []


def test_a_harmed_copy_is_thrown_away_and_the_repository_asked(opened: DedupRepository) -> None:
    add_set(opened, data=FIRST)
    [copy] = [path for path in opened._cache.rglob("*-00000000") if path.is_file()]  # type: ignore[union-attr]
    copy.write_bytes(bytes(copy.stat().st_size))
    made = add_set(again(opened), NOW + timedelta(hours=1), SECOND)
    assert deltas(opened) > 0
    assert not copy.exists()
    [part] = made.sources["db"].parts
    assert stream_bytes(again(opened).fetch(name_of(made), "db", part)) == SECOND


def test_without_the_copies_at_hand_nothing_is_fetched_to_compare_with(opened: DedupRepository) -> None:
    add_set(opened, data=FIRST)
    for copy in opened._cache.rglob("*-00000000"):  # type: ignore[union-attr]
        copy.unlink()
    add_set(again(opened), NOW + timedelta(hours=1), SECOND)
    assert deltas(opened) == 0


def test_after_a_set_the_copies_take_no_more_than_they_may(opened: DedupRepository) -> None:
    add_set(opened, data=FIRST)
    near = NearPacks.of(opened._cache, opened.keys.repository)  # type: ignore[arg-type]
    assert sum(near.sizes) > 2_000_000
    add_set(again(opened, cache=2_000_000), NOW + timedelta(hours=1), FIRST)
    assert sum(near.sizes) <= 2_000_000


def test_copies_never_stand_for_what_the_repository_lost(opened: DedupRepository) -> None:
    made = add_set(opened, data=FIRST)
    storage = opened._storage
    for pack in list(storage.list("packs")):
        storage.delete(pack.key)
    assert list(again(opened).verify(name_of(made), Subset()))


def test_the_oldest_copies_go_first_and_files_are_private(tmp_path: Path) -> None:
    near = NearPacks(tmp_path / "packs", 25)
    packs = [PackRef(bytes(12), number) for number in range(3)]
    for pack in packs:
        copy = near.copy(pack)
        copy.write(b"0123456789")
        copy.commit()
        (tmp_path / "packs" / pack.name).touch()
    near.shrink()
    assert [near.has(pack) for pack in packs] == [False, True, True]
    assert near.read(packs[1], 2, 3) == b"234"
    assert near.read(packs[1], 8, 3) is None
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "packs").iterdir()} == {0o600}
    dropped = near.copy(packs[0])
    dropped.write(b"x")
    dropped.abort()
    assert not near.has(packs[0])
    assert len(list((tmp_path / "packs").iterdir())) == 2
