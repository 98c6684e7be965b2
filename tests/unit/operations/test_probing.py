"""What `recoup doctor --storage` finds out about a storage, on a real bucket, a folder and a dictionary."""

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recoup.errors import ExitCode
from recoup.operations import doctor
from recoup.storage._base import Storage
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.storage.object_store import Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.fault_proxy import Answer, Corrupt, FaultProxy, ShortBody
from s3_server.buckets import Bucket
from s3_server.running import S3Server


def _opened(bucket: Bucket, **settings: object) -> Callable[[], Storage]:
    options = {**bucket.options, "retry_wait": 0.01, "retries": 1, "part_size": "5MiB", **settings}
    return lambda: connect(f"{bucket.url}/stack", Options.model_validate(options))


def _report(opened: Callable[[], Storage]) -> doctor.Report:
    return doctor.probe({"main": opened})


def _said(report: doctor.Report, severity: str = "") -> str:
    return "\n".join(f"{f.message} {f.hint}" for f in report.findings if severity in ("", f.severity))


class _InTwoDays(SystemClock):
    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(days=2)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", s3.port) as running:
        yield running


def test_a_good_bucket_is_said_to_be_good_and_left_as_it_was(bucket: Bucket) -> None:
    bucket.put("stack/backup_20261121_020000/manifest.json", b"{}")
    report = _report(_opened(bucket))
    assert report.exit_code == ExitCode.OK, _said(report)
    for ability in ("stored, replaced, read and listed", "on condition", "ranges", "in parts", "unusual", "deleted"):
        assert ability in _said(report, "ok")
    assert "versioning is off" in _said(report)
    assert "there is no object lock" in _said(report)
    assert bucket.keys() == ["stack/backup_20261121_020000/manifest.json"]
    assert bucket.uploads() == []


def test_versions_locks_and_encryption_of_a_bucket_are_shown(locked_bucket: Bucket) -> None:
    report = _report(_opened(locked_bucket, sse="AES256", lock_days=1))
    assert report.exit_code == ExitCode.OK, _said(report)
    assert "versioning is on" in _said(report)
    assert "object lock can be used" in _said(report)
    assert "the store encrypts new objects (AES256)" in _said(report)
    assert locked_bucket.keys() == []


def test_object_lock_that_is_demanded_and_missing_is_an_error(bucket: Bucket) -> None:
    report = _report(_opened(bucket, lock_days=1))
    assert report.exit_code == ExitCode.FAILED
    assert "no object lock" in _said(report, "error")


def test_uploads_that_were_left_for_more_than_a_day_are_counted(bucket: Bucket) -> None:
    for key in ("stack/a", "stack/b", "elsewhere/c"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    options = Options.model_validate(bucket.options)
    report = _report(lambda: connect(f"{bucket.url}/stack", options, _InTwoDays()))
    assert "2 uploads were begun more than a day ago" in _said(report, "warning")
    assert report.exit_code == ExitCode.OK
    assert "no upload was left" in _said(_report(_opened(bucket)))


@pytest.mark.requirement("CO-13")
def test_each_missing_right_is_named(s3: S3Server, bucket: Bucket) -> None:
    resources = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    statement = {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": resources}
    account = s3.account_with({"Version": "2012-10-17", "Statement": [statement]})
    report = _report(_opened(bucket.as_account(account)))
    assert report.exit_code == ExitCode.FAILED
    assert "s3:GetObject" in _said(report, "error")
    assert "s3:ListBucket" in _said(report, "error")


def test_rights_that_only_looking_needs_are_not_demanded(s3: S3Server, bucket: Bucket) -> None:
    resources = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    rights = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload"]
    account = s3.account_with(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": rights, "Resource": resources}]}
    )
    report = _report(_opened(bucket.as_account(account)))
    assert report.exit_code == ExitCode.OK, _said(report, "error")
    assert bucket.keys() == []


def test_a_store_that_ignores_conditions_is_found_out(bucket: Bucket, proxy: FaultProxy) -> None:
    proxy.inject(Answer(200), method="PUT", contains=".probe", skip=1)
    report = _report(_opened(bucket.through(proxy.url)))
    assert report.exit_code == ExitCode.FAILED
    assert "If-None-Match" in _said(report, "error")
    assert "conditional_put: false" in _said(report, "error")
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("fault", "contains", "told"),
    [
        (Corrupt(1), "/small", "read as it was before"),
        (Corrupt(3), "/range", "not the one that was asked for"),
        (Corrupt(2_000_000), "/large", "not read as it was written"),
        (ShortBody(10), "/large", "bytes came instead of"),
    ],
)
def test_a_store_that_gives_back_something_else_is_found_out(
    bucket: Bucket, proxy: FaultProxy, fault: Corrupt | ShortBody, contains: str, told: str
) -> None:
    proxy.inject(fault, method="GET", contains=contains)
    report = _report(_opened(bucket.through(proxy.url)))
    assert report.exit_code == ExitCode.FAILED
    assert told in _said(report, "error")
    assert bucket.keys() == []


def test_a_bucket_that_is_not_there_is_one_finding(bucket: Bucket) -> None:
    options = Options.model_validate(bucket.options)
    report = _report(lambda: connect("s3://there-is-none", options))
    assert [f.severity for f in report.findings] == ["ok", "error"]
    assert "there is no bucket" in _said(report, "error")


def test_a_folder_and_a_dictionary_keep_their_promises_too(tmp_path: Path) -> None:
    report = _report(lambda: LocalStorage(tmp_path / "root"))
    assert report.exit_code == ExitCode.OK, _said(report)
    assert "renamed in one step" in _said(report)
    assert [p for p in (tmp_path / "root").rglob("*") if p.is_file()] == []
    assert _report(MemoryStorage).exit_code == ExitCode.OK
    assert "nothing can be renamed" in _said(_report(lambda: MemoryStorage(moves=False)))


def test_without_a_repository_there_is_nothing_to_try() -> None:
    assert doctor.probe({}).exit_code == ExitCode.FAILED
