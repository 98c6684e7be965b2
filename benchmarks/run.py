"""How fast Recoup is beside the plain tools, measured in the same run: `./dev bench`, or `python benchmarks/run.py [--quick]`.

Each pair of commands is run alternately, so that a slow moment of the machine meets both; the median counts. A speed of
0.9 means that Recoup needs 1/0.9 of the plain tools' time. The result is printed and kept in results.md beside this file.
With --quick a small series goes through the dedup repository and its peers, too; `./dev bench dedup` is the whole of that.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dedup
from dedup_series import default_cache
from measuring import HEADING, LARGEST_MEMORY, MB, RECOUP, Pair, Run, alternately, timed

RESULTS = Path(__file__).parent / "results.md"
OTHERS = sorted(RESULTS.parent.glob("results-*.md"))
LEAST_SPEED = 0.9  # of the plain tools', aim
CONFIG = """\
version: 1
stack: benchmark
sources:
  data: {kind: files, path: data}
repositories:
  local: {path: backups, layout: sets}
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: bytes of the large file, small files and their bytes, sets to list, repetitions of each."""

    large: int
    files: int
    small: int
    sets: int
    copies: int
    starts: int


FULL = Size(large=1500 * MB, files=20_000, small=25_000, sets=1000, copies=3, starts=15)
QUICK = Size(large=75 * MB, files=1000, small=25_000, sets=100, copies=2, starts=5)


def make_data(folder: Path, size: Size) -> None:
    """Bytes that do not compress, different in every file; read once, so that both sides find them in memory."""
    chance = random.Random(7)
    folder.mkdir()
    with (folder / "large.bin").open("wb") as large:
        for _ in range(size.large // MB):
            large.write(chance.randbytes(MB))
    for number in range(size.files):
        if number % 200 == 0:
            place = folder / f"part{number // 200:03}"
            place.mkdir()
        (place / f"{number:05}.txt").write_bytes(chance.randbytes(size.small))
    os.sync()


def copies(folder: Path, size: Size) -> list[Pair]:
    """Backup, verify and restore beside cp, sha256sum and sync."""
    print(f"making {(size.large + size.files * size.small) / MB:,.0f} MB of data", file=sys.stderr)
    make_data(folder / "data", size)
    (folder / "recoup.yaml").write_text(CONFIG)
    timed([RECOUP, "init"], folder)

    def recoup(*arguments: str) -> Callable[[], Run]:
        return lambda: timed([RECOUP, "-q", *arguments], folder)

    def backup() -> Run:
        for old in (folder / "backups").glob("backup_*"):
            shutil.rmtree(old)
        os.sync()
        return recoup("backup")()

    def copy() -> Run:
        shutil.rmtree(folder / "copy", ignore_errors=True)
        os.sync()
        sums = "cd copy; find . -type f -print0 | xargs -0 sha256sum > ../SUMS"
        return timed(f"cp -a data copy; ({sums}); sync", folder)

    def restore() -> Run:
        shutil.rmtree(folder / "restored", ignore_errors=True)
        os.sync()
        return recoup("--yes", "restore", "latest", "--target", "restored")()

    def copy_back() -> Run:
        shutil.rmtree(folder / "back", ignore_errors=True)
        os.sync()
        return timed("cp -a copy back; cd back; sha256sum --quiet -c ../SUMS; sync", folder)

    def check() -> Run:
        return timed("cd copy; sha256sum --quiet -c ../SUMS", folder)

    steps = (
        ("backup", backup, copy, "cp -a, sha256sum, sync"),
        ("verify", recoup("verify", "latest"), check, "sha256sum -c"),
        ("restore", restore, copy_back, "cp -a, sha256sum -c, sync"),
    )
    pairs = []
    for what, ours, plain, beside in steps:
        print(f"measuring {what}", file=sys.stderr)
        runs = alternately(size.copies, ours, plain)
        pairs.append(Pair(what, *runs, beside, least_speed=LEAST_SPEED))
    return pairs


def bare_program(folder: Path) -> Path:
    """A Typer program with as many commands as Recoup, which do nothing."""
    from recoup.cli.main import VERBS

    commands = "".join(
        f'@app.command("{verb.name}")\ndef command_{number}() -> None:\n    """Does nothing."""\n\n\n'
        for number, verb in enumerate(VERBS)
    )
    path = folder / "bare.py"
    path.write_text(f"import typer\n\napp = typer.Typer()\n\n\n{commands}app()\n")
    return path


def many_sets(folder: Path, size: Size) -> Path:
    """A repository of many sets: one small one, whose manifest is listed again and again under other names."""
    place = folder / "many"
    (place / "data").mkdir(parents=True)
    (place / "data" / "note.txt").write_text("little")
    (place / "recoup.yaml").write_text(CONFIG)
    timed([RECOUP, "init"], place)
    timed([RECOUP, "-q", "backup"], place)
    (made,) = (place / "backups").glob("backup_*")
    manifest = json.loads((made / "manifest.json").read_text())
    begun = datetime.strptime(made.name, "backup_%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    for number in range(1, size.sets):
        started = begun - timedelta(hours=number)
        name = f"{started:backup_%Y%m%d_%H%M%S}"
        (place / "backups" / name).mkdir()
        copied = {**manifest, "name": name, "started": started.isoformat()}
        (place / "backups" / name / "manifest.json").write_text(json.dumps(copied, indent=1))
    return place


def starts(folder: Path, size: Size) -> list[Pair]:
    """Start-up beside a bare program, and a long list beside the start-up."""
    print("measuring start-up", file=sys.stderr)
    bare, place = bare_program(folder), many_sets(folder, size)

    def help_text() -> Run:
        return timed([RECOUP, "--help"], folder)

    helped = alternately(size.starts, help_text, lambda: timed([sys.executable, str(bare), "--help"], folder))
    listed = alternately(size.starts, lambda: timed([RECOUP, "list"], place), help_text)
    return [
        Pair("recoup --help", *helped, "a bare Typer program", most_times=1.3),
        Pair(f"recoup list, {size.sets:,} sets", *listed, "recoup --help", most_times=2),
    ]


def report(pairs: list[Pair], size: Size) -> str:
    """The result as Markdown."""
    peak = max(pair.memory for pair in pairs) / MB
    amount = f"{size.large / MB:,.0f} MB in one file and {size.files:,} files of {size.small / 1000:g} kB"
    return "\n".join(
        (
            "# Benchmark results",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
            f"Python {platform.python_version()}. Data: {amount}, in the page cache.",
            "Times are medians (lowest to highest); memory is what Recoup's processes need together, without pages of files.",
            "",
            HEADING,
            *(pair.row() for pair in pairs),
            "",
            f"Peak memory {peak:.0f} MB, aim <= {LARGEST_MEMORY} MB: {'yes' if peak <= LARGEST_MEMORY else 'NO'}.",
            "",
            f"Measured by themselves: {', '.join(f'[{path.stem[8:]}]({path.name})' for path in OTHERS)}.",
            "",
        )
    )


def main() -> None:
    """Measures, prints, and keeps a full run's result."""
    parser = argparse.ArgumentParser(description="How fast Recoup is beside cp, sha256sum and a bare Typer program.")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the data; results.md stays as it is")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure (10 GB); a temporary one by default")
    parser.add_argument("--only", choices=["copies", "starts", "dedup"], help="one part; results.md stays as it is")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="a folder in which series are kept")
    chosen = parser.parse_args()
    size = QUICK if chosen.quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that gigabytes do not stay behind
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch:
        pairs = copies(Path(scratch), size) if chosen.only in (None, "copies") else []
        pairs += starts(Path(scratch), size) if chosen.only in (None, "starts") else []
        text = report(pairs, size) if pairs else ""
        print(text)
        if chosen.only == "dedup" or (chosen.quick and not chosen.only):
            print(dedup.small(Path(scratch), chosen.cache.resolve()))
    if not chosen.quick and not chosen.only:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
