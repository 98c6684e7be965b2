"""A Qdrant server's shards captured by the workers of a real Dask cluster, straight into a bucket."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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


def once_empty(look: Callable[[], list[str]]) -> list[str]:
    """What is there when nothing is, or after a minute: workers that were at it learn a little later that it is over."""
    latest = time.monotonic() + 60
    while (found := look()) and time.monotonic() < latest:
        time.sleep(0.1)
    return found


def kill(running: list[subprocess.Popen[bytes]]) -> None:
    running[0].kill()


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", s3.port) as between:
        yield between


@pytest.fixture
def filled(qdrant: Qdrant) -> Qdrant:
    fill(qdrant, "docs", 300, shards=4)
    fill(qdrant, "notes", 20)
    return qdrant


def test_two_workers_take_the_shards_and_the_set_is_one_like_any_other(
    opened: Open, filled: Qdrant, bucket: Bucket, cluster: Cluster
) -> None:
    stack = opened()
    report = stack.backup()
    assert report.exit_code == ExitCode.OK, report
    assert report.manifest is not None
    record = report.manifest.sources["vectors"]
    assert record.method.endswith("in 5 pieces by 2 workers")
    folders = [part.name.partition("/")[0] for part in record.parts]
    assert folders == sorted(folders), "what belongs together is side by side"
    names = [part.name for part in record.parts]
    assert names[0] == "docs/collection.json"
    assert [name for name in names if "shard" in name and name.startswith("docs/")] == [
        f"docs/shard-{number}.snapshot" for number in range(4)
    ]
    assert record.facts is not None
    assert record.facts.values["collection docs"]["points"] == 300
    assert bucket.keys("sets/.partial") == []
    assert [info.name for info in stack.sets()] == [report.manifest.name]
    for name in ("one", "two"):
        assert bucket.account.secret_key not in cluster.log(name)


def test_what_workers_took_is_verified_drilled_and_restored(opened: Open, filled: Qdrant, tmp_path: Path) -> None:
    stack = opened()
    stack.backup()
    alone = recoup.open(
        tmp_path / "recoup.yaml",
        overrides=["execution.dask=null"],
        environ={"S3_SECRET": os.environ.get("S3_SECRET", "full-secret-key-of-the-tests")},
        cwd=tmp_path,
    )
    assert [found.damage for found in alone.verify()] == [()]
    assert alone.drill().passed
    filled.ask("DELETE", "/collections/docs")
    plan = alone.plan_restore("latest", ["vectors"], in_place=True)
    assert alone.restore(plan).exit_code == ExitCode.OK
    count = filled.ask("POST", "/collections/docs/points/count", {"exact": True})
    assert count["count"] == 300


def test_the_pieces_of_a_worker_that_dies_are_taken_elsewhere_and_nothing_of_it_stays(
    opened: Open, filled: Qdrant, bucket: Bucket, cluster: Cluster, proxy: FaultProxy
) -> None:
    stack = opened(endpoint=proxy.url)
    proxy.inject(Before(lambda: cluster.kill("one")), method="PUT", contains="/vectors/docs/shard-", times=1)
    report = stack.backup()
    assert report.exit_code == ExitCode.OK, report
    assert report.manifest is not None
    record = report.manifest.sources["vectors"]
    assert len([part for part in record.parts if part.name.startswith("docs/shard-")]) == 4
    stored = {f"sets/{report.manifest.name}/{part.path}" for part in record.parts}
    assert set(bucket.keys(f"sets/{report.manifest.name}/vectors/")) == stored
    assert bucket.keys("sets/.partial") == []
    assert [found.damage for found in stack.verify()] == [()]


def test_a_worker_that_is_configured_in_another_way_takes_nothing(opened: Open, filled: Qdrant) -> None:
    stack = opened(workers_source={"collections": ["notes"]})
    report = stack.backup()
    assert report.exit_code == ExitCode.REFUSED
    assert report.manifest is None
    assert "configured in another way" in report.errors["vectors"]
    assert stack.sets() == []


@pytest.mark.parametrize("what", ["a folder", "encrypted"])
def test_where_several_machines_cannot_write_it_is_said_and_nothing_stored(
    opened: Open, filled: Qdrant, tmp_path: Path, bucket: Bucket, what: str
) -> None:
    if what == "encrypted":
        (tmp_path / "passphrase").write_text("a long passphrase of the tests\n")
        (tmp_path / "passphrase").chmod(0o600)
        stack = opened(encrypt={"gpg": {"passphrase_file": str(tmp_path / "passphrase")}})
    else:
        opened()
        found = recoup.open(
            tmp_path / "recoup.yaml",
            overrides=["repositories.s3={path: sets}"],
            environ={"S3_SECRET": "x"},
            cwd=tmp_path,
        )
        found.create_repositories()
        stack = found
    report = stack.backup()
    assert report.exit_code == ExitCode.REFUSED
    assert "workers cannot write to" in report.errors["vectors"]
    assert stack.sets() == []


def test_of_a_coordinator_that_is_killed_nothing_is_listed_and_the_next_backup_tidies_up(
    opened: Open, filled: Qdrant, bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    stack = opened(endpoint=proxy.url)
    running: list[subprocess.Popen[bytes]] = []
    proxy.inject(Before(lambda: kill(running)), method="PUT", contains="/vectors/notes/shard-", times=1)
    running.append(
        subprocess.Popen(
            [sys.executable, "-m", "recoup", "-q", "backup"],
            cwd=tmp_path,
            env=os.environ | {"S3_SECRET": bucket.account.secret_key},
        )
    )
    assert running[0].wait() == -signal.SIGKILL
    assert stack.sets() == []
    report = stack.backup()
    assert report.exit_code == ExitCode.OK
    assert report.manifest is not None
    assert [info.name for info in stack.sets()] == [report.manifest.name]
    assert once_empty(lambda: bucket.keys("sets/.partial")) == [], "what came too late goes, too"


def test_ctrl_c_ends_it_soon_and_the_workers_stop_too(
    opened: Open, filled: Qdrant, bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    opened(endpoint=proxy.url)
    running: list[subprocess.Popen[bytes]] = []
    proxy.inject(Before(lambda: running[0].send_signal(signal.SIGINT)), method="PUT", contains="/vectors/", times=1)
    running.append(
        subprocess.Popen(
            [sys.executable, "-m", "recoup", "-q", "backup"],
            cwd=tmp_path,
            env=os.environ | {"S3_SECRET": bucket.account.secret_key},
            stderr=subprocess.PIPE,
        )
    )
    _, told = running[0].communicate(timeout=60)
    assert running[0].returncode == ExitCode.INTERRUPTED
    assert b"Traceback" not in told
    proxy.clear()
    stack = recoup.open(tmp_path / "recoup.yaml", environ={"S3_SECRET": bucket.account.secret_key}, cwd=tmp_path)
    assert stack.sets() == []
    assert once_empty(lambda: [key for key in bucket.keys("sets/") if "/vectors/" in key]) == []


def test_a_worker_without_its_secret_says_which_variable_it_lacks(
    opened: Open, filled: Qdrant, cluster: Cluster, news: list[Event]
) -> None:
    stack = opened()
    cluster.config.write_text(cluster.config.read_text().replace("${S3_SECRET}", "${NOT_THERE}"))
    report = stack.backup()
    assert report.exit_code != ExitCode.OK
    assert report.manifest is None
    assert "NOT_THERE" in " ".join(said.message for said in news)


def test_what_has_to_stand_still_together_is_captured_here(opened: Open, filled: Qdrant) -> None:
    still = {"quiesce": {"stop": {"command": ["true"]}, "resume": {"command": ["true"]}}}
    stack = opened(source=still, workers_source=still)
    report = stack.backup()
    assert report.exit_code == ExitCode.OK, report
    assert report.manifest is not None
    assert "pieces" not in report.manifest.sources["vectors"].method
