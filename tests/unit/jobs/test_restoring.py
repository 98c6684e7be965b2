"""Collections restored to a server by the workers of a real Dask cluster, and what is left to the machine that was asked."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import recoup
from dask_cluster.running import Cluster
from qdrant_server.running import Qdrant
from recoup.errors import ExitCode
from recoup.model.events import Event
from recoup.testing.fault_proxy import Before, FaultProxy
from s3_server.buckets import Bucket
from s3_server.running import S3Server
from unit.sources.qdrant.capture.taking import fill

Open = Callable[..., recoup.Stack]


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    """The way that workers take to the bucket, and nobody else."""
    with FaultProxy("127.0.0.1", s3.port) as between:
        yield between


@pytest.fixture
def backed_up(opened: Open, qdrant: Qdrant, bucket: Bucket, cluster: Cluster, proxy: FaultProxy) -> recoup.Stack:
    fill(qdrant, "docs", 60, shards=2)
    fill(qdrant, "notes", 20)
    stack = opened()
    assert stack.backup().exit_code == ExitCode.OK
    cluster.config.write_text(cluster.config.read_text().replace(bucket.endpoint, proxy.url))
    return stack


def count(server: Qdrant, name: str) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


def shards_read(proxy: FaultProxy) -> int:
    return proxy.count("GET", "/shard-")


def test_a_worker_restores_what_is_gone_and_this_machine_what_is_there(
    backed_up: recoup.Stack, qdrant: Qdrant, proxy: FaultProxy, news: list[Event]
) -> None:
    for name in ("docs", "notes"):
        qdrant.ask("DELETE", f"/collections/{name}")
    report = backed_up.restore(text="latest", sources=["vectors"], in_place=True)
    assert report.exit_code == ExitCode.OK, report
    assert dict(report.sources[0].counted) == {"points of docs": 60, "points of notes": 20}
    assert (count(qdrant, "docs"), count(qdrant, "notes")) == (60, 20)
    assert shards_read(proxy) >= 3, "it read what is stored"
    told = [event.name for event in news]
    assert told.count("collection_restored") == 2
    assert told.count("source_restored") == 1
    assert "workers_not_used" not in told

    before = shards_read(proxy)
    report = backed_up.restore(text="latest", sources=["vectors"], in_place=True)
    assert report.exit_code == ExitCode.OK, report
    assert shards_read(proxy) == before
    [why] = [event for event in news if event.name == "workers_not_used"]
    assert "the way back is kept on the machine that replaces it" in why.message


@pytest.mark.parametrize("machine", ["the same", "another"])
def test_what_a_worker_that_died_had_begun_is_taken_back_where_it_can_be_and_never_replaced(
    backed_up: recoup.Stack, qdrant: Qdrant, proxy: FaultProxy, cluster: Cluster, machine: str
) -> None:
    for name in ("docs", "notes"):
        qdrant.ask("DELETE", f"/collections/{name}")
    cluster.kill("two")
    with ThreadPoolExecutor(1) as starter:  # a worker ends with the thread that started it

        def swap() -> None:
            cluster.kill("one")
            if machine == "another":
                shutil.rmtree(cluster.folder / "state")  # it knows nothing of what the first one wrote down
            starter.submit(cluster.start, "two")

        proxy.inject(Before(swap), method="GET", contains="/docs/shard-", times=1)
        report = backed_up.restore(text="latest", sources=["vectors"], in_place=True)
    if machine == "another":
        assert report.exit_code != ExitCode.OK
        assert "docs by now, and a worker replaces nothing" in report.sources[0].error
        assert qdrant.collections() == ["docs"]
        report = backed_up.restore(text="latest", sources=["vectors"], in_place=True)
    assert report.exit_code == ExitCode.OK, report
    assert (count(qdrant, "docs"), count(qdrant, "notes")) == (60, 20)


def test_damaged_bytes_are_restored_by_no_worker_and_nothing_stays_on_the_server(
    backed_up: recoup.Stack, qdrant: Qdrant, bucket: Bucket
) -> None:
    qdrant.ask("DELETE", "/collections/docs")
    qdrant.ask("DELETE", "/collections/notes")
    key = next(key for key in bucket.keys("sets/") if "/docs/shard-" in key)
    data = bucket.get(key)
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=data[:-1] + bytes([data[-1] ^ 1]))
    report = backed_up.restore(text="latest", sources=["vectors"], in_place=True)
    assert report.exit_code == ExitCode.DAMAGED, report
    assert qdrant.collections() == []


def test_another_place_than_the_configured_one_is_restored_by_this_machine(
    backed_up: recoup.Stack, qdrant: Qdrant, proxy: FaultProxy, news: list[Event]
) -> None:
    qdrant.ask("DELETE", "/collections/docs")
    qdrant.ask("DELETE", "/collections/notes")
    place = qdrant.url.replace("127.0.0.1", "localhost")
    report = backed_up.restore(text="latest", targets={"vectors": place})
    assert report.exit_code == ExitCode.OK, report
    assert shards_read(proxy) == 0
    assert "its address may hold a secret" in next(e.message for e in news if e.name == "workers_not_used")
