"""Dumps, database files and flat files that change day by day: series of `dedup_series`, the same bytes for the same seed.

Each day 1 % new rows come, 0.5 % are updated, and 0.2 % are deleted, at random places.
"""

import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dedup_texts import Language

SEED = 43
DAYS = 4
NEW, UPDATED, DELETED = 0.01, 0.005, 0.002  # of the first day's rows, each day
PAGE = 4096  # bytes
CHANGED_PAGES = 0.01
INSERTED = 1 << 20  # bytes
RANDOM_PART = 0.7  # of a flat file; the rest is text
BLOCK = 1 << 24  # bytes
BATCH = 1000  # rows

Row = tuple[int, str, int, str, int, str]  # id, source, chunk, language, version, text


class Table:
    """Rows of about 1 kB that come, change and go."""

    def __init__(self) -> None:
        self.chance = random.Random(SEED)
        self._language = Language(SEED)
        self._texts: list[str] = []
        self._next = 0

    def new(self) -> Row:
        """The next row."""
        number, self._next = self._next, self._next + 1
        source = f"s3://docs/{number // 40:06d}/page-{number % 40}.html"
        return (number, source, number % 40, ("en", "de", "fr")[number % 3], 1, self.text())

    def updated(self, row: Row) -> Row:
        """The row with a new version and a new text."""
        return (*row[:4], row[4] + 1, self.text())

    def text(self) -> str:
        """About 900 characters."""
        if not self._texts:
            self._texts = self._language.texts(BATCH, words=170)
        return self._texts.pop()


def dumps(rows: int, folder: Path) -> Iterator[Path]:
    """Plain dumps as pg_dump writes them: rows in the order in which they lie in the table's pages.

    A new version of a row goes where room was left the day before, or to the end, as in PostgreSQL after a vacuum.
    """
    table = Table()
    heap: list[Row | None] = [table.new() for _ in range(rows)]
    for day in range(DAYS):
        if day:
            _live_a_day(table, heap, rows)
        path = folder / f"day{day}.sql"
        with path.open("wb") as file:
            _write_dump(file, heap)
        yield path


def _live_a_day(table: Table, heap: list[Row | None], rows: int) -> None:
    room = [place for place, row in enumerate(heap) if row is None]
    table.chance.shuffle(room)
    alive = [place for place, row in enumerate(heap) if row is not None]
    chosen = table.chance.sample(alive, int(rows * UPDATED) + int(rows * DELETED))
    updated = chosen[: int(rows * UPDATED)]
    written = [table.updated(row) for place in updated if (row := heap[place]) is not None]
    written += [table.new() for _ in range(int(rows * NEW))]
    for place in chosen:
        heap[place] = None
    for row in written:
        if room:
            heap[room.pop()] = row
        else:
            heap.append(row)


def _write_dump(file: BinaryIO, heap: Sequence[Row | None]) -> None:
    columns = "id, source, chunk, lang, version, text"
    kinds = "id bigint NOT NULL, source text, chunk integer, lang text, version integer, text text"
    file.write(f"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.documents ({kinds});\n\n".encode())
    file.write(f"COPY public.documents ({columns}) FROM stdin;\n".encode())
    for row in heap:
        if row is not None:
            file.write(("\t".join(map(str, row)) + "\n").encode())
    file.write(b"\\.\n\nALTER TABLE ONLY public.documents ADD CONSTRAINT documents_pkey PRIMARY KEY (id);\n")


def flat(size: int, folder: Path) -> Iterator[tuple[Path, int]]:
    """A file of random bytes and text; the day after, 1 % of its pages are overwritten, and 1 MiB is inserted.

    Yields:
        Each day's file, and how many bytes what is new in it takes by zstd -3 (0 on the first day): the tool itself compares
        files of up to 2 GB only.
    """
    first, second, changes = folder / "day0.bin", folder / "day1.bin", folder / "changes"
    with first.open("wb") as file:
        for block in _flat_blocks(size):
            file.write(block)
    yield first, 0
    shutil.copyfile(first, second)
    with changes.open("wb") as kept:
        _overwrite(second, kept)
    yield second, compressed_size(changes)
    changes.unlink()


def _flat_blocks(size: int) -> Iterator[bytes]:
    chance, language = np.random.default_rng(SEED), Language(SEED)
    turn = int(size * RANDOM_PART)
    for start in range(0, turn, BLOCK):
        yield chance.bytes(min(BLOCK, turn - start))
    left = size - turn
    while left > 0:
        block = "\n".join(language.texts(BATCH)).encode()[:left]
        left -= len(block)
        yield block


def _overwrite(path: Path, changes: BinaryIO) -> None:
    """Overwrites pages, and inserts a piece in the middle."""
    chance = np.random.default_rng(SEED + 1)
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for page in sorted(chance.choice(pages, int(pages * CHANGED_PAGES), replace=False).tolist()):
            data = chance.bytes(PAGE)
            file.seek(page * PAGE)
            file.write(data)
            changes.write(data)
    inserted = chance.bytes(INSERTED)
    changes.write(inserted)
    longer = path.with_suffix(".longer")
    with path.open("rb") as old, longer.open("wb") as new:
        new.write(old.read(pages // 2 * PAGE + 1000))
        new.write(inserted)
        shutil.copyfileobj(old, new, BLOCK)
    longer.replace(path)


def compressed_size(path: Path, *options: str) -> int:
    """Bytes that `zstd -3` makes of a file."""
    packed = path.with_suffix(".zst")
    subprocess.run(["zstd", "-3", "-q", "-f", *options, str(path), "-o", str(packed)], check=True)
    size = packed.stat().st_size
    packed.unlink()
    return size


def sqlite_files(rows: int, folder: Path) -> Iterator[Path]:
    """An SQLite file with an index, changed in place."""
    import sqlite3

    live = folder / "live.db"
    base = sqlite3.connect(live)
    base.execute(
        "CREATE TABLE documents (id INTEGER PRIMARY KEY, source TEXT, chunk INTEGER, lang TEXT, version INTEGER, text TEXT)"
    )
    base.execute("CREATE INDEX by_source ON documents (source)")
    for day, change in enumerate(_changes(rows)):
        with base:
            base.executemany("UPDATE documents SET version = ?, text = ? WHERE id = ?", change.versions())
            base.executemany("DELETE FROM documents WHERE id = ?", [(number,) for number in change.deleted])
            base.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?)", change.new)
        yield Path(shutil.copyfile(live, folder / f"day{day}.db"))
    base.close()
    live.unlink()


def duckdb_files(rows: int, folder: Path) -> Iterator[Path]:
    """A DuckDB file, changed in place and checkpointed."""
    import duckdb

    live = folder / "live.duckdb"
    base = duckdb.connect(str(live))
    base.execute(
        "CREATE TABLE documents (id BIGINT PRIMARY KEY, source TEXT, chunk INTEGER, lang TEXT, version INTEGER, text TEXT)"
    )
    insert = f"INSERT INTO documents SELECT {', '.join(['unnest(?)'] * 6)}"  # columns: row by row it takes minutes
    for day, change in enumerate(_changes(rows)):
        base.begin()
        for values in change.versions():
            base.execute("UPDATE documents SET version = ?, text = ? WHERE id = ?", values)
        if change.deleted:
            base.execute("DELETE FROM documents WHERE id IN (SELECT unnest(?))", [change.deleted])
        for start in range(0, len(change.new), BATCH):
            base.execute(insert, [list(column) for column in zip(*change.new[start : start + BATCH], strict=True)])
        base.commit()
        base.execute("CHECKPOINT")
        yield Path(shutil.copyfile(live, folder / f"day{day}.duckdb"))
    base.close()
    live.unlink()


@dataclass(frozen=True)
class Change:
    """What a day does to a table: rows with new versions, ids of rows that go, rows that come."""

    updated: list[Row]
    deleted: list[int]
    new: list[Row]

    def versions(self) -> list[tuple[int, str, int]]:
        """New version, new text and id of the updated rows."""
        return [(row[4], row[5], row[0]) for row in self.updated]


def _changes(rows: int) -> Iterator[Change]:
    """The days of a table of so many rows."""
    table = Table()
    alive = {row[0]: row for row in (table.new() for _ in range(rows))}
    yield Change([], [], list(alive.values()))
    for _ in range(1, DAYS):
        chosen = table.chance.sample(sorted(alive), int(rows * UPDATED) + int(rows * DELETED))
        updated = [table.updated(alive[number]) for number in chosen[: int(rows * UPDATED)]]
        deleted = chosen[int(rows * UPDATED) :]
        new = [table.new() for _ in range(int(rows * NEW))]
        alive.update((row[0], row) for row in (*updated, *new))
        for number in deleted:
            del alive[number]
        yield Change(updated, deleted, new)
