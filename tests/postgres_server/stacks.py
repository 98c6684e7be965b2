"""What the tests put into databases: the tables of a RAG application, and a schema with something of everything."""

from postgres_server.running import Database

_RAG = [
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE TYPE role AS ENUM ('reader', 'writer', 'admin')",
    """CREATE TABLE users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, role role NOT NULL DEFAULT 'reader',
        settings jsonb NOT NULL DEFAULT '{}', created timestamptz NOT NULL DEFAULT now())""",
    """CREATE TABLE api_keys (
        id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, hash bytea NOT NULL,
        expires interval)""",
    """CREATE TABLE memory_logs (
        id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, said text, at timestamptz NOT NULL DEFAULT now())""",
    "CREATE TABLE documents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, tags text[], weight numeric)",
    """CREATE TABLE document_chunks (
        id bigserial PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE, position int NOT NULL,
        content text NOT NULL, embedding vector({dimensions}), UNIQUE (document_id, position))""",
    "CREATE INDEX document_chunks_embedding ON document_chunks USING hnsw (embedding vector_cosine_ops)",
    "CREATE INDEX memory_logs_user ON memory_logs (user_id)",
    "CREATE VIEW readers AS SELECT id, email FROM users WHERE role = 'reader'",
    "COMMENT ON TABLE documents IS 'What was read in'",
    """INSERT INTO users (email, role, settings)
        SELECT 'user' || n || '@example.org', (ARRAY['reader', 'writer', 'admin'])[n % 3 + 1]::role,
               jsonb_build_object('n', n, 'name', 'Jürgen ' || n)
        FROM generate_series(1, 20) AS n""",
    """INSERT INTO api_keys (user_id, hash, expires)
        SELECT n, decode(md5(n::text), 'hex'), n * interval '1 day' FROM generate_series(1, 20) AS n""",
    "INSERT INTO memory_logs (user_id, said) SELECT n % 20 + 1, 'said ' || n FROM generate_series(1, 200) AS n",
    """INSERT INTO documents (id, title, tags, weight)
        SELECT md5(n::text)::uuid, 'Title ' || n, ARRAY['a', 'b' || n], n / 7.0 FROM generate_series(1, {documents}) AS n""",
    """INSERT INTO document_chunks (document_id, position, content, embedding)
        SELECT md5(d::text)::uuid, p, 'chunk ' || d || '/' || p,
               (SELECT array_agg(sin(d * 31 + p * 7 + i))::vector({dimensions}) FROM generate_series(1, {dimensions}) AS i)
        FROM generate_series(1, {documents}) AS d, generate_series(1, 4) AS p""",
]
"""The five tables that a RAG application keeps, with what stands around them."""

TABLES = ("users", "api_keys", "memory_logs", "documents", "document_chunks")
"""Their names."""


def rag(database: Database, *, documents: int = 30, dimensions: int = 8) -> None:
    """Makes the tables of a RAG application and fills them; the server needs pgvector."""
    database.execute(
        *(
            statement.replace("{documents}", str(documents)).replace("{dimensions}", str(dimensions))
            for statement in _RAG
        )
    )


_VARIED = [
    'CREATE SCHEMA "app.v1"',
    "CREATE SCHEMA \"größe % 'x'\"",
    "CREATE DOMAIN \"app.v1\".email AS text CHECK (VALUE LIKE '%@%')",
    'CREATE TYPE "app.v1".pair AS (left_one int, "right one" text)',
    'CREATE SEQUENCE "app.v1".numbers START 100 INCREMENT 5',
    'CREATE FUNCTION "app.v1".next_number() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval(\'"app.v1".numbers\') $$',
    "CREATE FUNCTION \"app.v1\".touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := 'yes'; RETURN NEW; END $$",
    """CREATE TABLE "app.v1"."weird "" name" (
        id bigint PRIMARY KEY DEFAULT "app.v1".next_number(), mail "app.v1".email, both_of_it "app.v1".pair,
        touched text, doubled int GENERATED ALWAYS AS (length(touched) * 2) STORED, "x" float8, d date, r int4range)""",
    'CREATE TRIGGER touching BEFORE INSERT ON "app.v1"."weird "" name" FOR EACH ROW EXECUTE FUNCTION "app.v1".touch()',
    """INSERT INTO "app.v1"."weird "" name" (mail, both_of_it, x, d, r)
        SELECT n || '@example.org', (n, 'r' || n)::"app.v1".pair, n / 3.0, date '2020-01-01' + n, int4range(n, n + 5)
        FROM generate_series(1, 50) AS n""",
    "CREATE TABLE parted (at date NOT NULL, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at)",
    "CREATE TABLE parted_2024 PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE TABLE parted_rest PARTITION OF parted DEFAULT",
    "INSERT INTO parted SELECT date '2024-06-01' + n * 30, n FROM generate_series(1, 40) AS n",
    "CREATE TABLE parent (a int)",
    "CREATE TABLE child (b int) INHERITS (parent)",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (2, 3)",
    "CREATE TABLE nothing_in_it ()",
    "CREATE TABLE no_key (a int, b text)",
    "INSERT INTO no_key SELECT n % 3, 'same' FROM generate_series(1, 30) AS n",
    "CREATE MATERIALIZED VIEW counted AS SELECT a, count(*) AS times FROM no_key GROUP BY a",
    "CREATE UNLOGGED TABLE quick (a int)",
    "INSERT INTO quick VALUES (1), (2)",
    'CREATE TABLE "größe % \'x\'"."täble" (ä text PRIMARY KEY)',
    "INSERT INTO \"größe % 'x'\".\"täble\" VALUES ('ü'), ('\\.'), (E'line\\nbreak'), ('SELECT 1;')",
    "SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'))",
]
"""Names, types and kinds of relations that easily go wrong."""


def varied(database: Database) -> None:
    """Makes a schema with something of everything; needs no extension."""
    database.execute(*_VARIED)
