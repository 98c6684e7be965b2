"""A bad day for the demo's stack, and a look at what each store holds."""

import contextlib
import hashlib
import sqlite3
from pathlib import Path

from recoup.demo.stack import CHAT, COLLECTION, DOCUMENTS, UPLOADS, VECTORS, stop_syncing
from recoup.model.structs import Struct


class Look(Struct):
    """What the stores hold at one moment.

    Attributes:
        documents: rows of the DuckDB table; None when the table is gone.
        messages: rows of the SQLite table; None when the table is gone.
        points: points in the Qdrant collection.
        uploads: SHA-256 over names and bytes of all uploaded files, hex.
        current: what `CURRENT` says.
    """

    documents: int | None
    messages: int | None
    points: int
    uploads: str
    current: str


def look(folder: Path) -> Look:
    """Opens every store with its own engine and counts."""
    import duckdb
    from qdrant_client import QdrantClient

    with duckdb.connect(str(folder / DOCUMENTS), read_only=True) as connection:
        try:
            documents = connection.execute("SELECT count(*) FROM documents").fetchall()[0][0]
        except duckdb.CatalogException:
            documents = None
    with contextlib.closing(sqlite3.connect(folder / CHAT)) as chat:
        try:
            messages = chat.execute("SELECT count(*) FROM messages").fetchone()[0]
        except sqlite3.OperationalError:
            messages = None
    with contextlib.closing(QdrantClient(path=str(folder / VECTORS))) as client:
        points = client.count(COLLECTION, exact=True).count
    current = (folder / UPLOADS / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    return Look(documents, messages, points, _digest(folder / UPLOADS), current)


WRONG_FILTER = ("bz2", "gzip", "lzma", "shutil", "tarfile", "zipapp", "zipfile", "zipimport", "zlib")
"""Modules whose points a clean-up job deletes by mistake: those that answer the demo's question."""


def damage(folder: Path) -> tuple[str, ...]:
    """Harms every store in a way that happens, and says how: one sentence for each store.

    Args:
        folder: the stack's.
    """
    return (
        _drop_documents(folder / DOCUMENTS),
        _drop_messages(folder / CHAT),
        _delete_points(folder / VECTORS),
        _overwrite_uploads(folder / UPLOADS),
    )


def _drop_documents(path: Path) -> str:
    import duckdb

    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE documents")
    return "DuckDB: dropped the table documents"


def _drop_messages(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE messages")
    return "SQLite: dropped the table messages"


def _delete_points(folder: Path) -> str:
    from qdrant_client import QdrantClient, models

    wrong = models.Filter(must=[models.FieldCondition(key="module", match=models.MatchAny(any=list(WRONG_FILTER)))])
    with contextlib.closing(QdrantClient(path=str(folder))) as client:
        before = client.count(COLLECTION, exact=True).count
        stop_syncing(client)
        client.delete(COLLECTION, points_selector=models.FilterSelector(filter=wrong))
        deleted = before - client.count(COLLECTION, exact=True).count
    return f"Qdrant: deleted {deleted} points with a wrong filter"


def _overwrite_uploads(folder: Path) -> str:
    """Overwrites the first file of the present snapshot folder, and points `CURRENT` at a folder that is not there."""
    snapshot = (folder / "CURRENT").read_text(encoding="utf-8").strip()
    victim = min((folder / snapshot).glob("*.txt"))
    victim.write_bytes(b"\0" * victim.stat().st_size)
    (folder / "CURRENT").write_text("snapshot-0003\n", encoding="utf-8")
    return f"uploads: zeroed {snapshot}/{victim.name}; CURRENT names a folder that is not there"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
