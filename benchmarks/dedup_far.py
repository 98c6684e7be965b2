"""A storage far away: Recoup, restic and rustic with an S3 server behind a slow link, as `dedup_scale` measures them.

The server runs on this machine behind a proxy: each request waits 20 ms, and all together pass 50 MB/s in each direction. The
proxy itself takes processor time, the same for all.
"""

import filecmp
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from dedup_contestants import Contestant, Recoup, Restic, Rustic
from dedup_series import RECIPES, series
from measuring import MB, RECOUP, Run
from recoup.testing.fault_proxy import FaultProxy, Line
from s3_server.buckets import Bucket
from s3_server.running import start

LATENCY = 0.02  # seconds of a request
RATE = 50 * MB  # bytes a second, each direction
POINTS = 20_000
FILE = "data.bin"


class Link:
    """One direction of a connection: what passes at most in a second, all requests together."""

    def __init__(self, rate: int) -> None:
        self._rate, self._lock, self._free = rate, threading.Lock(), 0.0

    def passing(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces, as late as the connection lets them through."""
        for piece in pieces:
            with self._lock:
                self._free = max(self._free, time.monotonic()) + len(piece) / self._rate
                wait = self._free - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            yield piece


@dataclass(frozen=True)
class Far:
    """A request that waits, and passes the links with all others."""

    seconds: float
    up: Link = field(default_factory=lambda: Link(RATE))
    down: Link = field(default_factory=lambda: Link(RATE))

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.proxy.pause(self.seconds)
        line.send(self.up.passing(line.body()))
        head = line.answer_head()
        line.reply(head, self.down.passing(line.answer_body(head)))


class FarRecoup(Recoup):
    """Recoup with a bucket."""

    bucket: Bucket

    def _begin(self) -> list[str]:
        repository = {"url": f"{self.bucket.url}/recoup", "layout": "dedup", "password_file": str(self.password)}
        sources = {"data": {"kind": "files", "path": str(self.data)}}
        repositories = {"main": repository | {"storage": self.bucket.options}}
        config = {"version": 1, "stack": "benchmark", "sources": sources, "repositories": repositories}
        (self.place / "recoup.yaml").write_text(json.dumps(config))
        (self.place / "recoup.yaml").chmod(0o600)
        return [RECOUP, "init"]


class FarRestic(Restic):
    """restic with a bucket."""

    bucket: Bucket

    def _base(self) -> list[str]:
        self.environment["AWS_ACCESS_KEY_ID"] = self.bucket.account.access_key
        self.environment["AWS_SECRET_ACCESS_KEY"] = self.bucket.account.secret_key
        place = f"s3:{self.bucket.endpoint}/{self.bucket.name}/restic"
        return [self.program, "-q", "-r", place, "--password-file", str(self.password)]


class FarRustic(Rustic):
    """rustic with a bucket."""

    bucket: Bucket

    def _base(self) -> list[str]:
        told = {"bucket": self.bucket.name, "root": "/rustic", "endpoint": self.bucket.endpoint, "region": "us-east-1"}
        profile = self.place / "rustic.toml"
        options = told | {"access_key_id": self.bucket.account.access_key}
        options["secret_access_key"] = self.bucket.account.secret_key
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items())
        profile.write_text(f'[repository]\nrepository = "opendal:s3"\n\n[repository.options]\n{lines}')
        profile.chmod(0o600)
        quiet = ["--no-progress", "--log-level", "error"]
        return [self.program, "-P", str(profile.with_suffix("")), "--password-file", str(self.password), *quiet]


FAR: tuple[type[FarRecoup | FarRestic | FarRustic], ...] = (FarRecoup, FarRestic, FarRustic)


def far(scratch: Path, cache: Path) -> list[str]:
    """A first day, an ordinary day, a restore and a check of each, with the number of requests: lines of a report."""
    days = series("generated", POINTS, cache)
    place = scratch / "far"
    (place / "data").mkdir(parents=True)
    (place / "server").mkdir()
    rows, server = [], start(place / "server")
    try:
        with FaultProxy("127.0.0.1", server.port) as proxy:
            proxy.inject(Far(LATENCY))
            for kind in (one for one in FAR if one.there()):
                contestant = kind(place / kind.name, place / "data")
                contestant.bucket = server.bucket().through(proxy.url)
                contestant.begin()
                rows.append(_row(contestant, proxy, days.path(0), days.path(1)))
    finally:
        server.close()
    return [
        "## A storage far away",
        "",
        f"The first two days of the series generated, {days.size:,} {RECIPES['generated'].unit}; an S3 server, each request "
        f"{LATENCY * 1000:.0f} ms, {RATE / MB:.0f} MB/s in each direction. One run each.",
        "",
        "| who | first day | ordinary day | restore | verify every byte |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]


def _row(contestant: Contestant, proxy: FaultProxy, first: Path, second: Path) -> str:
    cells = [contestant.name]
    for file in (first, second):
        shutil.copyfile(file, contestant.data / FILE)
        before = proxy.count()
        cells.append(_told(contestant.backup(), proxy.count() - before))
    before = proxy.count()
    run, path = contestant.restore()
    cells.append(_told(run, proxy.count() - before))
    if not filecmp.cmp(path, second, shallow=False):
        raise SystemExit(f"{contestant.name} restored other bytes than it was given")
    before = proxy.count()
    cells.append(_told(contestant.verify(), proxy.count() - before))
    print(cells, file=sys.stderr)
    return f"| {' | '.join(cells)} |"


def _told(run: Run, requests: int) -> str:
    return f"{run.seconds:.2f} s, {requests:,} requests"
