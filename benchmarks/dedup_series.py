"""The files that `dedup` backs up day by day, and the least that each day can cost: `python benchmarks/dedup_series.py NAME`.

A series is made once and kept in a folder outside the project; it is the same for all that are measured. The least growth of a
day ("limit") is what `zstd -3 --long=30 --patch-from` makes of it beside the day before: it needs both in memory, so it is no
way to back up, but nothing that works on bytes gets far below it.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dedup_files import compressed_size, duckdb_files, dumps, flat, sqlite_files
from dedup_shards import REWRITE, STACKS, snapshots

VERSION = 1  # of what is made; a kept series of another one is made again
RECORD = "series.json"

Kind = Literal["first", "ordinary", "rewrite"]


@dataclass(frozen=True)
class Day:
    """One day of a series.

    Attributes:
        file: name of the file to back up, in the series' folder.
        kind: what happened on it.
        bytes: of the file.
        limit: bytes that the day costs at least.
    """

    file: str
    kind: Kind
    bytes: int
    limit: int


@dataclass(frozen=True)
class Series:
    """A series that was made: its name, size, folder and days."""

    name: str
    size: int
    folder: Path
    days: tuple[Day, ...]

    def path(self, day: int) -> Path:
        """The file of a day."""
        return self.folder / self.days[day].file


@dataclass(frozen=True)
class Recipe:
    """How a series is made.

    Attributes:
        about: for people.
        unit: of its size.
        full: its size.
        quick: its size in a short run.
        make: size and folder to files, day by day, with the limit where zstd cannot tell it.
        rewrite: the day on which all is rewritten.
    """

    about: str
    unit: str
    full: int
    quick: int
    make: Callable[[int, Path], Iterator[Path | tuple[Path, int]]]
    rewrite: int | None = None


def _shard(name: str) -> Callable[[int, Path], Iterator[Path]]:
    return lambda size, folder: snapshots(STACKS[name], size, folder)


def _unchanged(size: int, folder: Path) -> Iterator[Path]:
    first = next(snapshots(STACKS["generated"], size, folder))
    yield first
    yield Path(shutil.copyfile(first, folder / "day1.snapshot"))


RECIPES = {
    "generated": Recipe(
        "Qdrant collection, generated vectors", "points", 200_000, 20_000, _shard("generated"), REWRITE
    ),
    "real": Recipe(
        "Qdrant shard stream, real texts and embeddings, 20 % deleted",
        "points",
        150_000,
        20_000,
        _shard("real"),
        REWRITE,
    ),
    "pg": Recipe("pg_dump, plain", "rows", 300_000, 30_000, dumps),
    "flat": Recipe("one file, 1 % of its pages changed, 1 MiB inserted", "bytes", 3_000_000_000, 200_000_000, flat),
    "clustered": Recipe("Qdrant, neighbours changed", "points", 50_000, 10_000, _shard("clustered"), REWRITE),
    "half": Recipe("Qdrant, vectors born as 16 bits", "points", 50_000, 10_000, _shard("half"), REWRITE),
    "sqlite": Recipe("SQLite file", "rows", 300_000, 30_000, sqlite_files),
    "duckdb": Recipe("DuckDB file", "rows", 300_000, 30_000, duckdb_files),
    "unchanged": Recipe("Qdrant, nothing changed", "points", 50_000, 10_000, _unchanged),
}
"""All series by name."""


def series(name: str, size: int, cache: Path) -> Series:
    """The series of this name and size: the kept one, or it is made now.

    Args:
        name: one of `RECIPES`.
        size: in the recipe's unit.
        cache: folder in which series are kept.
    """
    folder = cache / f"{name}-{size}-v{VERSION}"
    if not (folder / RECORD).exists():
        _make(name, size, folder)
    record = json.loads((folder / RECORD).read_text())
    return Series(name, size, folder, tuple(Day(**day) for day in record))


def _make(name: str, size: int, folder: Path) -> None:
    print(f"making the series {name} of {size:,} {RECIPES[name].unit} in {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    days: list[Day] = []
    before: Path | None = None
    for made in RECIPES[name].make(size, folder):
        path, told = made if isinstance(made, tuple) else (made, 0)
        days.append(_day(path, before, told, RECIPES[name].rewrite == len(days)))
        before = path
        print(f"  {days[-1]}", file=sys.stderr)
    (folder / RECORD).write_text(json.dumps([asdict(day) for day in days], indent=1))  # last: now it is whole


def _day(path: Path, before: Path | None, told: int, rewrite: bool) -> Day:  # noqa: FBT001 - two of a kind
    size = path.stat().st_size
    if before is None:
        return Day(path.name, "first", size, compressed_size(path))
    limit = told or compressed_size(path, "--long=30", f"--patch-from={before}")
    return Day(path.name, "rewrite" if rewrite else "ordinary", size, limit)


def default_cache() -> Path:
    """Where series are kept unless told otherwise."""
    return Path(tempfile.gettempdir()) / "recoup-benchmark-series"


def main() -> None:
    """Makes series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="+", choices=RECIPES)
    parser.add_argument("--size", type=int, help="points, rows or bytes; by default that of a full run")
    parser.add_argument("--quick", action="store_true", help="the size of a short run")
    parser.add_argument("--cache", type=Path, default=default_cache())
    chosen = parser.parse_args()
    for name in chosen.names:
        recipe = RECIPES[name]
        size = chosen.size or (recipe.quick if chosen.quick else recipe.full)
        print(series(name, size, chosen.cache.resolve()).folder)


if __name__ == "__main__":
    main()
