"""Recoup's dedup repository beside restic, rustic and borg, over series of days: `./dev bench dedup [--quick]`.

In each round every contestant starts with a repository of its own; each day all of them back up the same file, in another order
each time. At the end the last day is restored and compared byte by byte, and every stored byte is verified. Peers that are not
on the PATH are left out, and the result says so.
"""

import argparse
import filecmp
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dedup_contestants import PEERS, Contestant, Recoup
from dedup_outcomes import GOALS_HEADING, Measured, Outcome, goal_rows, table
from dedup_series import RECIPES, Series, default_cache, series
from measuring import MB, Run

RESULTS = Path(__file__).parent / "results-dedup.md"
ROUNDS = 3
LARGE = 1000 * MB  # bytes; a series of larger files is measured in one round
QUICK = ("generated", "real", "pg")
SMALL, SMALL_POINTS = "generated", 10_000
FILE = "data.bin"  # the same name every day, as a stack's snapshot has


def measure(chosen: Series, kinds: Sequence[type[Contestant]], rounds: int, scratch: Path) -> Measured:
    """All rounds of one series."""
    outcomes = [Outcome.of(kind.name, len(chosen.days)) for kind in kinds]
    for number in range(rounds):
        place = scratch / f"{chosen.name}-{number}"
        data = place / "data"
        data.mkdir(parents=True)
        contestants = [kind(place / kind.name, data) for kind in kinds]
        pairs = list(zip(contestants, outcomes, strict=True))
        _round(chosen, pairs, number)
        shutil.rmtree(place)
    return Measured(chosen, outcomes)


def _round(chosen: Series, pairs: "list[tuple[Contestant, Outcome]]", number: int) -> None:
    for contestant, _ in pairs:
        contestant.begin()
    for day in range(len(chosen.days)):
        _lay(chosen.path(day), pairs[0][0].data / FILE)
        for contestant, outcome in _turned(pairs, number + day):
            before = contestant.stored()
            outcome.days[day].append(contestant.backup())
            outcome.growth[day].append(contestant.stored() - before)
            print(f"{chosen.name} {number} day {day} {contestant.name}: {outcome.days[day][-1]}", file=sys.stderr)
    last = len(chosen.days) - 1
    for contestant, outcome in _turned(pairs, number):
        outcome.restores.append(_restored(contestant, chosen.path(last)))
    for contestant, outcome in _turned(pairs, number):
        outcome.checks.append(contestant.verify())


def _lay(file: Path, target: Path) -> None:
    """Puts a day's file where all back it up; it is in the page cache then."""
    target.unlink(missing_ok=True)
    shutil.copyfile(file, target)


def _turned(pairs: "list[tuple[Contestant, Outcome]]", by: int) -> "list[tuple[Contestant, Outcome]]":
    """Another one is the first each time."""
    return pairs[by % len(pairs) :] + pairs[: by % len(pairs)]


def _restored(contestant: Contestant, expected: Path) -> Run:
    run, path = contestant.restore()
    if not filecmp.cmp(path, expected, shallow=False):
        raise SystemExit(f"{contestant.name} restored other bytes than it was given")
    shutil.rmtree(contestant.target)
    return run


def contestants() -> list[type[Contestant]]:
    """Recoup, and those of its peers that are on this machine."""
    return [Recoup, *(peer for peer in PEERS if peer.there())]


def report(
    all_measured: Sequence[Measured], kinds: Sequence[type[Contestant]], versions: Sequence[str], rounds: int
) -> str:
    """The result as Markdown.

    Args:
        all_measured: the series.
        kinds: the contestants.
        versions: what they say that they are.
        rounds: how often each series was measured.
    """
    absent = [peer.name for peer in PEERS if peer not in kinds]
    left_out = f" Not on this machine, so not measured: {', '.join(absent)}." if absent else ""
    return "\n".join(
        (
            "# Benchmark results: dedup repository",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
            f"Python {platform.python_version()}. {', '.join(versions)}; all encrypted, zstd 3.{left_out}",
            f"Load average at the end {os.getloadavg()[0]:.1f}. Times are of whole commands, with the start of the process: "
            f"medians (lowest to highest) of all days of a kind; rounds: {rounds}. Files are in the page cache; every restore "
            "was compared byte by byte.",
            "Growth is that of the sizes of the repository's files. Memory is what the largest process of a backup had resident; "
            "together: what all its processes needed for themselves. Processor seconds are medians: backups of each kind of day, "
            "restore and verification.",
            "The limit is `zstd -3 --long=30 --patch-from` the day before. Why a figure is missed stands in "
            "[README.md](README.md#missed-figures).",
            "",
            GOALS_HEADING,
            *goal_rows(all_measured, Recoup.name),
            "",
            *(line for one in all_measured for line in table(one)),
        )
    )


def small(scratch: Path, cache: Path) -> str:
    """A short look at everything, for a run that has little time: the report of one small series, measured once."""
    kinds = contestants()
    versions = [kind.version() for kind in kinds]
    return report([measure(series(SMALL, SMALL_POINTS, cache), kinds, 1, scratch)], kinds, versions, 1)


def sizes(name: str, chosen: argparse.Namespace) -> int:
    """How large a series is to be."""
    recipe = RECIPES[name]
    if chosen.points and recipe.unit == "points":
        return int(chosen.points)
    return recipe.quick if chosen.quick else recipe.full


def main() -> None:
    """Measures, prints, and keeps a full run's result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--series", nargs="+", choices=RECIPES, help="only these; results-dedup.md stays as it is")
    parser.add_argument("--quick", action="store_true", help="small series, one round; results-dedup.md stays as it is")
    parser.add_argument("--points", type=int, help="points of the series of shards; results-dedup.md stays as it is")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} by default, of series of large files one")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="a folder in which the series are kept")
    parser.add_argument(
        "--keep-result", action="store_true", help=f"write {RESULTS.name}, which a full run always does"
    )
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that gigabytes do not stay behind
    names = chosen.series or (QUICK if chosen.quick else tuple(RECIPES))
    rounds = chosen.rounds or (1 if chosen.quick else ROUNDS)
    made = [series(name, sizes(name, chosen), chosen.cache.resolve()) for name in names]
    kinds, found = contestants(), []
    versions = [kind.version() for kind in kinds]
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch:
        for one in made:
            once = one.days[0].bytes > LARGE and chosen.rounds is None
            found.append(measure(one, kinds, 1 if once else rounds, Path(scratch)))
    text = report(found, kinds, versions, rounds)
    print(text)
    if chosen.keep_result or not (chosen.series or chosen.quick or chosen.points):
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
