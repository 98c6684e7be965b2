"""Ids of points: one spelling, one digest, one random order."""

import uuid
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.sources._point_ids import MODULUS, Choice, IdDigest, canonical_id, rank

IDS = st.one_of(st.integers(0, (1 << 64) - 1), st.uuids())


@given(st.uuids())
def test_every_spelling_of_a_uuid_is_one_id(found: uuid.UUID) -> None:
    spellings = [str(found), str(found).upper(), found.hex, f"{{{found}}}", f"urn:uuid:{found}", found]
    assert {canonical_id(one) for one in spellings} == {str(found)}


@pytest.mark.parametrize("found", [-1, 1 << 64, 1.0, True, None, "x", "", b"1", "12", [1]])
def test_what_is_no_id_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match=r"neither a number|badly formed"):
        canonical_id(found)


@given(st.lists(IDS, max_size=20))
def test_a_digest_does_not_depend_on_the_order_and_those_of_parts_add_up(ids: list[object]) -> None:
    whole, first, second = IdDigest(), IdDigest(), IdDigest()
    for place, one in enumerate(ids):
        whole.add(one)
        (first if place % 2 else second).add(one)
    turned = IdDigest()
    for one in reversed(ids):
        turned.add(one)
    assert (turned.hex(), turned.count) == (whole.hex(), len(ids))
    assert (int(first.hex(), 16) + int(second.hex(), 16)) % MODULUS == int(whole.hex(), 16)


def test_a_digest_is_the_sum_of_the_hashes_of_the_ids_as_text() -> None:
    digest = IdDigest()
    digest.add(5)
    assert digest.hex() == sha256(b"5").hexdigest()
    assert IdDigest().hex() == "0" * 64


@given(st.sets(st.integers(0, 1000), max_size=60), st.integers(0, 5), st.integers(1, 10), st.integers(1, 70))
def test_the_lowest_ranks_are_chosen_whatever_the_order(ids: set[int], seed: int, size: int, page: int) -> None:
    texts = [str(one) for one in ids]
    expected = sorted(texts, key=lambda text: rank(seed, text))[:size]
    one_by_one, in_pages, merged = Choice(seed, size), Choice(seed, size), Choice(seed, size)
    for text in texts:
        one_by_one.add(text)
    backwards = texts[::-1]
    for begin in range(0, len(texts), page):
        part = Choice(seed, size + 1)
        for choice in (in_pages, part):
            choice.add_texts(backwards[begin : begin + page])
        merged.merge(part)
    assert one_by_one.chosen == in_pages.chosen == merged.chosen == expected


def test_an_id_that_is_offered_twice_is_kept_twice() -> None:
    choice = Choice(1, 3)
    choice.add_texts(["1", "1"])
    choice.add("2")
    assert sorted(choice.chosen) == ["1", "1", "2"]
