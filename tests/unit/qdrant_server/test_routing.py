"""Points go to the shards where a real server put them."""

from collections import Counter

import pytest

from qdrant_server.routing import shards_of


@pytest.mark.parametrize(
    ("ids", "shards", "expected"),
    [
        (range(1600), [0, 1], {0: 833, 1: 767}),
        (range(900), [0, 1, 2], {0: 282, 1: 318, 2: 300}),
        (range(10), [1, 2], {1: 2, 2: 8}),
        (range(100, 110), [3, 4], {3: 5, 4: 5}),
        (range(200, 210), [5, 6], {5: 7, 6: 3}),
    ],
)
def test_numbers_are_spread_as_a_real_server_spread_them(
    ids: range, shards: list[int], expected: dict[int, int]
) -> None:
    assert Counter(shards_of(list(ids), shards)) == expected


def test_a_uuid_goes_to_the_same_shard_whichever_way_it_is_written() -> None:
    written = ["550e8400-e29b-41d4-a716-446655440000", "550E8400E29B41D4A716446655440000"]
    assert len(set(shards_of(written, range(40)))) == 1


def test_the_same_number_of_shards_with_other_ids_sends_points_elsewhere() -> None:
    ids = list(range(100))
    assert [shard - 2 for shard in shards_of(ids, [3, 4])] != shards_of(ids, [1, 2])
