"""The demo's stack: documents in DuckDB, chat in SQLite, uploads in folders, vectors in Qdrant's local mode."""

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from recoup.demo.documents import Document, standard_library
from recoup.demo.embedding import DIMENSIONS, Embedder
from recoup.errors import RefusedError, UsageError
from recoup.model.structs import Struct
from recoup.system.atomicfile import make_private_folder, write_atomic
from recoup.system.tempdirs import remove_tree

MARKER = "recoup-demo.json"
"""A folder with this file was made by the demo, and the demo may build it anew."""

CONFIG = "recoup.yaml"
DOCUMENTS = "cache/documents.duckdb"
CHAT = "data/chat.db"
UPLOADS = "data/uploads"
VECTORS = "data/qdrant"
COLLECTION = "documents"

_CONFIG_TEXT = f"""\
version: 1
stack: demo
sources:
  documents: {{kind: duckdb, path: {DOCUMENTS}}}
  chat: {{kind: sqlite, path: {CHAT}}}
  uploads: {{kind: files, path: {UPLOADS}, pointers: [CURRENT]}}
  vectors: {{kind: qdrant-local, path: {VECTORS}}}
repositories:
  local: {{path: data/backups, keep: {{last: 3}}}}
events: {{jsonl: logs/backup.jsonl}}
"""

_BATCH = 1000  # points in one upsert


class Built(Struct):
    """What was built.

    Attributes:
        documents: how many documents, and as many vectors.
        messages: chat messages.
        files: uploaded files, `CURRENT` included.
        embedder: what made the vectors.
    """

    documents: int
    messages: int
    files: int
    embedder: Embedder


def require_qdrant() -> None:
    """Looks whether Qdrant's client is installed.

    Raises:
        UsageError: it is not; the hint names the extra.
    """
    try:
        import qdrant_client  # noqa: F401 - only whether it can be imported
    except ImportError:
        raise UsageError(
            "the demo needs qdrant-client, which is not installed",
            "Install it with the extra: pip install 'recoup[demo]' or uv tool install 'recoup[demo]'.",
        ) from None


def prepare_folder(folder: Path) -> None:
    """Makes `folder` empty and ours: a new one, an empty one, or one that the demo made before.

    Raises:
        RefusedError: there is something else in it.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RefusedError(f"{folder} is not a folder", "Name a new folder with --dir.")
    make_private_folder(folder)
    entries = list(folder.iterdir())
    if entries and not (folder / MARKER).is_file():
        raise RefusedError(
            f"{folder} is not empty and was not made by the demo", "Name a new or empty folder with --dir."
        )
    for entry in sorted(entries, key=lambda path: path.name == MARKER):  # the marker last: a killed run stays ours
        remove_tree(entry)
    write_atomic(folder / MARKER, b'{"made_by": "recoup demo", "rebuilt_by_the_next_run": true}\n')


def build(folder: Path, embedder: Embedder, documents: Sequence[Document] | None = None) -> Built:
    """Builds the stack in a folder that `prepare_folder` made; the same on every run with the same Python.

    Args:
        folder: where.
        embedder: what makes the vectors.
        documents: what the stack knows; the standard library's docstrings by default.

    Raises:
        UsageError: qdrant-client is not installed.
    """
    require_qdrant()
    documents = standard_library() if documents is None else documents
    for path in (DOCUMENTS, CHAT, UPLOADS, VECTORS, "logs/backup.jsonl"):
        make_private_folder((folder / path).parent)
    write_atomic(folder / CONFIG, _CONFIG_TEXT.encode())
    _write_documents(folder / DOCUMENTS, documents)
    messages = _write_chat(folder / CHAT, documents)
    files = _write_uploads(folder / UPLOADS, documents)
    _write_vectors(folder / VECTORS, documents, embedder)
    return Built(len(documents), messages, files, embedder)


def _write_documents(path: Path, documents: Sequence[Document]) -> None:
    import duckdb

    columns = [
        list(column) for column in zip(*((d.id, d.title, d.module, d.kind, d.text) for d in documents), strict=True)
    ]
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE documents (id INTEGER PRIMARY KEY, title TEXT, module TEXT, kind TEXT, text TEXT)"
        )
        connection.execute(
            "INSERT INTO documents SELECT unnest($1::INTEGER[]), unnest($2::TEXT[]), unnest($3::TEXT[]),"
            " unnest($4::TEXT[]), unnest($5::TEXT[])",
            columns,
        )
        connection.execute(
            "CREATE TABLE modules AS SELECT module, count(*) AS documents FROM documents GROUP BY module"
        )


def _write_chat(path: Path, documents: Sequence[Document]) -> int:
    classes = [d for d in documents if d.kind == "class"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("CREATE TABLE conversations (id INTEGER PRIMARY KEY, topic TEXT NOT NULL)")
            connection.execute(
                "CREATE TABLE messages (id INTEGER PRIMARY KEY, conversation INTEGER NOT NULL"
                " REFERENCES conversations, role TEXT NOT NULL, text TEXT NOT NULL)"
            )
            for number, document in enumerate(classes, 1):
                first_line = document.text.partition("\n")[0]
                connection.execute("INSERT INTO conversations VALUES (?, ?)", (number, document.module))
                connection.executemany(
                    "INSERT INTO messages (conversation, role, text) VALUES (?, ?, ?)",
                    [(number, "user", f"What is {document.title}?"), (number, "assistant", first_line)],
                )
    return 2 * len(classes)


def _write_uploads(folder: Path, documents: Sequence[Document]) -> int:
    """Two snapshot folders of text files, each with a manifest, and `CURRENT` that names the newer one."""
    texts = [
        (module, "\n\n".join(f"{d.title}\n{d.text}" for d in group))
        for module, group in groupby(documents, key=lambda d: d.module)
    ]
    count = 1
    for snapshot, chosen in (("snapshot-0001", texts[:20]), ("snapshot-0002", texts[:40])):
        make_private_folder(folder / snapshot)
        for module, text in chosen:
            (folder / snapshot / f"{module}.txt").write_text(text, encoding="utf-8")
        manifest = {"snapshot": snapshot, "files": [f"{module}.txt" for module, _ in chosen]}
        (folder / snapshot / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        count += len(chosen) + 1
    (folder / "CURRENT").write_text("snapshot-0002\n", encoding="utf-8")
    return count


def _write_vectors(folder: Path, documents: Sequence[Document], embedder: Embedder) -> None:
    from qdrant_client import QdrantClient, models

    vectors = embedder.embed([f"{d.title}: {d.text}" for d in documents])
    with contextlib.closing(QdrantClient(path=str(folder))) as client:
        client.create_collection(
            COLLECTION, vectors_config=models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        )
        stop_syncing(client)
        for start in range(0, len(documents), _BATCH):
            batch = documents[start : start + _BATCH]
            client.upsert(
                COLLECTION,
                models.Batch(
                    ids=[d.id for d in batch],
                    vectors=vectors[start : start + _BATCH].tolist(),
                    payloads=[{"title": d.title, "module": d.module} for d in batch],
                ),
            )


def stop_syncing(client: Any) -> None:
    """Local mode commits and syncs each point by itself, four fifths of the time; made-up data need not outlive a power cut.

    There is no setting for it. A client whose insides look different is only slower.
    """
    with contextlib.suppress(AttributeError, KeyError):
        client._client.collections[COLLECTION].storage.storage.execute("PRAGMA synchronous = OFF")  # noqa: SLF001
