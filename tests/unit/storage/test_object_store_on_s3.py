"""What a bucket holds afterwards, seen by another client, and what a storage does when answers get lost."""

import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from recoup.errors import DamagedError, StorageError
from recoup.storage.object_store import ObjectStorage, Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.fault_proxy import Corrupt, FaultProxy, LoseResponse, Stall
from s3_server.buckets import Bucket

MIB = 1 << 20
PARTS: dict[str, Any] = {"part_size": "5MiB"}


class Later(SystemClock):
    """A clock that is two days ahead."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=2)


def opened(bucket: Bucket, clock: SystemClock | None = None, **options: Any) -> ObjectStorage:
    wanted = {**bucket.options, "retry_wait": 0.01, **options}
    return connect(f"{bucket.url}/some/prefix", Options.model_validate(wanted), clock)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def written(storage: ObjectStorage, key: str, data: bytes, step: int = 3 * MIB) -> None:
    writer = storage.writer(key)
    for start in range(0, len(data), step):
        writer.write(memoryview(data)[start : start + step])
    writer.commit()


def read(storage: ObjectStorage, key: str, start: int = 0, length: int | None = None) -> bytes:
    data = bytearray()
    with storage.reader(key, start, length) as reader:
        while block := reader.read(MIB):
            data += block
    return bytes(data)


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FaultProxy]:
    place = urlsplit(bucket.endpoint)
    with FaultProxy(str(place.hostname), place.port or 80) as running:
        yield running


# --- what is in the bucket ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
def test_another_client_reads_what_was_written(bucket: Bucket, size: int) -> None:
    data = noise(size)
    written(opened(bucket, **PARTS), "folder/big", data)
    assert bucket.get("some/prefix/folder/big") == data
    assert bucket.uploads() == []


@pytest.mark.parametrize(
    "range_", [(0, None), (5 * MIB - 3, 7), (4 * MIB, 6 * MIB), (11 * MIB, None), (99 * MIB, None)]
)
def test_ranges_that_span_several_requests_are_exact(bucket: Bucket, range_: tuple[int, int | None]) -> None:
    data, (start, length) = noise(12 * MIB), range_
    bucket.put("some/prefix/big", data)
    end = None if length is None else start + length
    assert read(opened(bucket, **PARTS), "big", start, length) == data[start:end]


@pytest.mark.parametrize("checksums", [True, False])
def test_checksums_are_sent_unless_the_store_refuses_them(
    bucket: Bucket, proxy: FaultProxy, *, checksums: bool
) -> None:
    data = noise(6 * MIB)
    written(opened(bucket.through(proxy.url), **PARTS, checksums=checksums), "big", data)
    told = bucket.client.head_object(Bucket=bucket.name, Key="some/prefix/big", ChecksumMode="ENABLED")
    assert bool(told.get("ChecksumSHA256")) == checksums
    assert bucket.get("some/prefix/big") == data


def test_odd_names_survive_uploads_in_parts(bucket: Bucket) -> None:
    storage, name = opened(bucket, **PARTS), "a b/#?&=+~'\"(ä)%2F\\\n"
    written(storage, name, noise(6 * MIB))
    assert [(o.key, o.size) for o in storage.list()] == [(name, 6 * MIB)]


@pytest.mark.requirement("CO-8")
@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_the_server_sees_encryption_class_and_tags_of_each_object(bucket: Bucket, size: int) -> None:
    storage = opened(bucket, **PARTS, sse="AES256", storage_class="STANDARD_IA", tags={"team": "a & b", "x": "ü"})
    written(storage, "key", noise(size))
    head = bucket.head("some/prefix/key")
    assert head["ServerSideEncryption"] == "AES256"
    assert head["StorageClass"] == "STANDARD_IA"
    tags = bucket.client.get_object_tagging(Bucket=bucket.name, Key="some/prefix/key")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "a & b", "x": "ü"}
    assert storage.get("key") == noise(size)


def test_the_server_encrypts_with_the_key_that_was_named(bucket: Bucket) -> None:
    storage = opened(bucket, sse="aws:kms", kms_key="key-of-the-test")
    storage.put("key", b"data")
    head = bucket.head("some/prefix/key")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert "key-of-the-test" in str(head["SSEKMSKeyId"])
    assert storage.get("key") == b"data"


@pytest.mark.parametrize("size", [10, 6 * MIB])
def test_object_lock_keeps_content_and_lets_the_repositorys_own_files_go(locked_bucket: Bucket, size: int) -> None:
    storage = opened(locked_bucket, **PARTS, lock_days=3)
    written(storage, "set/part", noise(size))
    storage.put(".locks/a.json", b"{}")
    until = storage.locked_until("set/part")
    assert until is not None
    assert timedelta(days=2) < until - datetime.now(UTC) <= timedelta(days=3)
    assert storage.locked_until(".locks/a.json") is None
    kept = locked_bucket.client.get_object_retention(Bucket=locked_bucket.name, Key="some/prefix/set/part")
    assert kept["Retention"]["Mode"] == "GOVERNANCE"


@pytest.mark.parametrize("mode", ["governance", "compliance"])
def test_a_lock_is_made_longer_and_never_shorter(locked_bucket: Bucket, mode: str) -> None:
    opened(locked_bucket, lock_days=1, lock_mode=mode).put("set/part", b"data")
    longer, shorter = (opened(locked_bucket, lock_days=days, lock_mode=mode) for days in (8, 2))
    assert longer.properties.locks
    longer.extend_lock("set/part")
    until = longer.locked_until("set/part")
    assert until is not None
    assert timedelta(days=9) < until - datetime.now(UTC) <= timedelta(days=10)
    for storage in (longer, shorter):
        storage.extend_lock("set/part")
        assert storage.locked_until("set/part") == until
    kept = locked_bucket.client.get_object_retention(Bucket=locked_bucket.name, Key="some/prefix/set/part")
    assert kept["Retention"]["Mode"] == mode.upper()
    assert not opened(locked_bucket).properties.locks


def test_a_lock_that_cannot_be_extended_is_said(bucket: Bucket) -> None:
    opened(bucket).put("set/part", b"data")
    with pytest.raises(StorageError, match="some/prefix/set/part"):
        opened(bucket, lock_days=1).extend_lock("set/part")


# --- faults -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CO-14")
def test_an_aborted_upload_leaves_nothing(bucket: Bucket) -> None:
    storage = opened(bucket, **PARTS)
    writer = storage.writer("big")
    writer.write(noise(12 * MIB))
    assert bucket.uploads() == ["some/prefix/big"]
    writer.abort()
    assert bucket.uploads() == bucket.keys() == []


def test_the_end_of_an_upload_whose_answer_was_lost_is_known_as_ours(bucket: Bucket, proxy: FaultProxy) -> None:
    proxy.inject(LoseResponse(), method="POST", contains="uploadId=", times=1)
    data = noise(11 * MIB)
    written(opened(bucket.through(proxy.url), **PARTS), "big", data)
    assert bucket.get("some/prefix/big") == data


def test_an_upload_that_somebody_removed_is_not_taken_for_stored(bucket: Bucket) -> None:
    bucket.put("some/prefix/big", b"another's")
    writer = opened(bucket, **PARTS).writer("big")
    writer.write(noise(6 * MIB))
    for upload in bucket.client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]:
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    with pytest.raises(StorageError):
        writer.commit()
    writer.abort()
    assert bucket.get("some/prefix/big") == b"another's"


def test_what_reads_back_otherwise_is_refused_and_removed(bucket: Bucket, proxy: FaultProxy) -> None:
    storage = opened(bucket.through(proxy.url), **PARTS, verify_after_upload=True)
    written(storage, "good", noise(6 * MIB))
    proxy.inject(Corrupt(5), method="GET")
    for size in (10, 6 * MIB):
        with pytest.raises(DamagedError):
            written(storage, "bad", noise(size))
    with pytest.raises(DamagedError):
        storage.put("bad", b"small one")
    assert bucket.keys() == ["some/prefix/good"]


def test_only_uploads_that_nobody_finished_for_a_day_are_taken_back(bucket: Bucket) -> None:
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="some/prefix/left behind+ä")
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key="elsewhere")
    storage = opened(bucket)
    storage.tidy()
    assert [one.name for one in storage.unfinished()] == ["some/prefix/left behind+ä"]
    opened(bucket, Later()).tidy()
    assert bucket.uploads() == ["elsewhere"]


@pytest.mark.parametrize("act", ["get", "list", "size", "put", "write", "read", "delete"])
def test_ctrl_c_ends_every_wait(bucket: Bucket, proxy: FaultProxy, act: str) -> None:
    bucket.put("some/prefix/key", b"x")
    storage = opened(bucket.through(proxy.url), **PARTS, timeout=3600)
    acts: dict[str, Callable[[], object]] = {
        "get": lambda: storage.get("key"),
        "list": lambda: list(storage.list()),
        "size": lambda: storage.size("key"),
        "put": lambda: storage.put("new", b"x"),
        "write": lambda: storage.writer("new").write(noise(6 * MIB)),
        "read": lambda: read(storage, "key"),
        "delete": lambda: storage.delete("key"),
    }
    proxy.inject(Stall())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        acts[act]()
    timer.join()


# --- rights -------------------------------------------------------------------------------------------------------------


def test_a_wrong_secret_is_told_and_never_shown(bucket: Bucket) -> None:
    storage = opened(bucket, secret_key="hunter22-not-the-secret")
    for act in (lambda: storage.get("a"), lambda: storage.put("a", b""), lambda: list(storage.list())):
        with pytest.raises(StorageError) as caught:
            act()
        told = caught.value.message + caught.value.hint + repr(storage) + repr(vars(storage))
        assert "secret key" in caught.value.message
        assert "hunter22" not in told
        assert hashlib.sha256(b"hunter22-not-the-secret").hexdigest() not in told
