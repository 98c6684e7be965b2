"""Makes the data of a small document assistant: the same on every run.

Usage: python make_data.py [FOLDER]     (default: the folder of this script)

The vectors go to the Qdrant server at DOCMIND_QDRANT__URL (default http://127.0.0.1:6333), if one answers there.
"""

import json
import math
import os
import shutil
import sys
from contextlib import closing
from pathlib import Path

import duckdb
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

URL = os.environ.get("DOCMIND_QDRANT__URL", "http://127.0.0.1:6333")
COLLECTION = "docmind_docs"
DIMENSIONS = 32
TOPICS = ("invoices", "contracts", "travel", "recipes", "garden", "letters", "manuals", "taxes")
CHUNKS = 40  # of each topic

ENV = """\
# Settings of the assistant. The key and the password are made up.
DOCMIND_QDRANT__COLLECTION=docmind_docs
DOCMIND_LLM_API_KEY=sk-made-up-4f9a1c77e2
DOCMIND_DATABASE_PASSWORD=made-up-password-51
"""


def main() -> None:
    """Makes everything below the folder that the command line names."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    rows = passages()
    make(folder, rows)
    print(f"data made in {folder}")
    print(make_vectors(URL, rows))


def passages() -> list[tuple[int, str, str, str]]:
    """Number, topic, document and text of each passage."""
    chunks = [
        (n, topic, f"{topic}/{n % 5}.pdf", f"Page {n // 5} about {topic}: passage {n}.")
        for topic in TOPICS
        for n in range(CHUNKS)
    ]
    return [(number, *chunk[1:]) for number, chunk in enumerate(chunks)]


def make(folder: Path, rows: list[tuple[int, str, str, str]]) -> None:
    """Makes cache, storage, analytics, uploads, logs and `.env`; what it made before is made anew."""
    make_cache(folder / "cache/docmind.duckdb", rows)
    make_analytics(folder / "data/analytics/analytics.duckdb")
    make_storage(folder / "data/storage", rows)
    make_uploads(folder / "data/uploads")
    fresh(folder / "logs/docmind.log").write_text(
        "".join(f"2026-11-{d:02} INFO indexed {d} documents\n" for d in range(1, 21))
    )
    fresh(folder / ".env").write_text(ENV)


def fresh(path: Path) -> Path:
    """`path` with nothing there yet, its folder made."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def make_cache(path: Path, rows: list[tuple[int, str, str, str]]) -> None:
    """The ingestion cache: which document gave which passage."""
    with duckdb.connect(str(fresh(path))) as connection:
        connection.execute("CREATE TABLE chunks (id INTEGER PRIMARY KEY, topic TEXT, document TEXT, text TEXT)")
        connection.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?)", rows)
        connection.execute(
            "CREATE TABLE documents AS SELECT document, count(*) AS chunks FROM chunks GROUP BY document"
        )


def make_analytics(path: Path) -> None:
    """Questions asked per day."""
    with duckdb.connect(str(fresh(path))) as connection:
        connection.execute("CREATE TABLE questions (day DATE, asked INTEGER)")
        connection.execute(
            "INSERT INTO questions SELECT DATE '2026-10-01' + d::INTEGER, d * 7 % 13 FROM range(50) days(d)"
        )


def make_storage(folder: Path, rows: list[tuple[int, str, str, str]]) -> None:
    """Two index snapshots, each with its manifest, and `CURRENT` that names the newer one."""
    fresh(folder).mkdir()
    for snapshot, share in (("20261101T020000-a1", rows[: len(rows) // 2]), ("20261115T020000-b2", rows)):
        (folder / snapshot).mkdir()
        documents = {str(number): {"document": document, "text": text} for number, _, document, text in share}
        (folder / snapshot / "docstore.json").write_text(json.dumps(documents, indent=1))
        (folder / snapshot / "graph").mkdir()
        manifest = {"snapshot": snapshot, "documents": len(documents), "complete": True}
        (folder / snapshot / "manifest.json").write_text(json.dumps(manifest, indent=1))
    (folder / "CURRENT").write_text("20261115T020000-b2\n")


def make_uploads(folder: Path) -> None:
    """What people uploaded."""
    fresh(folder).mkdir()
    for topic in TOPICS:
        (folder / topic).mkdir()
        for number in range(5):
            (folder / topic / f"{number}.pdf").write_bytes(b"%PDF-1.4\n" + f"{topic} {number}\n".encode() * 200)


def make_vectors(url: str, rows: list[tuple[int, str, str, str]]) -> str:
    """One point for each passage on the Qdrant server, and says what was done."""
    key = os.environ.get("DOCMIND_QDRANT__API_KEY") or None
    with closing(QdrantClient(url=url, api_key=key, timeout=60, check_compatibility=False)) as client:
        try:
            client.delete_collection(COLLECTION)
        except ResponseHandlingException:
            return f"no Qdrant server answers at {url}: no vectors were made"
        client.create_collection(
            COLLECTION, vectors_config=models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        )
        client.create_payload_index(COLLECTION, "document", models.PayloadSchemaType.KEYWORD)
        client.upsert(
            COLLECTION,
            [models.PointStruct(id=row[0], vector=vector(row[0]), payload={"document": row[2]}) for row in rows],
        )
    return f"{len(rows)} vectors made in {COLLECTION} at {url}"


def vector(number: int) -> list[float]:
    """Made up, the same on every run, and no two alike."""
    return [math.sin((number + 1) * (place + 1) * 0.7) for place in range(DIMENSIONS)]


if __name__ == "__main__":
    main()
