"""Rows that a server writes anew in another order are found in the chunks where they were."""

import random
from collections.abc import Sequence

import pytest

from recoup.repository.dedup.bases import Matcher
from recoup.repository.dedup.encoding import decode
from recoup.repository.dedup.rows import DELTA, MAX_BASES, MAX_DICTIONARY
from unit.repository.dedup.test_bases import KEY, Shelf, noise

ROW = 1536  # bytes: 384 numbers of 4 bytes
IN_CHUNK = 170


def rows(first: int, count: int) -> list[bytes]:
    return [noise(n, ROW) for n in range(first, first + count)]


def stored(shelf: Shelf, content: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(shelf.put(b"".join(content[i : i + IN_CHUNK])) for i in range(0, len(content), IN_CHUNK))


def shuffled(content: Sequence[bytes], seed: int = 1) -> bytes:
    return b"".join(random.Random(seed).sample(content, len(content)))


def test_a_chunk_of_rows_in_another_order_becomes_small_against_the_chunks_in_which_they_were() -> None:
    shelf, old = Shelf(), rows(0, 12 * IN_CHUNK)
    others = stored(shelf, rows(100_000, 5 * IN_CHUNK))
    where = stored(shelf, old)
    chunk = shuffled([*random.Random(2).sample(old, 300), *rows(200_000, 100)])
    bases = Matcher(KEY, shelf).look(chunk)[1]
    assert set(bases) >= set(where)
    assert len(set(bases) & set(others)) <= 2  # what lies beside the first one, for all one knows
    packed = Matcher.delta(chunk, [shelf.joined(bases)])
    assert len(packed) < 0.3 * len(chunk)
    assert decode(DELTA, packed, len(chunk), shelf.joined(bases)) == chunk


def test_the_chunks_behind_it_need_but_one_row_that_is_found() -> None:
    shelf, old = Shelf(), rows(0, 8 * IN_CHUNK)
    where = stored(shelf, old)
    matcher = Matcher(KEY, shelf)
    order = random.Random(3).sample(old, len(old))
    small = next(
        b"".join(order[i : i + 20])
        for i in range(400, len(order), 20)
        if len(Matcher(KEY, shelf).look(b"".join(order[i : i + 20]))[1]) == 1
    )
    assert set(matcher.look(b"".join(order[:400]))[1]) == set(where)
    assert set(matcher.look(small)[1]) == set(where)


def test_content_that_follows_the_stored_one_is_stored_against_what_it_follows_alone() -> None:
    shelf, old = Shelf(), rows(0, 12 * IN_CHUNK)
    where = stored(shelf, old)
    matcher = Matcher(KEY, shelf)
    assert len(matcher.look(shuffled(old[: 3 * IN_CHUNK]))[1]) > 2
    assert matcher.look(b"".join(old[8 * IN_CHUNK + 50 : 10 * IN_CHUNK - 50]))[1] == where[8:10]


def test_rows_of_more_chunks_than_help_have_at_most_eight_bases() -> None:
    shelf, old = Shelf(), rows(0, 60 * IN_CHUNK)
    stored(shelf, old)
    assert len(Matcher(KEY, shelf).look(shuffled(random.Random(4).sample(old, 300)))[1]) <= 8


@pytest.mark.parametrize(("size", "count"), [(4, 280), (400, 600)])
def test_bases_are_never_more_than_the_format_allows(size: int, count: int) -> None:
    shelf, old = Shelf(), rows(0, 1500)
    for i in range(0, len(old), size):
        shelf.put(b"".join(old[i : i + size]))
    bases = Matcher(KEY, shelf).look(shuffled(old[:count]))[1]
    assert 0 < len(bases) <= MAX_BASES
    assert len(shelf.joined(bases)) <= MAX_DICTIONARY


def test_a_chunk_that_a_writer_may_not_refer_to_is_left_out() -> None:
    shelf, old = Shelf(), rows(0, 8 * IN_CHUNK)
    where = stored(shelf, old)
    shelf.gone = {where[3]}
    assert set(Matcher(KEY, shelf).look(shuffled(old[: 4 * IN_CHUNK]))[1]).isdisjoint(shelf.gone)
