import pytest
import zstandard

from recoup.errors import RefusedError, WrongKeyError
from recoup.repository.dedup.index import Index, write_index
from recoup.repository.dedup.packs import PackRef, PackWriter
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.rebuilding import rebuilt, unnamed_packs
from recoup.storage.memory import MemoryStorage
from unit.repository.dedup.stores import KEYS, NOW, Host, chunk_id, run_id, writer_keys


def rebuild(storage: MemoryStorage):  # type: ignore[no-untyped-def] # what `rebuilt` returns
    return rebuilt(storage, KEYS, Index.load(storage, KEYS), NOW)


def test_an_index_that_was_lost_is_made_anew_from_the_packs() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"kept")
    host = Host(storage)
    host.add(b"one", b"two")
    before = Index.load(storage, KEYS)
    expected = [before.by_id(chunk_id(data))[0]._replace(file=0) for data in (b"one", b"two")]
    storage.delete(f"index/{before.names[1]}")
    assert unnamed_packs(storage, Index.load(storage, KEYS)) == [PackRef(host.run, 0)]
    done = rebuild(storage)
    assert (done.packs, done.damaged, done.problems) == ((PackRef(host.run, 0),), frozenset(), ())
    index = Index.load(storage, KEYS)
    places = [index.stored(chunk_id(data)) for data in (b"one", b"two")]
    assert [place and place._replace(file=0) for place in places] == expected
    assert dict(index.packs) == dict(before.packs)
    assert rebuild(storage).names == ()


def test_a_damaged_index_file_is_stood_for_by_the_new_one() -> None:
    storage = MemoryStorage()
    name = Host(storage).add(b"one")
    storage.put(f"index/{name}", b"RCPINDX1 and then nothing")
    assert len(Index.load(storage, KEYS).problems) == 1
    done = rebuild(storage)
    index = Index.load(storage, KEYS)
    assert index.problems == ()
    assert index.replaced == {name}
    assert index.names == done.names
    storage.put("index/20261121T020000Z-" + "0" * 24 + "-0000.idx", b"names a pack that another file names, too")
    rebuild(storage)
    assert Index.load(storage, KEYS).problems == ()


def test_an_index_file_of_a_later_version_is_left_alone() -> None:
    storage = MemoryStorage()
    name = Host(storage).add(b"one")
    storage.put(f"index/{name}", b"RCPINDX2" + storage.get(f"index/{name}")[8:])
    rebuild(storage)
    (problem,) = Index.load(storage, KEYS).problems
    assert isinstance(problem, RefusedError)


def test_deltas_are_tried_against_bases_of_whatever_pack() -> None:
    storage = MemoryStorage()
    base, data = bytes(range(256)) * 8, bytes(range(256)) * 7 + b"new"
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    delta = zstandard.ZstdCompressor(dict_data=dictionary).compress(data)
    writer = PackWriter(storage, PackRef(run_id(1), 0), KEYS.new_run())
    writer.add(run_id(1), 0, chunk_id(data), len(data), 17, delta, (chunk_id(base),))
    writer.finish()
    host = Host(storage)
    host.run = run_id(2)
    host.pack([base])
    assert rebuild(storage).damaged == frozenset()
    index = Index.load(storage, KEYS)
    place = index.stored(chunk_id(data))
    assert place is not None
    assert Chunks(storage, KEYS, index).one(place) == data


def test_a_chunk_that_is_not_what_its_id_says_gets_no_ones_word() -> None:
    storage = MemoryStorage()
    writer = PackWriter(storage, PackRef(run_id(1), 0), writer_keys(1).new_run())
    writer.add(run_id(1), 0, chunk_id(b"what others have"), 6, 0, b"poison")
    writer.add(run_id(1), 1, chunk_id(b"sound"), 5, 0, b"sound")
    writer.finish()
    done = rebuild(storage)
    assert done.damaged == {(PackRef(run_id(1), 0), chunk_id(b"what others have"))}
    index = Index.load(storage, KEYS)
    assert index.stored(chunk_id(b"what others have")) is None
    assert index.stored(chunk_id(b"sound")) is not None


def test_a_harmed_chunk_is_told_and_the_others_of_its_pack_are_found() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    name = host.add(b"one", b"two")
    place = Index.load(storage, KEYS).stored(chunk_id(b"two"))
    assert place is not None
    data = bytearray(storage.get(place.pack.key))
    data[place.offset] ^= 1
    storage.put(place.pack.key, bytes(data))
    storage.delete(f"index/{name}")
    assert rebuild(storage).damaged == {(place.pack, chunk_id(b"two"))}
    index = Index.load(storage, KEYS)
    assert index.stored(chunk_id(b"one")) is not None
    assert index.stored(chunk_id(b"two")) is None
    assert [found.row.id for found in index.span(host.run, 0, 2)] == [chunk_id(b"one"), chunk_id(b"two")]


def _damaged_index_beside(begin: int, end: int) -> tuple[MemoryStorage, PackRef]:
    """A repository with a damaged index file, and a pack that is not whole and that none names."""
    storage = MemoryStorage()
    name = Host(storage).add(b"sound")
    storage.put(f"index/{name}", b"damaged")
    host = Host(storage)
    host.run = run_id(70)
    packed = host.pack([b"one"])
    data = storage.get(packed.ref.key)
    storage.put(packed.ref.key, data[:begin] + bytes(len(data[begin:end])) + data[end:])
    return storage, packed.ref


def test_a_pack_without_a_directory_is_told_and_damaged_index_files_are_kept() -> None:
    storage, ref = _damaged_index_beside(-30, -20)
    done = rebuild(storage)
    assert [ref.key in str(problem) for problem in done.problems] == [True]
    index = Index.load(storage, KEYS)
    assert index.stored(chunk_id(b"sound")) is not None
    assert len(index.problems) == 1


@pytest.mark.parametrize("left", [50, 150, -20])
def test_a_pack_that_a_killed_run_began_is_told_and_keeps_no_damaged_index_file(left: int) -> None:
    storage, ref = _damaged_index_beside(0, 0)
    storage.put(ref.key, storage.get(ref.key)[:left])
    done = rebuild(storage)
    assert [ref.key in str(problem) for problem in done.problems] == [True]
    index = Index.load(storage, KEYS)
    assert index.stored(chunk_id(b"sound")) is not None
    assert index.problems == ()


def test_a_host_that_only_adds_sets_cannot_make_an_index_anew() -> None:
    storage = MemoryStorage()
    with pytest.raises(WrongKeyError):
        rebuilt(storage, writer_keys(1), Index.load(storage, writer_keys(1)), NOW)


def test_many_packs_get_several_index_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.repository.dedup.index_files.MAX_PACK_ROWS", 3)
    storage = MemoryStorage()
    host = Host(storage)
    host.run = run_id(5)
    for number in range(4):
        host.pack([f"{number} a".encode(), f"{number} b".encode()], number, 2 * number)
    write_index(storage, KEYS, NOW, run_id(6), 0, [host.pack([b"named"], 9, 90)])
    assert len(rebuild(storage).names) == 4
    index = Index.load(storage, KEYS)
    assert len(index.span(host.run, 0, 8)) == 8
