"""Ids of points: one spelling for each, a digest of many that does not depend on their order, and a fair choice among them."""

import heapq
from hashlib import sha256
from uuid import UUID

MODULUS = 1 << 256
"""Digests are sums of SHA-256 modulo this, so that those of shards can be added up."""


def canonical_id(found: object) -> str:
    """A point's id as text.

    Raises:
        ValueError: it is neither a number of 64 bits nor a UUID.
    """
    if type(found) is int and 0 <= found < 1 << 64:
        return str(found)
    if type(found) is str:
        return str(UUID(found))
    if type(found) is UUID:
        return str(found)
    raise ValueError("its id is neither a number nor a UUID")


class IdDigest:
    """Counts ids, and adds up their SHA-256."""

    def __init__(self) -> None:
        self.count, self._sum = 0, 0

    def add(self, point_id: object) -> None:
        """Takes an id in.

        Raises:
            ValueError: it is none.
        """
        self.add_text(canonical_id(point_id))

    def add_text(self, text: str) -> None:
        """Takes an id in that is spelled already."""
        self._sum += int.from_bytes(sha256(text.encode()).digest(), "big")
        self.count += 1

    def hex(self) -> str:
        """The digest, 64 hex digits."""
        return f"{self._sum % MODULUS:064x}"


def rank(seed: int, text: str) -> bytes:
    """Where an id stands in the random order that a seed makes: the same whatever else is there."""
    return sha256(f"{seed}:{text}".encode()).digest()


class Choice:
    """The ids that rank lowest: a random choice of equal chances, little changed by a missing or an added point.

    Args:
        seed: of the choice.
        size: how many to choose, at least one.
    """

    def __init__(self, seed: int, size: int) -> None:
        self._seed, self._size = seed, size
        self._kept: list[tuple[int, str]] = []  # the highest first

    def add(self, text: str, ranked: bytes | None = None) -> None:
        """Offers an id.

        Args:
            text: the id.
            ranked: its rank by the same seed, where it is known already.
        """
        one = (-int.from_bytes(ranked or rank(self._seed, text), "big"), text)
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, one)
        elif one > self._kept[0]:
            heapq.heapreplace(self._kept, one)

    @property
    def chosen(self) -> list[str]:
        """Those chosen, in their random order."""
        return [text for _, text in sorted(self._kept, reverse=True)]
