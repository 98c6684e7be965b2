"""Streams are cut by their content alone, in memory that does not grow."""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from recoup.errors import RecoupError
from recoup.repository.dedup.cutting import AVERAGE, GAP, LONGEST, SHORTEST, Cutter, Piece, Slabs, chunker
from unit.repository.dedup.cut_streams import SEED, Cut, cut, noise, small_slabs

NOISE = noise(6 << 20)

Step = tuple[str, int]
lengths = st.one_of(
    st.integers(0, 3 << 20),
    st.integers(0, 3 * GAP),
    st.sampled_from([1, SHORTEST - 1, SHORTEST, SHORTEST + 1, LONGEST, LONGEST + 1, 2 * LONGEST]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), lengths),
        st.tuples(st.just("zeros"), lengths),
        st.tuples(st.just("hole"), st.integers(0, 3 * GAP)),
        st.tuples(st.just("boundary"), st.just(0)),
    ),
    max_size=6,
)


def whole(step: Step) -> bytes:
    return NOISE[step[1] % 97 :][: step[1]] if step[0] == "write" else bytes(step[1])


def expected(script: Sequence[Step]) -> list[bytes | int]:
    """Chunks and gaps of a script by cutting each extent in one go."""
    parts: list[bytes | int] = []
    extent, hole = b"", 0

    def end_extent() -> None:
        nonlocal extent
        parts.extend(bytes(chunk.data) for chunk in plain_chunker().cut_buf(extent))
        extent = b""

    def end_hole() -> None:
        nonlocal extent, hole
        if hole >= GAP:
            end_extent()
            parts.append(hole)
        else:
            extent += bytes(hole)
        hole = 0

    for step in [*script, ("boundary", 0)]:
        if step[0] == "hole":
            hole += step[1]
        elif step[0] == "boundary":
            end_hole()
            end_extent()
        elif step[1]:
            end_hole()
            extent += whole(step)
    return parts


def no_gap(length: int) -> None:
    pytest.fail(f"a gap of {length} bytes")


def plain_chunker() -> FastCDC:
    return FastCDC(AVERAGE, min_size=SHORTEST, max_size=LONGEST, normalized_chunking=1, seed=SEED)


@settings(max_examples=40)
@given(steps, st.data())
def test_cuts_do_not_depend_on_how_a_stream_was_written(script: list[Step], data: st.DataObject) -> None:
    cut = Cut()
    cutter = cut.cutter()
    for step in script:
        if step[0] == "boundary":
            cutter.boundary()
            continue
        places = data.draw(st.lists(st.integers(0, step[1]), max_size=4).map(sorted))
        ends = [*places, step[1]]
        for begin, end in zip([0, *places], ends, strict=True):
            if step[0] == "hole":
                cutter.hole(end - begin)
            else:
                cutter.write(memoryview(whole(step))[begin:end])
    cutter.finish()
    assert cut.parts == expected(script)


def test_the_same_bytes_are_cut_the_same_one_by_one() -> None:
    data = NOISE[: SHORTEST + 5000]
    found = Cut()
    cutter = found.cutter(tar=True)
    for number in range(len(data)):
        cutter.write(data[number : number + 1])
    cutter.finish()
    assert found.parts == cut(data).parts
    assert len(found.parts) == 1


def test_cuts_are_those_that_the_repositories_of_other_versions_have() -> None:
    """Other cuts would make every chunk of every repository new."""
    assert [len(chunk) for chunk in cut(NOISE).chunks[:8]] == PINNED


PINNED = [271343, 425566, 440888, 347918, 274562, 263968, 74852, 93151]


def test_any_seed_of_64_bits_cuts_and_only_its_lower_48_bits_matter() -> None:
    def lengths_of(seed: int) -> list[int]:
        return [chunk.length for chunk in chunker(seed).cut_buf(NOISE)]

    assert lengths_of((1 << 64) - 1) == lengths_of((1 << 48) - 1)
    assert lengths_of(SEED ^ 1 << 63) == lengths_of(SEED)
    assert len({tuple(lengths_of(seed)) for seed in (0, 1, SEED, SEED ^ 1, SEED ^ 1 << 40, SEED ^ 1 << 47)}) == 6


def test_a_change_in_the_middle_leaves_the_chunks_around_it() -> None:
    before = cut(NOISE).chunks
    after = cut(NOISE[: 3 << 20] + b"more" + NOISE[3 << 20 :]).chunks
    assert len(set(after) - set(before)) <= 3
    assert after[0] == before[0]
    assert after[-1] == before[-1]


@pytest.mark.parametrize("length", [GAP - 1, GAP])
def test_a_hole_is_a_gap_when_it_is_long_enough_and_zero_bytes_else(length: int) -> None:
    found = Cut()
    cutter = found.cutter()
    cutter.write(b"before")
    cutter.hole(length)
    cutter.write(b"behind")
    cutter.finish()
    assert found.parts == ([b"before", GAP, b"behind"] if length == GAP else [b"before" + bytes(length) + b"behind"])
    assert found.extents == [part for part in found.parts if isinstance(part, bytes)]


def test_a_stream_of_nothing_but_a_hole_of_any_length_is_one_gap() -> None:
    found = Cut()
    cutter = found.cutter(tar=True)
    cutter.hole(1 << 60)
    cutter.finish()
    assert found.parts == [1 << 60]


def test_an_empty_stream_has_no_chunk() -> None:
    assert cut(b"").parts == []


def test_extents_begin_at_boundaries_and_two_of_these_make_no_empty_one() -> None:
    found = Cut()
    cutter = found.cutter()
    cutter.boundary()
    cutter.write(NOISE[:5000])
    cutter.boundary()
    cutter.boundary()
    cutter.write(NOISE[: 3 << 20])
    cutter.finish()
    assert found.extents == [NOISE[:5000], NOISE[: 3 << 20]]


def test_a_file_is_read_from_where_it_stands_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(NOISE)
    found = Cut()
    cutter = found.cutter()
    with path.open("rb", buffering=0) as file:
        file.seek(100)
        assert cutter.read_from(file.fileno(), 3 << 20) == 3 << 20
        assert cutter.read_from(file.fileno(), len(NOISE)) == len(NOISE) - (3 << 20) - 100
        assert cutter.read_from(file.fileno(), 1) == 0
    cutter.finish()
    assert found.parts == cut(NOISE[100:]).parts


def test_a_pipe_is_read_though_it_gives_little_at_a_time() -> None:
    reading, writing = os.pipe()

    def fill() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(NOISE[: 3 << 20])

    thread = threading.Thread(target=fill)
    thread.start()
    found = Cut()
    cutter = found.cutter()
    with os.fdopen(reading, "rb") as file:
        assert cutter.read_from(file.fileno(), 1 << 40) == 3 << 20
    thread.join()
    cutter.finish()
    assert found.parts == cut(NOISE[: 3 << 20]).parts


def test_buffers_are_used_again_only_when_their_pieces_were_released() -> None:
    """The consumer gives back the oldest piece when the cutter asks for room, as a pipeline does that stores in order."""
    kept: list[tuple[Piece, bytes]] = []
    released: list[bytes] = []

    def give_back() -> None:
        piece, seen = kept.pop(0)
        assert bytes(piece.buffer) == seen
        released.append(seen)
        piece.release()

    slabs = Slabs(3, 2 * LONGEST, wait=give_back)
    cutter = Cutter(SEED, lambda piece: kept.append((piece, bytes(piece.buffer))), no_gap, slabs=slabs)
    for number in range(5):
        cutter.write(NOISE[number:])
    cutter.finish()
    while kept:
        give_back()
    assert b"".join(released) == b"".join(NOISE[number:] for number in range(5))
    assert slabs._made == 3
    assert len(slabs._free) == 3


def test_a_cutter_waits_for_the_thread_that_releases_pieces() -> None:
    given = threading.Semaphore(0)
    pieces: list[Piece] = []
    content: list[bytes] = []

    def take(piece: Piece) -> None:
        pieces.append(piece)
        given.release()

    def consume() -> None:
        while given.acquire() and (piece := pieces.pop(0)).cuts != (0, 1):
            content.append(bytes(piece.buffer))
            piece.release()

    thread = threading.Thread(target=consume)
    thread.start()
    cutter = Cutter(SEED, take, no_gap, slabs=small_slabs())
    cutter.write(NOISE)
    cutter.boundary()
    cutter.write(b"!")
    cutter.finish()
    thread.join()
    assert b"".join(content) == NOISE


def test_a_piece_cannot_be_read_after_its_release_and_is_released_once() -> None:
    slabs = small_slabs()
    pieces: list[Piece] = []
    cutter = Cutter(SEED, pieces.append, no_gap, slabs=slabs)
    cutter.write(b"some")
    cutter.boundary()
    cutter.write(b"more")
    cutter.finish()
    pieces[0].release()
    pieces[0].release()
    assert slabs._free == []  # the other piece lies there too
    assert bytes(pieces[1].buffer) == b"more"
    pieces[1].release()
    assert len(slabs._free) == 1
    with pytest.raises(ValueError, match="released"):
        bytes(pieces[0].buffer)


def test_an_aborted_stream_gives_its_buffer_back_and_hands_on_nothing_more() -> None:
    slabs = small_slabs()
    found = Cut()
    cutter = found.cutter(slabs=slabs)
    cutter.write(NOISE[: SHORTEST - 1])
    cutter.abort()
    cutter.abort()
    assert found.parts == []
    assert len(slabs._free) == slabs._made == 1


def test_buffers_too_small_for_a_chunk_and_its_follower_are_refused() -> None:
    with pytest.raises(ValueError, match="two slabs"):
        Slabs(1)
    with pytest.raises(ValueError, match="two slabs"):
        Slabs(2, LONGEST)


def test_a_hole_of_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Cut().cutter().hole(-1)


def test_without_its_compiled_part_pyfastcdc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyfastcdc"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyfastcdc.cy", None)
    with pytest.raises(RecoupError, match="compiled part of pyfastcdc") as caught:
        chunker(1)
    assert "pip install" in caught.value.hint
