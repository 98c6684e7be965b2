"""Each fault does to a real client and a real server what its name says."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from recoup.testing.fault_proxy import (
    Answer,
    Before,
    Corrupt,
    CutRequest,
    CutResponse,
    Delay,
    Duplicate,
    FaultProxy,
    Line,
    LoseResponse,
    Refuse,
    ShortBody,
    Stall,
)
from s3_server.buckets import Bucket
from s3_server.running import S3Server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


_BROKEN = (NoConnection, HTTPClientError)


@dataclass(frozen=True)
class _Meeting:
    meet: Callable[[Line], None]


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", s3.port) as running:
        yield running


@pytest.fixture
def client(s3: S3Server, proxy: FaultProxy) -> Iterator["S3Client"]:
    """boto3 by way of the proxy; it does not try again."""
    with closing(s3.client_of(s3.account, proxy.url)) as found:
        yield found


def _status(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_without_faults_everything_passes_and_is_counted(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    data = bytes(range(256)) * 20_000
    client.put_object(Bucket=bucket.name, Key="a b/ö", Body=data)
    assert bucket.get("a b/ö") == data
    assert client.get_object(Bucket=bucket.name, Key="a b/ö")["Body"].read() == data
    assert client.get_object(Bucket=bucket.name, Key="a b/ö", Range="bytes=10-19")["Body"].read() == data[10:20]
    assert client.head_object(Bucket=bucket.name, Key="a b/ö")["ContentLength"] == len(data)
    assert client.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 1
    client.delete_object(Bucket=bucket.name, Key="a b/ö")
    assert [(e.method, e.status) for e in proxy.exchanges] == [
        ("PUT", 200),
        ("GET", 200),
        ("GET", 206),
        ("HEAD", 200),
        ("GET", 200),
        ("DELETE", 204),
    ]
    assert proxy.count() == 6
    assert proxy.count("GET", "a b/ö") == 2
    assert proxy.exchanges[0].path == f"/{bucket.name}/a b/ö"


def test_the_servers_own_errors_pass(client: "S3Client", bucket: Bucket) -> None:
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket=bucket.name, Key="missing")
    assert _status(error) == 404


def test_every_third_request_is_answered_503(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(Answer(503, "SlowDown"), method="PUT", every=3)
    refused = []
    for number in range(9):
        try:
            client.put_object(Bucket=bucket.name, Key=str(number), Body=b"x")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "SlowDown"
            refused.append(number)
    assert refused == [2, 5, 8]
    assert bucket.keys() == [str(n) for n in range(9) if n not in refused]


def test_a_fault_comes_after_some_and_for_some(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(Answer(500, "InternalError"), contains="/key", skip=1, times=2)
    statuses = []
    for _ in range(5):
        try:
            client.put_object(Bucket=bucket.name, Key="key", Body=b"x")
            statuses.append(200)
        except ClientError as error:
            statuses.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    client.put_object(Bucket=bucket.name, Key="other", Body=b"x")
    assert statuses == [200, 500, 500, 200, 200]


def test_a_refused_request_does_not_reach_the_server(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(Refuse(), times=1)
    with pytest.raises(_BROKEN):
        client.put_object(Bucket=bucket.name, Key="a", Body=b"x")
    assert bucket.keys() == []
    client.put_object(Bucket=bucket.name, Key="a", Body=b"x")
    assert [e.status for e in proxy.exchanges] == [0, 200]


def test_a_request_that_is_cut_stores_nothing(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(CutRequest(after=100_000))
    with pytest.raises(_BROKEN):
        client.put_object(Bucket=bucket.name, Key="a", Body=bytes(1_000_000))
    assert bucket.keys() == []


def test_an_answer_that_is_cut_breaks_the_clients_read(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("a", bytes(1_000_000))
    proxy.inject(CutResponse(after=100_000))
    with pytest.raises((*_BROKEN, OSError)):
        client.get_object(Bucket=bucket.name, Key="a")["Body"].read()


def test_a_short_body_looks_whole(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("a", b"0123456789")
    proxy.inject(ShortBody(4))
    found = client.get_object(Bucket=bucket.name, Key="a", ChecksumMode="ENABLED", Range="bytes=0-9")
    assert found["ContentLength"] == 4
    assert found["Body"].read() == b"0123"


def test_a_corrupt_answer_has_one_other_byte(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("a", b"0123456789")
    proxy.inject(Corrupt(at=3))
    found = client.get_object(Bucket=bucket.name, Key="a", Range="bytes=0-9")["Body"].read()
    assert found == b"012\xcc456789"


def test_a_lost_response_leaves_the_object_stored(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(LoseResponse(), method="PUT", times=1)
    with pytest.raises(_BROKEN):
        client.put_object(Bucket=bucket.name, Key="a", Body=b"stored", IfNoneMatch="*")
    assert bucket.get("a") == b"stored"
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket=bucket.name, Key="a", Body=b"stored", IfNoneMatch="*")
    assert _status(error) == 412


def test_a_duplicated_request_meets_its_own_object(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.inject(Duplicate(), method="PUT")
    with pytest.raises(ClientError) as error:
        client.put_object(Bucket=bucket.name, Key="a", Body=b"stored", IfNoneMatch="*")
    assert _status(error) == 412
    assert bucket.get("a") == b"stored"


def test_a_delay_and_an_action_come_before_the_request(client: "S3Client", proxy: FaultProxy, bucket: Bucket) -> None:
    bucket.put("a", b"1")
    proxy.inject(Delay(0.01), method="PUT")
    proxy.inject(Before(lambda: bucket.delete("a")), method="GET")
    client.put_object(Bucket=bucket.name, Key="b", Body=b"2")
    with pytest.raises(ClientError) as error:
        client.get_object(Bucket=bucket.name, Key="a")
    assert _status(error) == 404
    assert bucket.keys() == ["b"]


def test_a_stalled_request_ends_with_the_proxy(s3: S3Server, bucket: Bucket) -> None:
    came, failed = threading.Event(), []
    with FaultProxy("127.0.0.1", s3.port) as proxy, closing(s3.client_of(s3.account, proxy.url)) as client:

        def ask() -> None:
            try:
                client.put_object(Bucket=bucket.name, Key="a", Body=b"x")
            except _BROKEN as error:
                failed.append(error)

        def told(line: Line) -> None:
            came.set()
            Stall().meet(line)

        proxy.inject(_Meeting(told))
        asking = threading.Thread(target=ask)
        asking.start()
        came.wait()
    asking.join()
    assert len(failed) == 1
    assert bucket.keys() == []


def test_a_proxy_that_is_down_refuses_connections_until_it_is_up(
    client: "S3Client", proxy: FaultProxy, bucket: Bucket
) -> None:
    client.put_object(Bucket=bucket.name, Key="a", Body=b"x")
    port = proxy.port
    proxy.down()
    with pytest.raises(_BROKEN):
        client.put_object(Bucket=bucket.name, Key="b", Body=b"x")
    proxy.up()
    assert proxy.port == port
    client.put_object(Bucket=bucket.name, Key="b", Body=b"x")
    assert bucket.keys() == ["a", "b"]


def test_a_proxy_that_goes_down_in_the_middle_breaks_the_request(
    client: "S3Client", proxy: FaultProxy, bucket: Bucket
) -> None:
    proxy.inject(Before(proxy.down), times=1)
    with pytest.raises(_BROKEN):
        client.put_object(Bucket=bucket.name, Key="a", Body=b"x")
    assert bucket.keys() == []
    proxy.up()
    client.put_object(Bucket=bucket.name, Key="a", Body=b"x")


def test_many_clients_are_served_at_once(s3: S3Server, proxy: FaultProxy, bucket: Bucket) -> None:
    proxy.latency = 0.001

    def work(number: int) -> None:
        with closing(s3.client_of(s3.account, proxy.url)) as own:
            for turn in range(5):
                own.put_object(Bucket=bucket.name, Key=f"{number}/{turn}", Body=bytes(10_000))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bucket.keys()) == proxy.count("PUT") == 40
