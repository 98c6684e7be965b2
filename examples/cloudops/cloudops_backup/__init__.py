"""Backups of the assistant's collections: the service's own API over Recoup.

    async with AsyncBackups(Settings(user_id="user-123")) as backups:
        snapshot = await backups.create_snapshot("chat_history")

`Backups` is the same for code without an event loop.
"""

from .blocking import Backups
from .errors import (
    BackupError,
    InsufficientSpaceError,
    NotConfiguredError,
    NotReadyError,
    SnapshotNotFoundError,
)
from .health import Health
from .service import AsyncBackups, Cycle, Restored
from .settings import S3Settings, Settings
from .snapshots import SnapshotInfo

__all__ = [
    "AsyncBackups",
    "BackupError",
    "Backups",
    "Cycle",
    "Health",
    "InsufficientSpaceError",
    "NotConfiguredError",
    "NotReadyError",
    "Restored",
    "S3Settings",
    "Settings",
    "SnapshotInfo",
    "SnapshotNotFoundError",
]
