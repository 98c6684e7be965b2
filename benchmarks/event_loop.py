"""How late an application's event loop gets while Recoup backs up beside it: `./dev bench event_loop [--quick]`.

A task sleeps for a millisecond, again and again, and notes how much later than that it is woken: nothing else in the loop
would be on time either. The backup is awaited (`recoup.aopen`); beside it stand a loop with nothing to do, and the plain API
in a thread of the application, which is what one would do without. The result is printed and kept beside this file.
"""

import argparse
import asyncio
import os
import platform
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import recoup
from measuring import MB

RESULTS = Path(__file__).parent / "results-event_loop.md"
TICK = 0.001  # seconds
MOST = 0.05  # seconds of the worst lag while a backup is awaited, aim
CONFIG = """\
version: 1
stack: benchmark
sources:
  data: {kind: files, path: data}
repositories:
  local: {path: backups, compression: zstd}
"""


@dataclass(frozen=True)
class Lags:
    """What a loop went through: seconds of the whole, and how much later than wanted it was woken, each time."""

    what: str
    seconds: float
    lags: list[float]

    @property
    def worst(self) -> float:
        """Seconds."""
        return max(self.lags)

    def row(self, aim: float | None = None) -> str:
        """One line of the table."""
        late = statistics.quantiles(self.lags, n=1000, method="inclusive")[-1]
        holds = "" if aim is None else "yes" if self.worst <= aim else "NO"
        wanted = "" if aim is None else f"<= {aim * 1000:.0f} ms"
        cells = (self.what, f"{self.seconds:.1f} s", f"{statistics.median(self.lags) * 1000:.2f} ms")
        return f"| {' | '.join((*cells, f'{late * 1000:.1f} ms', f'{self.worst * 1000:.1f} ms', wanted, holds))} |"


async def lags_of(what: str, work: Callable[[], Awaitable[object]]) -> Lags:
    """Runs something to its end, and the noting task beside it."""
    lags: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK)
            lags.append(time.perf_counter() - before - TICK)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    await work()
    ticking.cancel()
    return Lags(what, time.perf_counter() - began, lags)


def make_data(folder: Path, size: int) -> None:
    """Half of it text that compresses, half bytes that do not."""
    chance = random.Random(11)
    (folder / "data").mkdir()
    (folder / "recoup.yaml").write_text(CONFIG)
    with (folder / "data/large").open("wb") as large:
        for number in range(size // MB):
            large.write(chance.randbytes(MB) if number % 2 else f"line {number}\n".encode() * (MB // 10))
    os.sync()


async def measured(folder: Path) -> list[Lags]:
    """All three, one after another."""
    recoup.open(folder / "recoup.yaml").create_repositories()

    def emptied() -> None:
        for old in (folder / "backups").glob("backup_*"):
            shutil.rmtree(old)

    async with recoup.aopen(folder / "recoup.yaml") as stack:
        awaited = await lags_of("awaited: recoup.aopen", stack.backup)
        emptied()
        listed = await lags_of("200 calls, awaited", lambda: many(stack))
    plain = recoup.open(folder / "recoup.yaml")
    threaded = await lags_of("the plain API in a thread", lambda: asyncio.to_thread(plain.backup))
    idle = await lags_of("nothing", lambda: asyncio.sleep(awaited.seconds))
    return [awaited, listed, threaded, idle]


async def many(stack: recoup.AsyncStack) -> None:
    """What a service asks all the time."""
    for _ in range(200):
        await stack.sets()


def report(found: list[Lags], size: int) -> str:
    """The result as Markdown."""
    aims = [MOST, MOST, None, None]
    return "\n".join(
        (
            "# Benchmark results: event loop",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
            f"{os.cpu_count()} processors, load {os.getloadavg()[1]:.1f} by this and others.",
            f"Backup of {size / MB:,.0f} MB, compressed, while the loop wakes a task every millisecond.",
            "",
            "| meanwhile | took | median lag | 99.9 % | worst lag | aim | holds |",
            "|---|---|---|---|---|---|---|",
            *(lags.row(aim) for lags, aim in zip(found, aims, strict=True)),
            "",
        )
    )


def main() -> None:
    """Measures, prints, and keeps the result of a full run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="100 MB instead of 1 GB; the result is not kept")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    chosen = parser.parse_args()
    size = 100 * MB if chosen.quick else 1000 * MB
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a gigabyte does not stay behind
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch:
        make_data(Path(scratch), size)
        text = report(asyncio.run(measured(Path(scratch))), size)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
