"""What the tests of packs and indexes are made of."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import blake3

from recoup.repository.dedup.index import write_index
from recoup.repository.dedup.keys import Keys, new_keys
from recoup.repository.dedup.packs import Packed, PackRef, PackWriter
from recoup.storage._base import Storage

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
KEYS = new_keys("ab" * 16)


def run_id(number: int) -> bytes:
    """A run, by a small number."""
    return number.to_bytes(12, "big")


def writer_keys(seed: int) -> Keys:
    """A host that only adds sets to the repository of `KEYS`."""
    return Keys(KEYS.repository, KEYS.public, KEYS.dedup, KEYS.owner, bytes([seed]) * 32, None, f"{seed:04x}")


def chunk_id(data: bytes) -> bytes:
    """The id of a chunk."""
    return blake3.blake3(data, key=KEYS.chunk_key).digest()


class Host:
    """A host that adds runs, each of one index file.

    Args:
        storage: the repository.
        keys: of the host.
    """

    runs = itertools.count(1)

    def __init__(self, storage: Storage, keys: Keys = KEYS) -> None:
        self.storage, self.keys = storage, keys
        self.run = run_id(0)

    def pack(self, chunks: Iterable[bytes], number: int = 0, first: int = 0, bases: tuple[bytes, ...] = ()) -> Packed:
        """Writes a pack of chunks as they are; with bases all are said to be stored against these."""
        key = self.keys.new_run()
        writer = PackWriter(self.storage, PackRef(self.run, number), key)
        for n, data in enumerate(chunks):
            anchors = () if bases else (n, n + 1)
            encoding = 17 if bases else 0
            writer.add(self.run, first + n, chunk_id(data), len(data), encoding, data, bases, anchors)
        return writer.finish()

    def add(self, *chunks: bytes, bases: tuple[bytes, ...] = ()) -> str:
        """A run that stores chunks in one pack; returns the name of its index file."""
        number = next(self.runs)
        self.run = run_id(number)
        packed = [self.pack(chunks, bases=bases)]
        return write_index(self.storage, self.keys, NOW + timedelta(hours=number), self.run, 0, packed)
