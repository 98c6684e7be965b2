"""A bucket or rights that are missing, wrong keys, regions and clocks: each is named, and nothing is tried twice."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest

from recoup.errors import StorageError
from recoup.storage.object_store import ObjectStorage
from recoup.testing.fault_proxy import Answer, FaultProxy
from s3_server.buckets import Account, Bucket
from s3_server.running import S3Server

Connecting = Callable[..., ObjectStorage]

_RIGHTS = {
    "write": "s3:PutObject",
    "read": "s3:GetObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}
_ACTS: dict[str, Callable[[ObjectStorage], object]] = {
    "write": lambda storage: storage.put("folder/new", b"x"),
    "read": lambda storage: storage.get("folder/old"),
    "list": lambda storage: list(storage.list()),
    "delete": lambda storage: storage.delete("folder/old"),
}


def _with_all_rights_but(s3: S3Server, bucket: Bucket, without: str) -> Bucket:
    rights = [right for right in _RIGHTS.values() if right != without]
    resources = [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]
    statement = {"Effect": "Allow", "Action": rights, "Resource": resources}
    return bucket.as_account(s3.account_with({"Version": "2012-10-17", "Statement": [statement]}))


@pytest.mark.requirement("CO-13")
@pytest.mark.parametrize("lacking", _RIGHTS)
def test_a_missing_right_is_named_at_once_and_the_others_work(
    s3: S3Server, bucket: Bucket, proxy: FaultProxy, connecting: Connecting, lacking: str
) -> None:
    bucket.put("stack/folder/old", b"old")
    storage = connecting(_with_all_rights_but(s3, bucket, _RIGHTS[lacking]))
    with pytest.raises(StorageError) as error:
        _ACTS[lacking](storage)
    assert _RIGHTS[lacking] in error.value.message
    assert error.value.hint
    assert proxy.count() == 1
    for name, act in _ACTS.items():
        if name != lacking:
            act(storage)


@pytest.mark.requirement("CO-13")
def test_an_account_without_any_right_is_told_of_all_of_them(
    s3: S3Server, bucket: Bucket, connecting: Connecting
) -> None:
    elsewhere = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::another-bucket/*"]}
    powerless = s3.account_with({"Version": "2012-10-17", "Statement": [elsewhere]})
    with pytest.raises(StorageError) as error:
        connecting(bucket.as_account(powerless)).check_access(".probe")
    assert "s3:PutObject" in error.value.message
    assert "s3:ListBucket" in error.value.message
    assert bucket.keys() == []


@pytest.mark.requirement("CO-10", "CO-13")
@pytest.mark.parametrize("act", [*_ACTS.values(), lambda storage: storage.check_access(".probe")])
def test_a_missing_bucket_is_said_to_be_missing(
    bucket: Bucket, proxy: FaultProxy, connecting: Connecting, act: Callable[[ObjectStorage], object]
) -> None:
    missing = replace(bucket, name="there-is-none")
    with pytest.raises(StorageError, match="there is no bucket at s3://there-is-none/stack"):
        act(connecting(missing))


def test_a_wrong_secret_key_and_an_unknown_access_key_are_told_apart(bucket: Bucket, connecting: Connecting) -> None:
    wrong = bucket.as_account(Account(bucket.account.access_key, "another-secret-key"))
    unknown = bucket.as_account(Account("an-unknown-key", "another-secret-key"))
    for act in _ACTS.values():
        with pytest.raises(StorageError, match="refuses the secret key") as error:
            act(connecting(wrong))
        assert "another-secret-key" not in f"{error.value.message} {error.value.hint}"
        with pytest.raises(StorageError, match="does not know the access key"):
            act(connecting(unknown))


@pytest.mark.parametrize("act", _ACTS.values(), ids=_ACTS)
def test_a_wrong_region_is_told_with_what_to_correct(
    proxy: FaultProxy, storage: ObjectStorage, act: Callable[[ObjectStorage], object]
) -> None:
    proxy.inject(Answer(301, "PermanentRedirect", (("x-amz-bucket-region", "eu-central-1"),)))
    with pytest.raises(StorageError, match=r"region configured for .* is wrong") as error:
        act(storage)
    assert "region:" in error.value.hint
    proxy.clear()
    proxy.inject(Answer(400, "AuthorizationHeaderMalformed"))
    with pytest.raises(StorageError, match=r"region configured for .* is wrong"):
        act(storage)
    assert proxy.count() == 1


@pytest.mark.parametrize("act", _ACTS.values(), ids=_ACTS)
def test_clocks_that_differ_are_told(
    proxy: FaultProxy, storage: ObjectStorage, act: Callable[[ObjectStorage], object]
) -> None:
    proxy.inject(Answer(403, "RequestTimeTooSkewed"))
    with pytest.raises(StorageError, match="clocks differ") as error:
        act(storage)
    assert "clock" in error.value.hint
    assert proxy.count() == 1


def test_the_servers_own_clock_error_is_understood(
    bucket: Bucket, storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = dt.datetime.now(dt.UTC)
    with monkeypatch.context() as slow:
        slow.setattr(
            "botocore.auth.get_current_datetime", lambda **_: present.replace(tzinfo=None) - dt.timedelta(hours=1)
        )
        with pytest.raises(StorageError, match="clocks differ"):
            storage.put("a", b"x")
    assert bucket.keys() == []


def test_nobody_at_the_endpoint_is_said_after_all_tries(proxy: FaultProxy, storage: ObjectStorage) -> None:
    proxy.down()
    for act in _ACTS.values():
        with pytest.raises(StorageError, match=r"does not answer at http://127\.0\.0\.1:.*tried 4 times"):
            act(storage)
