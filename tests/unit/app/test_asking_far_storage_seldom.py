"""How often the verbs ask a storage where each request takes its time: upper bounds, counted between Recoup and a real server."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode, StorageError
from recoup.repository._base import Subset
from recoup.testing.fault_proxy import Answer, FaultProxy
from s3_server.buckets import Bucket
from s3_server.running import S3Server

CONFIG = """
version: 1
stack: small
sources:
  data: {{kind: files, path: data}}
repositories:
  bucket:
    url: {url}/backups
    storage: {options}
    layout: dedup
    key_file: key
"""

MB = 1_000_000

Opened = Callable[[], recoup.Stack]


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    """Between Recoup and the real server."""
    with FaultProxy("127.0.0.1", s3.port) as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path, bucket: Bucket, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """As a new process opens it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/large").write_bytes(random.Random(1).randbytes(9 * MB))
    (tmp_path / "key").write_bytes(os.urandom(32))
    (tmp_path / "key").chmod(0o600)
    text = CONFIG.format(url=bucket.url, options=json.dumps(bucket.through(proxy.url).options))
    (tmp_path / "recoup.yaml").write_text(text)
    (tmp_path / "recoup.yaml").chmod(0o600)

    def make() -> recoup.Stack:
        return recoup.open(tmp_path / "recoup.yaml", environ={}, cwd=tmp_path)

    make().create_repositories()
    return make


@pytest.fixture
def asked(proxy: FaultProxy) -> Callable[[Callable[[], object]], int]:
    """How many requests something takes."""

    def count(act: Callable[[], object]) -> int:
        before = proxy.count()
        act()
        return proxy.count() - before

    return count


def test_no_verb_asks_more_often_than_it_has_to(
    opened: Opened, asked: Callable[[Callable[[], object]], int], tmp_path: Path
) -> None:
    assert opened().backup().exit_code == ExitCode.OK
    with (tmp_path / "data/large").open("r+b") as file:
        file.seek(3 * MB)
        file.write(os.urandom(10_000))
    time.sleep(1.0 - time.time() % 1.0)  # else the set needs another name, and to look whether that is free
    assert asked(lambda: opened().backup()) <= 22
    opened().sets()
    assert asked(lambda: opened().sets()) <= 4
    assert asked(lambda: opened().restore(target="there")) <= 18  # five of them read packs
    assert (tmp_path / "there/data/large").read_bytes() == (tmp_path / "data/large").read_bytes()
    assert asked(lambda: opened().verify(subset=Subset(structure=True))) <= 7 + 2 * 3
    assert asked(lambda: opened().verify()) <= 7 + 2 * 3 + 7  # three read packs, four the member lists again
    assert asked(lambda: opened().prune()) <= 30


@pytest.mark.requirement("CO-13")
@pytest.mark.parametrize(
    ("fault", "method", "said"),
    [(Answer(403, "AccessDenied"), "POST", "s3:DeleteObject"), (Answer(403, "AccessDenied"), "PUT", "s3:PutObject")],
)
def test_the_lock_of_a_backup_shows_which_right_is_missing_before_anything_is_read(
    opened: Opened, proxy: FaultProxy, bucket: Bucket, fault: Answer, method: str, said: str
) -> None:
    opened()
    proxy.inject(fault, method=method, contains="delete" if method == "POST" else ".locks")
    with pytest.raises(StorageError, match=said):
        opened().backup()
    assert not any("backup_" in key for key in list(bucket.keys()))


def test_a_backup_begins_nothing_where_the_store_overwrites_what_it_must_not(
    opened: Opened, proxy: FaultProxy, bucket: Bucket
) -> None:
    opened()
    proxy.inject(
        Answer(200, headers=(("ETag", chr(34) + "x" + chr(34)),), body=b""), method="PUT", contains=".locks", skip=1
    )
    with pytest.raises(StorageError, match="ignores `If-None-Match`"):
        opened().backup()
    assert not any("backup_" in key or ".locks" in key for key in list(bucket.keys()))
