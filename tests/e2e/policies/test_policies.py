"""The policies of `deploy/policies`, kept by a real server: what each account needs it can do, and nothing more."""

import json
import sqlite3
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, StorageError
from recoup.system.host import this_owner
from s3_server.buckets import Bucket
from s3_server.running import S3Server

_POLICIES = Path(__file__).resolve().parents[3] / "deploy" / "policies"
_PREFIX = "team/library"


def _account(s3: S3Server, bucket: Bucket, name: str) -> Bucket:
    """The bucket as an account sees it that has the shipped policy."""
    text = (_POLICIES / f"{name}.json").read_text().replace("BUCKET", bucket.name).replace("PREFIX", _PREFIX)
    return bucket.as_account(s3.account_with(json.loads(text)))


def _stack(root: Path, bucket: Bucket, **storage: object) -> recoup.Stack:
    place = {"url": f"{bucket.url}/{_PREFIX}", "keep": {"last": 1}, "pack": "tree"}
    options = {**bucket.options, "retry_wait": 0.01, "part_size": "5MiB", **storage}
    config = {
        "version": 1,
        "stack": "library",
        "sources": {
            "chat": {"kind": "sqlite", "path": "data/chat.db"},
            "uploads": {"kind": "files", "path": "data/uploads"},
        },
        "repositories": {"s3": {**place, "storage": options}},
    }
    path = root / "recoup.yaml"
    path.write_text(json.dumps(config))
    return recoup.open(path, environ={}, cwd=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small application; one of its files goes up in parts."""
    (tmp_path / "data" / "uploads").mkdir(parents=True)
    (tmp_path / "data" / "uploads" / "large").write_bytes(bytes(range(256)) * 24_000)
    with sqlite3.connect(tmp_path / "data" / "chat.db") as connection:
        connection.execute("create table messages (text text)")
    connection.close()
    return tmp_path


@pytest.fixture
def filled(root: Path, bucket: Bucket) -> Bucket:
    """The bucket with a repository of two sets, made by an account that may do everything."""
    stack = _stack(root, bucket)
    stack.create_repositories()
    for _ in range(2):
        assert stack.backup().exit_code == ExitCode.OK
    return bucket


def _sets(bucket: Bucket) -> list[str]:
    return [key for key in bucket.sizes() if key.endswith("/manifest.json")]


def test_the_backup_account_adds_sets_and_can_remove_none(s3: S3Server, root: Path, filled: Bucket) -> None:
    stack = _stack(root, _account(s3, filled, "backup-only"))
    before = _sets(filled)
    assert stack.backup().exit_code == ExitCode.OK
    assert len(_sets(filled)) == 3
    assert not any(report.damage for report in stack.verify())
    for act in (
        lambda: stack.prune(stack.plan_prune()),
        lambda: stack.delete(stack.plan_delete([info.name for info in stack.sets()][:1]), force=True),
    ):
        with pytest.raises(StorageError, match="right"):
            act()
    assert set(before) < set(_sets(filled))
    assert len(stack.sets()) == 3


def test_what_a_dead_run_left_stops_no_backup_and_goes_with_the_next_prune(
    s3: S3Server, root: Path, filled: Bucket
) -> None:
    left, long_ago = "backup_20200101_000000", "2020-01-01T00:00:00+00:00"
    claim = {
        "version": 1,
        "token": "0" * 32,
        **asdict(this_owner(datetime.fromisoformat(long_ago))),
        "host": "elsewhere",
        "boot": "another",
        "since": long_ago,
        "refreshed": long_ago,
    }
    filled.put(f"{_PREFIX}/.partial/{left}.json", json.dumps(claim, default=str).encode())
    filled.put(f"{_PREFIX}/{left}/chat/chat.db", b"half")
    stack = _stack(root, _account(s3, filled, "backup-only"))
    assert stack.backup().exit_code == ExitCode.OK
    assert left not in [info.name for info in stack.sets()]
    assert filled.keys(f"{_PREFIX}/{left}/")
    pruning = _stack(root, _account(s3, filled, "prune"))
    pruning.prune(pruning.plan_prune())
    assert filled.keys(f"{_PREFIX}/{left}/") == filled.keys(f"{_PREFIX}/.partial/") == []


def test_the_restore_account_restores_and_can_change_no_set(s3: S3Server, root: Path, filled: Bucket) -> None:
    account = _account(s3, filled, "restore")
    stack = _stack(root, account)
    before = filled.sizes()
    assert stack.restore(target=root / "restored").exit_code == ExitCode.OK
    assert (root / "restored" / "uploads" / "large").read_bytes() == (root / "data" / "uploads" / "large").read_bytes()
    assert not any(report.damage for report in stack.verify())
    assert stack.drill().exit_code == ExitCode.OK
    with pytest.raises(StorageError, match=r"s3:PutObject"):
        stack.backup()
    with pytest.raises(StorageError, match="right"):
        stack.prune(stack.plan_prune())
    kept = {key: size for key, size in filled.sizes().items() if "/marks/" not in key}
    assert kept == {key: size for key, size in before.items() if "/marks/" not in key}


def test_the_prune_account_prunes_and_can_add_no_set(s3: S3Server, root: Path, filled: Bucket) -> None:
    filled.client.create_multipart_upload(Bucket=filled.name, Key=f"{_PREFIX}/left")
    stack = _stack(root, _account(s3, filled, "prune"))
    stack.prune(stack.plan_prune())
    assert len(_sets(filled)) == 1
    with pytest.raises(StorageError, match=r"s3:PutObject"):
        stack.backup()
    assert len(_sets(filled)) == 1


@pytest.mark.parametrize("name", ["backup-only", "restore", "prune"])
def test_no_account_reaches_beyond_its_prefix(s3: S3Server, bucket: Bucket, name: str) -> None:
    from botocore.exceptions import ClientError

    bucket.put("team/other/secret", b"x")
    client = s3.client_of(_account(s3, bucket, name).account)
    for act in (
        lambda: client.get_object(Bucket=bucket.name, Key="team/other/secret"),
        lambda: client.delete_object(Bucket=bucket.name, Key="team/other/secret"),
        lambda: client.put_object(Bucket=bucket.name, Key="team/other/secret", Body=b"y"),
    ):
        with pytest.raises(ClientError):
            act()
    client.close()
    assert bucket.get("team/other/secret") == b"x"


def test_the_backup_account_may_lock_tag_and_encrypt(s3: S3Server, root: Path, locked_bucket: Bucket) -> None:
    _stack(root, locked_bucket).create_repositories()
    account = _account(s3, locked_bucket, "backup-only")
    stack = _stack(root, account, lock_days=1, tags={"stack": "library"}, sse="AES256", storage_class="STANDARD_IA")
    assert stack.backup().exit_code == ExitCode.OK
    [manifest] = _sets(locked_bucket)
    assert "ObjectLockRetainUntilDate" in locked_bucket.head(manifest)
