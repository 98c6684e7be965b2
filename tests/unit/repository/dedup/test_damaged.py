import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.damaged import decode_damaged, encode_damaged, read_damaged, write_damaged
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.remembered import LARGEST
from recoup.storage.memory import MemoryStorage
from unit.repository.dedup.stores import KEYS, NOW, run_id

CHUNKS = frozenset({(PackRef(run_id(1), 7), b"a" * 32), (PackRef(run_id(2), 0), b"b" * 32)})


def test_a_damage_record_has_the_layout_of_the_page() -> None:
    data = encode_damaged(KEYS, sorted(CHUNKS))
    assert data[:8] == b"RCPDAMG1"
    plain = AESGCM(KEYS.index_key).decrypt(data[8:20], data[20:], b"RCPDAMG1")
    assert plain == run_id(1) + struct.pack("<I", 7) + b"a" * 32 + run_id(2) + struct.pack("<I", 0) + b"b" * 32


def test_damage_records_come_back(tmp_path: Path) -> None:
    storage, problems = MemoryStorage(), list[RecoupError]()
    names = write_damaged(storage, KEYS, NOW, CHUNKS)
    assert [name.partition("-")[0] for name in names] == ["20261121T020000Z"]
    assert write_damaged(storage, KEYS, NOW, []) == []
    for cache in (None, Cache(tmp_path, KEYS), Cache(tmp_path, KEYS)):
        (record,) = read_damaged(storage, KEYS, problems, cache)
        assert (record.name, record.chunks) == (names[0], CHUNKS)
    storage.delete(f"damaged/{names[0]}")
    assert read_damaged(storage, KEYS, problems, Cache(tmp_path, KEYS)) == []
    assert problems == []


def test_a_damaged_damage_record_is_told_and_the_others_are_read() -> None:
    storage = MemoryStorage()
    (bad,) = write_damaged(storage, KEYS, NOW, CHUNKS)
    (good,) = write_damaged(storage, KEYS, NOW, CHUNKS)
    data = storage.get(f"damaged/{bad}")
    for broken in [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(len(data))] + [data[:5], b""]:
        problems = list[RecoupError]()
        storage.put(f"damaged/{bad}", broken)
        assert [record.name for record in read_damaged(storage, KEYS, problems)] == [good]
        assert bad in str(problems[0])


def test_a_damage_record_that_is_too_long_is_not_read() -> None:
    storage, problems = MemoryStorage(), list[RecoupError]()
    storage.put("damaged/20261121T020000Z-0123456789abcdef.bad", bytes(LARGEST + 1))
    storage.put("damaged/notes.txt", b"of somebody else")
    assert read_damaged(storage, KEYS, problems) == []
    assert "longer" in str(problems[0])


@given(st.binary(max_size=120))
def test_whatever_is_sealed_is_a_damage_record_or_is_refused(plain: bytes) -> None:
    data = b"RCPDAMG1" + bytes(12) + AESGCM(KEYS.index_key).encrypt(bytes(12), plain, b"RCPDAMG1")
    try:
        found = decode_damaged(KEYS, data, "a record")
    except DamagedError:
        assert len(plain) % 48
        return
    assert len(found) <= len(plain) // 48


def test_a_damage_record_of_a_later_version_is_refused() -> None:
    with pytest.raises(RefusedError):
        decode_damaged(KEYS, b"RCPDAMG2" + encode_damaged(KEYS, CHUNKS)[8:], "a record")
