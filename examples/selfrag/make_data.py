"""Makes the data of a self-hosted RAG application: the same on every run.

Usage: python make_data.py [FOLDER]     (default: the folder of this script)

The tables go to the PostgreSQL database at DATABASE_URL, which needs pgvector; the collection `documents`, one point for each
passage, goes to the Qdrant server at QDRANT_URL (default http://127.0.0.1:6333), if one answers there. What it made before is
made anew.
"""

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException

COLLECTION = "documents"
DIMENSIONS = 384  # as all-MiniLM-L6-v2 has
BEGUN = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
TOPICS = ("billing", "contracts", "travel", "onboarding", "security", "recipes", "garden", "network")
USERS, DOCUMENTS, CHUNKS, MEMORIES = 24, 40, 5, 300

SCHEMA: LiteralString = """
DROP TABLE IF EXISTS messages, conversations, document_chunks, documents, memory_logs, api_keys, users;
DROP TYPE IF EXISTS user_role;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TYPE user_role AS ENUM ('reader', 'editor', 'admin');
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, display_name text NOT NULL,
    role user_role NOT NULL DEFAULT 'reader', settings jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL);
CREATE TABLE api_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL, key_hash bytea NOT NULL UNIQUE, scopes text[] NOT NULL, expires_at timestamptz, UNIQUE (user_id, name));
CREATE TABLE memory_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('fact', 'preference', 'summary')), content text NOT NULL,
    importance real NOT NULL, created_at timestamptz NOT NULL);
CREATE INDEX memory_logs_by_user ON memory_logs (user_id, created_at);
CREATE TABLE documents (
    id uuid PRIMARY KEY, owner_id bigint NOT NULL REFERENCES users, title text NOT NULL, source text NOT NULL,
    sha256 text NOT NULL UNIQUE, tags text[] NOT NULL, metadata jsonb NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE document_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    position integer NOT NULL, content text NOT NULL, tokens integer NOT NULL, embedding vector(384) NOT NULL,
    UNIQUE (document_id, position));
CREATE TABLE conversations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users,
    started_at timestamptz NOT NULL);
CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    author text NOT NULL, content text NOT NULL);
"""

INDEX: LiteralString = (
    "CREATE INDEX document_chunks_embedding ON document_chunks USING hnsw (embedding vector_cosine_ops)"
)

COLUMNS = {
    "users": ("email", "display_name", "role", "settings", "created_at"),
    "api_keys": ("user_id", "name", "key_hash", "scopes", "expires_at"),
    "memory_logs": ("user_id", "kind", "content", "importance", "created_at"),
    "documents": ("id", "owner_id", "title", "source", "sha256", "tags", "metadata", "created_at"),
    "document_chunks": ("document_id", "position", "content", "tokens", "embedding"),
    "conversations": ("user_id", "started_at"),
    "messages": ("conversation_id", "author", "content"),
}

ENV = """\
# Settings of the application. Keys and passwords are made up.
POSTGRES_PASSWORD=made-up-postgres-7d1c
APP_SECRET_KEY=made-up-secret-a93f
EMBEDDING_MODEL=models/all-MiniLM-L6-v2
"""


def main() -> None:
    """Makes everything below the folder that the command line names."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    make_files(folder)
    make_tables(os.environ["DATABASE_URL"])
    print(f"data made in {folder} and in the database")
    print(make_vectors(os.environ.get("QDRANT_URL") or "http://127.0.0.1:6333"))


def make_tables(url: str) -> None:
    """Makes and fills all tables, then the index of the vectors."""
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)
        for table, columns in COLUMNS.items():
            names = sql.SQL(", ").join(map(sql.Identifier, columns))
            order = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
            with connection.cursor().copy(order) as copy:
                for row in ROWS[table]():
                    copy.write_row(row)
        connection.execute(INDEX)


def make_vectors(url: str) -> str:
    """The passages' vectors on the Qdrant server; says what was done."""
    key = os.environ.get("QDRANT_API_KEY") or None
    with closing(QdrantClient(url=url, api_key=key, timeout=60, check_compatibility=False)) as client:
        try:
            client.delete_collection(COLLECTION)
        except ResponseHandlingException:
            return f"no Qdrant server answers at {url}: no collection was made"
        client.create_collection(
            COLLECTION, vectors_config=models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        )
        client.create_payload_index(COLLECTION, "document_id", models.PayloadSchemaType.KEYWORD)
        points = [
            models.PointStruct(id=n, vector=vector(n), payload={"document_id": str(row[0]), "position": row[1]})
            for n, row in enumerate(document_chunks())
        ]
        client.upsert(COLLECTION, points)
    return f"{len(points)} points made in {COLLECTION} at {url}"


def users() -> Iterator[tuple[Any, ...]]:
    """People."""
    for n in range(1, USERS + 1):
        role = ("reader", "editor", "admin")[n % 3]
        yield f"user{n}@example.org", f"User {n}", role, Jsonb({"language": ("en", "de")[n % 2]}), day(n)


def api_keys() -> Iterator[tuple[Any, ...]]:
    """Two keys for each of them; only hashes are kept."""
    for n in range(1, USERS + 1):
        for name, scopes in (("laptop", ["read"]), ("server", ["read", "write"])):
            yield n, name, hashlib.sha256(f"key {n} {name}".encode()).digest(), scopes, day(n + 365)


def memory_logs() -> Iterator[tuple[Any, ...]]:
    """What the assistant remembers of people."""
    for n in range(MEMORIES):
        kind = ("fact", "preference", "summary")[n % 3]
        yield n % USERS + 1, kind, f"Remembered {kind} {n} about {TOPICS[n % 8]}.", n % 10 / 10, day(n / 10)


def documents() -> Iterator[tuple[Any, ...]]:
    """What was read in."""
    for n in range(DOCUMENTS):
        topic = TOPICS[n % 8]
        sha256 = hashlib.sha256(f"document {n}".encode()).hexdigest()
        metadata = Jsonb({"pages": n % 30 + 1, "topic": topic})
        title, tags = f"Handbook of {topic}, part {n // 8 + 1}", [topic, "handbook"]
        yield document_id(n), n % USERS + 1, title, f"uploads/{topic}-{n}.pdf", sha256, tags, metadata, day(n)


def document_chunks() -> Iterator[tuple[Any, ...]]:
    """Passages with their vectors."""
    for n in range(DOCUMENTS):
        for position in range(CHUNKS):
            text = f"Passage {position} of document {n}: how {TOPICS[n % 8]} is done here, step by step."
            yield document_id(n), position, text, len(text.split()), str(vector(n * CHUNKS + position))


def conversations() -> Iterator[tuple[Any, ...]]:
    """Who talked with the assistant, and when."""
    for n in range(30):
        yield n % USERS + 1, day(n)


def messages() -> Iterator[tuple[Any, ...]]:
    """What was said."""
    for n in range(120):
        yield n // 4 + 1, ("user", "assistant")[n % 2], f"Message {n} about {TOPICS[n % 8]}."


ROWS = {f.__name__: f for f in (users, api_keys, memory_logs, documents, document_chunks, conversations, messages)}


def day(number: float) -> datetime:
    """So many days after the first one."""
    return BEGUN + timedelta(days=number)


def document_id(number: int) -> UUID:
    """The same on every run."""
    return UUID(bytes=hashlib.sha256(f"id {number}".encode()).digest()[:16], version=4)


def vector(number: int) -> list[float]:
    """Made up, of length 1, and no two alike."""
    found = [math.sin((number + 1) * (place + 1) * 0.37) for place in range(DIMENSIONS)]
    length = math.sqrt(sum(value * value for value in found))
    return [round(value / length, 6) for value in found]


def make_files(folder: Path) -> None:
    """Makes `.env`, logs and a model's folder."""
    write(folder / ".env", [ENV.encode()]).chmod(0o600)
    lines = (f"{day(n / 24):%Y-%m-%d %H:%M:%S} INFO answered question {n}\n" for n in range(500))
    write(folder / "logs/app.log", (line.encode() for line in lines))
    write(folder / "logs/worker.log", [b"2026-11-20 02:00:00 INFO embedded 5 passages\n"])
    model = folder / "models/all-MiniLM-L6-v2"
    shutil.rmtree(model, ignore_errors=True)
    write(model / "config.json", [json.dumps({"hidden_size": DIMENSIONS, "layers": 6}, indent=1).encode()])
    write(model / "weights.bin", (hashlib.shake_256(bytes([n])).digest(1_000_000) for n in range(4)))


def write(path: Path, pieces: Iterable[bytes]) -> Path:
    """A file of these bytes, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    return path


if __name__ == "__main__":
    main()
