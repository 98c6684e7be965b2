"""What the example promises without a bucket: snapshots in a folder, by the API that awaits and by the one that does not."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cloudops_backup import (
    AsyncBackups,
    BackupError,
    Backups,
    InsufficientSpaceError,
    NotConfiguredError,
    NotReadyError,
    S3Settings,
    Settings,
    SnapshotNotFoundError,
    service,
)
from pydantic import ValidationError

from .conftest import COUNTS, EXAMPLE, CloudOps, backdate

CHAT, ESTATE = "chat_history", "aws_estate"


@pytest.mark.requirement("CO-1")
@pytest.mark.parametrize(
    "wrong",
    [
        {"bucket": "No Bucket"},
        {"bucket": "my-bucket", "region": "us west"},
        {"bucket": "my-bucket", "interval_hours": 0},
        {"bucket": "my-bucket", "retention_days": 0},
        {"bucket": "my-bucket", "auto_sync": "perhaps"},
        {"bucket": "my-bucket", "intervall_hours": 24},
    ],
)
def test_wrong_settings_of_the_bucket_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        S3Settings(**wrong)


@pytest.mark.requirement("CO-1")
def test_settings_have_the_values_that_the_service_is_used_to() -> None:
    settings = Settings(user_id="user-123", s3=S3Settings(bucket="my-cloudops-backup"))
    assert settings.s3 is not None
    assert (settings.s3.region, settings.s3.auto_sync) == ("us-west-2", True)
    assert (settings.s3.interval_hours, settings.s3.retention_days) == (24, 30)
    assert (settings.stale_hours, settings.green_timeout) == (48, 30)
    assert settings.folder == Path.home() / ".cloudops"
    assert Settings(user_id="a", qdrant_api_key="k-123456").environ()["QDRANT_API_KEY"] == "k-123456"
    assert "k-123456" not in repr(Settings(user_id="a", qdrant_api_key="k-123456"))
    for user in ("", "a/b", "..", "a" * 65):
        with pytest.raises(ValidationError):
            Settings(user_id=user)


@pytest.mark.requirement("CO-4", "CO-5", "CO-6", "CO-18")
def test_what_was_changed_after_a_snapshot_comes_back_as_it_was(cloudops: CloudOps) -> None:
    before = {name: cloudops.points(name) for name in COUNTS}

    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        assert made.collection == CHAT
        assert made.name == f"{CHAT}_{made.created_at:%Y-%m-%dT%H-%M-%S}.snapshot"
        assert made.points == COUNTS[CHAT]
        assert made.location == str(cloudops.data / "snapshots" / made.name)
        assert Path(made.location).stat().st_size == made.size_bytes
        cloudops.harm(CHAT)
        assert cloudops.count(CHAT) != COUNTS[CHAT]
        restored = await backups.restore_from_snapshot(CHAT, made.name)
        assert (restored.points, restored.snapshot) == (COUNTS[CHAT], made)
        assert restored.kept
        assert await backups.list_snapshots(CHAT) == [made]

    cloudops.do(act)
    assert {name: cloudops.count(name) for name in COUNTS} == COUNTS
    assert {name: cloudops.points(name) for name in COUNTS} == before
    assert list((cloudops.data / "temp").iterdir()) == []


def test_a_collection_that_was_restored_is_backed_up_and_restored_again_under_its_own_name(cloudops: CloudOps) -> None:
    before = cloudops.points(CHAT)

    async def act(backups: AsyncBackups) -> None:
        first = await backups.create_snapshot(CHAT)
        await backups.restore_from_snapshot(CHAT, first.name)
        await asyncio.sleep(1)  # names have seconds
        second = await backups.create_snapshot(CHAT)
        assert (second.collection, second.points) == (CHAT, COUNTS[CHAT])
        assert second.name == f"{CHAT}_{second.created_at:%Y-%m-%dT%H-%M-%S}.snapshot"
        for wanted in (second, first, second):
            cloudops.harm(CHAT)
            await backups.restore_from_snapshot(CHAT, wanted.name)
            assert cloudops.points(CHAT) == before

    cloudops.do(act)


@pytest.mark.requirement("CO-10")
def test_what_is_not_there_is_said_and_nothing_is_touched(cloudops: CloudOps) -> None:
    async def act(backups: AsyncBackups) -> None:
        with pytest.raises(SnapshotNotFoundError, match="Snapshot not found: chat_history_2020-01-01T00-00-00"):
            await backups.restore_from_snapshot(CHAT, f"{CHAT}_2020-01-01T00-00-00.snapshot")
        with pytest.raises(NotConfiguredError, match="S3 not configured"):
            await backups.restore_from_s3(CHAT)
        with pytest.raises(BackupError, match="Unknown collection: other"):
            await backups.create_snapshot("other")

    cloudops.do(act)
    assert cloudops.qdrant.collections() == sorted(COUNTS)


@pytest.mark.requirement("CO-10")
def test_a_collection_that_does_not_become_green_is_not_switched_to(cloudops: CloudOps) -> None:
    cloudops.qdrant.faults.set(recovery_delay=60)

    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        cloudops.harm(CHAT)
        harmed = cloudops.points(CHAT)
        with pytest.raises(NotReadyError, match="Collection chat_history not ready after restore"):
            await backups.restore_from_snapshot(CHAT, made.name)
        assert cloudops.points(CHAT) == harmed

    cloudops.do(act, green_timeout=0.5)


@pytest.mark.requirement("CO-12")
def test_too_little_space_is_said_before_anything_is_written(
    cloudops: CloudOps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECOUP__REPOSITORIES__LOCAL__FREE_SPACE_FACTOR", "1e12")

    async def act(backups: AsyncBackups) -> None:
        with pytest.raises(InsufficientSpaceError, match="Insufficient disk space"):
            await backups.create_snapshot(CHAT)
        assert await backups.list_snapshots() == []

    cloudops.do(act)
    assert not list((cloudops.data / "snapshots").glob("*.snapshot"))
    assert "free_space_factor: 2" in (EXAMPLE / "recoup.yaml").read_text()
    with pytest.raises(InsufficientSpaceError):
        service._require_space(cloudops.root, service.FACTOR * shutil.disk_usage(cloudops.root).total)


@pytest.mark.requirement("CO-2", "CO-19")
def test_a_broken_collection_does_not_stop_the_other_and_is_named(
    cloudops: CloudOps, caplog: pytest.LogCaptureFixture
) -> None:
    cloudops.qdrant.ask("DELETE", f"/collections/{CHAT}")

    async def act(backups: AsyncBackups) -> None:
        cycle = await backups.run_cycle()
        assert [made.collection for made in cycle.created] == [ESTATE]
        assert list(cycle.failed) == [CHAT]
        assert not cycle.ok
        assert f"Backup of {CHAT} failed: {cycle.failed[CHAT]}" in (await backups.health()).backup.warnings
        assert [one.collection for one in await backups.list_snapshots()] == [ESTATE]

    cloudops.do(act)
    assert f"Backup of {CHAT} failed" in caplog.text


@pytest.mark.requirement("CO-16")
def test_health_counts_points_and_warns_of_old_and_absent_backups(cloudops: CloudOps) -> None:
    async def act(backups: AsyncBackups) -> None:
        made = await backups.create_snapshot(CHAT)
        health = await backups.health()
        assert health.points_count == COUNTS
        assert health.backup.last_backup == {CHAT: made.created_at, ESTATE: None}
        assert health.backup.warnings == (f"No backups found for {ESTATE}",)
        cloudops.ahead = timedelta(hours=49, minutes=1)
        assert (await backups.health()).backup.warnings[0] == f"No recent backup for {CHAT}: 49 hours old"
        cloudops.qdrant.ask("DELETE", f"/collections/{ESTATE}")
        health = await backups.health()
        assert health.points_count[ESTATE] is None
        assert not health.healthy

    cloudops.do(act)


@pytest.mark.requirement("CO-2")
def test_nothing_is_backed_up_by_itself_unless_that_is_configured(cloudops: CloudOps) -> None:
    async def act(backups: AsyncBackups) -> None:
        with pytest.raises(NotConfiguredError, match="Auto-backup not configured"):
            backups.start_auto_backup()
        await backups.stop_auto_backup()

    cloudops.do(act)
    cloudops.do(act, s3=S3Settings(bucket="my-cloudops-backup", auto_sync=False))


@pytest.mark.requirement("CO-4")
def test_the_plain_api_does_the_same(cloudops: CloudOps) -> None:
    before = cloudops.points(CHAT)
    with Backups(cloudops.settings()) as backups:
        assert backups.collections == (CHAT, ESTATE)
        cycle = backups.backup_all(note="before the migration")
        assert cycle.ok
        cloudops.harm(CHAT)
        assert backups.restore_from_snapshot(CHAT).points == COUNTS[CHAT]
        assert len(backups.list_snapshots()) == 2
        assert backups.cleanup_old_snapshots() == ()
        assert backups.health().healthy
        with pytest.raises(NotConfiguredError):
            backups.start_auto_backup()
        with pytest.raises(NotConfiguredError):
            backups.restore_from_s3(CHAT)
        assert not backups.auto_backup_running
    assert cloudops.points(CHAT) == before


@pytest.mark.requirement("CO-3")
def test_local_snapshots_go_after_a_week_and_the_newest_one_never(cloudops: CloudOps) -> None:
    """The sets' own times are changed, as time itself would."""

    async def act(backups: AsyncBackups) -> None:
        old, newest = await backups.create_snapshot(CHAT), await backups.create_snapshot(CHAT)
        alone = await backups.create_snapshot(ESTATE)
        backdate(cloudops.data / "snapshots/_recoup", {old.set: 8, alone.set: 40})
        removed = await backups.cleanup_old_snapshots()
        assert len(removed) == 1
        left = {one.collection: one for one in await backups.list_snapshots()}
        assert left[CHAT] == newest
        assert ESTATE in left
        assert {path.name for path in (cloudops.data / "snapshots").glob("*.snapshot")} == {newest.name, alone.name}

    cloudops.do(act)
