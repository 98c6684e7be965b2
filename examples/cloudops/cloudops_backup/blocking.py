"""The same for code without an event loop: one runs in a thread, and does the work."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Self, TypeVar

from recoup import AsyncEmit

from .health import Health
from .service import AsyncBackups, Cycle, Restored, utc_now
from .settings import Settings
from .snapshots import LATEST, SnapshotInfo

T = TypeVar("T")


class Backups:
    """`AsyncBackups` for plain code. Every method waits for its end; Ctrl-C ends what is waited for.

    Args:
        settings: see `Settings`.
        emit: is told of Recoup's events and progress, in another thread.
        now: the present moment (UTC).
    """

    def __init__(
        self, settings: Settings, emit: AsyncEmit | None = None, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._backups = AsyncBackups(settings, emit, now)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backups", daemon=True)

    def __enter__(self) -> Self:
        """Opens the local folder, which is made when it is not there."""
        self._thread.start()
        try:
            self._wait(self._backups.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stops what runs."""
        try:
            self._wait(self._backups.__aexit__())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def create_snapshot(self, collection: str, note: str = "") -> SnapshotInfo:
        """Makes a local snapshot of one collection."""
        return self._wait(self._backups.create_snapshot(collection, note))

    def upload_to_s3(self, snapshot: SnapshotInfo) -> SnapshotInfo:
        """Copies a local snapshot to the bucket."""
        return self._wait(self._backups.upload_to_s3(snapshot))

    def backup_all(self, collections: Sequence[str] | None = None, note: str = "") -> Cycle:
        """Makes and uploads a snapshot of every collection; what fails is in the result's `failed`."""
        return self._wait(self._backups.backup_all(collections, note))

    def list_snapshots(self, collection: str | None = None) -> list[SnapshotInfo]:
        """The whole snapshots, here and in the bucket, newest first."""
        return self._wait(self._backups.list_snapshots(collection))

    def restore_from_snapshot(self, collection: str, name: str = LATEST) -> Restored:
        """Restores a collection from a local snapshot, and waits until it is green."""
        return self._wait(self._backups.restore_from_snapshot(collection, name))

    def restore_from_s3(self, collection: str, date: str = LATEST) -> Restored:
        """Restores a collection from a copy in the bucket, and waits until it is green."""
        return self._wait(self._backups.restore_from_s3(collection, date))

    def cleanup_old_snapshots(self) -> tuple[str, ...]:
        """Removes what is too old; names of the sets that were removed."""
        return self._wait(self._backups.cleanup_old_snapshots())

    def start_auto_backup(self, *, at_once: bool = False) -> None:
        """Backs up each collection after its interval, again and again, until it is stopped."""

        async def start() -> None:
            self._backups.start_auto_backup(at_once=at_once)

        self._wait(start())

    def stop_auto_backup(self) -> None:
        """Ends it, also in the middle of an upload."""
        self._wait(self._backups.stop_auto_backup())

    @property
    def auto_backup_running(self) -> bool:
        """Whether it runs."""
        return self._backups.auto_backup_running

    @property
    def last_cycle(self) -> Cycle | None:
        """What became of the newest automatic backup."""
        return self._backups.last_cycle

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that are backed up."""
        return self._backups.collections

    def health(self) -> Health:
        """How many points each collection has, and whether its newest backup is recent."""
        return self._wait(self._backups.health())
