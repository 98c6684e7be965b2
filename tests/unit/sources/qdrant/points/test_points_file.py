"""The file of points gives back what it was given, and a damaged or hostile one is refused."""

import gzip
import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.sources.qdrant._points_file import Header, Point, PointsReader, PointsWriter, is_points

HEADER = Header(
    "docs", "1.18.3", {"params": {"vectors": {"size": 3, "distance": "Dot"}}}, {"kind": {"data_type": "keyword"}}
)

ids = st.integers(0, 2**64 - 1) | st.uuids().map(str)
dense = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5)
multi = st.integers(1, 4).flatmap(
    lambda size: st.lists(
        st.lists(st.floats(width=32, allow_nan=False), min_size=size, max_size=size), min_size=1, max_size=4
    )
)
sparse = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False)), max_size=4).map(
    lambda pairs: {"indices": [index for index, _ in pairs], "values": [value for _, value in pairs]}
)
named = st.dictionaries(st.text(min_size=1), dense | multi | sparse, max_size=3)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
points = st.fixed_dictionaries(
    {"id": ids, "vector": dense | multi | named, "payload": st.dictionaries(st.text(), values, max_size=4)},
    optional={"shard_key": st.text() | st.integers(0, 2**64 - 1)},
)


def whole(given_points: list[Point]) -> bytes:
    file = io.BytesIO()
    writer = PointsWriter(file, HEADER)
    for point in given_points:
        writer.add(point)
    writer.finish()
    return file.getvalue()


def read(data: bytes) -> list[Point]:
    return list(PointsReader(io.BytesIO(data), "points.jsonl.zst"))


def lines_of(data: bytes) -> list[bytes]:
    return zstandard.ZstdDecompressor().stream_reader(data).readall().splitlines()


def packed(lines: list[bytes]) -> bytes:
    return zstandard.ZstdCompressor().compress(b"".join(line + b"\n" for line in lines))


POINTS: list[Point] = [{"id": n, "vector": [n * 0.1, -1.5, 2.0], "payload": {"n": n}} for n in range(50)]


@given(st.lists(points, max_size=6))
def test_what_was_written_is_read_again_bit_for_bit(given_points: list[Point]) -> None:
    assert json.dumps(read(whole(given_points)), sort_keys=True) == json.dumps(given_points, sort_keys=True)


def test_the_header_and_the_tally_come_with_it() -> None:
    reader = PointsReader(io.BytesIO(whole(POINTS)), "points")
    assert reader.header == HEADER
    before = reader.tally
    assert before is None
    assert len(list(reader)) == 50
    assert reader.tally
    assert reader.tally.points == 50


def test_the_digest_of_ids_does_not_depend_on_their_order_or_spelling() -> None:
    uuid = "936da01f-9abd-4d9d-80c7-02af85c822a8"
    one, other = (PointsWriter(io.BytesIO(), HEADER) for _ in range(2))
    for point_id in (1, 2, uuid):
        one.add({"id": point_id})
    for point_id in (uuid.upper().replace("-", ""), 2, 1):
        other.add({"id": point_id})
    assert one.finish() == other.finish()


def test_a_vector_stands_as_little_endian_32_bit_numbers_in_base64() -> None:
    import base64

    line = json.loads(lines_of(whole([{"id": 7, "vector": {"a": [1.0, -2.5]}}]))[1])
    assert struct.unpack("<2f", base64.b64decode(line["vectors"]["a"])) == (1.0, -2.5)


def test_the_example_of_the_format_page_is_read() -> None:
    page = (Path(__file__).parents[5] / "docs/format.md").read_text()
    found = re.search(r"```json\n(\{\"format\":\"recoup-qdrant-points.*?)```", page, re.DOTALL)
    assert found
    (point,) = read(packed([line.encode() for line in found[1].splitlines()]))
    assert point == {"id": 1, "vector": [1.0, 2.0, 3.0], "payload": {"kind": "page"}, "shard_key": "eu"}


def test_a_file_cut_at_any_byte_is_damaged() -> None:
    data = whole(POINTS[:5])
    for length in range(len(data) - 4):  # the last four bytes are the frame's own checksum: see below
        with pytest.raises(DamagedError):
            read(data[:length])


def test_a_file_without_its_end_is_damaged() -> None:
    lines = lines_of(whole(POINTS))
    for left in range(len(lines)):
        with pytest.raises(DamagedError):
            read(packed(lines[:left]))


def test_a_missing_a_doubled_and_a_changed_point_are_noticed() -> None:
    lines = lines_of(whole(POINTS))
    changed = [*lines[:3], lines[3].replace(b'"id":2,', b'"id":99,'), *lines[4:]]
    for wrong in ([*lines[:3], *lines[4:]], [*lines[:3], lines[3], *lines[3:]], changed):
        with pytest.raises(DamagedError, match="it should hold"):
            read(packed(wrong))


@pytest.mark.parametrize("behind", [b'{"id":1}\n', b"\n", b"x"], ids=["a point", "an empty line", "a byte"])
def test_something_behind_the_end_is_noticed(behind: bytes) -> None:
    data = whole(POINTS)
    with pytest.raises(DamagedError, match="behind the end"):
        read(data + zstandard.ZstdCompressor().compress(behind))
    with pytest.raises(DamagedError):
        read(data + behind)


@pytest.mark.parametrize("at", range(1, 60, 7))
def test_a_flipped_byte_is_damage_and_nothing_else(at: int) -> None:
    data = bytearray(whole(POINTS))
    data[len(data) * at // 60] ^= 0x40
    with pytest.raises(RecoupError):
        read(bytes(data))


@pytest.mark.parametrize("wrap", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_repositorys_own_compression_around_it_is_taken_off(wrap: Callable[[bytes], bytes]) -> None:
    data = wrap(whole(POINTS))
    assert read(data) == read(whole(POINTS))
    assert is_points(io.BytesIO(data))
    for length in range(0, len(data) - 8, 97):
        with pytest.raises(DamagedError):
            read(data[:length])


def test_a_snapshot_is_told_from_a_file_of_points() -> None:
    for data in (b"", b"\0" * 1024, zstandard.compress(b"\0" * 1024), b"\x28\xb5\x2f\xfdgarbage", b"\x1f\x8bgarbage"):
        assert not is_points(io.BytesIO(data))


HOSTILE: dict[str, Any] = {
    "no object": [1, 2],
    "no id": {"vectors": {}},
    "no vectors": {"id": 1},
    "an id that is negative": {"id": -1, "vectors": {}},
    "an id that is too large": {"id": 2**64, "vectors": {}},
    "an id that is a truth value": {"id": True, "vectors": {}},
    "an id that is no UUID": {"id": "../../etc/passwd", "vectors": {}},
    "a list of vectors": {"id": 1, "vectors": ["AAAA"]},
    "a vector that is no base64": {"id": 1, "vectors": {"": "!!!!"}},
    "a vector of seven bytes": {"id": 1, "vectors": {"": "AAAAAAAAAA=="}},
    "a vector that is a number": {"id": 1, "vectors": {"": 5}},
    "a multi-vector without numbers": {"id": 1, "vectors": {"": {"rows": 10**12, "values": ""}}},
    "a multi-vector of uneven rows": {"id": 1, "vectors": {"": {"rows": 2, "values": "AAAAAAAAAAAAAAAA"}}},
    "a sparse vector of two lengths": {"id": 1, "vectors": {"s": {"indices": "AAAAAA==", "values": ""}}},
    "a payload that is a list": {"id": 1, "vectors": {}, "payload": [1]},
    "a shard key that is a list": {"id": 1, "vectors": {}, "shard_key": ["eu"]},
    "a second end": {"end": {"points": 0, "ids": "0" * 63 + "1"}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_damage(name: str) -> None:
    header, *_, end = lines_of(whole(POINTS))
    with pytest.raises(DamagedError, match="line 2"):
        read(packed([header, json.dumps(HOSTILE[name]).encode(), end]))


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"id": NaN}', b"\xff\xfe", b"", b'{"id": 1'],
    ids=["deep", "nan", "bytes", "empty", "cut"],
)
def test_a_line_that_is_no_json_is_damage(text: bytes) -> None:
    header, *_ = lines_of(whole(POINTS))
    with pytest.raises(DamagedError, match="line 2"):
        read(packed([header, text]))


def test_another_file_and_a_later_version_are_told_apart() -> None:
    for data in (b"", b"not compressed", packed([b'{"format": "other"}']), packed([b"[]"])):
        with pytest.raises(DamagedError):
            read(data)
    with pytest.raises(RefusedError, match="version 2"):
        read(packed([b'{"format": "recoup-qdrant-points", "version": 2}']))


def test_a_line_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from recoup.sources.qdrant import _points_file

    monkeypatch.setattr(_points_file, "_LONGEST", 1 << 20)
    header, *_ = lines_of(whole(POINTS))
    with pytest.raises(DamagedError, match="too long"):
        read(packed([header, b"a" * (64 << 20)]))
