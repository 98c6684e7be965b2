"""Eight shards by two Dask workers beside one, and how a set grows with its shards: `./dev bench workers`.

By default everything runs on this machine: Qdrant (the server that `RECOUP_TEST_QDRANT` names, else the tests' stand-in), an S3
server, a scheduler and workers of one thread each. Machines of their own would have links of their own: `--link` limits what each
worker uploads, so that the workers' links are the limit and not the processors that all of them share here. `--config FILE`
measures one's own cluster instead: a backup with the configuration's `execution.dask` beside one without.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from dask_cluster.running import Cluster
from measuring import HEADING, MB, RECOUP, Pair, Run, alternately, timed
from qdrant import COLLECTION, fill, server
from s3_server.buckets import Bucket
from s3_server.running import start as start_s3

RESULTS = Path(__file__).parent / "results-workers.md"
LEAST_GAIN = 1.7  # of two workers over one, aim
SIZES = (10, 100, 1_000, 10_000)  # shards, for the size of manifests


@contextmanager
def cluster(folder: Path, config: Path, names: tuple[str, ...]) -> Iterator[Cluster]:
    """A scheduler and workers of one thread."""
    folder.mkdir()
    made = Cluster(folder, config, {"TMPDIR": str(folder)}, threads=1)
    try:
        made.start(*names)
        yield made
    finally:
        made.close()


def configured(folder: Path, url: str, grpc_port: int, bucket: Bucket, link: int) -> Path:
    """A configuration of one Qdrant source and a bucket."""
    source = {"kind": "qdrant", "url": url, "grpc_port": grpc_port, "method": "stream"}
    storage: dict[str, Any] = bucket.options | ({"upload_limit": f"{link}MB"} if link else {})
    repository = {"url": f"{bucket.url}/backups", "storage": storage, "keep": {"last": 1}}
    path = folder / f"recoup-{link}.json"
    path.write_text(
        json.dumps(
            {"version": 1, "stack": "benchmark", "sources": {"vectors": source}, "repositories": {"s3": repository}}
        )
    )
    path.chmod(0o600)
    return path


def backup(config: Path, *settings: str) -> Callable[[], Run]:
    """A whole backup, as a person starts it."""
    chosen = [argument for setting in settings for argument in ("--set", setting)]
    return lambda: timed([RECOUP, "-q", "-c", str(config), *chosen, "backup", "--no-prune"], config.parent)


def gains(folder: Path, link: int, points: int, dimensions: int, shards: int, copies: int) -> list[Pair]:
    """Two workers beside one, with a link each and without any limit."""
    pairs = []
    s3 = start_s3(folder / "s3")
    try:
        with server(folder) as running:
            print(f"writing {points:,} points", file=sys.stderr)
            fill(running, points, dimensions, shards)
            for limit in (link, 0):
                config = configured(folder, running.url, running.grpc_port, s3.bucket(), limit)
                timed([RECOUP, "-c", str(config), "init"], folder)
                what = f"{shards} shards, two workers, " + (f"{limit} MB/s up each" if limit else "no limit")
                print(f"measuring {what}", file=sys.stderr)
                with (
                    cluster(folder / f"one-{limit}", config, ("one",)) as one,
                    cluster(folder / f"two-{limit}", config, ("one", "two")) as two,
                ):
                    runs = alternately(
                        copies,
                        backup(config, f"execution.dask={two.address}"),
                        backup(config, f"execution.dask={one.address}"),
                    )
                pairs.append(Pair(what, *runs, "one worker", least_speed=LEAST_GAIN))
    finally:
        s3.close()
    return pairs


def growth() -> list[str]:
    """What the coordinator holds and stores for a collection of so many shards: rows of a table."""
    from recoup.model.facts import Facts, Value
    from recoup.model.manifest import Frozen, Host, Manifest, SourceRecord, StoredPart, encode
    from recoup.sources.qdrant._record import CollectionRecord, SegmentRecord, ShardRecord
    from recoup.sources.qdrant._record import encode as encode_record

    rows, now = [], datetime.now(UTC)
    digest = "ab" * 32
    files = {f"file_{number}.mmap": 1_000_000 + number for number in range(12)}
    segments = {f"{digest[:8]}-{number}": SegmentRecord(files) for number in range(4)}
    for count in SIZES:
        shards = tuple(
            ShardRecord(
                n, now, now + timedelta(seconds=1), 100_000, digest, f"{COLLECTION}/shard-{n}.snapshot",
                node="http://qdrant-0:6333", peer=10**15, replicas={str(10**15): "Active"}, segments=segments,
            )
            for n in range(count)
        )  # fmt: skip
        record = CollectionRecord(COLLECTION, "stream", "1.18.3", {"params": {}}, {}, (), shards)
        parts = tuple(
            StoredPart(shard.part, "stream", f"vectors/{shard.part}", 10**8, 10**8, digest, digest) for shard in shards
        )
        values: dict[str, dict[str, Value]] = {
            f"collection {COLLECTION} shard {n}": {
                "points": 100_000, "ids": digest, "sampled payloads": digest, "sampled vectors": digest,
            }
            for n in range(count)
        }  # fmt: skip
        source = SourceRecord("qdrant", "complete", frozen=Frozen(now, now), facts=Facts(values), parts=parts)
        manifest = encode(
            Manifest(
                id="0" * 32, name="backup_20260101_000000", stack="benchmark", host=Host("here", "Linux"), recoup="1",
                python="3", started=now, finished=now, outcome="complete", requested=("vectors",),
                sources={"vectors": source}, time_zone="UTC",
            )
        )  # fmt: skip
        rows.append(f"| {count:,} | {len(manifest) / 1000:,.0f} kB | {len(encode_record(record)) / 1000:,.0f} kB |")
    return rows


def report(pairs: list[Pair], about: str) -> str:
    """The result as Markdown."""
    machine = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    )
    return "\n".join(
        (
            "# Benchmark results: workers",
            "",
            f"{datetime.now(UTC).date()}, {machine}. {about}",
            "Times are medians (lowest to highest) of whole commands; memory is the coordinator's.",
            "",
            HEADING,
            *(pair.row() for pair in pairs),
            "",
        )
    )


def own_cluster(config: Path, copies: int) -> str:
    """A backup with workers beside one without, as configured."""
    runs = alternately(copies, backup(config), backup(config, "execution.dask=null"))
    return report([Pair("backup by the workers", *runs, "this machine alone", least_speed=1.0)], f"As {config} says.")


def main() -> None:
    """Measures, prints, and keeps the result of a run on this machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--config", type=Path, help="measure the cluster of this configuration; its backups stay")
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--copies", type=int, default=3, help="repetitions of each pair")
    parser.add_argument("--link", type=int, default=20, help="MB/s that each worker may upload")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure; a temporary one by default")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays behind
    if chosen.config is not None:
        print(own_cluster(chosen.config.resolve(), chosen.copies))
        return
    with tempfile.TemporaryDirectory(dir=chosen.dir) as scratch:
        pairs = gains(Path(scratch), chosen.link, chosen.points, chosen.dimensions, chosen.shards, chosen.copies)
    which = "the real server" if os.environ.get("RECOUP_TEST_QDRANT") else "the tests' stand-in"
    size = chosen.points * chosen.dimensions * 4 / MB
    text = report(pairs, f"{chosen.points:,} points ({size:,.0f} MB of vectors), Qdrant: {which}, SeaweedFS, all here.")
    text += "\n".join(("| shards | manifest | record of the collection |", "|---|---|---|", *growth(), ""))
    print(text)
    if chosen.points >= parser.get_default("points"):
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
