"""The encodings of chunks: what is written comes back, the smallest way is found, and nothing hostile is believed."""

import contextlib
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.repository.dedup.encoding import RAW, ZSTD, Encoder, decode
from recoup.repository.dedup.rows import DELTA, MAX_DICTIONARY

TEXT = b"".join(b"%d\tthe %d. line of a table that is dumped\n" % (i, i * 7919 % 1000) for i in range(6000))
NOISE = random.Random(1).randbytes(200_001)


def vectors(kind: str = "<f4", seed: int = 1) -> bytes:
    """Normalised embeddings of 256 numbers each."""
    rows = np.random.default_rng(seed).standard_normal((200, 256))
    unit: np.ndarray[Any, Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(kind).tobytes()


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400))
def test_what_was_encoded_comes_back(piece: bytes, times: int) -> None:
    chunk = piece * times
    encoding, data = Encoder().encode(chunk)
    assert decode(encoding, data, len(chunk)) == chunk


@pytest.mark.parametrize(
    ("chunk", "encodings"),
    [
        pytest.param(TEXT, {ZSTD}, id="text"),
        pytest.param(vectors("<f4"), {4}, id="float32"),
        pytest.param(vectors("<f2"), {2}, id="float16"),
        pytest.param(vectors("<f4")[3:], {4}, id="float32 from the middle of a number"),
        pytest.param(np.arange(70_000, dtype="<u4").tobytes(), {2, 4}, id="numbers that count up"),
        pytest.param(NOISE, {RAW}, id="noise"),
    ],
)
def test_content_of_each_kind_gets_the_encoding_that_suits_it(chunk: bytes, encodings: set[int]) -> None:
    encoding, data = Encoder().encode(memoryview(chunk))
    assert encoding in encodings
    assert decode(encoding, data, len(chunk)) == chunk


def test_vectors_become_much_smaller_in_planes_than_by_zstd_alone() -> None:
    chunk = vectors()
    assert len(Encoder().encode(chunk)[1]) < 0.92 * len(zstandard.compress(chunk, 3))


def test_what_nothing_shrinks_is_stored_without_a_copy() -> None:
    encoding, data = Encoder().encode(NOISE)
    assert (encoding, data is NOISE) == (RAW, True)


def test_an_extent_whose_content_changes_gets_another_encoding_from_the_second_chunk_on() -> None:
    encoder = Encoder()
    assert [encoder.encode(chunk)[0] for chunk in (TEXT, TEXT, vectors(), vectors(), NOISE, NOISE, TEXT, TEXT)][
        1::2
    ] == [
        ZSTD,
        4,
        RAW,
        ZSTD,
    ]


def test_one_encoder_serves_several_threads() -> None:
    encoder, chunks = Encoder(), [TEXT, vectors(), NOISE] * 20
    with ThreadPoolExecutor(4) as pool:
        for chunk, (encoding, data) in zip(chunks, pool.map(encoder.encode, chunks), strict=True):
            assert decode(encoding, data, len(chunk)) == chunk


def test_chunks_of_few_bytes_are_divided_into_planes_of_unequal_length() -> None:
    frame = zstandard.compress(b"ae")
    planes = (
        struct.pack("<I", len(frame)) + frame + b"".join(struct.pack("<I", 1 << 31 | 1) + x for x in (b"b", b"c", b"d"))
    )
    assert decode(4, planes, 5) == b"abcde"


def _delta(chunk: bytes, base: bytes) -> bytes:
    dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary).compress(chunk)


def test_a_chunk_stored_against_bases_comes_back_by_them_alone() -> None:
    chunk = NOISE[1000:150_000]
    data = _delta(chunk, NOISE)
    assert len(data) < 200
    assert decode(DELTA, data, len(chunk), NOISE) == chunk
    with pytest.raises(DamagedError):
        decode(DELTA, data, len(chunk), NOISE[:5000])


@pytest.mark.parametrize("size", [0, MAX_DICTIONARY + 1])
def test_a_delta_without_bases_or_with_too_large_ones_is_refused(size: int) -> None:
    with pytest.raises(DamagedError, match="bases"):
        decode(DELTA, _delta(TEXT, TEXT), len(TEXT), bytes(size))


@pytest.mark.parametrize("encoding", [3, 5, 16, 18, 255])
def test_an_unknown_encoding_is_refused_and_not_called_damage(encoding: int) -> None:
    with pytest.raises(RefusedError, match=f"encoding {encoding}"):
        decode(encoding, b"x", 1)


@pytest.mark.parametrize("length", [0, (1 << 20) + 1, (1 << 32) - 1])
def test_a_length_that_no_chunk_has_is_refused_before_memory_is_taken(length: int) -> None:
    with pytest.raises(DamagedError, match="cannot have"):
        decode(ZSTD, zstandard.compress(b"x"), length)


def test_a_frame_that_grows_beyond_the_chunk_or_does_not_say_its_length_is_refused() -> None:
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(TEXT)
    for frame in (
        zstandard.compress(bytes(1 << 26)),
        silent,
        zstandard.compress(TEXT) + b"x",
        zstandard.compress(TEXT)[:-1],
    ):
        with pytest.raises(DamagedError):
            decode(ZSTD, frame, len(TEXT))


@pytest.mark.parametrize(
    "planes",
    [
        pytest.param(b"", id="none"),
        pytest.param(struct.pack("<I", 1 << 31 | 3) + b"abc", id="only one"),
        pytest.param(struct.pack("<I", 1 << 31 | 3) + b"abc" + struct.pack("<I", 1 << 31 | 4) + b"defg", id="too long"),
        pytest.param(struct.pack("<I", 1 << 31 | 3) + b"abc" + struct.pack("<I", 1 << 31 | 3) + b"de", id="cut short"),
        pytest.param(struct.pack("<I", 0x7FFFFFFF) + b"abc", id="beyond all there is"),
        pytest.param((struct.pack("<I", 1 << 31 | 3) + b"abc") * 3, id="one too many"),
    ],
)
def test_planes_that_do_not_make_the_chunk_are_refused(planes: bytes) -> None:
    with pytest.raises(DamagedError):
        decode(2, planes, 6)


@given(st.integers(0, 255), st.binary(max_size=200), st.integers(0, 1 << 21), st.binary(max_size=50))
def test_whatever_is_stored_gives_a_chunk_of_that_length_or_a_typed_error(
    encoding: int, data: bytes, length: int, base: bytes
) -> None:
    with contextlib.suppress(RecoupError):
        assert len(decode(encoding, data, length, base)) == length


@given(st.data())
def test_a_stored_chunk_that_was_changed_gives_bytes_of_its_length_or_a_typed_error(data: st.DataObject) -> None:
    chunk = data.draw(st.sampled_from([TEXT[:20_000], vectors()[:20_001], vectors("<f2")[:9_999]]))
    encoding, stored = Encoder().encode(chunk)
    broken = bytearray(stored)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(broken) - 1, 64)) | st.integers(0, len(broken) - 1))
        broken[place] ^= data.draw(st.integers(1, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)) | st.just(len(broken)))])
    with contextlib.suppress(RecoupError):
        assert len(decode(encoding, cut, len(chunk))) == len(chunk)
