"""Damage and full disks on the way back: downloaded again, else refused; what is restored is what was stored."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.model.events import Event, Progress
from recoup.testing.fault_proxy import Before, Corrupt, Fault, FaultProxy, ShortBody
from s3_server.buckets import Bucket

_CONTENT = bytes(range(256)) * 4000


_WITHOUT_SPACE = """
import resource, sys
from recoup.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.exit(main())
"""
"""The command where no file may be longer than 300,000 bytes: the system refuses to write, as on a full disk."""


_BACKUP = [sys.executable, "-m", "recoup", "backup"]


def _stack(root: Path, bucket: Bucket, news: list[str]) -> recoup.Stack:
    storage = {**bucket.options, "retry_wait": 0.01, "part_size": "5MiB"}
    config = {
        "version": 1,
        "stack": "library",
        "sources": {"uploads": {"kind": "files", "path": "uploads"}},
        "repositories": {"s3": {"url": bucket.url, "pack": "tree", "storage": storage}},
    }
    path = root / "recoup.yaml"
    path.write_text(json.dumps(config))

    def hear(said: Event | Progress) -> None:
        if isinstance(said, Event):
            news.append(said.name)

    return recoup.open(path, environ={}, cwd=root, emit=hear)


@pytest.fixture
def news() -> list[str]:
    """The names of the events."""
    return []


@pytest.fixture
def backed_up(tmp_path: Path, bucket: Bucket, proxy: FaultProxy, news: list[str]) -> recoup.Stack:
    """A set of one file and its list, to be read by way of the proxy."""
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "a").write_bytes(_CONTENT)
    stack = _stack(tmp_path, bucket.through(proxy.url), news)
    stack.create_repositories()
    assert stack.backup().exit_code == ExitCode.OK
    return stack


@pytest.mark.requirement("CO-15")
@pytest.mark.parametrize("fault", [Corrupt(at=1000), ShortBody(100)], ids=["changed", "short"])
def test_what_arrives_damaged_is_downloaded_again_which_is_said(
    backed_up: recoup.Stack, proxy: FaultProxy, tmp_path: Path, news: list[str], fault: Fault
) -> None:
    proxy.inject(fault, method="GET", contains="/uploads/a", times=1)
    report = backed_up.restore(target=tmp_path / "restored")
    assert report.exit_code == ExitCode.OK
    assert (tmp_path / "restored" / "uploads" / "a").read_bytes() == _CONTENT
    assert ("restore_read_again" in news) == isinstance(fault, Corrupt)  # what comes short is asked for again at once


@pytest.mark.requirement("CO-15")
@pytest.mark.parametrize("act", ["in transit", "at rest", "gone"])
def test_what_stays_damaged_is_never_restored(
    backed_up: recoup.Stack, bucket: Bucket, proxy: FaultProxy, tmp_path: Path, act: str
) -> None:
    [key] = [key for key in bucket.sizes() if key.endswith("/uploads/a")]
    if act == "in transit":
        proxy.inject(Corrupt(at=1000), method="GET", contains=key)
    elif act == "at rest":
        bucket.put(key, _CONTENT[::-1])
    else:  # between the listing and the reading
        proxy.inject(Before(lambda: bucket.delete(key)), method="GET", contains=key, times=1)
    report = backed_up.restore(target=tmp_path / "restored")
    assert report.exit_code == ExitCode.DAMAGED
    assert report.sources[0].error
    assert not (tmp_path / "restored").exists()
    assert any(found.damage for found in backed_up.verify())


def test_a_disk_that_takes_no_more_while_it_is_downloaded_leaves_nothing(
    backed_up: recoup.Stack, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_SPACE, "restore", "latest", "--target", "restored"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == ExitCode.FAILED, said
    assert "file too large" in said.lower()
    assert "Traceback" not in said
    assert not (tmp_path / "restored").exists()


@pytest.mark.slow
@pytest.mark.requirement("CO-14")
def test_a_backup_killed_at_its_requests_leaves_nothing_false_and_the_next_one_works(
    backed_up: recoup.Stack, bucket: Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    running: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        running[-1].kill()

    proxy.clear()
    assert backed_up.backup().exit_code == ExitCode.OK
    requests = proxy.count()
    for skipped in (requests // 3, requests // 2, requests - 3):
        before = {info.name for info in backed_up.sets()}
        proxy.clear()
        proxy.inject(Before(kill), skip=skipped, times=1)
        running.append(subprocess.Popen(_BACKUP, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        assert running[-1].wait() == -signal.SIGKILL
        found = backed_up.sets()
        assert all(info.manifest is not None for info in found)
        assert len({info.name for info in found} - before) in (0, 1)
    assert backed_up.backup().exit_code == ExitCode.OK
    assert not any(report.damage for report in backed_up.verify())
    assert [key for key in bucket.sizes() if key.startswith(".partial/")] == []
