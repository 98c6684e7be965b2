"""What the example promises with a bucket, on a real S3 server; boto3 looks at what was written."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cloudops_backup import AsyncBackups, BackupError, S3Settings, SnapshotNotFoundError

import recoup
from recoup.model.events import Progress
from recoup.testing.fault_proxy import CutRequest, FaultProxy, Stall
from s3_server.buckets import Bucket
from s3_server.running import S3Server

from .conftest import COUNTS, EXAMPLE, CloudOps, backdate

CHAT, ESTATE = "chat_history", "aws_estate"


@pytest.mark.requirement("CO-3", "CO-5", "CO-7", "CO-8", "CO-9", "CO-19")
def test_one_call_creates_and_uploads_everything_and_both_places_are_listed_together(
    with_s3: CloudOps, bucket: Bucket
) -> None:
    async def act(backups: AsyncBackups) -> None:
        cycle = await backups.backup_all(note="before the bulk delete")
        assert cycle.ok
        assert [made.collection for made in cycle.created] == [CHAT, ESTATE]
        assert [made.collection for made in cycle.uploaded] == [CHAT, ESTATE]
        for made, copy in zip(cycle.created, cycle.uploaded, strict=True):
            assert (copy.created_at, copy.size_bytes, copy.points) == (made.created_at, made.size_bytes, made.points)
            assert copy.name == f"{made.created_at:%Y-%m-%dT%H-%M-%S}.snapshot"
            key = f"user-123/snapshots/{made.collection}/{copy.name}"
            assert copy.location == f"s3://{bucket.name}/{key}"
            assert len(bucket.get(key)) == copy.size_bytes
            assert bucket.head(key)["ServerSideEncryption"] == "AES256"
        listed = await backups.list_snapshots()
        assert listed == sorted([*cycle.created, *cycle.uploaded], key=lambda one: one.created_at, reverse=True)
        again = await backups.upload_to_s3(cycle.created[0])
        assert again == cycle.uploaded[0]
        assert len(await backups.list_snapshots()) == 4

    with_s3.do(act)


@pytest.mark.requirement("CO-10", "CO-18")
def test_a_collection_comes_back_from_the_bucket_by_date(with_s3: CloudOps) -> None:
    before = {name: with_s3.points(name) for name in COUNTS}
    downloads: set[str] = set()

    def hear(_news: recoup.Event | recoup.Progress) -> None:
        downloads.update(path.name for path in (with_s3.data / "temp").glob("recoup-restore-*"))

    async def act(backups: AsyncBackups) -> None:
        made = (await backups.backup_all()).uploaded[0]
        for wanted in ("latest", f"{made.created_at:%Y-%m-%d}", made.date, made.name):
            with_s3.harm(CHAT)
            restored = await backups.restore_from_s3(CHAT, wanted)
            assert restored.snapshot == made
            assert with_s3.points(CHAT) == before[CHAT]
        with pytest.raises(SnapshotNotFoundError, match="Snapshot not found: chat_history 2020-01-01"):
            await backups.restore_from_s3(CHAT, "2020-01-01")

    with_s3.do(act, emit=hear)
    assert {name: with_s3.points(name) for name in COUNTS} == before
    assert len(downloads) == 4
    assert list((with_s3.data / "temp").iterdir()) == []


@pytest.mark.requirement("CO-10", "CO-13")
def test_a_bucket_that_is_not_there_is_named_and_the_local_snapshot_stays(with_s3: CloudOps) -> None:
    gone = S3Settings(bucket="no-such-bucket-here", endpoint=with_s3.s3.endpoint if with_s3.s3 else "")

    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        with pytest.raises(BackupError, match="no-such-bucket-here"):
            await backups.upload_to_s3(made)
        with pytest.raises(BackupError, match="no-such-bucket-here"):
            await backups.restore_from_s3(CHAT)
        cycle = await backups.run_cycle([CHAT])
        assert "no-such-bucket-here" in cycle.failed[CHAT]
        assert "no-such-bucket-here" in cycle.cleanup_error
        assert len(cycle.created) == 1

    with_s3.do(act, s3=gone)


@pytest.mark.requirement("CO-11")
def test_one_command_brings_everything_back_when_the_local_folder_is_lost(with_s3: CloudOps, bucket: Bucket) -> None:
    before = {name: with_s3.points(name) for name in COUNTS}
    with_s3.do(lambda backups: backups.backup_all())
    for name in COUNTS:
        with_s3.qdrant.ask("DELETE", f"/collections/{name}")
    shutil.rmtree(with_s3.data)
    shutil.rmtree(with_s3.root / "state", ignore_errors=True)
    files = [f"-c{EXAMPLE / name}" for name in ("recoup.yaml", "s3.yaml")]
    command = [sys.executable, "-m", "recoup", *files, "restore", "latest", "-r", "s3", "--all", "--in-place", "--yes"]
    done = subprocess.run(
        [*command, "--report", "recovery.md"],
        cwd=with_s3.root,
        env=with_s3.settings().environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {name: with_s3.points(name) for name in COUNTS} == before
    report = (with_s3.root / "recovery.md").read_text()
    assert report.startswith("# Restore done")
    for name, count in COUNTS.items():
        assert f"points of {name}: {count}, as recorded" in done.stdout
        assert f"| {name} | points of {name} | {count} | {count} |" in report
    assert bucket.account.secret_key not in done.stdout + done.stderr


@pytest.mark.requirement("CO-3")
def test_copies_go_after_the_days_that_are_set_and_the_newest_one_never(with_s3: CloudOps, bucket: Bucket) -> None:
    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        backdate(with_s3.data / "snapshots/_recoup", {made.set: 31})
        [old] = await backups.list_snapshots(CHAT)
        await backups.upload_to_s3(old)
        assert await backups.cleanup_old_snapshots() == (), "it is the newest"
        new = await backups.upload_to_s3(await backups.create_snapshot(CHAT))
        assert len(await backups.cleanup_old_snapshots()) == 2
        assert {one.created_at for one in await backups.list_snapshots()} == {new.created_at}
        assert bucket.keys(f"user-123/snapshots/{CHAT}/") == [new.location.removeprefix(f"s3://{bucket.name}/")]

    with_s3.do(act)


@pytest.mark.requirement("CO-15")
def test_a_copy_that_was_changed_in_the_bucket_is_never_restored(with_s3: CloudOps, bucket: Bucket) -> None:
    async def act(backups: AsyncBackups) -> None:
        cycle = await backups.backup_all([CHAT])
        key = cycle.uploaded[0].location.removeprefix(f"s3://{bucket.name}/")
        data = bytearray(bucket.get(key))
        data[len(data) // 2] ^= 0xFF
        bucket.put(key, bytes(data))
        with_s3.harm(CHAT)
        harmed = with_s3.points(CHAT)
        with pytest.raises(BackupError, match="chat_history was not restored"):
            await backups.restore_from_s3(CHAT)
        assert with_s3.points(CHAT) == harmed
        assert (await backups.restore_from_snapshot(CHAT)).points == COUNTS[CHAT]

    with_s3.do(act)
    assert len(with_s3.qdrant.collections()) == 2, "of the refused restore nothing is left on the server"


@pytest.fixture
def proxy(with_s3: CloudOps, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Between the service and the server; the waits before further tries are short."""
    monkeypatch.setenv("RECOUP__REPOSITORIES__S3__STORAGE__RETRY_WAIT", "0.02")
    with FaultProxy("127.0.0.1", s3.port) as running:
        assert with_s3.s3 is not None
        with_s3.s3 = with_s3.s3.model_copy(update={"endpoint": running.url})
        yield running


@pytest.mark.requirement("CO-14")
def test_an_upload_that_is_cut_is_tried_again_three_times_and_then_fails_clearly(
    with_s3: CloudOps, bucket: Bucket, proxy: FaultProxy
) -> None:
    prefix = f"user-123/snapshots/{CHAT}/"
    artefacts = f"/{bucket.name}/{prefix}"

    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        proxy.inject(CutRequest(50_000), method="PUT", contains=artefacts)
        with pytest.raises(BackupError, match="Upload of"):
            await backups.upload_to_s3(made)
        assert proxy.count("PUT", artefacts) == 4
        assert [one.repository for one in await backups.list_snapshots()] == ["local"]
        assert bucket.keys(prefix) == []
        proxy.clear()
        proxy.inject(CutRequest(50_000), method="PUT", contains=artefacts, times=2)
        copy = await backups.upload_to_s3(made)
        assert len(bucket.get(copy.location.removeprefix(f"s3://{bucket.name}/"))) == made.size_bytes
        assert len(await backups.list_snapshots()) == 2

    with_s3.do(act)
    settings = (EXAMPLE / "s3.yaml").read_text()
    assert "retries: 3" in settings
    assert "retry_wait: 2 " in settings


@pytest.mark.requirement("CO-2", "CO-14")
def test_stopping_in_the_middle_of_an_upload_leaves_nothing_listed(
    with_s3: CloudOps, bucket: Bucket, proxy: FaultProxy
) -> None:
    artefacts = f"/{bucket.name}/user-123/snapshots/{CHAT}/"

    async def act(backups: AsyncBackups) -> None:
        proxy.inject(Stall(), method="PUT", contains=artefacts)
        backups.start_auto_backup(at_once=True)
        while not proxy.count("PUT", artefacts):
            await asyncio.sleep(0.02)
        await backups.stop_auto_backup()
        proxy.clear()
        assert [one.repository for one in await backups.list_snapshots()] == ["local"]
        assert (await backups.run_cycle([CHAT])).ok
        assert [one.repository for one in await backups.list_snapshots()].count("s3") == 1

    with_s3.do(act)
    assert bucket.uploads() == []


@pytest.mark.requirement("CO-2", "CO-17")
def test_automatic_backups_come_by_interval_and_stop_in_the_middle_of_one(with_s3: CloudOps, bucket: Bucket) -> None:
    """The intervals are shortened to a second and less than two."""
    begun = asyncio.Event()

    def hear(news: recoup.Event | recoup.Progress) -> None:
        if isinstance(news, Progress) and begun_again(news):
            begun.set()

    cycles: list[Any] = []

    def begun_again(news: Progress) -> bool:
        return bool(cycles) and news.work.startswith("copy")

    async def act(backups: AsyncBackups) -> None:
        backups.start_auto_backup(at_once=True)
        while backups.last_cycle is None:
            await asyncio.sleep(0.05)
        cycles.append(backups.last_cycle)
        assert backups.last_cycle.ok
        listed = await backups.list_snapshots()
        await asyncio.wait_for(begun.wait(), 60)
        assert backups.auto_backup_running
        await backups.stop_auto_backup()
        whole = {one.location for one in await backups.list_snapshots() if one.repository == "s3"}
        assert whole >= {one.location for one in listed if one.repository == "s3"}
        for location in whole:
            assert bucket.get(location.removeprefix(f"s3://{bucket.name}/"))
        assert len(await backups.list_snapshots(ESTATE)) == 2, "its own interval is longer"
        assert (await backups.run_cycle([CHAT])).ok, "no lock is left"

    with_s3.do(act, emit=hear, intervals={CHAT: 1 / 3600, ESTATE: 1000})
    assert bucket.uploads() == []
