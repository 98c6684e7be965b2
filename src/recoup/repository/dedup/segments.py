"""Tables in a host's cache: opening a repository then reads only those index files that are new."""

import contextlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import blake3
import numpy as np
from numpy.typing import NDArray

from recoup.repository.dedup.cache import TAG_BYTES, Cache
from recoup.repository.dedup.columns import COLUMNS, PLACED_PACK, Table
from recoup.repository.dedup.index_files import FileFacts
from recoup.repository.dedup.rows import ID_BYTES, RUN_BYTES, split_ids
from recoup.system.caching import write_cached

_PREFIX = "segment-"
_MAGIC = b"RCPCACH1"
_HEAD = struct.Struct("<8sQ")
_LARGEST_HEAD = 64 * 1024 * 1024  # bytes of what stands before the columns
_KINDS: dict[str, tuple[Any, int]] = {
    "packs": (PLACED_PACK, 1),
    "address": (np.uint64, 1),
    "id": (np.uint8, ID_BYTES),
    "length": (np.uint32, 1),
    "stored": (np.uint32, 1),
    "encoding": (np.uint8, 1),
    "pack": (np.uint32, 1),
    "offset": (np.uint32, 1),
    "position": (np.uint16, 1),
    "bases_from": (np.uint32, 1),
    "bases": (np.uint8, ID_BYTES),
    "anchors_from": (np.uint32, 1),
    "anchors": (np.uint32, 1),
    "order": (np.uint32, 1),
    "buckets": (np.uint32, 1),
}


def read_tables(cache: Cache) -> list[Table]:
    """All tables that are kept and whole, the largest first; no index file is in two of them."""
    tables, seen = [], set[str]()
    for name in cache.names():
        if name.startswith(_PREFIX):
            table = _read(cache, name)
            if table is None or not seen.isdisjoint(names := {file.name for file in table.files}):
                cache.forget(name)
                continue
            seen |= names
            tables.append(table)
    return sorted(tables, key=len, reverse=True)


def write_tables(cache: Cache, tables: Sequence[Table]) -> None:
    """Keeps these tables, and no others. One that is kept already is not written again."""
    present = {name for name in cache.names() if name.startswith(_PREFIX)}
    wanted = {_name(table): table for table in tables}
    for name, table in wanted.items():
        if name not in present:
            _write(cache, name, table)
    for name in present - wanted.keys():
        cache.forget(name)


def _name(table: Table) -> str:
    """Tables of the same index files are the same."""
    names = "\n".join(sorted(file.name for file in table.files))
    return _PREFIX + blake3.blake3(names.encode()).hexdigest(16)


def _write(cache: Cache, name: str, table: Table) -> None:
    head = json.dumps(
        {
            "files": [[f.name, f.made_by.hex(), f.signed_by.hex(), f.replaces] for f in table.files],
            "counts": [len(getattr(table, column)) for column in COLUMNS],
            "runs": len(table.runs),
        }
    ).encode()
    hasher = cache.hasher(name)

    def write(file: BinaryIO) -> None:
        pieces: list[bytes | memoryview] = [_HEAD.pack(_MAGIC, len(head)), head, b"".join(table.runs)]
        pieces += [np.ascontiguousarray(getattr(table, column)).view(np.uint8).data for column in COLUMNS]
        for piece in pieces:
            hasher.update(piece)
            file.write(piece)
        file.write(hasher.digest())

    write_cached(cache.folder / name, write)


def _read(cache: Cache, name: str) -> Table | None:
    path = cache.folder / name
    if path.is_symlink():
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
        return _table(file, path, cache.hasher(name))
    return None


def _table(file: BinaryIO, path: Path, hasher: blake3.blake3) -> Table:
    """A table from a file that may be damaged; raises ValueError where it is. Nothing is made of it before all was read."""
    head = file.read(_HEAD.size)
    size = path.stat().st_size
    if len(head) != _HEAD.size or (length := _HEAD.unpack(head)[1]) > min(size, _LARGEST_HEAD):
        raise ValueError("cut short")
    told = file.read(length)
    hasher.update(head)
    hasher.update(told)
    facts = json.loads(told)
    counts = dict(zip(COLUMNS, map(int, facts["counts"]), strict=True))
    needed = sum(count * np.dtype(_KINDS[name][0]).itemsize * _KINDS[name][1] for name, count in counts.items())
    runs = int(facts["runs"])
    if min(runs, *counts.values()) < 0 or _HEAD.size + length + runs * RUN_BYTES + needed + TAG_BYTES != size:
        raise ValueError("cut short")
    run = _column(file, hasher, np.uint8, (runs, RUN_BYTES))
    columns = {}
    for name, (kind, width) in _KINDS.items():
        columns[name] = _column(file, hasher, kind, (counts[name], width) if width > 1 else (counts[name],))
    if head[: len(_MAGIC)] != _MAGIC or file.read() != hasher.digest():
        raise ValueError("not what was written")
    files = tuple(
        FileFacts(name, bytes.fromhex(made_by), bytes.fromhex(signed_by), tuple(replaces))
        for name, made_by, signed_by, replaces in facts["files"]
    )
    return Table(files, split_ids(run), **columns)


def _column(file: BinaryIO, hasher: blake3.blake3, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    column = np.empty(shape, kind)
    if column.nbytes:
        into = column.view(np.uint8).reshape(-1).data
        if file.readinto(into) != column.nbytes:  # type: ignore[attr-defined] # a buffered file has it
            raise ValueError("cut short")
        hasher.update(into)
    return column
