"""Qdrant from Python: back up a server, look into snapshots without one, put collections and points back.

    from recoup import qdrant

    qdrant.backup("http://127.0.0.1:6333", ["docs"], to="backups")
    with qdrant.SnapshotFile("docs-4667856484918545-2026-11-20-02-00-00.snapshot") as docs:
        print(docs.count({"must": [{"key": "kind", "match": {"value": "page"}}]}))
    qdrant.restore("backups", "http://127.0.0.1:6333", rename={"docs": "docs_copy"})

All calls are synchronous. Errors are `recoup.errors.RecoupError`: a message, a hint, an exit code.
"""

from recoup.qdrant._files import FileRestore, restore_files
from recoup.qdrant._points import PointsReturn, chosen_points, extract, points_return
from recoup.qdrant._servers import cleanup, rollback
from recoup.qdrant._sets import backup, opened_set, restore
from recoup.sources.qdrant._opened import LimitError, Limits
from recoup.sources.qdrant.edge import Shard, SnapshotFile

__all__ = [
    "FileRestore",
    "LimitError",
    "Limits",
    "PointsReturn",
    "Shard",
    "SnapshotFile",
    "backup",
    "chosen_points",
    "cleanup",
    "extract",
    "opened_set",
    "points_return",
    "restore",
    "restore_files",
    "rollback",
]
