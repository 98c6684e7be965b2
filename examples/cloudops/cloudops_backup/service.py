"""The backups of a service with an event loop. All work is done by Recoup in processes of its own."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpx

import recoup
from recoup import AsyncEmit, AsyncStack, ExitCode
from recoup.errors import NoRepositoryError

from . import automatic
from .errors import (
    BackupError,
    InsufficientSpaceError,
    NotConfiguredError,
    NotReadyError,
    SnapshotNotFoundError,
    translated,
)
from .health import BackupHealth, Health, backup_health
from .settings import Settings
from .snapshots import LATEST, SnapshotInfo, chosen, snapshots_in

LOG = logging.getLogger("cloudops.backup")
LOCK = 600.0  # seconds to wait for another run to end
FACTOR = 2  # free space asked for, as a multiple of a snapshot


@dataclass(frozen=True)
class Restored:
    """A collection that was restored, is green, and has the points of its snapshot.

    Attributes:
        collection: its name.
        snapshot: what it was restored from.
        points: how many it has.
        kept: where what was there before is; empty when nothing was.
    """

    collection: str
    snapshot: SnapshotInfo
    points: int
    kept: str


@dataclass
class Cycle:
    """What became of one backup of several collections.

    Attributes:
        created: local snapshots.
        uploaded: their copies.
        failed: collection to what went wrong with it; the others are not touched by that.
        removed: names of the sets that a clean-up removed.
        cleanup_error: why it failed; empty otherwise.
    """

    created: list[SnapshotInfo] = field(default_factory=list)
    uploaded: list[SnapshotInfo] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    cleanup_error: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything worked."""
        return not self.failed and not self.cleanup_error


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)  # noqa: TID251 - the application's own clock


class AsyncBackups:
    """Snapshots of the collections: made, copied, listed, restored, cleaned up, by hand or by itself.

    Args:
        settings: see `Settings`.
        emit: is told of Recoup's events and progress.
        now: the present moment (UTC).
    """

    def __init__(
        self, settings: Settings, emit: AsyncEmit | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self.settings, self._emit, self._now = settings, emit, now
        self._open = contextlib.AsyncExitStack()
        self._stacks: dict[str, AsyncStack] = {}
        self._automatic: asyncio.Task[None] | None = None
        self.last_cycle: Cycle | None = None

    async def __aenter__(self) -> Self:
        """Opens the local folder, which is made when it is not there."""
        async with contextlib.AsyncExitStack() as opening:
            for name in ("local", "s3") if self.settings.s3 else ("local",):
                self._stacks[name] = await opening.enter_async_context(self._stack(name))
            with translated():
                await self._stacks["local"].create_repositories()
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops what runs."""
        await self.stop_auto_backup()
        await self._open.aclose()

    @contextlib.asynccontextmanager
    async def _stack(self, repository: str) -> AsyncIterator[AsyncStack]:
        with translated():
            opened = recoup.aopen(
                self.settings.files, repository=repository, emit=self._emit, environ=self.settings.environ()
            )
            await opened.__aenter__()
        try:
            yield opened
        finally:
            await opened.__aexit__()

    @property
    def _local(self) -> AsyncStack:
        return self._stacks["local"]

    @property
    def _s3(self) -> AsyncStack:
        if "s3" not in self._stacks:
            raise NotConfiguredError("S3 not configured")
        return self._stacks["s3"]

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that are backed up: the sources in recoup.yaml."""
        return self._local.about.sources

    def _known(self, collection: str) -> str:
        if collection not in self.collections:
            raise BackupError(f"Unknown collection: {collection}")
        return collection

    # --- making ------------------------------------------------------------------------------------------------------

    async def create_snapshot(self, collection: str, note: str = "") -> SnapshotInfo:
        """Makes a local snapshot of one collection.

        Raises:
            InsufficientSpaceError: there is less free than twice what it is expected to need; nothing was written.
            BackupError: there is no whole snapshot.
        """
        with translated():
            report = await self._local.backup(sources=[self._known(collection)], note=note, wait_lock=LOCK)
        if report.exit_code != ExitCode.OK or report.manifest is None:
            reasons = "; ".join(report.errors.values()) or "the snapshot is doubtful and does not count"
            raise BackupError(f"Snapshot of {collection} failed: {reasons}")
        made = [one for one in await self._listed("local", collection) if one.set == report.manifest.name]
        if not made:
            raise BackupError(f"Snapshot of {collection} is not listed: {report.manifest.name}")
        return made[0]

    async def upload_to_s3(self, snapshot: SnapshotInfo) -> SnapshotInfo:
        """Copies a local snapshot to the bucket, with its proofs; what is there already is left alone.

        Raises:
            NotConfiguredError: there are no S3 settings.
            BackupError: it is not in the bucket.
        """
        stack = self._s3
        with translated():
            await stack.create_repositories()
            report = await self._local.copy(to="s3", sets=[snapshot.set], wait_lock=LOCK)
        (copied,) = report.sets
        if copied.error:
            raise BackupError(f"Upload of {snapshot.name} failed: {copied.error}")
        found = [one for one in await self._listed("s3", snapshot.collection) if one.set == copied.copy]
        if not found:
            raise BackupError(f"Upload of {snapshot.name} is not listed: {copied.copy}")
        return found[0]

    async def backup_all(self, collections: Sequence[str] | None = None, note: str = "") -> Cycle:
        """Makes and uploads a snapshot of every collection; without S3 settings they stay here.

        What fails is in the result's `failed` (and in the log), and does not stop the others.
        """
        cycle = Cycle()
        for collection in collections or self.collections:
            try:
                cycle.created.append(await self.create_snapshot(collection, note))
                if self.settings.s3:
                    cycle.uploaded.append(await self.upload_to_s3(cycle.created[-1]))
            except BackupError as error:
                cycle.failed[collection] = str(error)
                LOG.error("Backup of %s failed: %s", collection, error)  # noqa: TRY400 - the sentence says it all
        return cycle

    # --- listing -----------------------------------------------------------------------------------------------------

    async def list_snapshots(self, collection: str | None = None) -> list[SnapshotInfo]:
        """The whole snapshots, here and in the bucket, newest first.

        Args:
            collection: only its; those of all by default.
        """
        found = [one for name in self._stacks for one in await self._listed(name, collection)]
        return sorted(found, key=lambda snapshot: snapshot.created_at, reverse=True)

    async def _listed(self, repository: str, collection: str | None = None) -> list[SnapshotInfo]:
        sources = () if collection is None else (self._known(collection),)
        with translated():
            try:
                infos = await self._stacks[repository].sets(sources=sources)
            except NoRepositoryError:  # the bucket is there, and nothing was ever copied into it
                return []
        found = snapshots_in(infos, self._place(repository))
        return [one for one in found if collection in (None, one.collection)]

    def _place(self, repository: str) -> str:
        s3 = self.settings.s3
        if repository == "local" or s3 is None:
            return str(self.settings.folder / "snapshots")
        return f"s3://{s3.bucket}"

    # --- restoring ---------------------------------------------------------------------------------------------------

    async def restore_from_snapshot(self, collection: str, name: str = LATEST) -> Restored:
        """Restores a collection from a local snapshot, and waits until it is green.

        Args:
            collection: which; what is there is replaced, after the new one was checked, and kept.
            name: of the snapshot, or `latest`.

        Raises:
            SnapshotNotFoundError: there is none of that name.
            NotReadyError: it was not green in time; what was there still answers.
            BackupError: it failed; what was there still answers.
        """
        found = chosen(await self._listed("local", collection), name)
        if found is None:
            raise SnapshotNotFoundError(f"Snapshot not found: {name}")
        return await self._restored(self._local, found)

    async def restore_from_s3(self, collection: str, date: str = LATEST) -> Restored:
        """Restores a collection from a copy in the bucket, and waits until it is green.

        Args:
            collection: which; what is there is replaced, after the new one was checked, and kept.
            date: `latest`, or the beginning of a date as names have it, of which the newest is taken.

        Raises:
            NotConfiguredError: there are no S3 settings.
            SnapshotNotFoundError: there is none of that date.
            InsufficientSpaceError: there is too little room for the download.
            NotReadyError: it was not green in time; what was there still answers.
            BackupError: it failed; what was there still answers.
        """
        stack = self._s3
        found = chosen(await self._listed("s3", collection), date)
        if found is None:
            raise SnapshotNotFoundError(f"Snapshot not found: {collection} {date}")
        await asyncio.to_thread(_require_space, self.settings.folder, FACTOR * found.size_bytes)
        return await self._restored(stack, found)

    async def _restored(self, stack: AsyncStack, found: SnapshotInfo) -> Restored:
        collection = found.collection
        options = {"timeout": self.settings.green_timeout, "rename": {found.recorded: collection}}
        with translated():
            report = await stack.restore(
                found.set, [collection], in_place=True, options={collection: options}, wait_lock=LOCK
            )
        (source,) = report.sources
        if "is not whole after" in source.error:
            raise NotReadyError(f"Collection {collection} not ready after restore: {source.error}")
        if source.error:
            raise BackupError(f"{collection} was not restored: {source.error}")
        return Restored(collection, found, found.points, source.kept)

    # --- cleaning up -------------------------------------------------------------------------------------------------

    async def cleanup_old_snapshots(self) -> tuple[str, ...]:
        """Removes local sets after a week and copies after `retention_days`, never the newest whole one of a collection.

        Returns:
            Names of the sets that were removed.
        """
        removed: list[str] = []
        for stack in self._stacks.values():
            with translated(), contextlib.suppress(NoRepositoryError):  # as long as nothing was ever copied
                removed += (await stack.prune(wait_lock=LOCK)).removed
        return tuple(removed)

    # --- by itself ---------------------------------------------------------------------------------------------------

    async def run_cycle(self, collections: Sequence[str] | None = None) -> Cycle:
        """One automatic backup: makes and uploads snapshots, then cleans up. A failing clean-up is logged."""
        cycle = await self.backup_all(collections)
        try:
            cycle.removed = await self.cleanup_old_snapshots()
        except BackupError as error:
            cycle.cleanup_error = str(error)
            LOG.error("Clean-up failed: %s", error)  # noqa: TRY400 - the sentence says it all
        self.last_cycle = cycle
        return cycle

    def start_auto_backup(self, *, at_once: bool = False) -> None:
        """Backs up each collection after its interval, again and again, until it is stopped.

        Args:
            at_once: the first time now, instead of after one interval.

        Raises:
            NotConfiguredError: the settings say that nothing is to be backed up by itself.
        """
        if not self.settings.auto_backup:
            raise NotConfiguredError("Auto-backup not configured")
        if not self.auto_backup_running:
            self._automatic = asyncio.create_task(automatic.run(self, self._now, at_once=at_once), name="auto-backup")

    @property
    def auto_backup_running(self) -> bool:
        """Whether it runs."""
        return self._automatic is not None and not self._automatic.done()

    async def stop_auto_backup(self) -> None:
        """Ends it, also in the middle of an upload; nothing half done is ever listed."""
        task, self._automatic = self._automatic, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- health ------------------------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """How many points each collection has, whether its newest backup is recent, and what failed in the last cycle."""
        collections = self.collections
        snapshots = await self.list_snapshots()
        backup = backup_health(collections, snapshots, self._now(), self.settings.stale_hours)
        async with httpx.AsyncClient(base_url=self.settings.qdrant_url, headers=self._headers(), timeout=10) as client:
            counts = await asyncio.gather(*(_points(client, name) for name in collections))
        failed = self.last_cycle.failed if self.last_cycle else {}
        warnings = (*backup.warnings, *(f"Backup of {name} failed: {why}" for name, why in failed.items()))
        return Health(dict(zip(collections, counts, strict=True)), BackupHealth(backup.last_backup, warnings))

    def _headers(self) -> dict[str, str]:
        key = self.settings.qdrant_api_key
        return {} if key is None else {"api-key": key.get_secret_value()}


async def _points(client: httpx.AsyncClient, collection: str) -> int | None:
    """How many points a collection has; None when the server does not tell."""
    try:
        answer = await client.post(f"/collections/{collection}/points/count", json={"exact": True})
        answer.raise_for_status()
        return int(answer.json()["result"]["count"])
    except (httpx.HTTPError, KeyError, TypeError, ValueError):
        return None


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InsufficientSpaceError(f"Insufficient disk space at {folder}: {needed:,} bytes are needed, {free:,} free")
