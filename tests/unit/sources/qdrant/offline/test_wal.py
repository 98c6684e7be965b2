"""The write-ahead log of a snapshot: read to its end, or said where it breaks."""

import io
import struct
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.sources.qdrant._crc32c import crc32c
from recoup.sources.qdrant._wal import WalFile, WalReading

SIZE = 1 << 18


def test_the_checksum_is_that_of_the_standard() -> None:
    """Examples of RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@given(data=st.binary(max_size=300), times=st.integers(1, 900), cut=st.integers(0, 200_000))
def test_it_does_not_matter_how_the_data_is_cut(data: bytes, times: int, cut: int) -> None:
    data *= times
    assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data)


def simply(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_long_data_in_lanes_gives_what_bit_by_bit_gives() -> None:
    data = bytes(i * i % 251 for i in range(70_001))
    assert crc32c(data) == simply(data)


def log_of(records: list[bytes], size: int = SIZE, seed: int = 12345) -> bytes:
    data, crc = b"wal\0" + struct.pack("<I", seed), seed
    for record in records:
        entry = struct.pack("<Q", len(record)) + record + bytes((4 - len(record)) % 8)
        crc = crc32c(entry, ~int(f"{crc:032b}"[::-1], 2) & 0xFFFFFFFF)
        data += entry + struct.pack("<I", crc)
    return data.ljust(size, b"\0")


def read(data: bytes, piece: int = 1000) -> WalFile:
    log = WalReading(len(data))
    for start in range(0, len(data), piece):
        log.write(data[start : start + piece])
    log.close()
    return log.result


@given(records=st.lists(st.binary(min_size=1, max_size=900), max_size=9), piece=st.integers(3, 5000))
def test_all_records_are_read(records: list[bytes], piece: int) -> None:
    data = log_of(records, 1 << 14)
    found = read(data, piece)
    assert (found.state, found.records, found.fault) == ("readable" if records else "empty", len(records), "")
    assert found.bytes == len(log_of(records, 0))


def test_holes_are_zeros(plain: Callable[[str], bytes]) -> None:
    used = log_of([b"a" * 20, b"b" * 5000], 0)
    log = WalReading(32 << 20)
    log.write(used)
    log.hole((32 << 20) - len(used))
    log.close()
    assert log.result == WalFile("readable", 2, len(used))


@pytest.mark.parametrize(
    "name", ["docs-collection", "empty-collection", "custom-node0-collection", "docs-shard0-stored"]
)
def test_the_logs_of_a_real_server_are_read(plain: Callable[[str], bytes], name: str) -> None:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(plain(name))) as archive:
        for info in archive:
            if "wal/" in info.name and info.size == 32 << 20:
                file = archive.extractfile(info)
                assert file
                found[info.name] = read(file.read(), 1 << 20)
    assert found
    assert {log.state for log in found.values()} <= {"readable", "empty"}
    assert (
        sum(log.records for log in found.values())
        == {
            "docs-collection": 38,
            "empty-collection": 1,
            "custom-node0-collection": 2,
            "docs-shard0-stored": 0,
        }[name]
    )


RECORDS = [b"first" * 10, b"second" * 100, b"third" * 7]


@given(place=st.integers(8, len(log_of(RECORDS, 0)) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_never_taken_for_all_records(place: int, bit: int) -> None:
    data = bytearray(log_of(RECORDS, 1 << 12))
    data[place] ^= 1 << bit
    found = read(bytes(data))
    assert found.records < len(RECORDS)
    assert found.state in ("damaged", "unfinished")


@pytest.mark.parametrize("record", [0, 1, 2])
def test_flipped_data_is_damage_and_says_where(record: int) -> None:
    data = bytearray(log_of(RECORDS))
    data[len(log_of(RECORDS[:record], 0)) + 12] ^= 1
    found = read(bytes(data))
    assert (found.state, found.records) == ("damaged", record)
    assert found.fault == f"the checksum of the next record is wrong (behind record {record}, byte {found.bytes:,})"


def test_a_seed_that_is_not_its_own_makes_every_record_wrong() -> None:
    data = bytearray(log_of(RECORDS))
    data[5] ^= 1
    assert (read(bytes(data)).state, read(bytes(data)).records) == ("damaged", 0)


def test_another_file_is_no_log() -> None:
    assert read(b"LAW\0" + bytes(100)).fault.startswith("does not begin like a log")
    assert read(b"wal\1" + bytes(100)).state == "damaged"
    assert read(b"wal").fault == "3 bytes are no log"
    assert read(b"").state == "damaged"


def test_a_record_that_was_never_finished_is_no_damage_but_is_said() -> None:
    """The checksum comes last: a server that died while it wrote has told nobody that the record is safe."""
    data = log_of(RECORDS[:2], 0) + struct.pack("<Q", 100) + b"half of the third"
    found = read(data.ljust(SIZE, b"\0"))
    assert (found.state, found.records) == ("unfinished", 2)


def test_something_behind_the_last_record_is_damage() -> None:
    data = bytearray(log_of(RECORDS))
    data[-100] = 1
    assert read(bytes(data)).fault.startswith("something that is no record follows")


def test_a_record_longer_than_the_file_is_damage() -> None:
    data = log_of(RECORDS, 0) + struct.pack("<Q", SIZE)
    assert "does not fit" in read(data.ljust(SIZE, b"\0")).fault


def test_a_full_file_needs_no_room_for_another_record() -> None:
    for room in (0, 4):
        data = log_of(RECORDS, len(log_of(RECORDS, 0)) + room)
        assert (read(data).state, read(data).records) == ("readable", 3)
