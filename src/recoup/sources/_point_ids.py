"""Ids of points: one spelling for each, a digest of many that does not depend on their order, and a fair choice among them."""

import heapq
from collections.abc import Sequence
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
        self.add_texts((text,))

    def add_texts(self, texts: Sequence[str]) -> None:
        """Takes ids in that are spelled already."""
        self._sum += sum([int.from_bytes(sha256(text.encode()).digest(), "big") for text in texts])
        self.count += len(texts)

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
        self._before, self._size = f"{seed}:".encode(), size
        self.ranked: list[tuple[bytes, str]] = []
        """Rank and id of those chosen, the lowest first."""
        self._bound = b"\xff" * 33  # above every rank; then the highest that is kept

    def add(self, text: str) -> None:
        """Offers an id."""
        self.add_texts((text,))

    def add_texts(self, texts: Sequence[str]) -> None:
        """Offers ids; a thousand at once cost a third of one by one."""
        before, bound = self._before, self._bound
        ranked = [(sha256(before + text.encode()).digest(), text) for text in texts]
        self._keep([one for one in ranked if one[0] < bound])

    def merge(self, other: "Choice") -> None:
        """Offers what another choice of the same seed, and at least this size, was offered."""
        self._keep(other.ranked)

    def _keep(self, offered: list[tuple[bytes, str]]) -> None:
        if offered:
            self.ranked = heapq.nsmallest(self._size, [*self.ranked, *offered])
            self._bound = self.ranked[-1][0] if len(self.ranked) == self._size else self._bound

    @property
    def chosen(self) -> list[str]:
        """Those chosen, in their random order."""
        return [text for _, text in self.ranked]
