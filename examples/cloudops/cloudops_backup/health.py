"""Whether the collections are there and backed up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .snapshots import SnapshotInfo


@dataclass(frozen=True)
class BackupHealth:
    """The state of the backups.

    Attributes:
        last_backup: collection to the moment of its newest snapshot (UTC), None when there is none.
        warnings: sentences that a person should read; none when all is well.
    """

    last_backup: Mapping[str, datetime | None]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    """The state of the collections and their backups.

    Attributes:
        points_count: collection to the number of its points, None when the server does not tell.
        backup: see `BackupHealth`.
    """

    points_count: Mapping[str, int | None]
    backup: BackupHealth

    @property
    def healthy(self) -> bool:
        """Whether there is nothing to warn of."""
        return not self.backup.warnings and None not in self.points_count.values()


def backup_health(
    collections: Iterable[str], snapshots: Sequence[SnapshotInfo], now: datetime, stale_hours: float
) -> BackupHealth:
    """Judges the newest snapshot of each collection.

    Args:
        collections: names.
        snapshots: of all of them, from all places.
        now: the present moment (UTC).
        stale_hours: a snapshot older than this is warned of.
    """
    last: dict[str, datetime | None] = {}
    warnings = []
    for name in collections:
        moments = [snapshot.created_at for snapshot in snapshots if snapshot.collection == name]
        last[name] = newest = max(moments, default=None)
        if newest is None:
            warnings.append(f"No backups found for {name}")
        elif (hours := (now - newest).total_seconds() / 3600) > stale_hours:
            warnings.append(f"No recent backup for {name}: {hours:.0f} hours old")
    return BackupHealth(last, tuple(warnings))
