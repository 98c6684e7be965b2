import contextlib
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from postgres_server import stacks
from postgres_server.running import Database
from recoup.errors import BusyError, RestoreError
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres.server import PostgresSource
from recoup.testing.source_contract import Taken

Make = Callable[..., PostgresSource]
Keep = Callable[[PostgresSource], Taken]
Put = Callable[..., str]
Left = Callable[[], set[str]]


@pytest.fixture
def filled(database: Database, leftovers: Left) -> Database:
    """The tables of a RAG application, without the view."""
    stacks.rag(database)
    database.execute("DROP VIEW readers")
    return database


def of(taken: Taken, *tables: str) -> dict[str, Any]:
    """The facts about some tables and their vectors."""
    return {
        subject: dict(values)
        for subject, values in taken.facts.values.items()
        if any(subject == f"table {name}" or subject.startswith(f"vectors {name}.") for name in tables)
    }


def schemas(database: Database) -> set[str]:
    return {name for (name,) in database.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'recoup%'")}


@pytest.mark.requirement("SR-2")
@pytest.mark.parametrize(
    "settings",
    [{}, {"format": "directory", "jobs": 2}, {"jobs": 2}, {"format": "plain"}],
    ids=["custom", "directory", "jobs", "plain"],
)
def test_tables_come_back_with_keys_indexes_foreign_keys_owner_and_rights(
    settings: dict[str, Any],
    filled: Database,
    role: Callable[..., str],
    source_of: Make,
    keep: Keep,
    put: Put,
    leftovers: Left,
) -> None:
    owner, reader = role("chunk owner"), role("chunk reader")
    filled.execute(
        f'ALTER TABLE document_chunks OWNER TO "{owner}"', f'GRANT SELECT (content) ON document_chunks TO "{reader}"'
    )
    source = source_of(filled, **settings)
    taken = keep(source)
    filled.execute(
        "DELETE FROM documents WHERE title = 'Title 3'",
        "DROP INDEX document_chunks_embedding",
        "ALTER TABLE document_chunks DROP CONSTRAINT document_chunks_pkey",
        f'REVOKE ALL (content) ON document_chunks FROM "{reader}"',
        "INSERT INTO users (email) VALUES ('new@example.org')",
    )
    kept = put(source, taken, tables="documents,document_chunks")
    now = source.facts().values
    wanted = of(taken, "public.documents", "public.document_chunks")
    assert len(wanted) == 3
    assert {subject: dict(now[subject]) for subject in wanted} == wanted
    assert filled.rows("SELECT count(*) FROM users") == [(21,)]
    assert filled.rows(
        "SELECT tableowner FROM pg_tables WHERE tablename = 'document_chunks' AND schemaname = 'public'"
    ) == [(owner,)]
    assert filled.rows(f"SELECT has_column_privilege('{reader}', 'public.document_chunks', 'content', 'SELECT')") == [
        (True,)
    ]
    (there,) = schemas(filled)
    assert kept == f"schema {there}"
    assert filled.rows(f"SELECT count(*) FROM {there}.documents") == [(29,)]
    filled.execute(
        "INSERT INTO document_chunks (document_id, position, content) SELECT id, 9, 'x' FROM documents LIMIT 1"
    )
    assert leftovers() == set()


def test_a_table_that_is_not_there_any_more_is_made_with_what_it_needs(
    database: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    stacks.varied(database)
    source = source_of(database)
    taken = keep(source)
    database.execute('DROP SCHEMA "app.v1" CASCADE', "DROP TABLE parted")
    assert put(source, taken, tables='app.v1.weird " name,parted') == ""
    now = source.facts().values
    for name in ('app.v1.weird " name', "public.parted_2024", "public.parted_rest"):
        assert dict(now[f"table {name}"]) == dict(taken.facts.values[f"table {name}"])
    database.execute('INSERT INTO "app.v1"."weird "" name" (id, mail) VALUES (999, \'a@b\')')
    assert database.rows('SELECT touched FROM "app.v1"."weird "" name" WHERE id = 999') == [("yes",)]


def test_foreign_keys_of_other_tables_lead_to_the_restored_one(
    filled: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    source = source_of(filled)
    taken = keep(source)
    filled.execute("UPDATE users SET email = 'changed' || id")
    put(source, taken, tables="users", drop_old=True)
    assert schemas(filled) == set()
    query = (
        "SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND conrelid = 'api_keys'::regclass"
    )
    assert filled.rows(query) == [("users",)]
    assert filled.rows("SELECT count(*) FROM users WHERE email LIKE 'changed%'") == [(0,)]
    filled.execute("INSERT INTO users (email) VALUES ('next@example.org')")
    assert filled.rows("SELECT max(id) FROM users") == [(21,)]


@pytest.mark.parametrize(
    ("change", "tables", "conflict"),
    [
        (
            "DELETE FROM documents WHERE title = 'Title 3'",
            "document_chunks",
            r"document_chunks_document_id_fkey.*is not present in table",
        ),
        (
            "INSERT INTO users (email) VALUES ('x'); INSERT INTO api_keys (user_id, hash) VALUES (21, '')",
            "users",
            "the foreign key",
        ),
        ("DROP TABLE documents CASCADE", "document_chunks", "documents.*does not exist"),
        ("CREATE VIEW titles AS SELECT title FROM documents", "documents", "view public.titles"),
        (
            "CREATE FUNCTION f(documents) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "documents",
            r"function public.f\(public.documents\)",
        ),
        ("CREATE TABLE heir () INHERITS (documents)", "documents", "table public.heir"),
        ("CREATE PUBLICATION news FOR TABLE documents", "documents", "publication news"),
    ],
)
def test_a_conflict_is_named_and_nothing_is_changed(
    change: str, tables: str, conflict: str, filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    filled.execute(*change.split("; "))
    before = source.facts()
    with pytest.raises(RestoreError, match=conflict):
        put(source, taken, tables=tables)
    assert source.facts() == before
    assert schemas(filled) == set()
    assert leftovers() == set()


def test_what_depends_on_a_table_is_told_in_the_plan(filled: Database, source_of: Make, keep: Keep) -> None:
    source = source_of(filled)
    taken = keep(source)
    planned = source.foresee(taken.again(), RestoreOptions(tables=("documents",)))
    assert planned.present
    assert "public.documents" in planned.description
    filled.execute("CREATE VIEW titles AS SELECT title FROM documents")
    with pytest.raises(RestoreError, match="view titles"):
        source.foresee(taken.again(), RestoreOptions(tables=("documents",)))


def test_a_session_that_holds_a_table_is_named_or_ended(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    with contextlib.closing(filled.connect(application_name="a report")) as session:
        session.execute("BEGIN")
        session.execute("SELECT count(*) FROM documents")
        with pytest.raises(BusyError, match="a report"):
            put(source, taken, tables="documents,document_chunks")
        assert leftovers() == set()
        put(source, taken, tables="documents,document_chunks", terminate=True)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


@pytest.mark.parametrize("name", ["nothing_of_it", "public.nothing"])
def test_a_table_that_the_dump_lacks_is_named(
    name: str, filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    with pytest.raises(RestoreError, match=f"there is no table {name} in the dump") as caught:
        put(source, taken, tables=name)
    assert "public.users" in caught.value.hint
    assert leftovers() == set()


def test_a_name_that_several_schemas_have_needs_its_schema(
    filled: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    filled.execute("CREATE SCHEMA other", "CREATE TABLE other.users (a int)")
    source = source_of(filled)
    with pytest.raises(RestoreError, match="several schemas have a table users: other, public"):
        put(source, keep(source), tables="users")


def test_tables_of_a_database_in_another_encoding_keep_their_letters(
    databases: Callable[..., Database], database: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    latin = databases(database.server, encoding="LATIN1")
    latin.execute("CREATE TABLE t (a text DEFAULT 'grün')", "INSERT INTO t VALUES ('Größe'), (DEFAULT)")
    source = source_of(latin)
    taken = keep(source)
    latin.execute("DELETE FROM t")
    put(source, taken, tables="t", drop_old=True)
    latin.execute("INSERT INTO t VALUES (DEFAULT)")
    assert latin.rows("SELECT a FROM t ORDER BY a") == [("Größe",), ("grün",), ("grün",)]
