"""The role of docs/howto/postgres.md, as it is written there, and what it cannot read."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import Database
from recoup.errors import SourceError
from recoup.model.facts import compare
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]

PAGE = Path(__file__).parents[4] / "docs" / "howto" / "postgres.md"
WORD = "planted-word-of-the-backup-role"


@pytest.fixture
def backup_role(database: Database) -> Iterator[str]:
    """The URL of the page's role."""
    (statements,) = re.findall(r"```sql\n(CREATE ROLE backup .*?)```", PAGE.read_text(), re.DOTALL)
    database.execute(
        *(statement for statement in statements.replace("'...'", f"'{WORD}'").split(";") if statement.strip())
    )
    yield database.url_of("backup", WORD)
    database.execute("DROP OWNED BY backup", "DROP ROLE backup")


@pytest.mark.requirement("SR-14")
def test_the_pages_role_reads_tables_and_sequences_of_any_schema(
    database: Database, backup_role: str, source_of: Make, take: Take
) -> None:
    stacks.rag(database)
    stacks.varied(database)
    database.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    source = source_of(backup_role, tables=list(stacks.TABLES), globals=True)
    source.check()
    taken = take(source)
    assert [line for line in compare(take(source_of(database)).facts, taken.facts) if not line.equal] == []


@pytest.mark.requirement("SR-14")
def test_the_pages_role_writes_nothing(database: Database, backup_role: str) -> None:
    stacks.rag(database)
    import psycopg

    with psycopg.connect(backup_role, autocommit=True) as connection:
        for statement in ("DELETE FROM users", "INSERT INTO documents (title) VALUES ('x')", "CREATE TABLE mine ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_large_objects_that_it_may_not_read_are_named_with_what_mends_it(
    database: Database, backup_role: str, source_of: Make, take: Take
) -> None:
    database.execute("CREATE TABLE t ()", "SELECT lo_from_bytea(4711, 'abc')")
    source = source_of(backup_role)
    with pytest.raises(SourceError, match="1 large objects") as caught:
        source.check()
    assert 'GRANT SELECT ON LARGE OBJECT n TO "backup"' in caught.value.hint
    with pytest.raises(SourceError, match="large object"):
        take(source)
    database.execute("GRANT SELECT ON LARGE OBJECT 4711 TO backup")
    source.check()
    assert take(source).facts.values["database"]["large objects"] == 1


def test_row_security_that_hides_rows_is_named_and_never_followed(
    database: Database, backup_role: str, source_of: Make, take: Take
) -> None:
    database.execute(
        "CREATE TABLE guarded AS SELECT n FROM generate_series(1, 10) AS n",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON guarded USING (n < 3)",
    )
    source = source_of(backup_role)
    with pytest.raises(SourceError, match=r"row security hides rows of public\.guarded") as caught:
        source.check()
    assert 'ALTER ROLE "backup" BYPASSRLS' in caught.value.hint
    with pytest.raises(SourceError, match="row"):
        take(source)
    database.execute("ALTER ROLE backup BYPASSRLS")
    source.check()
    assert take(source).facts.values["table public.guarded"]["rows"] == 10


def test_password_hashes_need_a_superuser(database: Database, backup_role: str, source_of: Make) -> None:
    database.execute("CREATE TABLE t ()", "REVOKE pg_read_all_data FROM backup", "GRANT SELECT ON t TO backup")
    with pytest.raises(SourceError, match="password hashes"):
        source_of(backup_role, globals=True, role_passwords=True).check()
    source_of(backup_role, globals=True).check()


def test_a_schema_that_it_may_not_use_is_named(database: Database, backup_role: str, source_of: Make) -> None:
    database.execute("REVOKE pg_read_all_data FROM backup", "CREATE SCHEMA closed", "CREATE TABLE closed.t ()")
    with pytest.raises(SourceError, match=r"closed\.t \(needs USAGE on its schema\)"):
        source_of(backup_role).check()
