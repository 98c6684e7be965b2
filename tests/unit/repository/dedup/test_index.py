import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.repository.dedup import loading
from recoup.repository.dedup.columns import chosen, columns_of, joined
from recoup.repository.dedup.damaged import write_damaged
from recoup.repository.dedup.history import Record, write_record
from recoup.repository.dedup.index import Index, Place, write_index
from recoup.repository.dedup.index_files import (
    FileFacts,
    decode_index,
    encode_index,
    fits,
    index_name,
    is_index_name,
)
from recoup.repository.dedup.keys import Keys, verify_signature
from recoup.repository.dedup.packs import (
    MAX_PACK,
    MAX_PACK_BASES,
    Packed,
    PackRef,
    Row,
    Rows,
    encode_rows,
    read_directory,
)
from recoup.repository.dedup.rows import MAX_BASES, MAX_PACK_ROWS, MAX_ROWS
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from unit.repository.dedup.stores import KEYS, NOW, Host, chunk_id, run_id, writer_keys

OTHER, THIRD = writer_keys(1), writer_keys(2)


def loaded(storage: Storage, keys: Keys = KEYS, cache: Path | None = None) -> Index:
    """The index, of which everything could be read."""
    index = Index.load(storage, keys, cache)
    assert index.problems == ()
    return index


def rechecked(storage: Storage, place: Place | None, data: bytes) -> bool:
    """Whether the bytes of a chunk lie at a place."""
    assert place is not None
    directory = read_directory(storage, place.pack, KEYS)
    assert directory.rows[place.position] == place.row
    with storage.reader(place.pack.key, place.offset, place.row.stored) as reader:
        sealed = reader.read(place.row.stored)
    with storage.reader(place.pack.key, 24, 80) as reader:
        key = KEYS.open_run(reader.read(80), "a pack")
    return key.open(1, place.pack.number << 32 | place.position, sealed, place.row.id, "a chunk") == data


def test_an_index_file_has_the_layout_of_the_page() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    packed = [host.pack([b"one", b"two"]), host.pack([b"three"], 1, 2)]
    name = write_index(storage, KEYS, NOW, host.run, 3, packed, [index_name(NOW, run_id(9), 0)])
    assert name == f"20261121T020000Z-{host.run.hex()}-0003.idx"
    data = storage.get(f"index/{name}")
    assert data[:8] == b"RCPINDX1"
    assert data[8:40] == data[40:72] == KEYS.owner
    assert verify_signature(KEYS.owner, data[72:136], data[:72] + data[136:])
    body = zstandard.ZstdDecompressor().decompress(AESGCM(KEYS.index_key).decrypt(data[136:148], data[148:], data[:72]))
    packs = b"".join(
        one.ref.run + struct.pack("<IQ", one.ref.number, one.size) + one.digest + struct.pack("<I", len(one.rows))
        for one in packed
    )
    replaced = index_name(NOW, run_id(9), 0).encode()
    rows = Rows.of([*packed[0].rows, *packed[1].rows])
    assert body == b"".join(
        (struct.pack("<I", 2), packs, struct.pack("<IH", 1, len(replaced)), replaced, encode_rows(rows))
    )


def test_chunks_are_found_where_they_lie() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"one", b"two", b"three")
    Host(storage).add(b"four")
    index = loaded(storage)
    assert len(index) == 4
    for data in (b"one", b"two", b"three", b"four"):
        assert rechecked(storage, index.stored(chunk_id(data)), data)
        assert [place.row.id for place in index.by_id(chunk_id(data))] == [chunk_id(data)]
    assert index.stored(chunk_id(b"five")) is None
    assert index.by_id(chunk_id(b"five")) == []


def test_chunks_are_found_by_their_addresses() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    host.add(b"one", b"two", b"three")
    index = loaded(storage)
    ids = [chunk_id(data) for data in (b"one", b"two", b"three")]
    assert [place.row.id for place in index.span(host.run, 0, 3)] == ids
    assert [place.row.id for place in index.span(host.run, 1, 2**31)] == ids[1:]
    assert [place.row.id for place in index.span(host.run, 0, 3)[1:]] == ids[1:]
    assert list(index.span(host.run, 0, 3)) == [index.at(host.run, n) for n in range(3)]
    assert index.at(host.run, 3) is None
    assert index.at(run_id(0), 0) is None
    for first, count in ((2**32 - 1, 5), (2**32, 1), (2**40, 2**40), (0, 0), (1, -1), (-1, 1)):
        assert len(index.span(host.run, first, count)) == 0


def test_an_address_in_two_packs_has_one_place() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    host.add(b"one", b"two")
    old = PackRef(host.run, 0)
    moved = host.pack([b"one", b"two"], number=1)
    write_index(storage, KEYS, NOW, run_id(2000), 0, [moved])
    assert len(loaded(storage).span(host.run, 0, 2)) == 2
    write_record(storage, KEYS, Record(NOW, condemned=(old,)))
    index = loaded(storage)
    assert [place.pack for place in index.span(host.run, 0, 9)] == [moved.ref, moved.ref]
    assert [place.pack for place in index.by_id(chunk_id(b"two"))] == [moved.ref, old]


def test_packs_are_listed_with_their_chunks() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    host.run = run_id(77)
    packed = [host.pack([b"one", b"two"]), host.pack([b"three"], 1, 2)]
    write_index(storage, KEYS, NOW, host.run, 0, packed)
    index = loaded(storage)
    facts = {ref: (facts.size, facts.digest, facts.rows) for ref, facts in index.packs.items()}
    assert facts == {one.ref: (one.size, one.digest, len(one.rows)) for one in packed}
    for one in packed:
        assert [place.row for place in index.of_pack(one.ref)] == list(one.rows)
        assert [place.position for place in index.of_pack(one.ref)] == list(range(len(one.rows)))
    assert list(index.of_pack(PackRef(run_id(0), 0))) == []


def test_a_run_finds_what_it_added_itself() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"old")
    index = loaded(storage)
    host = Host(storage)
    host.run = run_id(500)
    for number in range(40):
        index.add(host.pack([f"{number} a".encode(), f"{number} b".encode()], number, 2 * number))
    for number in range(40):
        assert rechecked(storage, index.stored(chunk_id(f"{number} b".encode())), f"{number} b".encode())
    assert index.stored(chunk_id(b"old")) is not None
    assert [place.row.number for place in index.span(host.run, 0, 100)] == list(range(80))
    assert len(index.packs) == 41
    assert len(index.names) == 41


# --- whom a writer believes -------------------------------------------------------------------------------------------


def test_a_host_that_only_adds_believes_itself_and_the_owner_alone() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"of the owner")
    Host(storage, OTHER).add(b"of another")
    Host(storage, THIRD).add(b"of a third")
    index = loaded(storage, OTHER)
    assert index.stored(chunk_id(b"of the owner")) is not None
    assert index.stored(chunk_id(b"of another")) is not None
    assert index.stored(chunk_id(b"of a third")) is None
    assert len(index.by_id(chunk_id(b"of a third"))) == 1
    assert loaded(storage).stored(chunk_id(b"of another")) is None


def test_what_the_owner_signs_of_another_keeps_who_made_it() -> None:
    storage = MemoryStorage()
    host = Host(storage, OTHER)
    host.run = run_id(3)
    packed = host.pack([b"moved"])
    write_index(storage, KEYS, NOW, run_id(4), 0, [packed], made_by=OTHER.maker)
    assert loaded(storage, OTHER).stored(chunk_id(b"moved")) is not None
    assert loaded(storage).stored(chunk_id(b"moved")) is None
    assert len(loaded(storage).by_id(chunk_id(b"moved"))) == 1


def test_nobody_speaks_for_the_owner() -> None:
    storage = MemoryStorage()
    host = Host(storage, OTHER)
    packed = host.pack([b"poison"])
    name = write_index(storage, OTHER, NOW, host.run, 0, [packed], made_by=KEYS.owner)
    index = Index.load(storage, KEYS)
    assert index.by_id(chunk_id(b"poison")) == []
    assert "speak for its maker" in str(index.problems[0])
    forged = bytearray(encode_index(OTHER, FileFacts("", KEYS.owner, KEYS.owner), [packed]))
    storage.put(f"index/{name}", bytes(forged))
    index = Index.load(storage, KEYS)
    assert index.by_id(chunk_id(b"poison")) == []
    assert "not what its maker signed" in str(index.problems[0])


def test_a_chunk_that_was_found_damaged_is_stored_again() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    host.add(b"harmed", b"sound")
    write_damaged(storage, KEYS, NOW, [(PackRef(host.run, 0), chunk_id(b"harmed"))])
    index = loaded(storage)
    assert index.stored(chunk_id(b"harmed")) is None
    assert index.stored(chunk_id(b"sound")) is not None
    assert len(index.by_id(chunk_id(b"harmed"))) == 1
    host.add(b"harmed")
    healed = loaded(storage)
    place = healed.stored(chunk_id(b"harmed"))
    assert place is not None
    assert place.pack.run == host.run
    assert healed.by_id(chunk_id(b"harmed"))[0] == place


def test_a_chunk_whose_base_is_gone_is_stored_again() -> None:
    storage = MemoryStorage()
    name = Host(storage).add(b"base")
    Host(storage).add(b"delta", bases=(chunk_id(b"base"),))
    assert loaded(storage).stored(chunk_id(b"delta")) is not None
    storage.delete(f"index/{name}")
    assert loaded(storage).stored(chunk_id(b"delta")) is None
    assert len(loaded(storage).by_id(chunk_id(b"delta"))) == 1


def test_a_chunk_in_a_condemned_pack_is_stored_again_until_the_pack_is_rescued() -> None:
    storage = MemoryStorage()
    host = Host(storage)
    host.add(b"one")
    ref = PackRef(host.run, 0)
    write_record(storage, KEYS, Record(NOW, condemned=(ref,)))
    index = loaded(storage)
    assert index.condemned == {ref}
    assert index.stored(chunk_id(b"one")) is None
    assert len(index.by_id(chunk_id(b"one"))) == 1
    write_record(storage, KEYS, Record(NOW + timedelta(hours=1), rescued=(ref,)))
    assert loaded(storage).stored(chunk_id(b"one")) is not None


def test_the_newest_full_chunks_come_first() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"old 1", b"old 2")
    Host(storage, OTHER).add(b"of another")
    Host(storage).add(b"new", b"newer")
    Host(storage).add(b"delta", bases=(chunk_id(b"new"),))
    index = loaded(storage)
    host = Host(storage)
    host.run = run_id(600)
    index.add(host.pack([b"of this run"]))
    ids = [row.id for rows in index.newest_full(4) for row in rows]
    assert ids == [chunk_id(data) for data in (b"of this run", b"new", b"newer", b"old 1")]
    row = next(iter(index.newest_full(1)))[0]
    assert row.anchors == (0, 1)
    assert [row.id for rows in index.newest_full(100) for row in rows] == [*ids, chunk_id(b"old 2")]
    assert list(Index(KEYS).newest_full(5)) == []


# --- files that stand for others --------------------------------------------------------------------------------------


def _replaced(storage: Storage, by: Keys, of: Keys) -> tuple[str, Index]:
    old = Host(storage, of)
    name = old.add(b"old")
    new = Host(storage, by)
    new.run = run_id(900)
    write_index(storage, by, NOW, new.run, 0, [new.pack([b"new"])], [name])
    return name, loaded(storage)


@pytest.mark.parametrize(("by", "of"), [(KEYS, KEYS), (KEYS, OTHER), (OTHER, OTHER)])
def test_a_file_that_another_one_stands_for_is_left_out(by: Keys, of: Keys) -> None:
    name, index = _replaced(MemoryStorage(), by, of)
    assert index.by_id(chunk_id(b"old")) == []
    assert len(index.by_id(chunk_id(b"new"))) == 1
    assert name in index.present
    assert name not in index.names


@pytest.mark.parametrize(("by", "of"), [(OTHER, KEYS), (OTHER, THIRD)])
def test_nobody_but_the_owner_replaces_what_others_signed(by: Keys, of: Keys) -> None:
    _, index = _replaced(MemoryStorage(), by, of)
    assert len(index.by_id(chunk_id(b"old"))) == 1


class _Pruned(MemoryStorage):
    """A prune replaces a file between the listing and the reading."""

    meanwhile: "Callable[[], None] | None" = None

    def get(self, key: str) -> bytes:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return super().get(key)


def test_a_file_that_is_replaced_while_the_index_is_read_loses_nothing() -> None:
    storage = _Pruned()
    host = Host(storage)
    name = host.add(b"one")
    packed = read_directory(storage, PackRef(host.run, 0), KEYS)

    def prune() -> None:
        write_index(storage, KEYS, NOW, run_id(901), 0, [packed], [name])
        storage.delete(f"index/{name}")

    storage.meanwhile = prune
    assert loaded(storage).stored(chunk_id(b"one")) is not None


# --- damage -----------------------------------------------------------------------------------------------------------


def test_every_byte_of_an_index_file_is_guarded_and_the_others_are_read() -> None:
    storage = MemoryStorage()
    Host(storage).add(b"sound")
    key = "index/" + Host(storage).add(b"one", b"two")
    good = storage.get(key)
    for place in range(len(good)):
        storage.put(key, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        index = Index.load(storage, KEYS)
        assert len(index.problems) == 1
        assert key in str(index.problems[0])
        assert isinstance(index.problems[0], RefusedError if place == 7 else DamagedError)
        assert index.stored(chunk_id(b"one")) is None
        assert index.stored(chunk_id(b"sound")) is not None
    for data in (b"", good[:-1], good[:150], good + b"\0"):
        storage.put(key, data)
        index = Index.load(storage, KEYS)
        assert len(index.problems) == 1
        assert index.stored(chunk_id(b"sound")) is not None


def test_an_index_file_of_another_repository_is_told_and_left_out() -> None:
    storage, other = MemoryStorage(), replace(KEYS, dedup=bytes(32))
    name = Host(storage, other).add(b"foreign")
    index = Index.load(storage, KEYS)
    assert len(index) == 0
    assert name in str(index.problems[0])


def _signed_body(body: bytes, behind: bytes = b"") -> bytes:
    """An index file of the owner's with any body."""
    head = b"RCPINDX1" + KEYS.owner + KEYS.owner
    sealed = bytes(12) + AESGCM(KEYS.index_key).encrypt(bytes(12), zstandard.compress(body) + behind, head)
    return head + KEYS.sign(head + sealed) + sealed


def _body(rows: list[Row], packs: list[tuple[int, int]], names: list[bytes] = []) -> bytes:  # noqa: B006 - not changed
    return b"".join(
        (
            struct.pack("<I", len(packs)),
            *(run_id(1) + struct.pack("<IQ", 0, size) + bytes(32) + struct.pack("<I", count) for size, count in packs),
            struct.pack("<I", len(names)),
            *(struct.pack("<H", len(name)) + name for name in names),
            encode_rows(Rows.of(rows)),
        )
    )


ROW = Row(run_id(1), 0, bytes(32), 10, 26, 0)
LEAST = 104 + 26 + 16 + 12


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (_body([ROW], [(LEAST - 1, 1)]), "fit its length"),
        (_body([ROW], [(2**40, 1)]), "fit its length"),
        (_body([ROW], [(2**64 - 1, 1)]), "fit its length"),
        (_body([ROW], [(LEAST, 2)]), "other chunks"),
        (_body([ROW], [(LEAST, 1), (LEAST, 0)]), "other chunks"),
        (_body([ROW, ROW], [(500, 2), (500, 0)]), "impossible number"),
        (_body([ROW], []), "other chunks"),
        (_body([ROW], [(LEAST, 1)], [b"../escape.idx"]), "no index file"),
        (_body([ROW], [(LEAST, 1)], [b"\xff"]), "no index file"),
        (struct.pack("<I", 2**32 - 1), "cut short"),
        (_body([ROW], [(LEAST, 1)]) + b"\0", "behind its end"),
        (b"", "cut short"),
    ],
)
def test_a_body_that_no_writer_writes_is_refused_even_when_it_is_signed(body: bytes, why: str) -> None:
    with pytest.raises(DamagedError, match=why):
        decode_index(_signed_body(body), KEYS, "an index")


def test_a_signed_body_at_the_limits_is_read() -> None:
    assert len(decode_index(_signed_body(_body([ROW], [(LEAST, 1)])), KEYS, "an index").rows) == 1
    assert len(decode_index(_signed_body(_body([], [])), KEYS, "an index").rows) == 0


def test_nothing_stands_behind_the_frame_of_a_body() -> None:
    with pytest.raises(DamagedError, match="unpacked"):
        decode_index(_signed_body(_body([ROW], [(LEAST, 1)]), b"hidden"), KEYS, "an index")


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    with pytest.raises(DamagedError):
        decode_index(_signed_body(bytes(65 * 1024 * 1024)), KEYS, "an index")


@given(st.binary(max_size=300))
def test_any_signed_body_is_refused_or_read(body: bytes) -> None:
    try:
        file = decode_index(_signed_body(body), KEYS, "an index")
    except RecoupError:
        return
    assert len(joined([columns_of(file)])) == len(file.rows)


@given(st.data())
def test_a_mutated_signed_body_is_refused_or_read(data: st.DataObject) -> None:
    body = bytearray(_body([ROW, ROW._replace(number=1, encoding=17, bases=(bytes(32),))], [(500, 1), (500, 1)]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        file = decode_index(_signed_body(bytes(body)), KEYS, "an index")
    except RecoupError:
        return
    index = Index(KEYS, [joined([columns_of(file)])])
    assert all(len(index.of_pack(ref)) == facts.rows for ref, facts in index.packs.items() if len(index.packs) == 2)
    assert {place.row for run in file.rows.runs for place in index.span(run, 0, 2**32)} <= set(file.rows)


def test_too_many_rows_for_one_file_are_not_written() -> None:
    rows = Rows.of([ROW]).take(np.zeros(MAX_ROWS + 1, np.int64))
    with pytest.raises(ValueError, match="131,072"):
        write_index(MemoryStorage(), KEYS, NOW, run_id(1), 0, [Packed(PackRef(run_id(1), 0), 1, bytes(32), rows)])


def _packed(rows: Rows, number: int) -> Packed:
    return Packed(PackRef(run_id(1), number), MAX_PACK, bytes(32), rows)


def test_the_largest_index_file_that_is_written_can_be_read() -> None:
    delta = ROW._replace(encoding=17, bases=(bytes(32),) * MAX_BASES, stored=100)
    deltas = Rows.of([delta]).take(np.zeros(MAX_PACK_BASES // MAX_BASES + 1, np.int64))
    full = Rows.of([ROW._replace(anchors=tuple(range(8)), stored=100)])
    others = full.take(np.zeros(MAX_PACK_ROWS - 2 * len(deltas), np.int64))
    packed = [_packed(deltas[:-1], 0), _packed(deltas[:-1], 1), _packed(others, 2)]
    assert fits(packed)
    assert not fits([*packed, _packed(full, 3), _packed(full, 4), _packed(full, 5)])
    assert not fits([*packed[:2], _packed(deltas[:1], 2)])
    packed.append(_packed(Rows.joined([deltas, full.take(np.zeros(MAX_PACK_ROWS - len(deltas), np.int64))]), 3))
    data = encode_index(KEYS, FileFacts("", KEYS.maker, KEYS.maker), packed)
    assert len(decode_index(data, KEYS, "an index").rows) == sum(len(one.rows) for one in packed)


def test_an_index_file_that_nobody_would_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.repository.dedup.index_files.MAX_ENCODED", 100)
    storage = MemoryStorage()
    with pytest.raises(ValueError, match="nobody would read"):
        Host(storage).add(b"one")
    assert list(storage.list("index")) == []


def test_files_that_are_no_index_files_are_left_alone() -> None:
    storage = MemoryStorage()
    name = Host(storage).add(b"one")
    for key in ("index/notes.txt", "index/a/b.idx", "index/.DS_Store"):
        storage.put(key, b"?")
    assert loaded(storage).present == {name}
    assert not is_index_name(name.upper())


# --- tables -----------------------------------------------------------------------------------------------------------

_ids = st.integers(0, 40).map(lambda n: chunk_id(bytes([n])))
_rows = st.builds(
    lambda run, number, identity, length, bases, anchors: Row(
        run_id(run), number, identity, length, length + 16, 17 if bases else 0, bases, () if bases else anchors
    ),
    st.integers(0, 3),
    st.sampled_from([0, 1, 2, 3, 4, 2**32 - 1]),
    _ids,
    st.integers(1, 2**20),
    st.lists(_ids, max_size=2).map(tuple),
    st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple),
)
_packs = st.lists(st.lists(_rows, min_size=1, max_size=4), max_size=3)


@settings(max_examples=40)
@given(st.lists(_packs, max_size=5), st.data())
def test_the_index_answers_as_a_plain_list_of_rows_would(files: list[list[list[Row]]], data: st.DataObject) -> None:
    pieces, plain = [], list[tuple[Row, PackRef, int, int]]()
    for f, packs in enumerate(files):
        packed = []
        for n, rows in enumerate(packs):
            ref = PackRef(run_id(100 + f), n)
            at = 104
            for position, row in enumerate(rows):
                plain.append((row, ref, at, position))
                at += row.stored
            packed.append(Packed(ref, at + 100, bytes(32), Rows.of(rows)))
        file = decode_index(encode_index(KEYS, FileFacts("", KEYS.owner, KEYS.owner), packed), KEYS, f"file {f}")
        pieces.append(columns_of(file))
    cut = data.draw(st.integers(0, len(pieces)))
    index = Index(KEYS, [joined(part) for part in (pieces[:cut], pieces[cut:]) if part])
    seen = [(place.row, place.pack, place.offset, place.position) for part in index._parts for place in part.places(
        np.arange(len(part.table)))]  # fmt: skip
    assert sorted(seen) == sorted(plain)
    for part in index._parts:
        assert [part.place(i) for i in range(len(part.table))] == part.places(np.arange(len(part.table)))
    for identity in {row.id for row, *_ in plain}:
        found = {(place.row, place.pack, place.offset, place.position) for place in index.by_id(identity)}
        assert found == {entry for entry in plain if entry[0].id == identity}
    for run in map(run_id, range(4)):
        for first, count in ((0, 2**32), (1, 2), (2**32 - 1, 1)):
            numbers = [place.row.number for place in index.span(run, first, count)]
            assert numbers == sorted(
                {r.number for r, *_ in plain if r.run == run and first <= r.number < first + count}
            )


@settings(max_examples=40)
@given(st.lists(_packs.filter(bool), min_size=1, max_size=4), st.data())
def test_a_table_without_some_files_is_that_of_the_others(files: list[list[list[Row]]], data: st.DataObject) -> None:
    pieces = []
    for f, packs in enumerate(files):
        packed = [Packed(PackRef(run_id(f), n), 2**25, bytes(32), Rows.of(rows)) for n, rows in enumerate(packs)]
        facts = FileFacts("", KEYS.owner, KEYS.owner)
        pieces.append(decode_index(encode_index(KEYS, facts, packed), KEYS, f"file {f}"))
    keep = data.draw(st.lists(st.booleans(), min_size=len(files), max_size=len(files)).filter(any))
    fewer = chosen(joined([columns_of(piece) for piece in pieces]), np.array(keep))
    others = joined([columns_of(piece) for piece, stays in zip(pieces, keep, strict=True) if stays])
    assert fewer.files == others.files
    assert sorted(fewer.row(i) for i in range(len(fewer))) == sorted(others.row(i) for i in range(len(others)))
    assert fewer.packs.tobytes() == others.packs.tobytes()


# --- the cache --------------------------------------------------------------------------------------------------------


class _Counting(MemoryStorage):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        self.read.append(key)
        return super().get(key)


def _same(one: Index, other: Index) -> bool:
    def content(index: Index) -> set[tuple[str, Place]]:
        return {
            (index.names[place.file], place._replace(file=0))
            for part in index._parts
            for place in part.places(np.arange(len(part.table)))
        }

    return content(one) == content(other) and set(one.files) == set(other.files)


def test_with_a_cache_each_index_file_is_read_once(tmp_path: Path) -> None:
    storage = _Counting()
    names = [Host(storage).add(f"chunk {n}".encode(), f"more {n}".encode()) for n in range(7)]
    Host(storage).add(b"delta", bases=(chunk_id(b"chunk 1"), chunk_id(b"chunk 2")))
    assert _same(loaded(storage, cache=tmp_path), loaded(storage))
    storage.read.clear()
    assert len(loaded(storage, cache=tmp_path)) == 15
    assert storage.read == []
    new = Host(storage).add(b"another")
    index = loaded(storage, cache=tmp_path)
    assert storage.read == [f"index/{new}"]
    storage.delete(f"index/{names[2]}")
    assert _same(loaded(storage, cache=tmp_path), loaded(storage))
    assert loaded(storage, cache=tmp_path).stored(chunk_id(b"chunk 2")) is None
    assert index.stored(chunk_id(b"chunk 2")) is not None


def test_a_cache_that_was_tampered_with_is_thrown_away(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "repository")
    Host(storage).add(b"one", b"two")
    expected = loaded(storage)
    loaded(storage, cache=tmp_path / "cache")
    folder = tmp_path / "cache" / "dedup" / KEYS.repository
    (segment,) = folder.glob("segment-*")
    assert segment.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    good = segment.read_bytes()
    for place in range(0, len(good), 7):
        segment.write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        assert _same(loaded(storage, cache=tmp_path / "cache"), expected)
        assert segment.read_bytes() == good
    for data in (b"", good[:-1], good[:20], good + b"\0", good[:8] + b"\xff" * 8 + good[16:]):
        segment.write_bytes(data)
        assert _same(loaded(storage, cache=tmp_path / "cache"), expected)


def test_another_repositorys_cache_is_not_believed(tmp_path: Path) -> None:
    storage = MemoryStorage()
    Host(storage).add(b"one")
    loaded(storage, cache=tmp_path)
    other = replace(KEYS, dedup=bytes(32))
    assert Index.load(MemoryStorage(), other, tmp_path).problems == ()
    assert len(Index.load(MemoryStorage(), other, tmp_path)) == 0


def test_a_cache_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "dedup").write_bytes(b"a file is in the way")
    storage = MemoryStorage()
    Host(storage).add(b"one")
    assert loaded(storage, cache=tmp_path).stored(chunk_id(b"one")) is not None


# --- many chunks -------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_chunks_take_little_memory_and_are_found(tmp_path: Path) -> None:
    storage, rng, per, packs = MemoryStorage(), np.random.default_rng(7), 130, 100
    for f in range(8):
        packed = [_large_pack(rng, run_id(f), n, per) for n in range(packs)]
        write_index(storage, KEYS, NOW, run_id(f), 0, packed)
    loaded(storage, cache=tmp_path)
    index = loaded(storage, cache=tmp_path)
    assert len(index) == 8 * per * packs
    assert sum(1 for _ in index.span(run_id(3), 0, 2**32)) == per * packs
    for part in index._parts:
        for i in range(0, len(part.table), 999):
            assert index.stored(part.table.row(i).id) == part.place(i)


def _most_taken(storage: Storage, cache: Path | None) -> int:
    """Bytes that opening an index takes, at most."""
    tracemalloc.start()
    try:
        index = loaded(storage, cache=cache)
        assert sum(1 for _ in index.newest_full(100)) > 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("folder", ["cache", None])
def test_what_an_index_takes_hardly_grows_with_its_chunks(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SEGMENT", 16_384)  # of a smaller index as many pieces as a million chunks have
    monkeypatch.setattr(loading, "HELD", 1024)
    monkeypatch.setattr(loading, "_PENDING", 4096)
    storage, rng, cache = MemoryStorage(), np.random.default_rng(7), tmp_path / folder if folder else None
    taken = []
    for begin in (0, 10):
        for f in range(begin, begin + 10):
            write_index(storage, KEYS, NOW, run_id(f), 0, [_large_pack(rng, run_id(f), n, 130) for n in range(20)])
        taken.append(_most_taken(storage, cache and cache / str(begin)))
        assert _most_taken(storage, cache and cache / str(begin)) <= taken[-1] + 100_000
    assert taken[1] - taken[0] < 4 * (10 * 20 * 130), f"{taken} bytes"  # the columns of a chunk have 85


def _large_pack(rng: np.random.Generator, run: bytes, number: int, count: int) -> Packed:
    rows = Rows(
        (run,),
        np.zeros(count, np.uint16),
        np.arange(number * count, (number + 1) * count, dtype=np.uint32),
        rng.integers(0, 256, (count, 32), dtype=np.uint8),
        np.full(count, 250_000, np.uint32),
        np.full(count, 200_000, np.uint32),
        np.zeros(count, np.uint8),
        np.zeros(count + 1, np.uint32),
        np.zeros((0, 32), np.uint8),
        np.arange(0, 2 * count + 2, 2, dtype=np.uint32),
        rng.integers(0, 2**32, 2 * count, dtype=np.uint32),
    )
    return Packed(PackRef(run, number), 200_000 * count + 1000, bytes(32), rows)
