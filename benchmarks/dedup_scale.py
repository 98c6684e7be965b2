"""How the dedup repository grows: a million chunks, 1,000 sets, 20 GB, a storage far away: `./dev bench dedup_scale`.

A million chunks is what 256 GB of files that do not compress are cut into.
"""

import argparse
import json
import os
import pickle
import platform
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from dedup_chunks import many_chunks
from dedup_contestants import describe_stack
from dedup_far import far
from dedup_large import GIGABYTES, QUICK_GIGABYTES, large_file
from dedup_series import default_cache
from measuring import MB, RECOUP, timed
from moved_clock import MovedClock

RESULTS = Path(__file__).parent / "results-dedup_scale.md"
CHUNKS, SETS = 1_000_000, 1_000
QUICK_CHUNKS, QUICK_SETS = 100_000, 50
CHUNKS_OF_A_PACK, PACKS_OF_AN_INDEX = 128, 512
LOOKED_UP = 100_000
MOST_BYTES_OF_A_CHUNK = 90  # aim
MOST_INDEX_MEMORY = 100 * MB  # aim


# --- a million chunks -------------------------------------------------------------------------------------------------


def write_indexes(folder: Path, chunks: int) -> None:
    """A repository's index files, and nothing else; its keys and some of the ids lie beside them."""
    from recoup.repository.dedup.index_files import write_index
    from recoup.repository.dedup.keys import new_keys
    from recoup.repository.dedup.packs import Packed, PackRef, Row, Rows
    from recoup.storage.local import LocalStorage

    chance, run, keys = np.random.default_rng(7), secrets.token_bytes(12), new_keys(secrets.token_hex(16))
    storage, moment, asked = LocalStorage(folder / "repository"), datetime.now(UTC), bytearray()

    def pack(number: int) -> Packed:
        first = number * CHUNKS_OF_A_PACK
        count = min(CHUNKS_OF_A_PACK, chunks - first)
        ids = chance.integers(0, 256, (count, 32), dtype=np.uint8)
        asked.extend(ids[0].tobytes())
        anchors = chance.integers(0, 1 << 32, (count, 8))
        rows = [
            Row(run, first + n, ids[n].tobytes(), 256 * 1024, 200_000, 1, (), tuple(anchors[n].tolist()))
            for n in range(count)
        ]
        return Packed(PackRef(run, number), 200 + 200_000 * count, chance.bytes(32), Rows.of(rows))

    packs = -(-chunks // CHUNKS_OF_A_PACK)
    for sequence, begin in enumerate(range(0, packs, PACKS_OF_AN_INDEX)):
        some = [pack(number) for number in range(begin, min(begin + PACKS_OF_AN_INDEX, packs))]
        write_index(storage, keys, moment, run, sequence, some)
    (folder / "keys").write_bytes(pickle.dumps(keys))
    (folder / "run").write_bytes(run)
    (folder / "asked").write_bytes(asked)


def look_up(folder: Path, chunks: int) -> None:
    """Opens the index, and looks up chunks that are there and chunks that are not; says how long each took.

    A folder `cache` beside the repository is used.
    """
    from recoup.repository.dedup.index import Index
    from recoup.repository.dedup.keys import Keys
    from recoup.storage.local import LocalStorage

    keys: Keys = pickle.loads((folder / "keys").read_bytes())
    began = time.perf_counter()
    index = Index.load(
        LocalStorage(folder / "repository"), keys, cache if (cache := folder / "cache").exists() else None
    )
    loaded = time.perf_counter()
    asked, run = (folder / "asked").read_bytes(), (folder / "run").read_bytes()
    known = [asked[at : at + 32] for at in range(0, len(asked), 32)]
    for number in range(LOOKED_UP):
        if index.stored(known[number % len(known)]) is None:
            raise SystemExit("a chunk that is there was not found")
        if index.stored(secrets.token_bytes(32)) is not None:
            raise SystemExit("a chunk that is not there was found")
    found = time.perf_counter()
    for number in range(0, chunks, max(1, chunks // LOOKED_UP)):
        if index.at(run, number) is None:
            raise SystemExit("the chunk at an address was not found")
    placed = time.perf_counter()
    print(json.dumps({"load": loaded - began, "ids": found - loaded, "addresses": placed - found}))


@dataclass(frozen=True)
class Opened:
    """What opening an index took: memory in bytes, and what `look_up` says."""

    memory: int
    seconds: Mapping[str, float]


def opened(folder: Path, chunks: int) -> Opened:
    """The index, opened and asked in a process of its own."""
    told = folder / "told"
    run = timed(f"{sys.executable} {__file__} --one look {folder} {chunks} > {told}", folder)
    return Opened(run.memory, json.loads(told.read_text()))


def index_memory(scratch: Path, chunks: int) -> list[str]:
    """What opening an index of so many chunks takes, beside one of a single pack."""
    found: list[list[Opened]] = []
    for count in (CHUNKS_OF_A_PACK, chunks):
        folder = scratch / f"index-{count}"
        (folder / "repository").mkdir(parents=True)
        timed([sys.executable, __file__, "--one", "write", str(folder), str(count)], folder)
        plain = opened(folder, count)
        (folder / "cache").mkdir()
        found.append([plain, opened(folder, count), opened(folder, count)])
    files = [path.stat().st_size for path in (scratch / f"index-{chunks}" / "repository").rglob("*.idx")]
    columns = zip(("no cache", "a new cache", "a cache"), *found, strict=True)
    return [
        "## Index",
        "",
        f"{chunks:,} chunks with 8 anchors each, in {len(files)} index files of {sum(files) / MB:.1f} MB together. Memory is "
        "what the process needs more than with an index of one pack; half of the ids that are looked up are not there. Aims: at "
        f"most {MOST_INDEX_MEMORY / MB:.0f} MB, and {MOST_BYTES_OF_A_CHUNK} bytes for a chunk.",
        "",
        "| with | memory | a chunk | holds | reading the index files | an id | an address |",
        "|---|---|---|---|---|---|---|",
        *(_index_row(name, many, many.memory - few.memory, chunks) for name, few, many in columns),
        "",
    ]


def _index_row(name: str, many: Opened, more: int, chunks: int) -> str:
    holds = "yes" if more <= min(MOST_INDEX_MEMORY, MOST_BYTES_OF_A_CHUNK * chunks) else "NO"
    ids, addresses = (
        many.seconds[what] / asked * 1e6 for what, asked in (("ids", 2 * LOOKED_UP), ("addresses", LOOKED_UP))
    )
    times = f"{many.seconds['load']:.2f} s | {ids:.1f} us | {addresses:.1f} us"
    return f"| {name} | {more / MB:.0f} MB | {more / chunks:.0f} bytes | {holds} | {times} |"


# --- a thousand sets --------------------------------------------------------------------------------------------------

VERBS = ("list", "backup --no-prune", "prune --dry-run", "prune --yes")


def make_sets(place: Path, sets: int) -> None:
    """Backs up a file that changes a little, so many times, an hour apart."""
    import recoup

    clock = MovedClock(datetime.now(UTC) - timedelta(hours=sets + 1))
    stack = recoup.open(place / "recoup.yaml", cwd=place, clock=clock)
    note, chance = place / "data" / "note.bin", np.random.default_rng(7)
    data = bytearray(chance.bytes(4 * MB))
    for _ in range(sets):
        at = int(chance.integers(0, len(data) - 1000))
        data[at : at + 1000] = chance.bytes(1000)
        note.write_bytes(data)
        stack.backup(prune=False)
        clock.moment += timedelta(hours=1)


def many_sets(scratch: Path, sets: int) -> list[str]:
    """Listing, backing up, verifying and pruning with so many sets, beside with two."""
    places = {count: scratch / f"sets-{count}" for count in (2, sets)}
    for count, place in places.items():
        (place / "data").mkdir(parents=True)
        describe_stack(place, keep={"last": 1})
        timed([RECOUP, "init"], place)
        print(f"making {count:,} sets", file=sys.stderr)
        timed([sys.executable, __file__, "--one", "sets", str(place), str(count)], place)
    rows = [_compared(what, places[sets], places[2]) for what in VERBS]
    return [
        "## Sets",
        "",
        f"{sets:,} sets of a file of 4 MB that changes a little, beside a repository of two such sets. `keep` is `last: 1`.",
        "",
        f"| what | {sets:,} sets | 2 sets | memory | of 2 sets |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _compared(what: str, *places: Path) -> str:
    runs = [timed([RECOUP, *what.split()], place) for place in places]
    cells = [f"{run.seconds:.2f} s" for run in runs] + [f"{run.largest / MB:.0f} MB" for run in runs]
    return f"| recoup {' | '.join((what, *cells))} |"


PARTS = ("index", "chunks", "sets", "large", "far")
ONES = {"write": write_indexes, "look": look_up, "sets": make_sets}
"""What is done in a process of its own."""


def main() -> None:
    """Measures, prints, and keeps a full run's result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the chunks, few sets; the result is not kept")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="a folder in which series are kept")
    parser.add_argument("--one", nargs=3, metavar=("STEP", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        step, folder, count = chosen.one
        ONES[step](Path(folder), int(count))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    text = report(chosen)
    print(text)
    if not chosen.quick and len(chosen.only) == len(PARTS):
        RESULTS.write_text(text)


def report(chosen: argparse.Namespace) -> str:
    """The result as Markdown."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory(dir=chosen.dir) as name:
        scratch = Path(name).resolve()
        if "index" in chosen.only:
            lines += index_memory(scratch, QUICK_CHUNKS if chosen.quick else CHUNKS)
        if "chunks" in chosen.only:
            lines += many_chunks(scratch, QUICK_CHUNKS if chosen.quick else CHUNKS)
        if "sets" in chosen.only:
            lines += many_sets(scratch, QUICK_SETS if chosen.quick else SETS)
        if "large" in chosen.only:
            lines += large_file(scratch, QUICK_GIGABYTES if chosen.quick else GIGABYTES)
        if "far" in chosen.only:
            lines += far(scratch, chosen.cache.resolve())
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}. Times are of whole commands, one run each, unless it says otherwise."
    )
    return "\n".join(("# Benchmark results: growth of the dedup repository", "", head, "", *lines))


if __name__ == "__main__":
    main()
