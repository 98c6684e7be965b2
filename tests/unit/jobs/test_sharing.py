"""Verify, drill and copy by the workers of a real Dask cluster, between two repositories in a bucket."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import recoup
from dask_cluster.running import Cluster
from recoup.app import open_stack
from recoup.errors import ExitCode, RefusedError
from recoup.model.events import Event, News
from recoup.model.reports import SetInfo
from recoup.repository._base import Subset
from recoup.system.clock import SystemClock
from recoup.testing.fault_proxy import Before, Delay, FaultProxy
from s3_server.buckets import Bucket
from s3_server.running import S3Server


class OneSecond(SystemClock):
    """A clock that stands still."""

    def __init__(self) -> None:
        self._now = super().now()

    def now(self) -> datetime:
        """The same moment, always."""
        return self._now


@dataclass
class Shared:
    """A small application whose sets lie in a bucket, and workers that know the same repositories.

    Attributes:
        folder: with `recoup.yaml`.
        bucket: where sets are.
        config: of this machine.
        cluster: the workers.
        proxy: the way that workers and this machine take to the bucket.
        news: events so far.
    """

    folder: Path
    bucket: Bucket
    config: dict[str, Any]
    cluster: Cluster
    proxy: FaultProxy
    news: list[Event]

    def open(self, *overrides: str, repository: str | None = None) -> recoup.Stack:
        """This machine's stack."""
        return recoup.open(
            self.folder / "recoup.yaml",
            overrides=overrides,
            repository=repository,
            environ={"S3_SECRET": self.bucket.account.secret_key},
            cwd=self.folder,
            emit=self._hear,
        )

    def alone(self, repository: str | None = None) -> recoup.Stack:
        """The same without workers."""
        return self.open("execution.dask=null", repository=repository)

    def workers_have(self, config: dict[str, Any]) -> None:
        self.cluster.config.write_text(json.dumps(config))

    def replace(self, set_name: str, path: str, change: Callable[[bytes], bytes]) -> None:
        """Changes what is stored under a path of a set in `s3`."""
        key = f"sets/{set_name}/{path}"
        self.bucket.client.put_object(Bucket=self.bucket.name, Key=key, Body=change(self.bucket.get(key)))

    def told(self, name: str) -> list[Event]:
        return [event for event in self.news if event.name == name]

    def proofs(self, info: SetInfo) -> int:
        """How many notes lie at a set in `s3`."""
        return len(self.bucket.keys(f"sets/marks/{info.name}/"))

    def _hear(self, said: News) -> None:
        if isinstance(said, Event):
            self.news.append(said)


@pytest.fixture
def shared(tmp_path: Path, cluster: Cluster, bucket: Bucket, s3: S3Server) -> Iterator[Shared]:
    (tmp_path / "uploads").mkdir()
    for number in range(12):
        (tmp_path / "uploads" / f"{number}.txt").write_bytes(bytes([number]) * (1000 + number))
    with closing(sqlite3.connect(tmp_path / "chat.db")) as database:
        database.execute("CREATE TABLE messages (text)")
        database.executemany("INSERT INTO messages VALUES (?)", [(f"message {n}",) for n in range(50)])
        database.commit()
    with FaultProxy("127.0.0.1", s3.port) as proxy:
        storage = bucket.options | {"secret_key": "${S3_SECRET}", "endpoint": proxy.url}
        config = {
            "version": 1,
            "stack": "small",
            "sources": {
                "chat": {"kind": "sqlite", "path": "chat.db"},
                "uploads": {"kind": "files", "path": "uploads"},
            },
            "repositories": {
                "s3": {"url": f"{bucket.url}/sets", "storage": storage},
                "other": {"url": f"{bucket.url}/other", "storage": storage, "pack": "tar.zst"},
            },
            "execution": {"dask": cluster.address},
        }
        (tmp_path / "recoup.yaml").write_text(json.dumps(config))
        cluster.config.write_text(json.dumps(config))
        made = Shared(tmp_path, bucket, config, cluster, proxy, [])
        made.open().create_repositories()
        yield made


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


# --- verify -----------------------------------------------------------------------------------------------------------


def test_workers_verify_a_set_as_one_machine_does_and_note_one_proof(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    [info] = shared.alone("s3").sets()
    [alone] = shared.alone("s3").verify()
    noted = shared.proofs(info)
    [found] = shared.open(repository="s3").verify()
    assert (found.damage, found.files, found.bytes, found.share) == ((), alone.files, alone.bytes, 1.0)
    assert found.exit_code == ExitCode.OK
    assert shared.proofs(info) == noted + 1
    assert shared.told("workers_not_used") == []

    keys = [key for key in shared.bucket.keys(f"sets/{info.name}/uploads") if key.endswith(".txt")]
    shared.bucket.client.delete_object(Bucket=shared.bucket.name, Key=keys[0])
    for key, change in ((keys[1], flipped), (keys[2], lambda data: data[:-1])):
        shared.replace(info.name, key.removeprefix(f"sets/{info.name}/"), change)
    shared.bucket.client.put_object(Bucket=shared.bucket.name, Key=f"sets/{info.name}/extra", Body=b"nobody's")
    [alone] = shared.alone("s3").verify()
    assert {one.kind for one in alone.damage} == {"missing", "changed", "size", "extra"}
    shared.news.clear()
    [found] = shared.open(repository="s3").verify()
    assert sorted(one.item for one in found.damage) == sorted(one.item for one in alone.damage)
    assert len(shared.told("damage_found")) == len(alone.damage), "each is told once"
    assert found.exit_code == ExitCode.DAMAGED
    [part] = shared.open(repository="s3").verify(subset=Subset(1, 3))
    assert 0 < part.share < 1
    assert {"missing", "size", "extra"} <= {one.kind for one in part.damage}
    for name in ("one", "two"):
        assert shared.bucket.account.secret_key not in shared.cluster.log(name)


def test_what_a_worker_was_reading_that_dies_is_read_by_another_one(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    shared.proxy.inject(Before(lambda: shared.cluster.kill("one")), method="GET", contains=".txt", times=1)
    [found] = shared.open(repository="s3").verify()
    assert (found.damage, found.share) == ((), 1.0)
    assert shared.told("damage_found") == []


def test_workers_that_are_configured_in_another_way_verify_nothing(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    [info] = shared.alone("s3").sets()
    noted = shared.proofs(info)
    shared.workers_have(shared.config | {"stack": "another"})
    with pytest.raises(RefusedError, match="configured in another way"):
        shared.open(repository="s3").verify()
    assert shared.proofs(info) == noted


def test_a_folder_of_this_machine_is_verified_and_drilled_here_which_is_said(shared: Shared) -> None:
    place = "repositories={here: {path: sets}}"
    shared.open(place).create_repositories()
    shared.open(place).backup()
    [found] = shared.open(place).verify()
    assert found.damage == ()
    assert shared.open(place).drill().passed
    assert [event.fields["verb"] for event in shared.told("workers_not_used")] == ["verify", "drill"]
    assert "folder of this machine" in shared.told("workers_not_used")[0].message


# --- drill ------------------------------------------------------------------------------------------------------------


def test_workers_drill_each_source_and_what_does_not_restore_fails(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    stack = shared.open(repository="s3")
    report = stack.drill()
    assert report.passed
    assert [one.source for one in report.sources] == ["chat", "uploads"]
    assert all(one.restore_seconds is not None for one in report.sources)
    [info] = stack.sets()
    assert info.standing.proven is not None
    [path] = [part.path for part in info.manifest.sources["chat"].parts] if info.manifest else []
    shared.replace(info.name, path, flipped)
    report = stack.drill()
    assert not report.passed
    assert [one.source for one in report.sources if not one.passed] == ["chat"]
    assert report.unreadable
    assert stack.sets()[0].standing.failed_proof is not None


def test_a_copy_that_workers_cannot_read_is_replaced_by_another_repository_s(shared: Shared) -> None:
    shared.open().backup(to=["s3", "other"])
    [info] = shared.alone("s3").sets()
    [path] = [part.path for part in info.manifest.sources["chat"].parts] if info.manifest else []
    shared.replace(info.name, path, flipped)
    report = shared.open().drill()
    assert report.passed
    assert report.repository == "other"
    assert [one.repository for one in report.earlier] == ["s3"]
    assert report.exit_code == ExitCode.DAMAGED


def test_other_settings_of_a_source_at_a_worker_prove_nothing(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    sources = shared.config["sources"] | {"chat": {"kind": "sqlite", "path": "elsewhere.db"}}
    shared.workers_have(shared.config | {"sources": sources})
    with pytest.raises(RefusedError, match="other settings of source chat"):
        shared.open(repository="s3").drill()
    assert shared.alone("s3").sets()[0].standing.failed_proof is None


# --- copy -------------------------------------------------------------------------------------------------------------


def test_workers_copy_sets_with_their_marks_and_skip_what_is_there(shared: Shared) -> None:
    stack = shared.open()
    for _ in range(3):
        stack.backup(to=["s3"], sources=["uploads"])
    shared.open(repository="s3").pin("latest", "the last of them")
    report = stack.copy(to="other", origin="s3")
    assert report.exit_code == ExitCode.OK
    copied = shared.alone("other").sets()
    assert [one.copy for one in report.sets] == [info.name for info in copied]
    assert [info.standing.pinned for info in copied] == [False, False, True]
    assert [one.damage for one in shared.alone("other").verify()] == [()] * 3
    assert len(shared.told("set_copied")) == 3
    again = stack.copy(to="other", origin="s3")
    assert [one.there for one in again.sets] == [True] * 3
    assert len(shared.alone("other").sets()) == 3
    assert shared.bucket.keys("other/.locks") == []


def test_sets_of_one_second_keep_their_order(shared: Shared) -> None:
    secret = {"S3_SECRET": shared.bucket.account.secret_key}
    alone = open_stack(overrides=["execution.dask=null"], environ=secret, cwd=shared.folder, clock=OneSecond())
    for _ in range(2):
        alone.backup(to=["s3"], sources=["uploads"])
    first, second = (info.name for info in shared.alone("s3").sets())
    assert second == f"{first}_2"
    shared.proxy.inject(Delay(2), method="PUT", contains=f"/other/sets/{first}", times=1)
    report = shared.open().copy(to="other", origin="s3")
    assert report.exit_code == ExitCode.OK
    assert [(one.set, one.copy) for one in report.sets] == [(one.set, one.set) for one in report.sets]


def test_a_set_that_a_dying_worker_was_copying_is_copied_once_by_another_one(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    shared.proxy.inject(Before(lambda: shared.cluster.kill("one")), method="PUT", contains="/other/", skip=3, times=1)
    report = shared.open().copy(to="other", origin="s3")
    assert report.exit_code == ExitCode.OK
    assert [one.copy for one in report.sets] == [info.name for info in shared.alone("other").sets()]
    assert [one.damage for one in shared.alone("other").verify()] == [()]


def test_a_damaged_set_is_not_copied_and_the_others_are(shared: Shared) -> None:
    stack = shared.open()
    stack.backup(to=["s3"], sources=["chat"])
    stack.backup(to=["s3"], sources=["chat"])
    first, second = shared.alone("s3").sets()
    [path] = [part.path for part in first.manifest.sources["chat"].parts] if first.manifest else []
    shared.replace(first.name, path, flipped)
    report = stack.copy(to="other", origin="s3")
    assert [bool(one.error) for one in report.sets] == [True, False]
    assert report.exit_code == ExitCode.DAMAGED
    assert [info.manifest and info.manifest.id for info in shared.alone("other").sets()] == [
        second.manifest and second.manifest.id
    ]


def test_a_worker_that_knows_another_target_copies_nothing(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    other = shared.config["repositories"]["other"] | {"url": f"{shared.bucket.url}/elsewhere"}
    shared.workers_have(shared.config | {"repositories": shared.config["repositories"] | {"other": other}})
    report = shared.open().copy(to="other", origin="s3")
    assert "configured in another way" in report.sets[0].error
    assert report.exit_code == ExitCode.REFUSED
    assert shared.alone("other").sets() == []


# --- the end, after which workers go on for a while with what they had begun -----------------------------------------------


def test_ctrl_c_ends_a_verification_by_workers_and_leaves_no_lock(shared: Shared) -> None:
    shared.open().backup(to=["s3"])
    running: list[subprocess.Popen[bytes]] = []
    shared.proxy.inject(Delay(1.0), method="GET", contains="/uploads/")
    shared.proxy.inject(Before(lambda: running[0].send_signal(signal.SIGINT)), method="GET", contains="/chat/", times=1)
    running.append(
        subprocess.Popen(
            [sys.executable, "-m", "recoup", "-q", "-r", "s3", "verify"],
            cwd=shared.folder,
            env=os.environ | {"S3_SECRET": shared.bucket.account.secret_key},
            stderr=subprocess.PIPE,
        )
    )
    _, told = running[0].communicate(timeout=60)
    assert running[0].returncode == ExitCode.INTERRUPTED
    assert b"Traceback" not in told
    shared.proxy.clear()
    assert shared.bucket.keys("sets/.locks") == []
