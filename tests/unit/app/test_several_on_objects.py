"""A folder and a real bucket as two repositories of one stack, with faults between."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.model.events import Event
from recoup.testing.fault_proxy import Corrupt, FaultProxy, Refuse
from s3_server.buckets import Bucket
from s3_server.running import S3Server

CONFIG = """
version: 1
stack: small
sources:
  models: {{kind: files, path: models}}
  notes: {{kind: files, path: notes}}
repositories:
  bucket:
    url: {url}/backups
    storage: {options}
    compression: zstd
    pack: tar.zst
  disk: {{path: disk}}
"""

WEIGHTS = os.urandom(400_000)

Opened = Callable[..., recoup.Stack]


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    """Between Recoup and the real server."""
    with FaultProxy("127.0.0.1", s3.port) as running:
        yield running


@pytest.fixture
def news() -> list[Any]:
    return []


@pytest.fixture
def root(tmp_path: Path, bucket: Bucket, proxy: FaultProxy) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/weights.bin").write_bytes(WEIGHTS)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/today").write_text("first")
    options = {**bucket.through(proxy.url).options, "retries": 1, "retry_wait": 0.02, "timeout": 10}
    del options["secret_key"]
    (tmp_path / "secret").write_text(bucket.account.secret_key)
    (tmp_path / "secret").chmod(0o600)
    options["secret_key_file"] = "secret"
    (tmp_path / "recoup.yaml").write_text(CONFIG.format(url=bucket.url, options=json.dumps(options)))
    return tmp_path


@pytest.fixture
def opened(root: Path, news: list[Any]) -> Opened:
    def make(repository: str | None = None) -> recoup.Stack:
        return recoup.open(root / "recoup.yaml", environ={}, cwd=root, repository=repository, emit=news.append)

    make().create_repositories()
    return make


def told(news: list[Any], name: str) -> list[Event]:
    return [event for event in news if isinstance(event, Event) and event.name == name]


def test_the_folder_is_nearer_than_the_bucket_and_the_bucket_stands_in_for_it(
    opened: Opened, root: Path, news: list[Any]
) -> None:
    assert opened().backup().exit_code == ExitCode.OK
    report = opened().restore(target="look")
    assert {source.repository for source in report.sources} == {"disk"}
    [set_here] = (root / "disk").glob("backup_*")
    (set_here / "models/weights.bin").write_bytes(WEIGHTS[:-1] + b"?")
    report = opened().restore(target="again")
    assert report.exit_code == ExitCode.OK
    assert {source.source: source.repository for source in report.sources} == {"models": "bucket", "notes": "disk"}
    assert (root / "again/models/weights.bin").read_bytes() == WEIGHTS
    assert len(told(news, "restore_fell_back")) == 1


def test_an_endpoint_that_is_down_leaves_the_folder_whole_and_a_copy_makes_up_for_it(
    opened: Opened, proxy: FaultProxy, news: list[Any]
) -> None:
    opened()
    proxy.down()
    report = opened().backup()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [copy.repository for copy in report.failed] == ["bucket"]
    assert [event.fields["repository"] for event in told(news, "repository_failed")] == ["bucket"]
    assert [info.repository for info in opened().sets()] == ["disk"]
    proxy.up()
    assert opened().copy(origin="disk", to="bucket").exit_code == ExitCode.OK
    assert not any(found.damage for found in opened().verify())
    assert len({info.manifest.id for info in opened().sets() if info.manifest}) == 1


def test_an_upload_that_breaks_in_the_middle_lists_nothing_in_the_bucket(
    opened: Opened, proxy: FaultProxy, root: Path, news: list[Any]
) -> None:
    stack = opened()
    proxy.inject(Refuse(), method="PUT", contains="notes")
    report = stack.backup()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [copy.repository for copy in report.failed] == ["bucket"]
    assert len(told(news, "repository_failed")) == 1
    proxy.clear()
    assert opened("bucket").sets() == []
    [found] = opened("disk").verify()
    assert found.damage == ()


def test_a_download_that_is_corrupt_is_not_restored_where_the_folder_has_no_copy(
    opened: Opened, proxy: FaultProxy, root: Path
) -> None:
    stack = opened()
    stack.backup(to=["bucket"])
    proxy.inject(Corrupt(), method="GET", contains="models")
    report = stack.restore(target="look")
    assert report.exit_code == ExitCode.DAMAGED
    assert {source.source: bool(source.error) for source in report.sources} == {"models": True, "notes": False}
    assert not (root / "look/models").exists()


def test_what_is_damaged_in_the_bucket_is_mended_by_the_folder(opened: Opened, bucket: Bucket) -> None:
    opened().backup()
    [victim] = [key for key in bucket.keys("backups/") if key.endswith("models/tree.tar.zst")]
    bucket.put(victim, b"damaged")
    reports = opened("bucket").repair(helper="disk")
    assert [(report.repaired, report.left) for report in reports] == [(("models/tree.tar.zst",), ())]
    assert not any(found.damage for found in opened().verify())
