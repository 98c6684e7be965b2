"""Tables in files: in a host's cache, so that opening a repository reads only those index files that are new.

Their columns are mapped, not read: the system takes that memory back whenever it wants, and only what is looked at is in it.
"""

import contextlib
import json
import mmap
import struct
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import blake3
import numpy as np

from recoup.repository.dedup.cache import TAG_BYTES, Cache
from recoup.repository.dedup.columns import PLACED_PACK, Table
from recoup.repository.dedup.index_files import FileFacts
from recoup.repository.dedup.rows import ID_BYTES, RUN_BYTES, split_ids
from recoup.system.caching import write_cached

_PREFIX = "segment-"
_HEAD = struct.Struct("<8sQ")
_MAGIC = b"RCPCACH2"
_ALIGNED = 8  # columns begin at a multiple of it, and the wider ones come first: others are slow to look at
_KINDS: dict[str, tuple[Any, int]] = {
    "packs": (PLACED_PACK, 1),
    "address": (np.uint64, 1),
    "length": (np.uint32, 1),
    "stored": (np.uint32, 1),
    "pack": (np.uint32, 1),
    "offset": (np.uint32, 1),
    "bases_from": (np.uint32, 1),
    "anchors_from": (np.uint32, 1),
    "anchors": (np.uint32, 1),
    "order": (np.uint32, 1),
    "buckets": (np.uint32, 1),
    "position": (np.uint16, 1),
    "id": (np.uint8, ID_BYTES),
    "bases": (np.uint8, ID_BYTES),
    "encoding": (np.uint8, 1),
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


def mapped(table: Table, cache: Cache | None) -> Table:
    """The same table, its columns in a file: in the cache, or else in a temporary one; the table itself where neither can be
    written."""
    if cache is not None:
        name = _name(table)
        if _write(cache, name, table) and (kept := _read(cache, name)) is not None:
            return kept
    with contextlib.suppress(OSError), tempfile.TemporaryFile(prefix="recoup-") as file:
        file.writelines(_pieces(table, blake3.blake3()))
        file.flush()
        return _mapped(file, blake3.blake3())
    return table


def _name(table: Table) -> str:
    """Tables of the same index files are the same."""
    names = "\n".join(sorted(file.name for file in table.files))
    return _PREFIX + blake3.blake3(names.encode()).hexdigest(16)


def _write(cache: Cache, name: str, table: Table) -> bool:
    return write_cached(cache.folder / name, lambda file: file.writelines(_pieces(table, cache.hasher(name))))


def _pieces(table: Table, hasher: blake3.blake3) -> Iterator[bytes | memoryview]:
    """What a file of a table consists of: a head, the columns, the runs, and a digest of all that."""
    head = json.dumps(
        {
            "files": [[f.name, f.made_by.hex(), f.signed_by.hex(), f.replaces] for f in table.files],
            "counts": {column: len(getattr(table, column)) for column in _KINDS},
            "runs": len(table.runs),
        }
    ).encode()
    head += b" " * (-len(head) % _ALIGNED)
    columns = (np.ascontiguousarray(getattr(table, name)).view(np.uint8).data for name in _KINDS)
    pieces: tuple[bytes | memoryview, ...] = (_HEAD.pack(_MAGIC, len(head)), head, *columns, b"".join(table.runs))
    for piece in pieces:
        hasher.update(piece)
        yield piece
    yield hasher.digest()


def _read(cache: Cache, name: str) -> Table | None:
    path = cache.folder / name
    if path.is_symlink():
        return None
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        return _mapped(file, cache.hasher(name))
    return None


def _mapped(file: BinaryIO, hasher: blake3.blake3) -> Table:
    """A table from a file that may be damaged; raises ValueError where it is. Nothing is made of it before all was compared."""
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(content)
    if len(view) < _HEAD.size + TAG_BYTES or hasher.update(view[:-TAG_BYTES]).digest() != view[-TAG_BYTES:]:
        raise ValueError("not what was written")
    magic, length = _HEAD.unpack_from(view)
    if magic != _MAGIC:
        raise ValueError("of another version")
    at = _HEAD.size + length
    facts = json.loads(bytes(view[_HEAD.size : at]))
    columns = {}
    for name, (kind, width) in _KINDS.items():
        column = np.frombuffer(view, kind, facts["counts"][name] * width, at)
        columns[name] = column.reshape(-1, width) if width > 1 else column
        at += column.nbytes
    runs = np.frombuffer(view, np.uint8, facts["runs"] * RUN_BYTES, at).reshape(-1, RUN_BYTES)
    files = tuple(
        FileFacts(name, bytes.fromhex(made_by), bytes.fromhex(signed_by), tuple(replaces))
        for name, made_by, signed_by, replaces in facts["files"]
    )
    if hasattr(content, "madvise"):
        content.madvise(mmap.MADV_DONTNEED)  # what was compared need not be in memory
    return Table(files, split_ids(runs), **columns)
