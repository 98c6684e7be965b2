"""Uploads that are cut, answered falsely, lost, repeated: what is said to be stored is stored, and nothing else shows."""

import hashlib
import random
import threading
from collections.abc import Callable

import pytest

from recoup.errors import StorageError
from recoup.storage.object_store import ObjectStorage
from recoup.testing.fault_proxy import (
    Answer,
    Before,
    CutRequest,
    Duplicate,
    Fault,
    FaultProxy,
    LoseResponse,
    Refuse,
    Stall,
)
from s3_server.buckets import Bucket

Connecting = Callable[..., ObjectStorage]

_MIB = 1024 * 1024
_LARGE = random.Random(7).randbytes(5 * _MIB + 5)  # two parts


def _write(storage: ObjectStorage, key: str, data: bytes = _LARGE) -> None:
    writer = storage.writer(key)
    try:
        for start in range(0, len(data), _MIB):
            writer.write(data[start : start + _MIB])
        writer.commit()
    finally:
        writer.abort()


def _is_whole(bucket: Bucket, key: str = "stack/large") -> bool:
    return hashlib.sha256(bucket.get(key)).digest() == hashlib.sha256(_LARGE).digest()


@pytest.mark.requirement("CO-14")
def test_an_endpoint_that_goes_in_the_middle_and_comes_back_only_costs_time(
    bucket: Bucket, proxy: FaultProxy, connecting: Connecting
) -> None:
    def away() -> None:
        proxy.down()
        threading.Timer(0.5, proxy.up).start()

    proxy.inject(Before(away), method="PUT", contains="partNumber=2", times=1)
    _write(connecting(retry_wait=0.3), "large")
    assert _is_whole(bucket)
    assert bucket.uploads() == []


@pytest.mark.requirement("CO-14")
def test_an_endpoint_that_stays_away_is_a_clear_failure_and_nothing_is_listed(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    proxy.inject(Before(proxy.down), method="PUT", contains="partNumber=2", times=1)
    with pytest.raises(StorageError, match=r"does not answer.*tried 4 times"):
        _write(storage, "large")
    proxy.up()
    assert bucket.keys() == []
    assert list(storage.list()) == []
    _write(storage, "large")
    assert _is_whole(bucket)


@pytest.mark.requirement("CO-14")
@pytest.mark.parametrize("where", ["uploads", "partNumber=1", "partNumber=2"])
def test_an_upload_that_is_refused_for_good_leaves_nothing(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage, where: str
) -> None:
    proxy.inject(Answer(403, "AccessDenied"), contains=where, times=1)
    with pytest.raises(StorageError, match="s3:PutObject"):
        _write(storage, "large")
    assert bucket.keys() == []
    assert bucket.uploads() == []


@pytest.mark.requirement("CO-14")
@pytest.mark.parametrize(
    "fault", [Refuse(), CutRequest(1_000_000), LoseResponse(), Duplicate(), Answer(500, "InternalError")]
)
def test_an_upload_survives_each_passing_fault_at_each_of_its_requests(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage, fault: Fault
) -> None:
    for request in ("uploads=", "partNumber=1", "partNumber=2"):
        proxy.inject(fault, contains=request, times=1)
    proxy.inject(fault, method="POST", skip=0 if isinstance(fault, Duplicate) else 1, times=1)  # the end
    proxy.inject(fault, method="HEAD", times=1)
    _write(storage, "large")
    assert _is_whole(bucket)
    assert bucket.keys() == ["stack/large"]
    assert proxy.count() >= (5 if isinstance(fault, Duplicate) else 10)


def test_a_server_that_answers_every_third_call_503_takes_everything(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    proxy.inject(Answer(503, "SlowDown"), every=3)
    for number in range(12):
        storage.put(f"small/{number}", bytes([number]) * 1000)
    _write(storage, "large")
    assert [storage.get(f"small/{number}") for number in range(12)] == [bytes([n]) * 1000 for n in range(12)]
    assert len(list(storage.list())) == 13
    storage.delete_all("small")
    assert bucket.keys() == ["stack/large"]
    assert _is_whole(bucket)


def test_somebody_elses_object_is_not_taken_for_ones_own(
    bucket: Bucket, proxy: FaultProxy, storage: ObjectStorage
) -> None:
    bucket.put("stack/claim", b"theirs")
    proxy.inject(LoseResponse(), method="PUT", times=1)
    with pytest.raises(FileExistsError):
        storage.put("claim", b"mine", if_absent=True)
    assert bucket.get("stack/claim") == b"theirs"


def test_of_many_that_claim_the_same_name_at_once_exactly_one_gets_it(
    bucket: Bucket, proxy: FaultProxy, connecting: Connecting
) -> None:
    proxy.inject(LoseResponse(), method="PUT", every=5)
    together, won = threading.Barrier(6), []

    def claim(number: int) -> None:
        own = connecting()
        together.wait()
        try:
            own.put("backup_20261121_020000", b"%d" % number, if_absent=True)
        except FileExistsError:
            return
        won.append(b"%d" % number)

    hosts = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    assert won == [bucket.get("stack/backup_20261121_020000")]


def test_an_answer_that_never_comes_is_given_up(bucket: Bucket, proxy: FaultProxy, connecting: Connecting) -> None:
    bucket.put("warm", b"x")
    proxy.inject(Stall(), times=2)
    with pytest.raises(StorageError, match=r"no byte for 0\.1 seconds .tried 2 times"):
        connecting(timeout=0.1, retries=1).put("a", b"x")
    proxy.inject(Stall(), times=1)
    connecting(timeout=2, retries=1).put("a", b"x")
    assert bucket.get("stack/a") == b"x"


def test_retries_are_as_many_as_are_set(proxy: FaultProxy, connecting: Connecting) -> None:
    proxy.inject(Answer(503, "SlowDown"))
    for retries in (0, 2):
        before = proxy.count()
        with pytest.raises(StorageError, match="busy or failing"):
            connecting(retries=retries).put("a", b"x")
        assert proxy.count() - before == retries + 1
