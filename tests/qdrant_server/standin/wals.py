"""Write-ahead logs as snapshots hold them, whose operations are all in the segments already.

A record is its length (8 bytes), CBOR, padding to eight bytes and a CRC-32C that goes on from the record before.
"""

import os
from pathlib import Path

_SIZE = 32 << 20
_NOTHING = b"\xbf" + b"\x6dupsert_points" + b"\xa1\x66points\x80" + b"\xff"
"""The operation that writes no points."""


def without_operations(folder: Path, operations: int) -> None:
    """Leaves a log that begins after all operations, as the snapshot of a single shard holds it.

    Args:
        folder: the log's folder; it is emptied.
        operations: number of the operation that would come next.
    """
    _empty(folder)
    _write(folder / f"closed-{operations}", 0)


def with_operations(folder: Path, operations: int) -> None:
    """Leaves a log that still holds all operations, as a collection's snapshot does, each without effect.

    They carry nothing, so that what a segment lacks does not come back out of the log.

    Args:
        folder: the log's folder; it is emptied.
        operations: how many.
    """
    _empty(folder)
    _write(folder / "open-1", operations)
    _write(folder / "open-2", 0)
    (folder / "first-index").write_text(f'{{"ack_index":{max(operations - 1, 0)}}}')


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        entry.unlink()


def _write(path: Path, operations: int) -> None:
    seed = os.urandom(4)
    head = len(_NOTHING).to_bytes(8, "little") + _NOTHING
    head += bytes(-(len(head) + 4) % 8)
    crc = int.from_bytes(seed, "little")
    with path.open("wb") as writer:
        writer.write(b"wal\0" + seed)
        for _ in range(operations):
            crc = _crc32c(head, int(f"{crc:032b}"[::-1], 2))
            writer.write(head + crc.to_bytes(4, "little"))
        writer.truncate(max(_SIZE, writer.tell()))


def _table_entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = tuple(_table_entry(value) for value in range(256))


def _crc32c(data: bytes, register: int) -> int:
    for byte in data:
        register = _TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF
