"""What `incremental` spares of the way from a Qdrant server, day by day: `./dev bench qdrant_increments`.

The server is the one that `RECOUP_TEST_QDRANT` names, else the tests' stand-in; the result says which. Each day 1 % of the points
are new, 0.5 % get another payload, 0.2 % are deleted. What comes is compared with the files that changed: those whose version
rose, as the server says, and what has no version and always comes (the write-ahead log, the clocks and the state of a shard).
"""

import argparse
import json
import os
import platform
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from measuring import MB, RECOUP, timed
from qdrant import COLLECTION, fill, server

if TYPE_CHECKING:
    from qdrant_server.running import Qdrant

RESULTS = Path(__file__).parent / "results-qdrant_increments.md"
MOST = 1.05  # bytes that came, as a multiple of the files that changed, aim
_PATIENCE = 3600  # seconds for the optimizer


@dataclass(frozen=True)
class Day:
    """One backup.

    Attributes:
        number: from 1; the day before the first was a full one.
        came: bytes that came from the server as snapshots.
        whole: bytes of the snapshots.
        changed: bytes of the files that changed.
        stored: bytes that the repository grew by.
        seconds: that the backup took.
    """

    number: int
    came: int
    whole: int
    changed: int
    stored: int
    seconds: float

    def row(self) -> str:
        """One line of the table."""
        share, times = self.came / self.whole, self.came / self.changed
        sizes = " | ".join(f"{one / MB:.2f}" for one in (self.whole, self.changed, self.came))
        holds = "yes" if times <= MOST else "NO"
        rest = f"{share:.0%} | {times:.3f} | {holds} | {self.stored / MB:.2f} | {self.seconds:.2f} s"
        return f"| {self.number} | {sizes} | {rest} |"


HEADING = """\
| day | snapshots, MB | files that changed, MB | came, MB | of the snapshots | of the files | holds | stored, MB | backup |
|---|---|---|---|---|---|---|---|---|"""


class Series:
    """A stack that is backed up day after day.

    Args:
        folder: for it.
        running: the server.
    """

    def __init__(self, folder: Path, running: "Qdrant") -> None:
        self._folder, self._running = folder, running
        source = {"kind": "qdrant", "url": running.url, "grpc_port": running.grpc_port, "incremental": True}
        repository = "{path: kept, layout: dedup, key_file: secret}"
        (folder / "secret").write_bytes(secrets.token_bytes(32))
        (folder / "secret").chmod(0o600)
        (folder / "recoup.yaml").write_text(
            f"version: 1\nstack: benchmark\nsources: {{vectors: {json.dumps(source)}}}\n"
            f"repositories: {{main: {repository}}}\nevents: {{jsonl: events}}\n"
        )
        timed([RECOUP, "init"], folder)
        self.backup()
        self._before = self._record()

    def backup(self) -> float:
        """Takes one, and returns the seconds that it took."""
        return timed([RECOUP, "-q", "backup"], self._folder).seconds

    def day(self, number: int) -> Day:
        """One more backup, measured."""
        had = self._size()
        (self._folder / "events").unlink()
        seconds = self.backup()
        events = [json.loads(line) for line in (self._folder / "events").read_text().splitlines()]
        merged = [one for one in events if one["event"] == "shard_merged"]
        if any(one["event"] == "shard_taken_in_full" for one in events) or not merged:
            raise SystemExit(f"day {number} was not taken by what changed: {events}")
        came, whole = (sum(one[key] for one in merged) for key in ("came", "bytes"))
        return Day(number, came, whole, self._changed(), self._size() - had, seconds)

    def _size(self) -> int:
        return sum(path.stat().st_size for path in (self._folder / "kept").rglob("*") if path.is_file())

    def _part(self, name: str) -> bytes:
        command = [RECOUP, "cat", "latest", f"vectors/{COLLECTION}/{name}"]
        return subprocess.run(command, cwd=self._folder, capture_output=True, check=True).stdout

    def _record(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self._part("collection.json"))
        return found

    def _changed(self) -> int:
        """Bytes of all members that changed since the set before, in all shards."""
        before, self._before = self._before, self._record()
        return sum(
            _changed(
                self._part(f"shard-{now['id']}.snapshot"), then["increment"]["manifest"], now["increment"]["manifest"]
            )
            for then, now in zip(before["shards"], self._before["shards"], strict=True)
        )


def _changed(snapshot: bytes, known: Mapping[str, Any], manifest: Mapping[str, Any]) -> int:
    from qdrant_server.surgery import members
    from recoup.sources.qdrant._manifests import newer, versions_of

    found = 0
    for one in members(snapshot):
        segment, _, file = one.name.removeprefix("segments/").partition("/files/")
        named = segment in known and file in manifest[segment]["file_versions"]
        if not named or newer(versions_of(manifest, segment), versions_of(known, segment), file):
            found += one.end - one.start
    return found


def change(running: "Qdrant", day: int, points: int, dimensions: int) -> None:
    """A day's work of an application."""
    chance, path = random.Random(day), f"/collections/{COLLECTION}/points"
    first = points + day * points // 100
    new = [
        {"id": n, "vector": [chance.gauss(0, 1) for _ in range(dimensions)], "payload": {"page": n, "kind": "new"}}
        for n in range(first, first + points // 100)
    ]
    for begin in range(0, len(new), 500):
        running.ask("PUT", path, {"points": new[begin : begin + 500]}, wait="true")
    changed, gone = (chance.sample(range(kind, points, 2), points // share) for kind, share in ((0, 200), (1, 500)))
    running.ask("POST", f"{path}/payload", {"payload": {"day": day}, "points": changed}, wait="true")
    running.ask("POST", f"{path}/delete", {"points": gone}, wait="true")


def settle(running: "Qdrant") -> None:
    """Waits until the optimizer has nothing to do; while it works, a server may not answer."""
    end = time.monotonic() + _PATIENCE
    while not _settled(running):
        if time.monotonic() > end:
            raise SystemExit("the optimizer did not come to an end")
        time.sleep(0.2)


def _settled(running: "Qdrant") -> bool:
    try:
        return bool(running.ask("GET", f"/collections/{COLLECTION}")["status"] == "green")
    except httpx.TimeoutException:
        return False


def report(days: Sequence[Day], which: str, points: int, dimensions: int, shards: int) -> str:
    """The result as Markdown."""
    return "\n".join(
        (
            "# Benchmark results: what `incremental` spares",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}. "
            f"Server: {which}. {points:,} points of {dimensions} dimensions in {shards} shards; each day 1 % new, 0.5 % other "
            "payloads, 0.2 % deleted.",
            f"{os.cpu_count()} processors; load average at the end {os.getloadavg()[0]:.1f}. Bytes do not depend on that. "
            f"Aim: at most {MOST} times the files that changed.",
            "",
            HEADING,
            *(day.row() for day in days),
            "",
        )
    )


def main() -> None:
    """Measures, prints, and keeps the result of a full run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=60_000)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    chosen = parser.parse_args()
    full = chosen.points >= parser.get_default("points")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch, server(Path(scratch)) as running:
        print(f"writing {chosen.points:,} points", file=sys.stderr)
        fill(running, chosen.points, chosen.dimensions, chosen.shards, indexed=True)
        settle(running)
        place = Path(scratch) / "stack"
        place.mkdir()
        series, days = Series(place, running), []
        for number in range(1, chosen.days + 1):
            print(f"day {number}", file=sys.stderr)
            change(running, number, chosen.points, chosen.dimensions)
            settle(running)
            days.append(series.day(number))
        which = f"Qdrant {running.http.get('/').json()['version']}" if running.real else "stand-in of the tests"
    text = report(days, which, chosen.points, chosen.dimensions, chosen.shards)
    print(text)
    if full:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
