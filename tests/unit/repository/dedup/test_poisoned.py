"""A stolen host that may only add sets: what it writes takes nothing from the others, neither bytes nor sets."""

import shutil
from datetime import timedelta
from pathlib import Path

import blake3
import pytest

from recoup.errors import DamagedError
from recoup.model.names import SetName
from recoup.repository._base import Subset
from recoup.repository.dedup.index import write_index
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.keyslots import open_keys
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.packs import PackRef, PackWriter
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.rebuilding import rebuilt
from recoup.repository.dedup.repository import DedupRepository
from recoup.repository.dedup.writers import let_in
from recoup.storage.local import LocalStorage
from recoup.testing.repository_contract import NOW
from unit.repository.dedup.golden import LIGHT, add_day, kept, opened, restored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a set of the owner and one of a host that may only add."""
    root = tmp_path / "repository"
    owner = opened(root, tmp_path)
    owner.create()
    add_day(owner, 0, LIGHT)
    for name in ("writer", "stolen"):
        let_in(LocalStorage(root), owner.keys, tmp_path / name, name, NOW)
    add_day(opened(root, tmp_path, writer=True), 1, LIGHT)
    return root


def stolen_keys(root: Path) -> Keys:
    """What a thief has who took a host."""
    storage = LocalStorage(root)
    record = opened(root, root.parent).record
    return open_keys(storage, record, DedupOptions(writer_key_file=root.parent / "stolen"))


def poison(root: Path, *, ids: bool) -> None:
    """Claims every chunk there is for itself: other bytes under its address, or (`ids`) under its id, too.

    Three times, since an index may look at the newest, the oldest or the longest file first.
    """
    thief, storage = stolen_keys(root), LocalStorage(root)
    index = opened(root, root.parent).index()
    rows = [place.row for pack in index.packs for place in index.of_pack(pack)]
    for number, run in enumerate((bytes(12), b"\x55" * 12, b"\xff" * 12)):
        writer = PackWriter(storage, PackRef(run, 0), thief.new_run())
        for row in rows:
            data = bytes(row.length)
            identity = row.id if ids else blake3.blake3(data, key=thief.chunk_key).digest()
            writer.add(row.run, row.number, identity, row.length, 0, data)
        write_index(storage, thief, NOW + timedelta(days=400 * (number - 1)), run, 0, [writer.finish()])


def require_untouched(repository: DedupRepository) -> None:
    for day, name in enumerate(repository.names()[:2]):
        assert restored(repository, name) == kept(day, LIGHT)
        assert list(repository.verify(name, Subset())) == []


@pytest.mark.parametrize("ids", [False, True], ids=["addresses", "ids"])
def test_false_claims_on_all_chunks_take_no_set_from_anybody(root: Path, tmp_path: Path, ids: bool) -> None:
    poison(root, ids=ids)
    require_untouched(opened(root, tmp_path))


@pytest.mark.parametrize("ids", [False, True], ids=["addresses", "ids"])
def test_where_nobody_but_a_thief_names_the_chunks_no_other_bytes_come_out(
    root: Path, tmp_path: Path, ids: bool
) -> None:
    true = list((root / "index").iterdir())
    poison(root, ids=ids)
    for file in true:
        file.unlink()
    repository = opened(root, tmp_path)
    for name in repository.names():
        with pytest.raises(DamagedError):
            restored(repository, name)
        assert list(repository.verify(name, Subset()))
        assert ids or list(repository.verify(name, Subset(structure=True)))


@pytest.mark.parametrize("ids", [False, True], ids=["addresses", "ids"])
def test_false_claims_on_all_chunks_go_over_to_no_replica(root: Path, tmp_path: Path, ids: bool) -> None:
    poison(root, ids=ids)
    origin, replica = opened(root, tmp_path), opened(tmp_path / "replica", tmp_path)
    replica.create_like(origin)
    replication = replica.replication(origin)
    assert replication is not None
    for name in origin.names():
        replication.copy(name, lambda _needed: None, lambda _done, _total: None)
    require_untouched(opened(tmp_path / "replica", tmp_path))


@pytest.mark.parametrize("writer", [False, True], ids=["owner", "another writer"])
def test_a_host_does_not_take_a_chunk_for_stored_that_a_thief_claims_to_have(
    root: Path, tmp_path: Path, writer: bool
) -> None:
    storage, thief = LocalStorage(root), stolen_keys(root)
    chunks = fresh_chunks(root.parent)
    pack = PackWriter(storage, PackRef(b"\xee" * 12, 0), thief.new_run())
    for number, (identity, length) in enumerate(chunks):
        pack.add(b"\xee" * 12, number, identity, length, 0, bytes(length))
    write_index(storage, thief, NOW, b"\xee" * 12, 0, [pack.finish()])
    name = add_day(opened(root, tmp_path, writer=writer), 2, LIGHT)
    owner = opened(root, tmp_path)
    assert restored(owner, parsed(name)) == kept(2, LIGHT)
    assert list(owner.verify(parsed(name), Subset())) == []


def test_a_pack_of_a_thief_under_the_name_of_anothers_run_harms_no_pack_of_that_run(root: Path, tmp_path: Path) -> None:
    storage, thief, repository = LocalStorage(root), stolen_keys(root), opened(root, tmp_path)
    content, keys = b"of the thief" * 9, repository.keys
    identity = blake3.blake3(content, key=keys.chunk_key).digest()
    runs = {ref.run for ref in repository.index().packs}
    for run in runs:
        writer = PackWriter(storage, PackRef(run, 7), thief.new_run())
        writer.add(run, 0, identity, len(content), 0, content)
        write_index(storage, thief, NOW, run, 99, [writer.finish()])
    index = repository.index()
    chunks = Chunks(storage, keys, index)
    packs = sorted(index.packs, key=lambda ref: -ref.number)  # those of the thief first
    for ref in packs:
        for place in index.of_pack(ref):
            assert len(chunks.opened(place, chunks.stored(ref, place.offset, place.row.stored))) == place.row.length
    assert len(packs) == 2 * len(runs)
    require_untouched(opened(root, tmp_path))


@pytest.mark.parametrize("victim", [0, 1], ids=["the owner", "a writer"])
def test_a_rebuilt_index_does_not_name_a_pack_that_claims_what_others_have(
    root: Path, tmp_path: Path, victim: int
) -> None:
    storage, thief, repository = LocalStorage(root), stolen_keys(root), opened(root, tmp_path)
    index, content = repository.index(), b"of the thief" * 9
    run = repository.header(repository.names()[victim]).run
    identity = blake3.blake3(content, key=repository.keys.chunk_key).digest()
    writer = PackWriter(storage, PackRef(b"\x01" * 12, 0), thief.new_run())
    for number in range(3):
        writer.add(run, number, identity, len(content), 0, content)
    writer.finish()
    made = rebuilt(storage, repository.keys, index, NOW)
    assert made.names == ()
    assert [type(problem) for problem in made.problems] == [DamagedError]
    require_untouched(opened(root, tmp_path))


def fresh_chunks(folder: Path) -> list[tuple[bytes, int]]:
    """Ids and lengths of the chunks of the third day, as a thief knows them who may guess the content."""
    copy = folder / "copy"
    shutil.copytree(folder / "repository", copy)
    repository = opened(copy, folder)
    before = set(repository.index().packs)
    add_day(repository, 2, LIGHT)
    index = repository.index()
    return [
        (place.row.id, place.row.length) for pack in index.packs if pack not in before for place in index.of_pack(pack)
    ]


def parsed(name: str) -> SetName:
    return SetName.parse(name) or pytest.fail("that is no name")
