"""Upload and download of 2 GB against boto3 with parts of the same size: `./dev bench object_store [--quick]`.

Both talk to the same SeaweedFS server on this machine in one run, in turn; each run is a process of its own, whose memory is
looked at. The result is printed and kept beside this file.
"""

import argparse
import io
import json
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from measuring import HEADING, MB, RECOUP, Pair, Run, alternately, timed
from recoup.testing.fault_proxy import Delay, FaultProxy
from s3_server.buckets import Bucket
from s3_server.running import start

RESULTS = Path(__file__).parent / "results-object_store.md"
PART = 8 * 1024 * 1024  # bytes, of both
BLOCK = 1024 * 1024  # bytes handed over at once
KEY = "large"
LATENCY = 0.02  # seconds
MOST_TRIPS = 20  # aim


class Noise(io.RawIOBase):
    """A stream of bytes that do not repeat within a part, made at no cost."""

    def __init__(self, size: int) -> None:
        self._left, self._block = size, os.urandom(PART)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        count = min(self._left, len(self._block), size if size >= 0 else self._left)
        self._left -= count
        return self._block[:count]


class Nowhere(io.RawIOBase):
    """Counts what is written."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview", /) -> int:  # type: ignore[override]
        self.size += len(data)
        return len(data)


def ours(direction: str, endpoint: str, bucket: str, size: int) -> None:
    """One transfer by Recoup's storage."""
    from recoup.storage.object_store import Options, connect

    storage = connect(f"s3://{bucket}", Options(endpoint=endpoint, part_size=PART))
    if direction == "up":
        source, writer = Noise(size), storage.writer(KEY)
        while block := source.read(BLOCK):
            writer.write(block)
        writer.commit()
        return
    with storage.reader(KEY) as reader:
        assert sum(len(block) for block in iter(lambda: reader.read(BLOCK), b"")) == size


def theirs(direction: str, endpoint: str, bucket: str, size: int) -> None:
    """One transfer by boto3 as it comes, but for the size of the parts."""
    import boto3
    from boto3.s3.transfer import TransferConfig

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    config = TransferConfig(multipart_chunksize=PART, multipart_threshold=PART)
    if direction == "up":
        client.upload_fileobj(cast("BinaryIO", Noise(size)), bucket, KEY, Config=config)
        return
    target = Nowhere()
    client.download_fileobj(bucket, KEY, cast("BinaryIO", target), Config=config)
    assert target.size == size


def measured(who: str, direction: str, bucket: Bucket, size: int, folder: Path) -> Run:
    """One transfer in a process of its own."""
    command = [sys.executable, __file__, "--one", who, direction, bucket.endpoint, bucket.name, str(size)]
    return timed(command, folder)


def rows(bucket: Bucket, size: int, rounds: int, folder: Path) -> list[str]:
    """The lines of the table."""
    found = []
    for direction in ("up", "down"):
        runs = alternately(
            rounds,
            lambda: measured("recoup", direction, bucket, size, folder),  # noqa: B023 - called before the next one
            lambda: measured("boto3", direction, bucket, size, folder),  # noqa: B023
        )
        found.append(Pair(f"{direction}load", *runs, beside="boto3", least_speed=1.0).row())
    return found


def listing(bucket: Bucket, folder: Path, sets: int) -> str:
    """A list of many sets by way of a proxy that delays each request by 20 ms, told in a sentence."""
    (folder / "notes").mkdir()
    (folder / "notes" / "one").write_text("a note")
    config = folder / "recoup.json"

    def through(endpoint: str) -> list[str]:
        storage = bucket.through(endpoint).options
        repository = {"url": f"{bucket.url}/sets", "storage": storage, "keep": {"last": 10 * sets}}
        sources = {"notes": {"kind": "files", "path": "notes"}}
        config.write_text(
            json.dumps({"version": 1, "stack": "benchmark", "sources": sources, "repositories": {"s3": repository}})
        )
        return [RECOUP, "-q", "-c", str(config)]

    here = through(bucket.endpoint)
    timed([*here, "init"], folder)
    timed([*here, "backup"], folder)
    [key] = [key for key in bucket.keys("sets/backup_") if key.endswith("/manifest.json")]
    manifest = json.loads(bucket.get(key))
    for number in range(sets - 2):
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        manifest["name"] = f"backup_{moment:%Y%m%d_%H%M%S}"
        bucket.put(f"sets/{manifest['name']}/manifest.json", json.dumps(manifest).encode())
    timed([*here, "backup"], folder)  # puts the manifests of all into the catalogue
    with FaultProxy("127.0.0.1", int(bucket.endpoint.rpartition(":")[2])) as proxy:
        proxy.inject(Delay(LATENCY))
        command = [*through(proxy.url), "list"]
        runs = []
        for _ in range(3):
            before = proxy.count()
            runs.append(timed(command, folder).seconds)
            count = proxy.count() - before
    return (
        f"`recoup list` of {sets:,} sets, each request delayed by {LATENCY * 1000:.0f} ms: {count} round trips (aim: at most "
        f"{MOST_TRIPS}, {'yes' if count <= MOST_TRIPS else 'NO'}), {statistics.median(runs):.2f} s with the start of the process."
    )


def main() -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="200 MB once; not kept")
    parser.add_argument("--one", nargs=5, metavar=("WHO", "DIRECTION", "ENDPOINT", "BUCKET", "SIZE"))
    chosen = parser.parse_args()
    if chosen.one:
        who, direction, endpoint, bucket, size = chosen.one
        (ours if who == "recoup" else theirs)(direction, endpoint, bucket, int(size))
        return
    size, rounds = (200 * MB, 1) if chosen.quick else (2000 * MB, 3)
    with tempfile.TemporaryDirectory() as name:
        server = start(Path(name))
        try:
            bucket = server.bucket()
            os.environ["AWS_ACCESS_KEY_ID"] = bucket.account.access_key
            os.environ["AWS_SECRET_ACCESS_KEY"] = bucket.account.secret_key
            table = rows(bucket, size, rounds, Path(name))
            listed = listing(server.bucket(), Path(name), 100 if chosen.quick else 1000)
        finally:
            server.close()
    machine = (
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} processors"
    )
    text = "\n".join(
        (
            "# Benchmark results: object store",
            "",
            f"{datetime.now(UTC).date()}, {machine}. {size / MB:,.0f} MB in parts of 8 MiB to SeaweedFS on the same machine, "
            f"median of {rounds}; the start of the processes counts. Aim for the memory: 150 MB.",
            "",
            HEADING,
            *table,
            "",
            listed,
            "",
        )
    )
    print(text)
    if not chosen.quick:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
