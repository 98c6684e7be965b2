"""What the other tests lean on: the server is a real one, ends surely, and keeps rights, locks and encryption."""

import datetime as dt
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from s3_server.buckets import Bucket
from s3_server.running import S3Server

_AS_ANOTHER_PROCESS = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from s3_server.running import start
server = start(pathlib.Path(sys.argv[2]))
print(server._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _refused(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_what_is_stored_is_read_and_listed(bucket: Bucket) -> None:
    bucket.put("a/b", b"bytes")
    assert bucket.get("a/b") == b"bytes"
    assert bucket.sizes() == {"a/b": 5}


def test_a_conditional_put_is_refused_where_something_is(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        bucket.client.put_object(Bucket=bucket.name, Key="a", Body=b"2", IfNoneMatch="*")
    assert _refused(error) == "PreconditionFailed"


def test_an_account_may_do_what_its_policy_says_and_nothing_else(s3: S3Server, bucket: Bucket) -> None:
    bucket.put("in/a", b"1")
    statement = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket.name}/in/*"]}
    account = s3.account_with({"Version": "2012-10-17", "Statement": [statement]})
    with closing(s3.client_of(account)) as client:
        assert client.get_object(Bucket=bucket.name, Key="in/a")["ContentLength"] == 1
        with pytest.raises(ClientError) as error:
            client.put_object(Bucket=bucket.name, Key="in/b", Body=b"")
        assert _refused(error) == "AccessDenied"
        with pytest.raises(ClientError):
            client.delete_object(Bucket=bucket.name, Key="in/a")
        with pytest.raises(ClientError):
            client.list_objects_v2(Bucket=bucket.name)


def test_a_locked_version_cannot_be_deleted(locked_bucket: Bucket) -> None:
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    stored = locked_bucket.client.put_object(
        Bucket=locked_bucket.name, Key="a", Body=b"1", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=tomorrow
    )
    with pytest.raises(ClientError) as error:
        locked_bucket.client.delete_object(Bucket=locked_bucket.name, Key="a", VersionId=stored["VersionId"])
    assert _refused(error) == "AccessDenied"


def test_encryption_by_the_server_shows(bucket: Bucket) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="own", Body=b"1", ServerSideEncryption="AES256")
    bucket.client.put_object(
        Bucket=bucket.name, Key="kms", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId="key-of-ours"
    )
    assert bucket.head("own")["ServerSideEncryption"] == "AES256"
    assert bucket.head("kms")["SSEKMSKeyId"] == "key-of-ours"


def test_a_killed_server_has_everything_when_it_is_back(tmp_path: Path) -> None:
    server = S3Server(tmp_path / "server")
    try:
        server.start()
        bucket = server.bucket()
        bucket.put("a", b"kept")
        server.kill()
        server.start()
        assert bucket.get("a") == b"kept"
    finally:
        server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a child with its parent")
def test_a_server_ends_with_tests_that_are_killed(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-c", _AS_ANOTHER_PROCESS, str(tests), str(tmp_path)]
    said = subprocess.run(arguments, check=False, capture_output=True, text=True).stdout
    status = Path(f"/proc/{int(said)}/stat")
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX":
        os.sched_yield()
