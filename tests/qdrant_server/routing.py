"""Which shard a point belongs to: the ring of hashes by which Qdrant routes ids, over the shards' ids.

Each shard stands at 100 places of the ring (SipHash 2-4 with an all-zero key, of shard id and counter); a point belongs to the
first place at or after its own hash. So the same number of shards with other ids sends the same points elsewhere.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

_PLACES = 100
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)

_Words = NDArray[np.uint64]


def _rotated(value: _Words, bits: int) -> _Words:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


def _rounds(state: tuple[_Words, _Words, _Words, _Words], count: int) -> tuple[_Words, _Words, _Words, _Words]:
    a, b, c, d = state
    for _ in range(count):
        a, c = a + b, c + d
        b, d = _rotated(b, 13) ^ a, _rotated(d, 16) ^ c
        a, c = _rotated(a, 32) + d, c + b
        b, d = _rotated(b, 17) ^ c, _rotated(d, 21) ^ a
        c = _rotated(c, 32)
    return a, b, c, d


def _siphash(columns: Sequence[_Words], length: int) -> _Words:
    """SipHash 2-4 of many messages at once.

    Args:
        columns: the messages' words of eight bytes, the first words of all messages first.
        length: bytes of each message, a multiple of eight.
    """
    size = columns[0].shape
    state = tuple(np.full(size, word, np.uint64) for word in _START)
    for word in (*columns, np.full(size, (length & 0xFF) << 56, np.uint64)):
        a, b, c, d = _rounds((state[0], state[1], state[2], state[3] ^ word), 2)
        state = (a ^ word, b, c, d)
    a, b, c, d = _rounds((state[0], state[1], state[2] ^ np.uint64(0xFF), state[3]), 4)
    return a ^ b ^ c ^ d


@lru_cache(maxsize=256)
def _ring(shards: tuple[int, ...]) -> tuple[_Words, NDArray[np.int64]]:
    owners = np.repeat(np.array(shards, np.int64), _PLACES)
    counters = np.tile(np.arange(_PLACES, dtype=np.uint64), len(shards))
    places = _siphash([owners.astype(np.uint64) | (counters << np.uint64(32))], 8)
    order = np.argsort(places, kind="stable")
    return places[order], owners[order]


def _hashes(ids: Sequence[int | str]) -> _Words:
    found = np.zeros(len(ids), np.uint64)
    numbers = [place for place, point in enumerate(ids) if isinstance(point, int)]
    texts = [place for place, point in enumerate(ids) if not isinstance(point, int)]
    if numbers:
        values = np.array([ids[place] for place in numbers], np.uint64)
        found[numbers] = _siphash([np.zeros_like(values), values], 16)
    if texts:
        halves = np.frombuffer(b"".join(UUID(str(ids[place])).bytes for place in texts), "<u8").reshape(-1, 2)
        ones = np.ones(len(texts), np.uint64)
        found[texts] = _siphash([ones, ones * np.uint64(16), halves[:, 0], halves[:, 1]], 32)
    return found


def shards_of(ids: Sequence[int | str], shards: Iterable[int]) -> list[int]:
    """The shard of each id.

    Args:
        ids: point ids: numbers, or UUIDs as text.
        shards: ids of the shards to choose from: all of the collection, or all of one shard key.
    """
    places, owners = _ring(tuple(sorted(shards)))
    at = np.searchsorted(places, _hashes(ids)) % len(places)
    return [int(owner) for owner in owners[at]]
