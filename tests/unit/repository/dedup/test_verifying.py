"""What `verify` says of damage, what it notes, and how the next backup mends it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.errors import DamagedError, WrongKeyError
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, TreePart
from recoup.model.reports import Damage, VerifyReport
from recoup.operations import repair, verify
from recoup.repository._base import Subset
from recoup.repository.dedup.keys import new_keys
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.writers import let_in
from recoup.storage._base import ByteReader
from recoup.storage.memory import MemoryStorage
from recoup.testing.repository_contract import Given, manifest_of, record_of, store
from unit.repository.dedup.small_sets import Small, noise

ONE, TWO = noise(1), noise(2)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


def found(small: Small, name: SetName, subset: Subset = Subset()) -> list[Damage]:  # noqa: B008
    return list(small.again().verify(name, subset))


def pack_of(small: Small, data: bytes) -> PackRef:
    import blake3

    [place] = small.again().index().by_id(blake3.blake3(data, key=small.keys.chunk_key).digest())
    return place.pack


def counted(storage: MemoryStorage) -> list[str]:
    """Notes which packs are read."""
    read, reader = list[str](), storage.reader

    def noting(key: str, start: int = 0, length: int | None = None):  # type: ignore[no-untyped-def]
        if key.startswith("packs/"):
            read.append(key)
        return reader(key, start, length)

    storage.reader = noting  # type: ignore[method-assign]
    return read


@pytest.mark.requirement("SR-9")
def test_a_damaged_chunk_is_named_and_the_next_backup_of_the_same_data_heals_the_old_set(small: Small) -> None:
    first = small.add(a=ONE, b=TWO)
    small.flip(pack_of(small, ONE), 200)
    [damage] = found(small, first)
    assert (damage.item, damage.kind) == (small.repository.manifest(first).sources["db"].parts[0].path, "changed")
    assert len(small.keys_below("damaged")) == 1
    assert [one.item for one in found(small, first)] == [damage.item]
    assert len(small.keys_below("damaged")) == 1, "what is noted is not noted again"
    for subset in (Subset(structure=True), Subset(share=0.0)):
        assert [one.item for one in found(small, first, subset)] == [damage.item], "what is known need not be read"
    small.add(a=ONE, b=TWO)
    small.check()


@pytest.mark.requirement("SR-9")
def test_a_pack_that_is_gone_is_stored_again_by_the_next_backup_of_the_same_data(small: Small) -> None:
    first = small.add(a=ONE)
    small.storage.delete(pack_of(small, ONE).key)
    for subset in (Subset(), Subset(structure=True), Subset(share=0.0)):
        assert [one.kind for one in found(small, first, subset)] == ["changed"]
    assert small.keys_below("damaged") == [], "a listing tells of it"
    small.add(a=ONE)
    small.check()
    for subset in (Subset(structure=True), Subset(share=0.0)):
        assert found(small, first, subset) == []


@pytest.mark.requirement("SR-9")
@pytest.mark.parametrize(
    "subset", [Subset(), Subset(structure=True), Subset(share=0.0)], ids=["all", "structure", "some"]
)
def test_a_chunk_is_named_whose_base_no_index_file_names(subset: Subset, tmp_path: Path) -> None:
    small, second = against_each_other(tmp_path)
    small.storage.delete(small.keys_below("index")[0])
    assert [one.item for one in found(small, second, subset)] == ["db/a"]
    small.again().healing().rebuild_index()
    assert found(small, second, subset) == []


@pytest.mark.requirement("SR-9")
def test_a_chunk_is_named_whose_base_is_damaged_or_gone(tmp_path: Path) -> None:
    small, second = against_each_other(tmp_path)
    bases = {base for row in small.rows for base in row.bases}
    index = small.again().index()
    for base in bases:
        [place] = index.by_id(base)
        small.flip(place.pack, place.offset + 20)
    assert [one.item for one in found(small, second)] == ["db/a"]
    small.storage.delete(place.pack.key)
    for subset in (Subset(), Subset(structure=True)):
        assert [one.item for one in found(small, second, subset)] == ["db/a"]


def against_each_other(folder: Path) -> tuple[Small, SetName]:
    """A set whose chunks are stored against those of another one, none of which it has itself."""
    small = Small(folder, delta="on")
    base = noise(1, 400_000)
    small.add(a=base)
    second = small.add(a=b"+".join(base[at : at + 30_000] for at in range(0, len(base), 30_000)))
    assert any(row.bases for row in small.rows)
    return small, second


def test_what_was_harmed_on_the_way_is_read_again_before_it_is_believed(small: Small) -> None:
    first, storage = small.add(a=ONE), small.storage
    reader, harmed = storage.reader, list[str]()

    class Harming:
        def __init__(self, inner: ByteReader) -> None:
            self.inner = inner

        def read(self, size: int, /) -> bytes:
            data = self.inner.read(size)
            return bytes([data[0] ^ 1]) + data[1:] if data else data

    @contextmanager
    def noisy(key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        with reader(key, start, length) as inner:
            harms = key.startswith("packs/") and len(harmed) < 1
            harmed.append(key)
            yield Harming(inner) if harms else inner

    storage.reader = noisy  # type: ignore[method-assign]
    assert found(small, first) == []
    assert small.keys_below("damaged") == []


def test_what_the_storage_does_not_give_is_unreadable_and_not_damaged(small: Small) -> None:
    first, storage = small.add(a=ONE), small.storage
    reader = storage.reader

    def refusing(key: str, start: int = 0, length: int | None = None):  # type: ignore[no-untyped-def]
        if key.startswith("packs/"):
            raise OSError(5, "Input/output error")
        return reader(key, start, length)

    storage.reader = refusing  # type: ignore[method-assign]
    assert {one.kind for one in found(small, first)} == {"unreadable"}
    assert small.keys_below("damaged") == []


def test_a_pack_whose_end_is_damaged_is_named_though_its_chunks_are_sound(small: Small) -> None:
    first = small.add(a=ONE)
    pack = pack_of(small, ONE)
    small.flip(pack, len(small.storage.get(pack.key)) - 1)
    assert [(one.item, one.kind) for one in found(small, first)] == [(pack.key, "changed")]
    assert small.keys_below("damaged") == []


def test_the_structure_alone_is_no_proof_and_reads_no_pack(small: Small) -> None:
    first = small.add(a=ONE)
    read = counted(small.storage)  # type: ignore[arg-type]
    pack = pack_of(small, ONE)
    small.flip(pack, 200)
    read.clear()
    repository = small.again()
    [report] = verify.run([first], repository, Subset(structure=True), small.clock, lambda _: None, "host")
    assert (report.damage, report.share, report.bytes, read) == ((), 0.0, 0, [])
    [mark] = repository.marks(first)
    assert (mark.fields["whole"], mark.fields["share"]) == (False, 0.0)
    data = small.storage.get(pack.key)
    small.storage.delete(pack.key)
    small.storage.put(pack.key, data[:-1])
    assert [one.kind for one in found(small, first, Subset(structure=True))] == ["size"]


def test_what_lies_in_a_set_and_is_not_of_it_is_named(small: Small) -> None:
    first = small.add(a=ONE)
    small.storage.put(f"{first}/other", b"x")
    assert [(one.item, one.kind) for one in found(small, first)] == [("other", "extra")]


def test_all_shares_of_a_round_read_each_pack_once(small: Small) -> None:
    names = [small.add(a=noise(n)) for n in range(12)]
    read = counted(small.storage)  # type: ignore[arg-type]
    for part in range(4):
        for name in names:
            assert found(small, name, Subset(share=0.25, begin=0.1 + part * 0.25)) == []
    assert sorted(read) == sorted(pack.key for pack in small.packs)


def test_what_a_locked_repository_learned_before_is_looked_at_again(small: Small) -> None:
    first = small.add(a=ONE)
    repository = small.again()
    with repository.lock("shared", "verify", "stack"):
        assert list(repository.verify(first, Subset())) == []
    small.flip(pack_of(small, ONE), 200)
    again = repository
    with again.lock("shared", "verify", "stack"):
        assert len(list(again.verify(first, Subset()))) == 1


@pytest.mark.requirement("SR-13")
def test_a_host_that_only_adds_sets_compares_what_it_can_and_never_says_intact(small: Small, tmp_path: Path) -> None:
    first, file = small.add(a=ONE), tmp_path / "writer.json"
    let_in(small.storage, small.keys, file, "host", small.clock.now())
    options = replace(small.options, key_file=None, writer_key_file=file)

    def looked() -> VerifyReport:
        blind = DedupRepository("r", small.storage, options, small.clock, None)
        [report] = verify.run([first], blind, Subset(), small.clock, lambda _: None, "host")
        return report

    report = looked()
    assert report.damage == ()
    assert "cannot read sets" in report.unseen
    assert small.again().marks(first)[0].fields["whole"] is False
    blind = DedupRepository("r", small.storage, options, small.clock, None)
    with pytest.raises(WrongKeyError):
        repair.plan([first], repair.Sides(blind, None, small.clock, lambda _: None))
    pack = pack_of(small, ONE)
    small.flip(pack, 200)
    assert [(one.item, one.kind) for one in looked().damage] == [(pack.key, "changed")]
    small.storage.delete(pack.key)
    assert [(one.item, one.kind) for one in looked().damage] == [(pack.key, "missing")]
    small.storage.put(f"{first}/recipes", b"other ones")
    assert [one.kind for one in looked().damage] == ["manifest"]


def test_a_host_that_only_adds_sets_names_a_set_that_a_stranger_signed(small: Small, tmp_path: Path) -> None:
    first, file, stranger = small.add(a=ONE), tmp_path / "writer.json", new_keys("0" * 32)
    let_in(small.storage, small.keys, file, "host", small.clock.now())
    key = f"{first}/manifest.json"
    document = {**json.loads(small.storage.get(key)), "made_by": stranger.maker.hex()}
    del document["signature"]
    small.storage.put(key, json.dumps(stranger.signed(document)).encode())
    options = replace(small.options, key_file=None, writer_key_file=file)
    blind = DedupRepository("r", small.storage, options, small.clock, None)
    [damage] = list(blind.verify(first, Subset()))
    assert "was made by a host that was never let in" in damage.message


def test_a_recipe_that_says_another_length_is_refused(small: Small) -> None:
    place = small.again().place(small.add(a=ONE))
    recipe = place.recipes["db/a"]
    for size in (len(ONE) - 1, len(ONE) + 1):
        changed = replace(place, recipes={"db/a": replace(recipe, size=size)})
        with pytest.raises(DamagedError), changed.stream("db/a", recipe.root.hex()).open():
            pass


def with_tree(small: Small, file: str) -> SetName:
    """A set with a tree of one file, which has always the same content."""
    small.clock.time += timedelta(seconds=1)
    member = Member(file, "file", Attributes(0o600, 0), len(ONE), content=Given(ONE))
    with small.again().begin(small.clock.now()) as writer:
        stored = store(writer, "db", TreePart("files", iter([member])))
        writer.commit(manifest_of(writer.name, {"db": record_of(stored)}))
    return writer.name


@pytest.mark.parametrize(
    "subset", [Subset(), Subset(structure=True), Subset(share=0.0)], ids=["all", "structure", "some"]
)
@pytest.mark.parametrize("folder", ["packs", "index"])
def test_a_tree_is_named_whose_member_list_alone_is_lost(small: Small, subset: Subset, folder: str) -> None:
    with_tree(small, "one")
    before = set(small.keys_below(folder))
    second = with_tree(small, "another")
    [fresh] = set(small.keys_below(folder)) - before
    assert found(small, second, subset) == []
    small.storage.delete(fresh)
    [part] = small.again().manifest(second).sources["db"].parts
    assert [one.item for one in found(small, second, subset)] == [part.path]
