"""The pages of a stack with 1,000 sets, beside `recoup list` of the same: `./dev bench web [--quick]`.

A page is asked for over HTTP, by a client that keeps its connection and its cookie, as a browser does. *Anew* is what a browser
asks that is told to load a page again: the repositories are read. *Again* comes within the seconds for which a look does.
The result is printed and kept beside this file.
"""

import argparse
import contextlib
import http.client
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import recoup
from measuring import MB, RECOUP, timed
from moved_clock import MovedClock

RESULTS = Path(__file__).parent / "results-web.md"
SETS, QUICK_SETS = 1_000, 100
ROUNDS, QUICK_ROUNDS = 9, 3
PAGES = ("/", "/sets", "/sets?page=10", "/sets?state=proven&source=notes")
MOST_ANEW, MOST_AGAIN = 1.0, 0.3  # times `recoup list`, aims
CONFIG = """\
version: 1
stack: benchmark
sources:
  notes: {kind: files, path: notes}
repositories:
  local: {path: backups, keep: {daily: 14, weekly: 8, monthly: 12}}
"""


def make_sets(place: Path, sets: int) -> None:
    """Backs up a few files that grow, each six hours; each hundredth set is drilled."""
    (place / "notes").mkdir(parents=True)
    (place / "recoup.yaml").write_text(CONFIG)
    clock = MovedClock(datetime.now(UTC) - timedelta(hours=6 * sets + 1))
    stack = recoup.open(place / "recoup.yaml", cwd=place, clock=clock)
    stack.create_repositories()
    for number in range(sets):
        (place / "notes" / f"{number % 20}.txt").write_bytes(bytes(1000 + number))
        stack.backup(prune=False, note=f"number {number}")
        if number % 100 == 0:
            stack.drill()
        clock.moment += timedelta(hours=6)


@dataclass
class Served:
    """A page that is served, and a client that asks for it."""

    process: subprocess.Popen[str]
    connection: http.client.HTTPConnection
    cookie: str = ""

    def asked(self, path: str, *, anew: bool) -> float:
        """Seconds that an answer took to come whole.

        Args:
            path: of a page.
            anew: whether what was seen a moment ago does not do.
        """
        headers = {"Cookie": self.cookie} if self.cookie else {}
        if anew:
            headers["Cache-Control"] = "max-age=0"
        began = time.perf_counter()
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - began
        if answer.status != 200 or b"backup_" not in body:
            raise SystemExit(f"{path} answered {answer.status}, or without any set")
        if given := answer.getheader("Set-Cookie"):
            self.cookie = given.partition(";")[0]
        return seconds

    @property
    def memory(self) -> int:
        """The most bytes that the server had in memory so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise SystemExit("the system does not say what the server has in memory")


@contextlib.contextmanager
def served(place: Path) -> Iterator[Served]:
    """`recoup web` in a process of its own, until the end."""
    command = [RECOUP, "-c", str(place / "recoup.yaml"), "--json", "web", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline() or "{}")
            if "url" not in said:
                raise SystemExit("recoup web has not begun")
            where = urlsplit(said["url"])
            with contextlib.closing(http.client.HTTPConnection(str(where.hostname), where.port)) as connection:
                yield Served(process, connection)
        finally:
            process.send_signal(signal.SIGINT)


@dataclass
class Measured:
    """Seconds of a page, anew and again."""

    path: str
    anew: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)

    def row(self, listing: float) -> str:
        """One line of the table, beside the seconds of a list."""
        cells = [f"`{self.path}`"]
        for seconds, aim in ((self.anew, MOST_ANEW), (self.again, MOST_AGAIN)):
            median = statistics.median(seconds)
            times = median / listing
            cells += [f"{median * 1000:.0f} ms", f"{times:.2f}", f"<= {aim}", "yes" if times <= aim else "NO"]
        return f"| {' | '.join(cells)} |"


def measured(place: Path, rounds: int) -> tuple[list[Measured], list[float], int]:
    """Each page some times, with a list between; seconds of the lists, and the server's memory in bytes."""
    pages, lists = [Measured(path) for path in PAGES], list[float]()
    with served(place) as server:
        server.asked("/sets", anew=True)  # templates are read once
        for _ in range(rounds):
            lists.append(timed([RECOUP, "list"], place).seconds)
            for page in pages:
                page.anew.append(server.asked(page.path, anew=True))
                page.again.append(server.asked(page.path, anew=False))
        return pages, lists, server.memory


def report(place: Path, *, quick: bool) -> str:
    """The result as Markdown."""
    sets = QUICK_SETS if quick else SETS
    print(f"making {sets:,} sets", file=sys.stderr)
    make_sets(place, sets)
    pages, lists, memory = measured(place, QUICK_ROUNDS if quick else ROUNDS)
    listing = statistics.median(lists)
    machine = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    )
    lines = [
        "# Benchmark results: the page",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, load {os.getloadavg()[0]:.1f}. {sets:,} sets of a few files, medians of "
        f"{len(lists)} requests. `recoup list` of the same took {listing * 1000:.0f} ms ({min(lists) * 1000:.0f} to "
        f"{max(lists) * 1000:.0f}), in the same run; the ratios are to that.",
        "",
        "| page | anew | ratio | aim | holds | again | ratio | aim | holds |",
        "|---|---|---|---|---|---|---|---|---|",
        *(page.row(listing) for page in pages),
        "",
        f"The server had at most {memory / MB:.0f} MB in memory.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints, and keeps a full run's result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sets; the result is not kept")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch:
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        text = report(Path(scratch).resolve() / "stack", quick=chosen.quick)
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
