"""A backup and a restore of one large stream, for whoever measures the memory. Run in a process of its own."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from recoup.model.facts import Facts
from recoup.model.manifest import Frozen, Host, Manifest, SourceRecord
from recoup.model.part import StreamPart
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.repository import DedupRepository
from recoup.storage.local import LocalStorage
from recoup.system.clock import SystemClock

MIB = 1024 * 1024
ROUND = 256 * MIB  # bytes of which most are holes, some were there before, and a few are new


def blocks(size: int) -> Iterator[bytes | int]:
    """A stream of so many bytes; an int is a hole of that length."""
    known = hashlib.shake_256(b"known").digest(8 * MIB)
    for number in range(size // ROUND):
        yield 216 * MIB
        for _ in range(4):
            yield known
        fresh = hashlib.shake_256(number.to_bytes(4, "big")).digest(MIB)
        for shift in range(8):
            yield fresh[shift:] + fresh[:shift]


def peak() -> int:
    """The most bytes that this process had in memory at one moment, libraries included."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024


def backed_up_and_restored(folder: str, size: int, most: int) -> None:
    """Stores a stream, reads it back, and compares.

    Args:
        folder: for the repository and its key; it takes a thirtieth of the stream.
        size: bytes of the stream, a multiple of `ROUND`.
        most: bytes of memory that are allowed.
    """
    root, clock, stored = Path(folder), SystemClock(), hashlib.blake2b()
    (root / "key").write_bytes(bytes(range(32)))
    options = DedupOptions(key_file=root / "key")
    repository = DedupRepository("r", LocalStorage(root / "repository"), options, clock, root / "cache")
    repository.create()
    moment = clock.now()
    with repository.begin(moment) as writer:
        sink = writer.stream("db", "large", None)
        for block in blocks(size):
            if isinstance(block, int):
                sink.hole(block)
            else:
                sink.write(block)
                stored.update(block)
        part = sink.finish()
        record = SourceRecord("files", "complete", frozen=Frozen(moment, moment), facts=Facts(), parts=(part,))
        host = Host("host", "system")
        made = Manifest(
            "0" * 32, str(writer.name), "stack", host, "0", "3", moment, moment, "complete", ("db",), {"db": record}
        )
        writer.commit(made)
    assert part.bytes == size
    given = repository.fetch(repository.names()[0], "db", part)
    assert isinstance(given, StreamPart)
    found, total, zeros = hashlib.blake2b(), 0, bytes(MIB)
    with given.content.open() as reader:
        while data := reader.read(MIB):
            total += len(data)
            if data != zeros[: len(data)]:
                found.update(data)
    assert (total, found.digest()) == (size, stored.digest())
    assert peak() <= most, f"{peak():,} bytes of memory"
