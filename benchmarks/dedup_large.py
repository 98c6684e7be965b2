"""One large sparse file in the dedup repository: the memory that each verb takes, which may not grow with the size."""

import random
import sys
from pathlib import Path

from dedup_contestants import describe_stack
from measuring import LARGEST_MEMORY, MB, RECOUP, Run, timed

GIGABYTES, QUICK_GIGABYTES = 20, 2
EVERY = 40 * MB  # bytes from one written spot to the next
WRITTEN = MB  # bytes of a spot


def make_sparse(path: Path, size: int) -> None:
    """A file of holes with spots of random bytes in it."""
    chance = random.Random(7)
    with path.open("wb") as file:
        file.truncate(size)
        for at in range(0, size, EVERY):
            file.seek(at)
            file.write(chance.randbytes(WRITTEN))


def large_file(scratch: Path, gigabytes: int) -> list[str]:
    """Backs up, verifies and restores a sparse file.

    Args:
        scratch: a folder to work in; it takes a fortieth of the file, twice.
        gigabytes: of the file.
    """
    place = scratch / "large"
    (place / "data").mkdir(parents=True)
    print(f"making a sparse file of {gigabytes} GB", file=sys.stderr)
    make_sparse(place / "data" / "large.bin", gigabytes * 1000 * MB)
    describe_stack(place)
    timed([RECOUP, "init"], place)
    verbs = ("backup", "backup", "verify", "restore --target out")
    rows = [_row(verb, timed([RECOUP, *verb.split()], place)) for verb in verbs]
    timed(["cmp", "data/large.bin", "out/data/large.bin"], place)
    return [
        "## A large file",
        "",
        f"A sparse file of {gigabytes} GB, of which {gigabytes * 1000 * MB // EVERY:,} MB are written. "
        f"What came back was compared byte for byte. Aim: at most {LARGEST_MEMORY} MB.",
        "",
        "| what | time | memory | holds |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _row(verb: str, run: Run) -> str:
    holds = "yes" if run.memory <= LARGEST_MEMORY * MB else "NO"
    return f"| recoup {verb} | {run.seconds:.1f} s | {run.memory / MB:.0f} MB | {holds} |"
