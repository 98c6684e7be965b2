"""How fast Qdrant servers are captured and looked into, beside curl, sha256sum and the engine by hand: `./dev bench qdrant`.

The server is the one that `RECOUP_TEST_QDRANT` names, else the tests' stand-in; the result says which. Both sides ask the same
server for the same snapshots, so that its own speed is in both times.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from measuring import HEADING, LARGEST_MEMORY, MB, RECOUP, Pair, Run, alternately, timed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

if TYPE_CHECKING:
    from qdrant_server.running import Qdrant

RESULTS = Path(__file__).parent / "results-qdrant.md"
LEAST_SPEED = 0.9  # of the plain tools', aim
LEAST_GAIN = 1.7  # of two workers over one, aim
CHOSEN = 200  # points taken out of a snapshot
COLLECTION = "docs"
METHODS = ("stored", "stream", "collection", "scroll")

# the same by hand: unpack each shard, open it, count
BY_HAND = """
import pathlib, sys, tempfile
from qdrant_edge import CountRequest, EdgeShard
total = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("shard-*.snapshot")):
    with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
        EdgeShard.unpack_snapshot(str(path), folder + "/shard")
        shard = EdgeShard.load(folder + "/shard")
        total += shard.count(CountRequest(exact=True))
        shard.close()
print(total)
"""


@contextmanager
def server(folder: Path) -> "Iterator[Qdrant]":
    """A running server without collections."""
    from qdrant_server.choosing import Keys, chosen
    from qdrant_server.running import Qdrant
    from qdrant_server.starting import start

    choice = chosen()
    running = Qdrant(choice.url, 6334, Keys(), real=True) if choice.url else start(choice, folder / "server", Keys())
    try:
        yield running
    finally:
        running.clean()
        running.close()


def fill(running: "Qdrant", points: int, dimensions: int, shards: int, *, indexed: bool = False) -> None:
    """A collection of random vectors with a little payload, the same each time; not indexed unless that is wanted."""
    from qdrant_client import QdrantClient, models

    vectors = {"size": dimensions, "distance": "Cosine"}
    body: dict[str, object] = {"vectors": vectors, "shard_number": shards}
    if not indexed:  # it would be built during the first half of the measurement
        body["optimizers_config"] = {"indexing_threshold": 0}
    running.ask("PUT", f"/collections/{COLLECTION}", body)
    port = int(running.url.rpartition(":")[2])
    client = QdrantClient(
        host="127.0.0.1",
        port=port,
        grpc_port=running.grpc_port,
        prefer_grpc=True,
        timeout=600,
        check_compatibility=False,
    )
    chance = np.random.default_rng(7)
    for begin in range(0, points, 2000):
        ids = range(begin, min(begin + 2000, points))
        batch = chance.standard_normal((len(ids), dimensions), dtype=np.float32)
        found = [
            models.PointStruct(id=n, vector=v.tolist(), payload={"page": n, "kind": f"k{n % 50}"})
            for n, v in zip(ids, batch, strict=True)
        ]
        client.upsert(COLLECTION, found, wait=True)
    client.close()


def configured(folder: Path, running: "Qdrant", method: str, workers: int | None = None) -> Path:
    """A folder with a stack of this one source."""
    place = folder / f"{method}-{workers or 'all'}"
    place.mkdir()
    options = {"kind": "qdrant", "url": running.url, "method": method, "grpc_port": running.grpc_port}
    source = json.dumps(options | ({"workers": workers} if workers else {}))
    repository = "{path: backups, layout: sets}"
    (place / "recoup.yaml").write_text(
        f"version: 1\nstack: benchmark\nsources: {{vectors: {source}}}\nrepositories: {{local: {repository}}}\n"
    )
    timed([RECOUP, "init"], place)
    return place


def backup(place: Path) -> Callable[[], Run]:
    """A backup into a repository without sets."""

    def run() -> Run:
        for old in (place / "backups").glob("backup_*"):
            shutil.rmtree(old)
        return timed([RECOUP, "-q", "backup"], place)

    return run


def curl(folder: Path, running: "Qdrant", method: str, shards: int) -> Callable[[], Run]:
    """The same by a script: create, download, delete, sum."""
    base = f"{running.url}/collections/{COLLECTION}"
    ask = "curl -sSf"
    name = """| sed 's/.*"name":"\\([^"]*\\)".*/\\1/'"""
    each = [f"{base}/shards/{shard}/snapshots" for shard in range(shards)]
    stored = each if method == "stored" else [f"{base}/snapshots"]
    steps = [
        f"n=$({ask} -X POST {url} {name}); {ask} -o {number}.snapshot {url}/$n; {ask} -o /dev/null -X DELETE {url}/$n"
        for number, url in enumerate(stored)
    ]
    if method == "stream":
        steps = [f"{ask} -o {n}.snapshot {base}/shards/{n}/snapshot & p{n}=$!" for n in range(shards)]
        steps += [f"wait $p{n}" for n in range(shards)]
    place = folder / f"curl-{method}"

    def run() -> Run:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return timed("; ".join(steps).replace("&;", "&") + "; sha256sum *.snapshot > SUMS; sync", place)

    return run


def scrolled(folder: Path, running: "Qdrant") -> Callable[[], Run]:
    """The same by a script: one page after the other over HTTP, kept as it came, summed."""
    script = folder / "scroll.py"
    script.write_text(
        "import json, sys, httpx\n"
        f"url, offset = {running.url!r} + '/collections/{COLLECTION}/points/scroll', None\n"
        "with httpx.Client(timeout=600) as client, open(sys.argv[1], 'wb') as out:\n"
        "    while True:\n"
        "        body = {'limit': 1000, 'with_vector': True, 'with_payload': True, 'offset': offset}\n"
        "        answer = client.post(url, json=body).raise_for_status()\n"
        "        out.write(answer.content)\n"
        "        offset = answer.json()['result']['next_page_offset']\n"
        "        if offset is None: break\n"
    )
    return lambda: timed(f"{sys.executable} {script} points.json; sha256sum points.json > SUMS; sync", folder)


def captures(folder: Path, running: "Qdrant", shards: int, copies: int, methods: Sequence[str]) -> list[Pair]:
    """Each method beside its script, and two workers beside one."""
    pairs = []
    for method in methods:
        print(f"measuring {method}", file=sys.stderr)
        ours = backup(configured(folder, running, method))
        plain = scrolled(folder, running) if method == "scroll" else curl(folder, running, method, shards)
        beside = "REST scroll, sha256sum" if method == "scroll" else "curl -o, sha256sum, sync"
        pairs.append(Pair(f"backup, {method}", *alternately(copies, ours, plain), beside, least_speed=LEAST_SPEED))
    print("measuring workers", file=sys.stderr)
    two, one = (backup(configured(folder, running, "stored", workers)) for workers in (2, 1))
    what = f"backup of {shards} shards, two workers"
    pairs.append(Pair(what, *alternately(copies, two, one), "one worker", least_speed=LEAST_GAIN))
    return pairs


def openings(folder: Path, points: int, copies: int) -> list[Pair]:
    """Counting and taking out points without a server, beside the engine by hand."""
    place = folder / "stored-all"
    (stored,) = (place / "backups").glob("backup_*/vectors")
    script = folder / "count.py"
    script.write_text(BY_HAND)

    def by_hand() -> Run:
        return timed([sys.executable, str(script), str(stored / COLLECTION), str(folder)], folder)

    def looked(*arguments: str) -> Callable[[], Run]:
        return lambda: timed([RECOUP, "qdrant", *arguments, "--collection", COLLECTION], place)

    ids = ",".join(map(str, itertools.islice(range(0, points, max(1, points // CHOSEN)), CHOSEN)))
    out = str(folder / "taken.jsonl")

    def extract() -> Run:
        Path(out).unlink(missing_ok=True)
        return looked("extract", "latest", "--ids", ids, "--to", out)()

    pairs = []
    for what, ours in (("open and count", looked("count", "latest")), (f"extract {CHOSEN} points", extract)):
        print(f"measuring {what}", file=sys.stderr)
        runs = alternately(copies, ours, by_hand)
        pairs.append(Pair(what, *runs, "qdrant-edge by hand: unpack, load, count", least_speed=LEAST_SPEED))
    return pairs


def report(pairs: list[Pair], which: str, points: int, dimensions: int, shards: int) -> str:
    """The result as Markdown."""
    peak = max(pair.memory for pair in pairs) / MB
    return "\n".join(
        (
            "# Benchmark results: Qdrant",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, Python {platform.python_version()}. "
            f"Server: {which}. {points:,} points of {dimensions} dimensions in {shards} shards.",
            f"{os.cpu_count()} processors, the server's, too; load average at the end {os.getloadavg()[0]:.1f}: "
            "the benchmark alone makes about 2, and with more the times say little.",
            "Times are medians (lowest to highest); memory is what Recoup's processes need together, without files' pages.",
            "",
            HEADING,
            *(pair.row() for pair in pairs),
            "",
            f"Peak memory {peak:.0f} MB, aim <= {LARGEST_MEMORY} MB: {'yes' if peak <= LARGEST_MEMORY else 'NO'}.",
            "",
        )
    )


def main() -> None:
    """Measures, prints, and keeps the result of a full run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--copies", type=int, default=3, help="repetitions of each pair")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="only some of the methods")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    parser.add_argument(
        "--keep-result", action="store_true", help=f"write {RESULTS.name}, which a full run always does"
    )
    chosen = parser.parse_args()
    full = chosen.points >= parser.get_default("points")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that gigabytes do not stay behind
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch, server(Path(scratch)) as running:
        print(f"writing {chosen.points:,} points", file=sys.stderr)
        fill(running, chosen.points, chosen.dimensions, chosen.shards)
        pairs = captures(Path(scratch), running, chosen.shards, chosen.copies, chosen.methods)
        pairs += openings(Path(scratch), chosen.points, chosen.copies) if "stored" in chosen.methods else []
        which = f"Qdrant {running.http.get('/').json()['version']}" if running.real else "stand-in of the tests"
    text = report(pairs, which, chosen.points, chosen.dimensions, chosen.shards)
    print(text)
    if full or chosen.keep_result:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
