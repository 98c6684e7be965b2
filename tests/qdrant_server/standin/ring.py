"""Which shard a point belongs to: a hash ring over the shard ids, so that other ids lead elsewhere."""

import hashlib
from bisect import bisect
from collections.abc import Sequence
from functools import lru_cache

_PLACES = 100
"""How often each shard stands on the ring."""


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=256)
def _ring(shards: tuple[int, ...]) -> tuple[list[int], list[int]]:
    places = sorted((_hash(f"shard {shard} place {place}"), shard) for shard in shards for place in range(_PLACES))
    return [place for place, _ in places], [shard for _, shard in places]


def shard_of(point: int | str, shards: Sequence[int]) -> int:
    """The id of the shard that keeps a point.

    Args:
        point: the point's id.
        shards: ids to choose from; at least one.
    """
    if len(shards) == 1:
        return shards[0]
    places, owners = _ring(tuple(sorted(shards)))
    return owners[bisect(places, _hash(f"point {point}")) % len(owners)]
