"""What a bare snapshot holds, before anybody trusts it: opened by Qdrant's own engine, in a child."""

from pathlib import Path

from recoup.sources.qdrant.edge import SnapshotFile


def look_into(path: Path, staging: Path) -> str:
    """Opens a snapshot that any tool made.

    Args:
        path: the file.
        staging: folder to unpack in; nothing stays there.

    Returns:
        What it holds, in a few words.

    Raises:
        DamagedError: it is damaged, or none.
        UsageError: it holds some of its collection's shards only.
    """
    with SnapshotFile(path, staging=staging) as found:
        points, shards = found.count(), len(found.shards)
    return f"{points:,} points in {shards:,} shard{'' if shards == 1 else 's'}"
