import contextlib
import errno
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import blake3
import pytest

from recoup.errors import RefusedError, StorageError
from recoup.repository._base import Subset
from recoup.repository.dedup.history import Record, read_records, write_record
from recoup.repository.dedup.index import write_index
from recoup.repository.dedup.packs import PackRef, PackWriter
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.writers import let_in, writer_keys
from recoup.storage._base import ByteReader
from recoup.storage.memory import MemoryStorage
from unit.repository.dedup.small_sets import DAY, Small, Standing, aged, commit, noise

A, B, C, D = (noise(i) for i in range(4))


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def only(small: Small, before: set[PackRef]) -> PackRef:
    (ref,) = small.packs - before
    return ref


def test_what_a_removed_set_used_alone_goes_after_the_grace_time_and_nothing_else(small: Small) -> None:
    first = small.add(a=A, b=B)
    small.add(b=B, c=C)
    mine = small.packs
    gone = small.delete(first)
    assert (gone.freed_bytes, gone.later_bytes > 3000) == (0, True)
    assert mine < small.packs, "the used chunk of the first pack is copied, and nothing is gone"
    small.check()
    assert small.prune(DAY / 2).freed_bytes == 0
    freed = small.prune(DAY / 2)
    assert freed.freed_bytes > 6000
    assert freed.later_bytes == 0
    assert len(small.packs) == 2
    small.check()
    assert small.prune(DAY).freed_bytes == 0
    small.check()


def test_a_set_in_the_trash_keeps_its_chunks_until_it_is_removed_for_good(small: Small) -> None:
    first = small.add(a=A)
    small.add(b=B)
    content = {"a": A}
    small.delete(first, keep_days=7)
    small.prune(2 * DAY, keep_days=7)
    small.prune(2 * DAY, keep_days=7)
    small.again().undelete(first)
    small.held[first] = content
    small.check()
    small.delete(first, keep_days=7)
    for _ in range(4):
        small.prune(3 * DAY, keep_days=7)
    assert len(small.packs) == 1
    small.check()


def test_a_writer_that_began_before_a_prune_may_still_use_what_the_prune_condemns(small: Small) -> None:
    small.add(other=D)
    first = small.add(a=A)
    with small.begun(a=A, b=B) as slow:
        small.delete(first)
        small.clock.time += DAY / 3
        commit(slow, {"a": A, "b": B})
    small.held[slow.name] = {"a": A, "b": B}
    small.check()
    small.prune(DAY)
    small.prune(DAY)
    small.check()


def test_a_pack_that_is_used_again_is_rescued_and_condemned_anew_before_it_goes(small: Small) -> None:
    small.add(other=D)
    first = small.add(a=A)
    with small.begun(a=A) as slow:
        small.delete(first)
        commit(slow, {"a": A})
    small.held[slow.name] = {"a": A}
    small.prune(DAY / 2)  # rescues
    small.add(again=A)
    assert len(small.packs) == 2, "a rescued chunk is not stored again"
    small.delete(*[name for name, content in small.held.items() if A in content.values()])
    assert small.prune(DAY / 2).freed_bytes == 0, "condemned a day ago, but rescued since"
    assert small.prune(DAY).freed_bytes > 3000


def test_a_writer_that_is_slower_than_half_the_grace_time_gives_up_its_set(small: Small) -> None:
    small.add(other=D)
    first = small.add(a=A)
    with pytest.raises(StorageError, match="is about to be removed") as told, small.begun(a=A) as slow:
        small.delete(first)
        small.clock.time += DAY * 0.6
        commit(slow, {"a": A})
    assert "back up again" in told.value.hint
    small.check()
    small.add(a=A)
    small.check()


def test_a_writer_whose_clock_was_set_back_notices_how_slow_it_is(tmp_path: Path) -> None:
    class SetBack(Standing):
        back = timedelta()

        def now(self) -> datetime:
            return self.time - self.back

    clock = SetBack()
    small = Small(tmp_path, clock=clock)
    small.add(other=D)
    first = small.add(a=A)
    with pytest.raises(StorageError, match="is about to be removed"), small.begun(a=A) as slow:
        small.delete(first)
        clock.time += DAY * 0.6
        clock.back = DAY
        commit(slow, {"a": A})
    small.check()


def test_a_writer_whose_chunks_are_gone_gives_up_its_set(small: Small) -> None:
    small.add(other=D)
    first = small.add(a=A)
    with pytest.raises(StorageError, match="was removed"), small.begun(a=A) as slow:
        small.delete(first)
        small.prune(DAY)
        commit(slow, {"a": A})
    small.check()


@pytest.mark.parametrize(("count", "own"), [(1, False), (1, True), (9, False)])
def test_a_writer_whose_packs_are_not_there_while_somebody_prunes_gives_up_its_set(
    small: Small, count: int, own: bool
) -> None:
    content = {f"a{n}": noise(n) for n in range(count)}
    for name, data in content.items():
        small.add(**{name: data})
    content |= {"b": B} if own else {}
    before = small.packs
    with pytest.raises(StorageError, match="is gone"), small.begun(**content) as slow:
        slow.run.flush()  # type: ignore[attr-defined]
        small.storage.delete(max(small.packs - before if own else before).key)
        write_record(small.storage, small.keys, Record(small.clock.now()))
        commit(slow, content)
    assert slow.name not in small.again().names()


@pytest.mark.parametrize("grace", [DAY, 10 * DAY], ids=["as others", "longer than of others"])
def test_a_writer_that_sleeps_for_less_than_the_grace_time_looks_again(tmp_path: Path, grace: timedelta) -> None:
    class Sleeping(MemoryStorage):
        def move(self, source: str, target: str) -> None:
            if asleep:
                small.clock.time += asleep.pop()
            super().move(source, target)

    asleep: list[timedelta] = []
    small = Small(tmp_path, Sleeping())
    small.add(other=D)
    small.delete(small.add(c=C))
    first = small.add(a=A)
    usual, small.options = small.options, replace(small.options, grace=grace)
    with pytest.raises(StorageError, match="is about to be removed"), small.begun(a=A) as slow:
        small.options = usual
        small.delete(first)
        asleep.append(0.6 * DAY)
        commit(slow, {"a": A})
    small.check()


def test_a_writer_that_sleeps_between_its_last_look_and_its_manifest_takes_the_set_back(tmp_path: Path) -> None:
    class Sleeping(MemoryStorage):
        def move(self, source: str, target: str) -> None:
            if asleep:
                asleep.clear()
                small.prune(2 * DAY)
                small.prune(2 * DAY)
            super().move(source, target)

    asleep: list[bool] = []
    small = Small(tmp_path, Sleeping())
    small.add(other=D)
    first = small.add(a=A)
    with pytest.raises(StorageError, match="was removed"), small.begun(a=A) as slow:
        small.delete(first)
        asleep.append(True)
        commit(slow, {"a": A})
    assert slow.name not in small.again().trashed()
    small.check()


def test_a_writer_whose_own_packs_were_condemned_long_ago_gives_up(small: Small) -> None:
    small.add(other=D)
    with pytest.raises(StorageError, match="is about to be removed"), small.begun(a=A) as slow:
        slow.run.flush()  # type: ignore[attr-defined]
        small.prune()
        small.clock.time += DAY * 0.6
        commit(slow, {"a": A})
    small.check()


def test_a_condemned_chunk_is_stored_again(small: Small) -> None:
    small.add(other=D)
    small.delete(small.add(a=A))
    before = small.packs
    small.add(a=A)
    assert len(small.packs - before) == 1
    small.prune(DAY)
    small.prune(DAY)
    small.check()


def test_a_set_that_cannot_be_read_stops_the_prune_of_chunks_and_is_named(small: Small) -> None:
    first, second = small.add(a=A), small.add(b=B)
    good = small.storage.get(f"{second}/recipes")
    small.storage.put(f"{second}/recipes", good[:-1] + bytes([good[-1] ^ 1]))
    packs = small.packs
    with pytest.raises(RefusedError, match=f"no chunk is removed: which ones {second} uses") as told:
        small.delete(first)
    assert f"recoup delete {second}" in told.value.hint
    small.clock.time += 2 * DAY
    with pytest.raises(RefusedError):
        small.prune()
    assert (small.packs, small.keys_below("history")) == (packs, small.keys_below("history")[:1])
    small.storage.put(f"{second}/recipes", good)
    small.prune()
    small.prune(DAY)
    assert len(small.packs) == 1
    small.check()


def test_a_set_of_the_trash_that_is_partly_removed_uses_nothing(small: Small) -> None:
    small.add(other=D)
    first = small.add(a=A)
    small.delete(first, keep_days=7)
    small.storage.delete(next(key for key in small.keys_below(".trash") if key.endswith("recipes")))
    small.prune(keep_days=7)
    assert small.prune(DAY, keep_days=7).freed_bytes > 3000
    small.check()


def test_an_index_file_that_cannot_be_read_stops_the_prune_of_chunks(small: Small) -> None:
    small.delete(small.add(a=A))
    small.add(b=B)
    key = small.keys_below("index")[-1]
    data = small.storage.get(key)
    small.storage.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    packs = small.packs
    with pytest.raises(RefusedError, match=r"1 index files cannot be read .*what its maker signed"):
        small.prune(2 * DAY)
    assert small.packs == packs
    small.storage.put(key, data)
    small.prune()
    small.check()


def test_packs_without_an_index_stay_while_chunks_are_missing_that_they_may_have(small: Small) -> None:
    small.add(a=A)
    lost = small.add(b=B)
    small.storage.delete(small.keys_below("index")[-1])
    with pytest.raises(RefusedError, match="1 chunks are in use that no index names, and 1 packs are there"):
        small.prune(2 * DAY)
    assert len(small.packs) == 2
    del small.held[lost]
    small.again()


def test_packs_without_an_index_stay_while_bases_are_missing_that_they_may_have(tmp_path: Path) -> None:
    small = Small(tmp_path, delta="on")
    base = noise(1, 400_000)
    first = small.add(a=base)
    small.add(a=b"+".join(base[at : at + 30_000] for at in range(0, len(base), 30_000)))  # no chunk is the same
    small.storage.delete(small.keys_below("index")[0])
    for _ in range(3):
        with pytest.raises(
            RefusedError, match=r"\d chunks are in use whose bases no index names, and 1 packs are there"
        ):
            small.delete(*({first} & small.held.keys()))
        small.clock.time += 2 * DAY
    small.again().healing().rebuild_index()
    small.prune()
    small.check()


def test_a_chunk_that_is_lost_for_good_is_told_and_stops_nothing(small: Small) -> None:
    gone = small.add(x=C)
    small.add(a=A)
    before = small.packs
    lost = small.add(b=B)
    (pack,) = small.packs - before
    small.storage.delete(small.keys_below("index")[-1])
    small.storage.delete(pack.key)
    assert small.delete(gone).lost == 1
    freed = small.prune(DAY)
    assert (freed.lost, freed.freed_bytes > 3000) == (1, True)
    del small.held[lost]


def test_what_a_killed_run_left_without_an_index_goes_by_its_age(tmp_path: Path) -> None:
    clock = Standing()
    small = Small(tmp_path, aged(MemoryStorage(), clock), clock)
    small.add(a=A)
    with pytest.raises(ZeroDivisionError), small.begun(b=B) as slow:
        run = slow.run  # type: ignore[attr-defined]
        run.end_pack()
        run._unindexed.clear()
        raise ZeroDivisionError
    assert len(small.packs) == 2
    assert small.prune(DAY / 2).freed_bytes == 0
    small.prune(DAY)
    assert len(small.packs) == 2
    assert small.prune(DAY).freed_bytes > 3000
    assert len(small.packs) == 1
    small.check()


def test_a_pack_younger_than_the_grace_time_stays_so_that_an_interrupted_set_goes_on(tmp_path: Path) -> None:
    clock = Standing()
    small = Small(tmp_path, aged(MemoryStorage(), clock), clock)
    with pytest.raises(ZeroDivisionError), small.begun(a=A, b=B) as slow:
        slow.run.flush()  # type: ignore[attr-defined]
        raise ZeroDivisionError
    small.prune(DAY / 2)
    small.add(a=A, b=B)
    assert len(small.packs) == 1
    small.check()


def test_what_a_long_run_has_stored_gets_an_index_before_its_end(small: Small) -> None:
    with pytest.raises(ZeroDivisionError), small.begun(a=A) as slow:
        small.clock.time += timedelta(minutes=5)
        slow.run.end_pack()  # type: ignore[attr-defined]
        assert len(small.keys_below("index")) == 1
        raise ZeroDivisionError


def test_the_bases_of_chunks_in_use_stay(tmp_path: Path) -> None:
    small = Small(tmp_path, delta="on")
    base = noise(7, 400_000)
    changed = base[:200_000] + b"changed" + base[200_000:]
    first = small.add(a=base, b=B)
    small.add(a=changed)
    assert any(row.encoding == 17 for row in small.rows)
    small.delete(first)
    small.prune(DAY)
    small.prune(DAY)
    assert small.storage.size(max(small.packs, key=lambda ref: small.storage.size(ref.key)).key) > 60_000
    small.check()


def test_a_writer_looks_after_the_bases_of_its_new_chunks(tmp_path: Path) -> None:
    small = Small(tmp_path, delta="on")
    base = noise(7, 400_000)
    changed = base[:200_000] + b"+" + base[200_000:]
    small.add(other=D)
    first = small.add(a=base)
    with pytest.raises(StorageError, match="is about to be removed"), small.begun(a=changed) as slow:
        small.delete(first)
        small.clock.time += DAY * 0.6
        commit(slow, {"a": changed})
    small.check()


def test_a_writer_looks_after_the_bases_of_the_chunks_that_it_found(tmp_path: Path) -> None:
    small = Small(tmp_path, delta="on", max_unused=50.0)
    base = noise(7, 400_000)
    changed = base[:200_000] + b"+" + base[200_000:]
    first = small.add(a=base)
    (pack,) = small.packs
    second = small.add(a=changed, z=A)
    small.add(z=A)
    with pytest.raises(StorageError, match=pack.name), small.begun(a=changed) as slow:
        small.delete(first, second)
        small.clock.time += DAY * 0.6
        commit(slow, {"a": changed})
    small.check()
    small.prune(DAY)
    assert pack not in small.packs
    small.add(a=changed)
    small.check()


def test_without_a_grace_time_everything_goes_at_once(tmp_path: Path) -> None:
    small = Small(tmp_path, grace=timedelta())
    first = small.add(a=A, b=B)
    small.add(b=B, c=C)
    freed = small.delete(first)
    assert freed.freed_bytes > 6000
    assert freed.later_bytes == 0
    assert len(small.packs) == 2
    small.check()


def test_space_can_be_asked_for_at_once(small: Small) -> None:
    first = small.add(a=A, b=B)
    small.add(b=B, c=C)
    assert small.delete(first, at_once=True).freed_bytes > 6000
    small.check()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_prune_ends_and_counts_although_the_clock_went_back(small: Small, at_once: bool) -> None:
    small.add(other=D)
    first = small.add(a=A)
    small.clock.time += 10 * DAY
    with small.begun(a=A) as slow:
        small.delete(first)
        commit(slow, {"a": A})
    small.held[slow.name] = {"a": A}
    small.prune(DAY)  # a record of that day says that the pack is in use again
    small.clock.time -= 11 * DAY
    freed = small.delete(slow.name, at_once=at_once).freed_bytes
    assert (freed > 0, len(small.packs)) == ((True, 1) if at_once else (False, 2))
    assert small.prune(13 * DAY).freed_bytes > 0 or at_once
    assert len(small.packs) == 1
    small.check()


def test_a_full_storage_gives_back_what_nothing_uses_before_anything_is_copied(tmp_path: Path) -> None:
    class Full(MemoryStorage):
        def free_bytes(self) -> int:
            return 0 if any(key.startswith("packs/") and key not in needed for key in self._objects) else 2 * 3016

    needed = set[str]()
    small = Small(tmp_path, Full())
    small.add(a=A, b=B)
    second = small.add(b=B, c=C)
    needed |= {ref.key for ref in small.packs}
    gone, first = small.add(d=D), small.repository.names()[0]
    freed = small.delete(gone, first, at_once=True)
    assert (freed.copied_bytes, freed.freed_bytes > 9000) == (3016, True), "there was room when the third pack had gone"
    assert small.restored(second) == {"b": B, "c": C}


def test_packs_are_rewritten_until_what_is_unused_is_within_the_limit(tmp_path: Path) -> None:
    small = Small(tmp_path, max_unused=30.0)
    first = small.add(**{f"n{i}": noise(100 + i) for i in range(10)})
    small.add(**{f"n{i}": noise(100 + i) for i in range(8)})
    assert small.delete(first).copied_bytes == 0, "20 percent may stay"
    assert len(small.packs) == 1
    small.check()


def test_what_is_copied_keeps_its_address_and_its_maker_and_goes_to_few_packs(small: Small) -> None:
    first = small.add(a=A, b=B)
    small.add(b=B, c=C)
    before = small.again().index()
    addresses = {(row.run, row.number, row.id) for row in small.rows}
    small.delete(first)
    small.prune(DAY)
    after = small.again().index()
    rows = [(row.run, row.number, row.id) for row in small.rows]
    assert len(rows) == 2
    assert set(rows) < addresses
    assert {file.made_by for file in after.files} == {small.keys.maker}
    assert len(small.keys_below("index")) == len(after.names) == 2
    told = read_records(small.storage, small.keys, [])
    assert {name for record in told for name in record.removed_index} == set(before.names) - set(after.names)


def test_a_damaged_chunk_is_not_copied_and_its_pack_stays(small: Small) -> None:
    before = small.packs
    first = small.add(a=A, b=B, c=C)
    second = small.add(b=B, c=C, d=D)
    pack = next(ref for ref in small.packs - before if small.storage.size(ref.key) > 9000)
    small.flip(pack, 104 + 3016 + 1500)
    assert small.delete(first).harmed == 1
    small.prune(DAY)
    small.prune(DAY)
    assert pack in small.packs
    assert len(small.keys_below("damaged")) == 1
    small.add(b=B)
    assert small.restored(second) == {"b": B, "c": C, "d": D}, "it came again, and heals the older set"
    small.prune(2 * DAY)
    small.prune(2 * DAY)
    assert small.restored(second) == {"b": B, "c": C, "d": D}


def test_a_damage_record_goes_when_the_last_of_its_packs_is_gone(small: Small) -> None:
    first = small.add(a=A)
    [pack] = small.packs
    small.flip(pack, 200)
    assert list(small.again().verify(first, Subset()))
    small.add(a=A)
    small.prune()
    assert len(small.keys_below("damaged")) == 1
    small.delete(first)
    small.prune(DAY)
    assert pack not in small.packs
    small.prune(DAY)
    assert small.keys_below("damaged") == []
    small.check()


def test_nothing_goes_for_a_copy_that_is_damaged(small: Small) -> None:
    first = small.add(a=A, b=B)
    second = small.add(b=B, c=C)
    before = small.packs
    small.delete(first)
    copy = only(small, before)
    small.flip(copy, 104 + 1500)
    freed = small.prune(DAY)
    assert (freed.harmed, freed.freed_bytes) == (1, 0)
    assert small.restored(second) == {"b": B, "c": C}
    small.prune(2 * DAY)
    small.prune(2 * DAY)
    small.check()


@pytest.mark.parametrize("same_id", [True, False])
def test_a_stolen_write_only_host_cannot_have_a_prune_remove_what_others_stored(
    small: Small, tmp_path: Path, same_id: bool
) -> None:
    first = small.add(a=A, b=B)
    second = small.add(b=B)
    (row,) = (row for row in small.rows if row.number == 1)
    let_in(small.storage, small.keys, tmp_path / "writer", "stolen", small.clock.now())
    stolen = writer_keys(small.storage, small.again().record, tmp_path / "writer")
    lie = PackWriter(small.storage, PackRef(b"stolen" * 2, 0), stolen.new_run())
    lie.add(row.run, row.number, row.id if same_id else chunk_of(small, D), 3000, 0, D)
    write_index(small.storage, stolen, small.clock.now(), b"stolen" * 2, 0, [lie.finish()])
    small.delete(first)
    for _ in range(4):
        small.prune(DAY)
    genuine = [place for place in small.again().index().by_id(row.id) if place.pack.run != b"stolen" * 2]
    chunks = Chunks(small.storage, small.keys, small.repository.index())
    assert [chunks.one(place) for place in genuine] == [B]
    assert second in small.repository.names()


def chunk_of(small: Small, data: bytes) -> bytes:
    return blake3.blake3(data, key=small.keys.chunk_key).digest()


def test_what_sets_use_alone_is_told_before_they_go(small: Small) -> None:
    first, second = small.add(a=A, b=B), small.add(b=B, c=C)
    sharing = small.again().sharing()
    assert sharing.alone([first]) == sharing.alone([second]) == 3000 + 16
    assert sharing.alone([first, second]) == 3 * (3000 + 16)
    assert sharing.alone([first], trashed=True) == 0
    told, done = sharing.reclaim([first]), small.delete(first)
    assert replace(told, freed_bytes=0) == done
    assert sharing.reclaim([first, second], at_once=True).freed_bytes > 9000
    assert small.again().trashed_bytes() == 0
    small.delete(second, keep_days=7)
    assert small.again().trashed_bytes() > 2 * 3016


def test_a_host_that_only_adds_sets_removes_nothing(small: Small, tmp_path: Path) -> None:
    from recoup.repository.dedup.options import DedupOptions
    from recoup.repository.dedup.repository import DedupRepository

    first = small.add(a=A)
    let_in(small.storage, small.keys, tmp_path / "writer", "other", small.clock.now())
    options = DedupOptions(writer_key_file=tmp_path / "writer")
    writer = DedupRepository("r", small.storage, options, small.clock, None)
    for act in (lambda: writer.delete([first]), lambda: writer.delete([]), writer.sharing):
        with pytest.raises(RefusedError, match="this host only adds sets"):
            act()
    small.check()


def test_many_small_index_files_are_joined(small: Small) -> None:
    for i in range(35):
        small.add(n=noise(i, 40))
    small.prune()
    assert len(small.keys_below("index")) == 1
    small.check()


def test_packs_that_two_index_files_name_are_not_taken_for_half_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(MemoryStorage):
        """Somebody presses Ctrl-C while an index file is on its way, and it arrives."""

        interrupt = False

        def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
            super().put(key, data, if_absent=if_absent)
            if self.interrupt and key.startswith("index/"):
                self.interrupt = False
                clock.time += timedelta(seconds=1)
                raise KeyboardInterrupt

    storage, clock = Interrupted(), Standing()
    small = Small(tmp_path, storage, clock)
    storage.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        small.add(a=A, b=B)
    small.add(a=A, b=B)
    assert (len(small.packs), len(small.rows)) == (1, 4)
    assert small.prune(2 * DAY).copied_bytes == 0
    monkeypatch.setattr("recoup.repository.dedup.reindexing._MANY", 1)
    small.prune(DAY)
    assert (len(small.packs), len(small.rows)) == (1, 2)
    small.check()


def test_what_the_storage_did_not_give_once_is_told_and_not_taken_for_damaged(tmp_path: Path) -> None:
    class Shaky(MemoryStorage):
        """Its disk does not answer."""

        silent: PackRef | None = None

        @contextlib.contextmanager
        def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
            if self.silent is not None and key == self.silent.key:
                raise OSError(errno.EIO, "Input/output error")
            with super().reader(key, start, length) as found:
                yield found

    storage = Shaky()
    small = Small(tmp_path, storage)
    first = small.add(a=A, b=B)
    (storage.silent,) = small.packs
    small.add(b=B)
    small.clock.time += 2 * DAY
    found = small.delete(first)
    assert (found.harmed, found.copied_bytes) == (1, 0)
    assert small.keys_below("damaged") == []
    storage.silent = None
    assert small.prune().copied_bytes > 3000
    small.check()
