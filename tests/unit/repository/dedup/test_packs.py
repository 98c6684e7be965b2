import struct

import blake3
import numpy as np
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError, WrongKeyError
from recoup.repository.dedup.keys import Keys, RunKey, new_keys
from recoup.repository.dedup.packs import (
    HEADER_BYTES,
    Packed,
    PackRef,
    PackWriter,
    Row,
    Rows,
    decode_rows,
    encode_rows,
    read_directory,
)
from recoup.repository.dedup.rows import MAX_BASES, MAX_PACK_ROWS
from recoup.storage.memory import MemoryStorage

RUN, OTHER = bytes(range(12)), bytes(range(12, 24))
REF = PackRef(RUN, 7)
KEYS = new_keys("ab" * 16)

_bytes32 = st.binary(min_size=32, max_size=32)
_number = st.integers(0, 2**32 - 1)
_full = st.builds(
    Row,
    st.sampled_from([RUN, OTHER]),
    _number,
    _bytes32,
    st.integers(1, 1 << 20),
    st.integers(17, 1 << 20),
    st.sampled_from([0, 1, 2, 4]),
    st.just(()),
    st.lists(_number, max_size=40).map(tuple),
)
_delta = st.builds(
    Row,
    st.sampled_from([RUN, OTHER]),
    _number,
    _bytes32,
    st.integers(1, 1 << 20),
    st.integers(17, 1 << 20),
    st.just(17),
    st.lists(_bytes32, min_size=1, max_size=8).map(tuple),
    st.just(()),
)
ROWS = st.lists(st.one_of(_full, _delta), max_size=6)


def pack(storage: MemoryStorage, keys: Keys = KEYS, ref: PackRef = REF) -> Packed:
    """A pack of three chunks, the last one stored against the first."""
    writer = PackWriter(storage, ref, keys.new_run())
    writer.add(RUN, 5, b"a" * 32, 5, 0, b"first", anchors=(1, 2))
    writer.add(OTHER, 2**32 - 1, b"b" * 32, 1000, 1, memoryview(b"second"))
    writer.add(RUN, 6, b"c" * 32, 9, 17, b"against", bases=(b"a" * 32, b"z" * 32))
    return writer.finish()


@given(ROWS)
def test_rows_come_back_as_they_were_written(rows: list[Row]) -> None:
    columns = Rows.of(rows)
    assert list(columns) == rows
    assert list(decode_rows(encode_rows(columns), "rows")) == rows


@settings(max_examples=40)
@given(ROWS, ROWS, st.data())
def test_rows_can_be_joined_and_taken_apart(first: list[Row], second: list[Row], data: st.DataObject) -> None:
    joined = Rows.joined([Rows.of(first), Rows.of(second)])
    assert list(joined) == first + second
    assert list(joined[1:4]) == (first + second)[1:4]
    places = data.draw(st.lists(st.integers(0, len(joined) - 1)) if len(joined) else st.just([]))
    assert list(joined.take(np.array(places, np.int64))) == [(first + second)[i] for i in places]


def test_rows_are_written_as_the_page_says() -> None:
    rows = [
        Row(RUN, 1, b"i" * 32, 10, 20, 4, (), (7, 8)),
        Row(OTHER, 2, b"j" * 32, 30, 40, 17, (b"i" * 32,), ()),
    ]
    assert encode_rows(Rows.of(rows)) == b"".join(
        (
            struct.pack("<IH", 2, 2) + RUN + OTHER,
            struct.pack("<HH", 0, 1),
            struct.pack("<II", 1, 2),
            b"i" * 32 + b"j" * 32,
            struct.pack("<II", 10, 30),
            struct.pack("<II", 20, 40),
            bytes([4, 17]),
            bytes([0, 1]) + b"i" * 32,
            bytes([2, 0]) + struct.pack("<II", 7, 8),
        )
    )


@given(st.binary(max_size=400))
def test_bytes_that_are_no_rows_are_refused(data: bytes) -> None:
    try:
        rows = decode_rows(data, "rows")
    except RecoupError:
        return
    assert encode_rows(rows) == data


@settings(max_examples=60)
@given(ROWS.filter(bool), st.data())
def test_damaged_rows_are_refused_or_are_other_rows(rows: list[Row], data: st.DataObject) -> None:
    stored = bytearray(encode_rows(Rows.of(rows)))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_rows(bytes(stored), "rows")
    except RecoupError:
        return
    assert encode_rows(found) == stored
    assert list(found) != rows


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (Row(RUN, 0, b"i" * 32, 0, 20, 0), DamagedError),
        (Row(RUN, 0, b"i" * 32, 2**20 + 1, 20, 0), DamagedError),
        (Row(RUN, 0, b"i" * 32, 10, 16, 0), DamagedError),
        (Row(RUN, 0, b"i" * 32, 10, 2**21, 0), DamagedError),
        (Row(RUN, 0, b"i" * 32, 10, 20, 3), RefusedError),
        (Row(RUN, 0, b"i" * 32, 10, 20, 17), DamagedError),
        (Row(RUN, 0, b"i" * 32, 10, 20, 1, (b"j" * 32,)), DamagedError),
        (Row(RUN, 0, b"i" * 32, 10, 20, 17, (b"j" * 32,) * 65), DamagedError),
    ],
)
def test_a_row_that_no_writer_writes_is_refused(row: Row, error: type[RecoupError]) -> None:
    with pytest.raises(error):
        decode_rows(encode_rows(Rows.of([row])), "rows")


def test_a_count_of_rows_that_are_not_there_takes_no_memory() -> None:
    for counts in (struct.pack("<IH", 2**32 - 1, 1), struct.pack("<IH", 131_072, 65_535)):
        with pytest.raises(DamagedError):
            decode_rows(counts + bytes(100), "rows")


def test_a_pack_has_the_layout_of_the_page() -> None:
    storage = MemoryStorage()
    key = KEYS.new_run()
    writer = PackWriter(storage, REF, key)
    writer.add(RUN, 5, b"a" * 32, 5, 0, b"first")
    packed = writer.finish()
    data = storage.get("packs/00/000102030405060708090a0b-00000007.pack")
    assert data[:8] == b"RCPPACK1"
    assert data[8:24] == RUN + struct.pack("<I", 7)
    assert data[24:104] == key.sealed
    secret = opened_secret(KEYS, key)
    chunk = AESGCM(secret).decrypt(b"\x01\0\0\0" + struct.pack("<Q", 7 << 32), data[104:125], b"\x01" + b"a" * 32)
    assert chunk == b"first"
    length, magic = struct.unpack("<I8s", data[-12:])
    assert magic == b"RCPPEND1"
    nonce = b"\x02\0\0\0" + struct.pack("<Q", 7)
    directory = AESGCM(secret).decrypt(nonce, data[-12 - length : -12], b"\x02" + RUN + struct.pack("<I", 7))
    assert zstandard.ZstdDecompressor().decompress(directory) == encode_rows(packed.rows)
    assert 125 + length + 12 == len(data) == packed.size
    assert packed.digest == blake3.blake3(data).digest()


def opened_secret(keys: Keys, key: RunKey) -> bytes:
    """The run's key itself, by way of the page."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    assert keys.private is not None
    sender = key.sealed[:32]
    shared = X25519PrivateKey.from_private_bytes(keys.private).exchange(X25519PublicKey.from_public_bytes(sender))
    wrapping = HKDF(SHA256(), 32, sender + keys.public, b"recoup dedup v1 run").derive(shared)
    return AESGCM(wrapping).decrypt(bytes(12), key.sealed[32:], None)


def test_the_directory_of_a_pack_is_read_back() -> None:
    storage = MemoryStorage()
    packed = pack(storage)
    found = read_directory(storage, REF, KEYS)
    assert (found.ref, found.size, found.digest) == (packed.ref, packed.size, packed.digest)
    assert list(found.rows) == list(packed.rows)
    assert [row.bases for row in found.rows] == [(), (), (b"a" * 32, b"z" * 32)]


def test_a_host_that_only_adds_sets_cannot_read_a_directory() -> None:
    storage = MemoryStorage()
    pack(storage)
    adds = Keys(KEYS.repository, KEYS.public, KEYS.dedup, KEYS.owner, bytes(32), None, "51d2")
    with pytest.raises(WrongKeyError):
        read_directory(storage, REF, adds)


def test_every_byte_of_a_pack_is_guarded() -> None:
    storage = MemoryStorage()
    whole = pack(storage)
    good = storage.get(REF.key)
    chunks = HEADER_BYTES + int(whole.rows.stored.sum())
    for place in range(len(good)):
        harmed = list[Row]()
        storage.put(REF.key, good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        if HEADER_BYTES <= place < chunks:
            found = read_directory(storage, REF, KEYS, harmed.append)
            assert len(harmed) == 1
            assert found.digest != whole.digest
        else:
            with pytest.raises((DamagedError, RefusedError)):
                read_directory(storage, REF, KEYS, harmed.append)


def test_a_pack_that_was_cut_or_lengthened_is_damaged() -> None:
    storage = MemoryStorage()
    pack(storage)
    good = storage.get(REF.key)
    for data in [good[:end] for end in range(len(good))] + [good + b"\0", good + good]:
        storage.put(REF.key, data)
        with pytest.raises(DamagedError):
            read_directory(storage, REF, KEYS)


def test_a_pack_in_the_place_of_another_or_of_another_repository_is_refused() -> None:
    storage = MemoryStorage()
    pack(storage)
    other = PackRef(RUN, 8)
    storage.put(other.key, storage.get(REF.key))
    with pytest.raises(DamagedError, match="another pack"):
        read_directory(storage, other, KEYS)
    with pytest.raises(DamagedError):
        read_directory(storage, REF, new_keys("ab" * 16))


def test_a_missing_pack_and_one_of_a_later_version_are_told_apart() -> None:
    storage = MemoryStorage()
    with pytest.raises(DamagedError, match="missing"):
        read_directory(storage, REF, KEYS)
    pack(storage)
    storage.put(REF.key, b"RCPPACK2" + storage.get(REF.key)[8:])
    with pytest.raises(RefusedError, match="version"):
        read_directory(storage, REF, KEYS)


def test_an_abandoned_pack_leaves_nothing() -> None:
    storage = MemoryStorage()
    writer = PackWriter(storage, REF, KEYS.new_run())
    writer.add(RUN, 0, b"a" * 32, 5, 0, b"first")
    writer.abort()
    assert list(storage.list()) == []


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f]{24}-[0-9a-f]{8}", fullmatch=True))
def test_a_name_is_that_of_a_pack_or_of_none(name: str) -> None:
    ref = PackRef.parse(name)
    assert ref is None or ref.name == name
    if ref is not None:
        assert PackRef.at(ref.key) == ref
        assert PackRef.at("packs/zz/" + name + ".pack") is None


def test_a_pack_may_have_each_chunk_from_another_run() -> None:
    rows = Rows.of(Row(n.to_bytes(12, "big"), 0, bytes(32), 1, 17, 0) for n in range(MAX_PACK_ROWS))
    assert decode_rows(encode_rows(rows), "rows")[-1] == rows[-1]


def test_a_pack_is_full_when_its_chunks_have_too_many_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoup.repository.dedup.packs.MAX_PACK_BASES", 100)
    writer = PackWriter(MemoryStorage(), REF, KEYS.new_run())
    for n in range(2):
        assert not writer.full
        writer.add(RUN, n, bytes(32), 9, 17, b"delta", (bytes(32),) * MAX_BASES)
    assert writer.full
    assert len(writer.finish().rows.bases) == 2 * MAX_BASES
