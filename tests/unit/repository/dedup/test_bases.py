"""Bases: a chunk that resembles stored ones finds them without its ends, and is stored as what differs."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.repository.dedup.anchored import Table
from recoup.repository.dedup.anchors import MAX_ANCHORS, Anchors, Place, chosen
from recoup.repository.dedup.bases import Matcher
from recoup.repository.dedup.encoding import decode
from recoup.repository.dedup.rows import DELTA, MAX_BASES, Row, Rows

KEY = b"a" * 32
RUN = b"first run..."
CHUNK = 256 * 1024


def noise(seed: int, size: int = CHUNK) -> bytes:
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True)
class Stored:
    row: Row


class Shelf:
    """Stored chunks, as the matcher sees an index."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.data: dict[bytes, bytes] = {}
        self.gone: set[bytes] = set()

    def put(self, data: bytes, *, run: bytes = RUN, bases: tuple[bytes, ...] = ()) -> bytes:
        """Stores a chunk; returns its id."""
        identity = blake3.blake3(data).digest()
        anchors = () if bases else chosen(Anchors(KEY).places(data), len(data))
        encoding = DELTA if bases else 0
        number = sum(row.run == run for row in self.rows)
        self.rows.append(Row(run, number, identity, len(data), len(data) + 16, encoding, bases, anchors))
        self.data[identity] = data
        return identity

    def newest_full(self, limit: int) -> Iterator[Rows]:
        full = [row for row in reversed(self.rows) if row.encoding != DELTA and row.anchors]
        if full:
            yield Rows.of(full[:limit])

    def at(self, run: bytes, number: int) -> Stored | None:
        return next((Stored(row) for row in self.rows if (row.run, row.number) == (run, number)), None)

    def base(self, id: bytes) -> Stored | None:  # noqa: A002 - the index's name
        return next((Stored(row) for row in self.rows if row.id == id and id not in self.gone), None)

    def joined(self, ids: Sequence[bytes]) -> bytes:
        return b"".join(self.data[identity] for identity in ids)


def matched(shelf: Shelf, chunk: bytes) -> tuple[bytes, ...]:
    return Matcher(KEY, shelf).look(chunk)[1]


# --- anchors ----------------------------------------------------------------------------------------------------------


def test_a_place_depends_on_its_own_bytes_alone() -> None:
    whole = noise(1)
    before = {place.anchor: place.end for place in Anchors(KEY).places(whole)}
    after = {place.anchor: place.end for place in Anchors(KEY).places(noise(2, 70_001) + whole[50_000:])}
    common = before.keys() & after.keys()
    assert len(before) > 8
    assert common >= {anchor for anchor, end in before.items() if end > 50_200}
    assert all(after[anchor] - before[anchor] == 20_001 for anchor in common)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_finds_anchors(key: bytes) -> None:
    assert len(Anchors(key).places(noise(1, 1 << 20))) > 16  # of 64, by chance


def test_another_key_finds_other_anchors() -> None:
    anchors, others = ({place.anchor for place in Anchors(key).places(noise(1))} for key in (KEY, b"b" * 32))
    assert not anchors & others


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 1 << 20])
def test_fillings_have_no_anchors_whatever_their_length(size: int) -> None:
    assert not Anchors(KEY).places(bytes(size)) + Anchors(KEY).places((b"ab" * size)[:size])


def test_what_stands_in_every_record_of_a_chunk_is_no_place_and_hides_none() -> None:
    heads = [head for head in map(noise, range(1000), [400] * 1000) if Anchors(KEY).places(head)]
    assert heads
    records = [heads[0] + noise(5000 + i, 600) for i in range(1000)]
    chunk = b"".join(records)
    common = {place.anchor for place in Anchors(KEY).places(heads[0])}
    for places in (Anchors(KEY).places(chunk), Anchors(KEY).few(chunk)):
        assert {place.end * MAX_ANCHORS // len(chunk) for place in places} == set(range(MAX_ANCHORS))
        assert len({place.anchor for place in places} - common) > MAX_ANCHORS // 2
    assert not common & {place.anchor for place in Anchors(KEY).places(chunk)}


@pytest.mark.parametrize("seed", range(20))
def test_content_that_repeats_itself_has_hardly_any_places(seed: int) -> None:
    assert len(Anchors(KEY).places(noise(seed, 200) * 5000)) <= MAX_ANCHORS


@given(st.integers(0, 2**32), st.integers(1, 400_000))
def test_a_chunk_keeps_up_to_eight_of_its_anchors_from_all_over_it(seed: int, size: int) -> None:
    places = Anchors(KEY).places(noise(seed, size))
    kept = chosen(places, size)
    assert len(kept) <= MAX_ANCHORS
    assert set(kept) <= {place.anchor for place in places}
    assert bool(kept) == bool(places)


def test_a_place_of_each_eighth_is_found_without_reading_the_rest() -> None:
    places = {place.anchor: place.end for place in Anchors(KEY).places(noise(1, 1 << 20))}
    few = {place.anchor: place.end for place in Anchors(KEY).few(noise(1, 1 << 20))}
    assert few.items() <= places.items()
    assert sorted(end * MAX_ANCHORS >> 20 for end in few.values()) == list(range(MAX_ANCHORS))


# --- finding bases ----------------------------------------------------------------------------------------------------


def test_a_chunk_that_lost_both_its_ends_finds_its_base() -> None:
    shelf = Shelf()
    for seed in range(5):
        shelf.put(noise(seed))
    wanted = shelf.put(noise(9))
    for seed in range(20, 25):
        shelf.put(noise(seed))
    assert matched(shelf, noise(50, 20_000) + noise(9)[30_000:-30_000] + noise(51, 20_000)) == (wanted,)


def test_a_chunk_with_rows_deleted_here_and_there_becomes_small_against_the_chunks_that_it_spans() -> None:
    rows = [noise(i, 1024) for i in range(1600)]
    shelf = Shelf()
    stored = [shelf.put(b"".join(rows[i : i + 256])) for i in range(0, 1536, 256)]
    kept = random.Random(3)
    chunk = b"".join(row for row in rows[300:1100] if kept.random() > 0.2)
    bases = matched(shelf, chunk)
    assert bases == tuple(stored[1:5])
    packed = Matcher.delta(chunk, [shelf.joined(bases)])
    assert len(packed) < 0.02 * len(chunk)
    assert decode(DELTA, packed, len(chunk), shelf.joined(bases)) == chunk


def test_a_stretch_without_anchors_of_its_own_is_covered_by_the_neighbour_of_a_base() -> None:
    shelf = Shelf()
    first, second, third = (shelf.put(noise(seed)) for seed in (1, 2, 3))
    shelf.rows = [
        Row(row.run, row.number, row.id, row.length, row.stored, 0, (), row.anchors if row.id == second else ())
        for row in shelf.rows
    ]
    assert matched(shelf, noise(1)[-100_000:] + noise(2) + noise(3)[:100_000]) == (first, second, third)


def test_neighbours_of_other_runs_are_none() -> None:
    shelf = Shelf()
    shelf.put(noise(1), run=b"another run.")
    second = shelf.put(noise(2))
    shelf.rows = [row for row in shelf.rows if row.id == second]
    assert matched(shelf, noise(1)[-100_000:] + noise(2)) == (second,)


def test_a_chunk_stored_against_bases_is_never_a_base() -> None:
    shelf = Shelf()
    first = shelf.put(noise(1))
    shelf.put(noise(2), bases=(first,))
    matcher = Matcher(KEY, shelf)
    matcher.add(shelf.rows)
    chunk = noise(1)[-200_000:] + noise(2)
    assert matcher.look(chunk)[1] == (first,)


def test_a_chunk_that_a_writer_may_not_refer_to_is_no_base() -> None:
    shelf = Shelf()
    shelf.gone = {shelf.put(noise(1))}
    assert matched(shelf, noise(1)[1000:]) == ()


def test_new_content_has_no_base_but_gets_anchors_by_which_it_is_found_within_the_same_run() -> None:
    shelf = Shelf()
    shelf.put(noise(1))
    matcher = Matcher(KEY, shelf)
    anchors, bases = matcher.look(noise(2))
    assert anchors
    assert bases == ()
    wanted = shelf.put(noise(2))
    matcher.add(shelf.rows[-1:])
    assert matcher.look(noise(2)[5000:])[1] == (wanted,)


def test_what_is_small_anyway_is_not_stored_against_bases() -> None:
    shelf = Shelf()
    shelf.put(noise(1))
    assert Matcher(KEY, shelf).look(noise(1)[40_000:44_000])[1] == ()


def test_text_that_occurs_everywhere_does_not_push_the_right_base_out() -> None:
    common = noise(0, 40_000)
    shelf = Shelf()
    chunks = [noise(seed, 200_000) + common for seed in range(1, 30)]
    stored = [shelf.put(chunk) for chunk in chunks]
    assert matched(shelf, chunks[7][10_000:]) == (stored[7],)


def test_there_are_never_more_bases_than_the_format_allows() -> None:
    shelf = Shelf()
    pieces = [noise(seed, 100_000) for seed in range(12)]
    for seed, piece in enumerate(pieces, 100):
        shelf.put(noise(seed, 100_000) + piece)
    assert 1 < len(matched(shelf, b"".join(pieces)[: 1 << 20])) <= MAX_BASES


def test_only_the_newest_chunks_are_looked_at_and_those_of_the_run_push_old_ones_out() -> None:
    shelf = Shelf()
    old, middle = shelf.put(noise(1)), shelf.put(noise(2))
    matcher = Matcher(KEY, shelf, limit=2)
    assert [matcher.look(noise(seed)[9:])[1] for seed in (1, 2)] == [(old,), (middle,)]
    for seed in (3, 4):
        shelf.put(noise(seed))
        matcher.add(shelf.rows[-1:])
    found = [matcher.look(noise(seed)[9:])[1] for seed in (1, 2, 3, 4)]
    assert found[:2] == [(), ()]
    assert all(found[2:])


def test_many_packs_of_one_run_are_all_found_by_several_threads() -> None:
    shelf = Shelf()
    matcher = Matcher(KEY, shelf)
    chunks = [noise(seed, 150_000) for seed in range(24)]
    ids = list[bytes]()
    with ThreadPoolExecutor(2) as pool:
        for i in range(0, 24, 3):
            ids += [shelf.put(chunk) for chunk in chunks[i : i + 3]]
            matcher.add(shelf.rows[-3:])
            found = pool.map(lambda chunk: matcher.look(chunk[3000:])[1], chunks[: i + 3])
            assert all(identity in bases for identity, bases in zip(ids, found, strict=True))


_rows = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=40)
@given(st.lists(_rows, min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 6))
def test_tables_lead_from_anchors_to_the_newest_chunks_that_have_them(
    several: list[list[list[int]]], newest: int, anchor: int
) -> None:
    blocks = [
        [
            Row(bytes([b]) * 12, i, bytes([b, i]) * 16, 1000, 1016, 0, (), tuple(anchors))
            for i, anchors in enumerate(block)
        ]
        for b, block in enumerate(several)
    ]
    table = Table.joined([Table.of(Rows.of(block)) for block in blocks]).newest(newest)
    rows = [row for block in blocks for row in block][:newest]
    wanted = [
        (row.id, row.run, row.number, (order + 0.5) / min(len(row.anchors), MAX_ANCHORS))
        for row in rows
        for order, found in enumerate(row.anchors[:MAX_ANCHORS])
        if found == anchor
    ]
    hits = list(table.hits([Place(77, anchor)]))
    assert [(hit.base.id, hit.base.run, hit.base.number, hit.share) for hit in hits] == wanted[: len(hits)]
    assert len(hits) == min(len(wanted), 8)
    assert len(table) == len(rows)


# --- deltas -----------------------------------------------------------------------------------------------------------


def test_a_delta_that_saves_little_is_not_kept() -> None:
    chunk = noise(1)[: CHUNK // 2] + noise(2)[: CHUNK // 2]
    packed = Matcher.delta(chunk, [noise(1)])
    assert CHUNK // 2 < len(packed) < CHUNK // 2 + 200
    assert Matcher.saves(len(packed), 1, CHUNK)
    assert not Matcher.saves(len(packed), 1, CHUNK * 4 // 5)


def test_the_ids_of_bases_count_against_a_delta() -> None:
    assert Matcher.saves(100, 1, 400)
    assert not Matcher.saves(100, 8, 400)


@pytest.mark.parametrize("size", [4096, 1 << 20, (1 << 20) + 1, 3 << 20, 8 << 20])
def test_bases_of_every_size_are_used_from_their_first_byte_on(size: int) -> None:
    base = noise(5, size)
    chunk = base[:2048] + noise(6, 512) + base[-1500:]
    packed = Matcher.delta(chunk, [base])
    assert len(packed) < 700
    assert decode(DELTA, packed, len(chunk), base) == chunk


@settings(max_examples=40)
@given(st.data())
def test_whatever_was_edited_comes_back_from_its_delta(data: st.DataObject) -> None:
    base = noise(1, 50_000)
    chunk = bytearray(base)
    for _ in range(data.draw(st.integers(0, 8))):
        place, length = data.draw(st.integers(0, len(chunk))), data.draw(st.integers(0, 3000))
        chunk[place : place + length] = data.draw(st.binary(max_size=300))
    packed = Matcher.delta(bytes(chunk), [base])
    assert decode(DELTA, packed, len(chunk), base) == bytes(chunk)
