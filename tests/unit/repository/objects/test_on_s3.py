"""Sets on a real S3 server, looked at by another client."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import RefusedError
from recoup.model.events import Event, News
from recoup.model.names import SetName
from recoup.operations import prune
from recoup.repository._base import Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.retention import Rules
from recoup.storage.object_store import Options, connect
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW
from s3_server.buckets import Bucket
from unit.repository.objects.places import add

FIRST = SetName.at(NOW)


def opened(bucket: Bucket, **options: object) -> PlainRepository:
    storage = connect(f"{bucket.url}/backups", Options.model_validate({**bucket.options, **options}))
    return open_repository("s3", storage, "tar", "none", None, SystemClock())


def test_a_set_lies_under_its_name_and_nothing_else_stays(bucket: Bucket) -> None:
    repository = opened(bucket)
    repository.create()
    name = add(repository)
    assert bucket.keys() == sorted(
        [
            "backups/recoup-repository.json",
            *(f"backups/{name}/{path}" for path in ("SHA256SUMS", "db/main.db", "manifest.json")),
        ]
    )
    assert bucket.get(f"backups/{name}/db/main.db") == b"database"


@pytest.mark.requirement("CO-14")
def test_hosts_that_begin_in_one_second_write_a_set_each(bucket: Bucket) -> None:
    opened(bucket).create()
    names: list[SetName] = []
    ready = threading.Barrier(3)

    def back_up() -> None:
        repository = opened(bucket)
        ready.wait()
        names.append(add(repository))

    hosts = [threading.Thread(target=back_up) for _ in range(3)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    repository = opened(bucket)
    assert repository.names() == sorted(names) == [FIRST, FIRST.next(), FIRST.next().next()]
    assert all(list(repository.verify(name, Subset())) == [] for name in names)
    assert bucket.keys("backups/.partial") == []


_DIES = """
import os, signal, sys
from unit.repository.objects.test_on_s3 import NOW, Path, opened
from recoup.model.part import StreamPart
from recoup.testing.repository_contract import Given, store
from s3_server.buckets import Account, Bucket

bucket = Bucket(None, sys.argv[1], sys.argv[2], Account(os.environ["KEY"], os.environ["SECRET"]))
with opened(bucket).begin(NOW) as writer:
    store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
    unfinished = writer.stream("db", "large", None)
    unfinished.write(bytes(20_000_000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.requirement("CO-14")
def test_a_backup_that_is_killed_in_an_upload_is_not_listed_and_the_next_one_cleans_up(bucket: Bucket) -> None:
    repository = opened(bucket)
    repository.create()
    path = os.pathsep.join(entry for entry in sys.path if entry)
    secrets = {"KEY": bucket.account.access_key, "SECRET": bucket.account.secret_key, "PYTHONPATH": path}
    dies = [sys.executable, "-c", _DIES, bucket.name, bucket.endpoint]
    ended = subprocess.run(dies, env={**os.environ, **secrets}, cwd=Path(__file__).parents[3], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert bucket.keys(f"backups/{FIRST}") == [f"backups/{FIRST}/db/main.db"]
    assert repository.names() == []
    name = add(repository, NOW + timedelta(hours=1))
    assert repository.names() == [name]
    assert bucket.keys(f"backups/{FIRST}") == bucket.keys("backups/.partial") == []


@pytest.mark.requirement("CO-3")
def test_prune_leaves_what_is_under_object_lock_and_removes_the_rest(locked_bucket: Bucket) -> None:
    plain, keeps = opened(locked_bucket), opened(locked_bucket, lock_days=1, lock_mode="governance")
    plain.create()
    first, last = add(plain), add(plain, NOW + timedelta(hours=2))
    held = add(keeps, NOW + timedelta(hours=1))
    until = keeps.locked_until(held)
    assert until is not None
    assert timedelta(hours=23) < until - datetime.now(UTC) < timedelta(hours=25)
    with pytest.raises(RefusedError, match="locked by the storage until"):
        plain.delete([held, first])
    heard: list[News] = []
    planned = prune.plan(plain, Rules(last=1), datetime.now(UTC))
    report = prune.run(planned, plain, 0, heard.append, SystemClock())
    assert report.removed == (str(first),)
    assert plain.names() == [held, last]
    assert list(plain.verify(held, Subset())) == []
    assert [n.name for n in heard if isinstance(n, Event)] == ["prune_locked", "backup_pruned"]
