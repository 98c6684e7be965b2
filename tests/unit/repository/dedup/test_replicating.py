"""Copies between repositories with the same keys: packs go over as they lie there, and nothing that is damaged does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoup.errors import ExitCode, NoSpaceError, RecoupError, RefusedError, StorageError, WrongKeyError
from recoup.model.events import Event, Progress
from recoup.model.names import SetName
from recoup.model.reports import CopyReport
from recoup.operations import copy, selection
from recoup.repository.dedup import keyslots
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.rows import DELTA
from recoup.repository.dedup.writers import let_in
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.storage.object_store import Options, connect
from unit.repository.dedup.small_sets import DAY, Small, aged, commit, noise

A, B, C, D = (noise(i) for i in range(4))


@pytest.fixture
def main(tmp_path: Path) -> Small:
    return Small(tmp_path)


@pytest.fixture
def replica(main: Small, tmp_path: Path) -> Small:
    return beside(main, tmp_path)


def beside(main: Small, folder: Path, storage: Storage | None = None, **options: object) -> Small:
    """A repository with the keys of another one, opened by a key file of its own."""
    other = folder / "other"
    other.mkdir()
    return Small(other, storage, main.clock, main, **options)


def copied(origin: Small, target: Small, *names: SetName, emit: Callable[[Any], None] = lambda _: None) -> CopyReport:
    """Copies sets, all by default, and notes what the target should hold then."""
    left, right = origin.again(), target.again()
    infos = [info for info in selection.listing(left, origin.clock.now()) if not names or info.name in map(str, names)]
    planned = copy.plan(infos, left, right, 1.1, origin.clock)
    report = copy.run(planned, copy.Way(left, right, origin.clock, emit))
    for one in report.sets:
        if one.copy and not one.there:
            target.held[parsed(one.copy)] = origin.held[parsed(one.set)]
    return report


def parsed(text: str) -> SetName:
    return SetName.parse(text) or pytest.fail("that is no name")


def sent(report: CopyReport) -> list[tuple[int, int]]:
    """Packs and chunks that were sent for each set."""
    assert report.exit_code == ExitCode.OK
    return [(one.sent.files, one.sent.chunks) if one.sent else (-1, -1) for one in report.sets]


@pytest.fixture(params=["in memory", "in a folder", "on S3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "on S3":
        bucket = request.getfixturevalue("bucket")
        return connect(f"{bucket.url}/replica", Options.model_validate(bucket.options))
    return MemoryStorage() if request.param == "in memory" else LocalStorage(tmp_path / "replica")


def test_packs_are_the_same_byte_for_byte_and_sets_restore_and_verify(
    main: Small, tmp_path: Path, place: Storage
) -> None:
    replica = beside(main, tmp_path, place)
    main.add(x=A, y=B)
    main.add(x=A, y=C)
    assert sent(copied(main, replica)) == [(1, 0), (1, 0)]
    assert replica.packs == main.packs
    assert all(replica.storage.get(ref.key) == main.storage.get(ref.key) for ref in main.packs)
    assert replica.keys.repository != main.keys.repository
    replica.check()
    assert [one.there for one in copied(main, replica).sets] == [True, True]


def test_what_the_plan_says_is_what_is_sent(main: Small, replica: Small) -> None:
    main.add(x=A, y=B)
    main.add(x=A, y=C)
    left, right = main.again(), replica.again()
    plan = copy.plan(selection.listing(left, main.clock.now()), left, right, 1.1, main.clock)
    measured = copy.measured(plan, left, right)
    assert measured.sent is not None
    assert measured.needed_bytes == measured.sent.bytes == sum(main.storage.size(ref.key) for ref in main.packs)
    found = [one.sent for one in copied(main, replica).sets]
    assert sum(one.bytes for one in found if one) == measured.sent.bytes
    assert not replica.again().locks()


def test_how_far_it_is_and_what_went_over_is_told(main: Small, replica: Small) -> None:
    name = main.add(x=noise(1, 5_000_000))
    news: list[Any] = []
    copied(main, replica, emit=news.append)
    size = sum(main.storage.size(ref.key) for ref in main.packs)
    told = [one for one in news if isinstance(one, Progress)]
    assert {(one.work, one.total) for one in told} == {(f"copy {name}", size)}
    assert 0 < told[0].done < size
    assert [(one.done, one.finished) for one in told if one.finished] == [(size, True)]
    [event] = [one for one in news if isinstance(one, Event)]
    assert (event.name, event.fields["sent"], event.fields["packs"]) == ("set_copied", size, 1)
    assert event.message.endswith("; 1 pack went over unopened")


def test_the_host_that_copied_vouches_for_what_it_copied(main: Small, replica: Small) -> None:
    main.add(x=A)
    copied(main, replica)
    index = replica.again().index()
    assert {(file.made_by, file.signed_by) for file in index.files} == {(main.keys.maker, main.keys.maker)}
    before = replica.packs
    replica.add(x=A)
    assert replica.packs == before


def test_repositories_with_keys_of_their_own_store_anew(main: Small, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Small(tmp_path / "other", clock=main.clock)
    main.add(x=A)
    assert [one.sent for one in copied(main, other).sets] == [None]
    assert not other.packs & main.packs
    other.check()


def test_what_a_repository_has_from_its_own_backups_is_not_sent_again(main: Small, replica: Small) -> None:
    main.add(x=A, y=B)
    replica.add(x=A, y=B)
    main.add(x=A, y=C)
    assert sent(copied(main, replica, *list(main.held)[1:])) == [(1, 0)]
    assert len(replica.packs) == 2
    replica.check()


def test_a_name_that_is_taken_gives_the_copy_another_one(main: Small, replica: Small) -> None:
    name = main.add(x=A)
    replica.clock.time = name.time
    replica.clock.sleep(-1)
    assert replica.add(x=B) == name
    assert [one.copy for one in copied(main, replica).sets] == [f"{name}_2"]
    replica.check()


def test_a_set_goes_over_whose_chunks_a_prune_has_moved(main: Small, replica: Small) -> None:
    first = main.add(x=A, y=B)
    second = main.add(x=A, z=C)
    before = main.packs
    main.delete(first, at_once=True)
    moved = main.packs - before
    assert moved
    assert {row.run for row in main.rows} - {ref.run for ref in moved}
    assert sent(copied(main, replica, second)) == [(2, 0)]
    assert replica.packs == main.packs
    main.check()
    replica.check()


def test_chunks_of_a_pack_that_was_removed_here_come_again_in_another_one(main: Small, tmp_path: Path) -> None:
    storage = MemoryStorage()
    replica = beside(main, tmp_path, storage)
    aged(storage, main.clock)
    first = main.add(x=A, y=B)
    copied(main, replica)
    replica.delete(first)
    for _ in range(3):
        replica.prune(2 * DAY)
    assert replica.packs == set()
    second = main.add(x=A, y=B, z=C)
    assert sent(copied(main, replica, second)) == [(1, 2)]
    assert not {ref for ref in replica.packs if ref.run in {pack.run for pack in main.packs}} - main.packs
    for _ in range(3):
        replica.check()
        replica.prune(2 * DAY)
    replica.check()


def test_chunks_that_were_condemned_here_are_not_referred_to(main: Small, tmp_path: Path) -> None:
    storage = MemoryStorage()
    replica = beside(main, tmp_path, storage)
    aged(storage, main.clock)
    first = main.add(x=A)
    copied(main, replica)
    [condemned] = replica.packs  # from now on it grows old
    replica.clock.time += 2 * DAY
    replica.delete(first)
    assert condemned in replica.again().index().condemned
    second = main.add(x=A)
    assert sent(copied(main, replica, second)) == [(0, 1)]
    replica.prune(2 * DAY)
    assert condemned not in replica.packs
    replica.check()


def test_a_pack_that_a_killed_copy_left_and_a_prune_condemned_is_not_taken(main: Small, tmp_path: Path) -> None:
    storage = MemoryStorage()
    replica = beside(main, tmp_path, storage)
    aged(storage, main.clock)
    main.add(x=A)
    [left] = main.packs
    storage.put(left.key, main.storage.get(left.key))
    assert replica.packs == {left}
    replica.prune(2 * DAY)
    assert left in replica.again().index().condemned
    assert sent(copied(main, replica)) == [(0, 1)]
    replica.prune(2 * DAY)
    assert left not in replica.packs
    replica.check()


def test_a_pack_that_a_prune_removes_meanwhile_ends_the_copy(main: Small, replica: Small) -> None:
    first = main.add(x=A)
    second = main.add(x=A, y=B)
    copied(main, replica, first)
    replication = replica.again().replication(main.again())
    assert replication is not None
    with pytest.raises(StorageError, match="was removed, and the set refers to it"):
        replication.copy(second, lambda _needed: note(replica.delete(first, at_once=True)), lambda _done, _all: None)
    assert list(replica.again().names()) == []
    copied(main, replica, second)
    replica.check()


def note(found: object) -> None:
    assert found is not None


def test_few_chunks_of_a_pack_go_over_by_themselves(main: Small, replica: Small) -> None:
    main.add(x=A, y=B, z=C)
    second = main.add(x=A)
    assert sent(copied(main, replica, second)) == [(0, 1)]
    assert not replica.packs & main.packs
    replica.check()
    copied(main, replica)
    replica.check()
    main.check()


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + b"changed" + data[at + 7 :]


@pytest.mark.parametrize("large", [False, True], ids=["a pack of bases", "bases among much else"])
def test_bases_come_along(tmp_path: Path, large: bool) -> None:
    main = Small(tmp_path, delta="on")
    replica = beside(main, tmp_path)
    base = noise(9, 300_000)
    main.add(x=base, **({"y": noise(10, 900_000)} if large else {}))
    second = main.add(x=changed(base, 100_000))
    assert DELTA in {row.encoding for row in main.rows}
    [(packs, chunks)] = sent(copied(main, replica, second))
    assert (packs, chunks > 0) == ((1, True) if large else (2, False))
    assert DELTA in {row.encoding for row in replica.rows}
    replica.check()


def test_a_base_that_is_lost_here_comes_again_for_a_difference_that_is_not(tmp_path: Path) -> None:
    main = Small(tmp_path, delta="on")
    replica = beside(main, tmp_path)
    base = noise(9, 300_000)
    main.add(x=base)
    [bases] = main.packs
    second = main.add(x=changed(base, 100_000))
    copied(main, replica, second)
    third = main.add(x=changed(base, 100_000))
    replica.storage.delete(bases.key)
    assert sent(copied(main, replica, third)) == [(0, len(main.rows))]
    replica.check()


def test_a_base_that_is_only_a_difference_here_comes_in_full(tmp_path: Path) -> None:
    main = Small(tmp_path, delta="on")
    replica = beside(main, tmp_path, delta="on")
    base = noise(9, 300_000)
    replica.add(x=changed(base, 150_000))
    replica.add(x=base)
    assert DELTA in {row.encoding for row in replica.rows}
    main.add(x=base)
    second = main.add(x=changed(base, 100_000))
    copied(main, replica, second)
    replica.check()


# --- interruptions ----------------------------------------------------------------------------------------------------


class Breaking(MemoryStorage):
    """A storage that counts the packs that are sent, and breaks before one of them is there."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.breaks_at, self.breaks_with = 0, StorageError("the network is gone")

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        if key.startswith("packs/"):
            if len(self.sent) + 1 == self.breaks_at:
                self.breaks_at = 0
                raise self.breaks_with
            self.sent.append(key)
        return super().writer(key, hidden=hidden)


@pytest.mark.parametrize("indexed", [False, True], ids=["killed", "interrupted"])
def test_what_arrived_before_an_interruption_is_not_sent_again(tmp_path: Path, indexed: bool) -> None:
    main, storage = Small(tmp_path), Breaking()
    replica = beside(main, tmp_path, storage)
    names = [main.add(x=noise(i)) for i in range(20, 24)]
    last = main.add(**{f"x{i}": noise(i) for i in range(20, 24)})
    storage.breaks_at = 4
    report = copied(main, replica, last)
    assert [one.error for one in report.sets] == ["the network is gone"]
    assert (list(replica.again().names()), len(names)) == ([], 4)
    if not indexed:
        storage.delete_all("index")
    arrived = [key for key in storage.sent if key in {ref.key for ref in replica.packs}]
    assert len(arrived) >= 2
    storage.sent.clear()
    copied(main, replica, last)
    assert not set(storage.sent) & set(arrived)
    replica.check()


def test_ctrl_c_leaves_no_set_and_no_lock(main: Small, tmp_path: Path) -> None:
    storage = Breaking()
    replica = beside(main, tmp_path, storage)
    main.add(x=A)
    storage.breaks_at, storage.breaks_with = 1, KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        copied(main, replica)
    assert (list(replica.again().names()), list(replica.repository.locks())) == ([], [])
    copied(main, replica)
    replica.check()


def test_half_a_pack_that_lies_there_is_replaced(main: Small, replica: Small) -> None:
    main.add(x=A)
    [ref] = main.packs
    replica.storage.put(ref.key, main.storage.get(ref.key)[:-100])
    copied(main, replica)
    assert replica.storage.get(ref.key) == main.storage.get(ref.key)
    replica.check()


def test_a_full_disk_is_noticed_before_anything_is_sent(main: Small, replica: Small) -> None:
    main.add(x=A)
    replica.storage.free_bytes = lambda: 1_000  # type: ignore[method-assign]
    report = copied(main, replica)
    assert report.exit_code == NoSpaceError.exit_code
    assert "3," in report.sets[0].error
    assert replica.packs == set()


# --- damage and lies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 500, -1], ids=["head", "chunk", "trailer"])
def test_a_damaged_pack_is_named_and_not_sent(main: Small, replica: Small, at: int) -> None:
    main.add(x=A)
    main.add(x=B)
    ref = next(ref for ref in main.packs if ref.run == main.again().header(next(iter(main.held))).run)
    main.flip(ref, at)
    report = copied(main, replica)
    assert report.exit_code == ExitCode.DAMAGED
    assert ref.key in report.sets[0].error
    assert list(map(str, replica.again().names())) == [report.sets[1].set]
    assert ref not in replica.packs
    replica.check()


def test_a_damaged_chunk_is_not_sent_by_itself_either(main: Small, replica: Small) -> None:
    main.add(x=A, y=B, z=C)
    second = main.add(x=A)
    [ref] = main.packs
    main.flip(ref, 500)
    report = copied(main, replica, second)
    assert (report.exit_code, ref.key in report.sets[0].error) == (ExitCode.DAMAGED, True)
    assert list(replica.again().names()) == []


def test_a_missing_pack_is_named(main: Small, replica: Small) -> None:
    main.add(x=A)
    [ref] = main.packs
    main.storage.delete(ref.key)
    report = copied(main, replica)
    assert (report.exit_code, ref.key in report.sets[0].error) == (ExitCode.DAMAGED, True)


def as_writer(main: Small, folder: Path) -> DedupRepository:
    """The repository as a host has it that can only add sets."""
    file = folder / "writer"
    let_in(main.storage, main.keys, file, "web", main.clock.now())
    return DedupRepository("r", main.storage, DedupOptions(writer_key_file=file), main.clock, None)


def added_by_writer(main: Small, folder: Path, data: bytes) -> PackRef:
    before, owner = main.packs, main.repository
    content = {"x": data}
    main.again = lambda: as_writer(main, folder)  # type: ignore[method-assign]
    with main.begun(**content) as writer:
        commit(writer, content)
    del main.again
    main.repository = owner
    main.held[writer.name] = content
    [ref] = main.packs - before
    return ref


def test_a_pack_of_a_host_that_only_adds_is_tried_chunk_by_chunk_and_then_the_owners(
    main: Small, replica: Small, tmp_path: Path
) -> None:
    ref = added_by_writer(main, tmp_path, A)
    assert not main.again().index().is_believed(ref)
    assert sent(copied(main, replica)) == [(1, 0)]
    assert replica.storage.get(ref.key) == main.storage.get(ref.key)
    assert replica.again().index().is_believed(ref)
    replica.check()


def test_a_host_that_can_only_add_sets_cannot_copy_them_and_is_told(
    main: Small, replica: Small, tmp_path: Path
) -> None:
    main.add(x=A)
    main.repository = as_writer(main, tmp_path)
    main.again = lambda: main.repository  # type: ignore[method-assign]
    report = copied(main, replica)
    assert report.exit_code == ExitCode.WRONG_KEY
    assert "cannot be read on this host" in report.sets[0].error
    assert list(replica.again().names()) == []


def test_files_of_the_other_repository_are_refused(main: Small, replica: Small) -> None:
    name = main.add(x=A)
    copied(main, replica)
    for path in ("manifest.json", "recipes"):
        replica.storage.delete(f"{name}/{path}")
        replica.storage.put(f"{name}/{path}", main.storage.get(f"{name}/{path}"))
    with pytest.raises(RefusedError, match="another repository"):
        replica.again().manifest(name)
    [slot] = main.keys_below("keys")
    replica.storage.put(slot, main.storage.get(slot))
    found = keyslots.shelf(replica.storage, replica.repository.record)
    assert [error.message for _, error in found.damaged] == [f"{slot} is damaged: it belongs to another repository"]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_each_is_opened_by_its_own_keyslot(main: Small, replica: Small) -> None:
    assert replica.key.read_bytes() != main.key.read_bytes()
    with pytest.raises(WrongKeyError):
        keyslots.open_keys(replica.storage, replica.repository.record, main.options)
    assert main.keys.are_those_of(keyslots.open_keys(replica.storage, replica.repository.record, replica.options))


def test_a_rotated_keyslot_changes_nothing_about_copies(main: Small, replica: Small, tmp_path: Path) -> None:
    main.add(x=A)
    new = keyslots.make_key_file(tmp_path / "new")
    [slot] = keyslots.shelf(main.storage, main.repository.record).slots
    keyslots.rotate(main.storage, main.keys, slot.id, new, "", main.clock.now())
    main.options = DedupOptions(key_file=tmp_path / "new")
    main.keys = keyslots.open_keys(main.storage, main.repository.record, main.options)
    assert sent(copied(main, replica)) == [(1, 0)]
    replica.check()


def test_keys_are_not_taken_over_by_a_host_that_cannot_read(main: Small, tmp_path: Path) -> None:
    key = tmp_path / "fresh"
    key.write_bytes(bytes(32))
    fresh = DedupRepository("fresh", MemoryStorage(), DedupOptions(key_file=key), main.clock, None)
    with pytest.raises(WrongKeyError, match="cannot read r"):
        fresh.create_like(as_writer(main, tmp_path))
    with pytest.raises(RecoupError):
        fresh.check()


# --- any history ------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "copy", "copy one", "delete", "prune"]), st.booleans(), st.integers(0, 5)),
    min_size=3,
    max_size=14,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_two_repositories_stay_whole_whatever_is_added_copied_and_pruned(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("pair")
    left = Small(folder, aged_storage := MemoryStorage(), max_unused=0)
    aged(aged_storage, left.clock)
    right = beside(left, folder, other := MemoryStorage(), max_unused=0)
    aged(other, left.clock)
    for verb, turned, number in steps:
        here, there = (right, left) if turned else (left, right)
        if verb == "add":
            here.add(x=noise(number), y=noise(number // 2, 2_000), z=noise(number % 2, 1_000))
        elif verb.startswith("copy"):
            chosen = sorted(here.held)[number : number + 1] if verb == "copy one" else ()
            if verb == "copy" or chosen:
                assert copied(here, there, *chosen).exit_code == ExitCode.OK
        elif verb == "delete" and here.held:
            here.delete(sorted(here.held)[number % len(here.held)])
        else:
            here.prune(2 * DAY)
        assert left.packs or right.packs or not (left.held or right.held)  # and packs grow old from when they are seen
    left.check()
    right.check()
