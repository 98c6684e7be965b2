import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import Database, Postgres, embedded_programs
from recoup.errors import EmptySourceError, SourceError
from recoup.model.facts import compare
from recoup.sources.postgres.server import PostgresSource

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]


def run(program: str, *arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run([embedded_programs() / program, *arguments], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.requirement("SR-1")
def test_the_whole_dump_is_one_that_pg_restore_lists_and_restores(
    database: Database, databases: Callable[..., Database], source_of: Make, take: Take, tmp_path: Path
) -> None:
    stacks.rag(database)
    stacks.varied(database)
    taken = take(source_of(database))
    dump = tmp_path / "whole.dump"
    dump.write_bytes(taken.files[f"{database.name}.dump"])
    listed = run("pg_restore", "--list", str(dump)).decode()
    assert "TABLE DATA public document_chunks" in listed
    copy = databases(database.server)
    run("pg_restore", "--exit-on-error", f"--dbname={copy.url}", str(dump))
    found = source_of(copy).facts()
    assert [line for line in compare(taken.facts, found) if not line.equal] == []


ALONE = [*stacks.TABLES, 'app.v1.weird " name', "größe % 'x'.täble", "parted", "child", "no_key"]


@pytest.mark.requirement("SR-2")
def test_the_dump_of_each_table_restores_alone_into_an_empty_database(
    database: Database, databases: Callable[..., Database], source_of: Make, take: Take
) -> None:
    stacks.rag(database)
    stacks.varied(database)
    taken = take(source_of(database, tables=ALONE))
    record, left_out = json.loads(taken.files["database.json"]), json.loads(taken.files["facts.json"])["left_out"]
    for table in record["tables"]:
        copy = databases(database.server)
        run("pg_restore", "--exit-on-error", f"--dbname={copy.url}", stdin=taken.files[table["part"]])
        name, found = f"{table['schema']}.{table['name']}", source_of(copy, probes=0).facts().values
        full = {subject for subject in found if subject.startswith("table ") and found[subject]["rows"]}
        assert full == {f"table {name}"} if name != "public.parted" else len(full) == 2
        for subject in full:
            for value in ("rows", "digest", "columns", "indexes", "triggers"):
                assert found[subject][value] == taken.facts.values[subject][value], (subject, value)
        if name == "public.document_chunks":
            for subject in ("vectors public.document_chunks.embedding", "sequence public.document_chunks_id_seq"):
                assert found[subject] == taken.facts.values[subject]
            assert left_out[table["part"]] == ["FK CONSTRAINT public.document_chunks document_chunks_document_id_fkey"]
        if name.startswith("app"):  # its default needs a sequence that only a function knows
            copy.execute('INSERT INTO "app.v1"."weird "" name" (mail) VALUES (\'a@b\')')


def test_a_table_of_its_own_dump_has_no_rows_of_others(database: Database, source_of: Make, take: Take) -> None:
    stacks.rag(database)
    taken = take(source_of(database, tables=["api_keys"]))
    alone, whole = taken.files["tables/public.api_keys.dump"], taken.files[f"{database.name}.dump"]
    assert len(alone) < len(whole) / 2
    sql = run("pg_restore", "--file=-", stdin=alone).decode()
    assert "COPY public.api_keys" in sql
    assert "user1@example.org" not in sql


def test_facts_and_dump_are_of_one_moment_whatever_is_written_meanwhile(
    database: Database, databases: Callable[..., Database], source_of: Make, tmp_path: Path
) -> None:
    stacks.rag(database)
    dump = tmp_path / "whole.dump"
    source = source_of(database)
    with source.capture() as capture:
        database.execute(
            "DELETE FROM document_chunks",
            "INSERT INTO documents (title) SELECT 'later' FROM generate_series(1, 500)",
            "UPDATE users SET email = email || 'x'",
            "SELECT nextval('document_chunks_id_seq')",
        )
        for part in capture.parts():
            assert part.name
            with part.content.open() as reader:  # type: ignore[union-attr]
                data = b"".join(iter(lambda: reader.read(1 << 16), b""))
            if part.name == f"{database.name}.dump":
                dump.write_bytes(data)
        facts = capture.facts()
    assert facts.values["table public.document_chunks"]["rows"] == 120
    copy = databases(database.server)
    run("pg_restore", "--exit-on-error", f"--dbname={copy.url}", str(dump))
    assert [line for line in compare(facts, source_of(copy).facts()) if not line.equal] == []


@pytest.mark.parametrize("kind", ["custom", "directory", "plain"])
def test_every_format_restores_to_the_same_facts(
    kind: str, database: Database, databases: Callable[..., Database], source_of: Make, take: Take, tmp_path: Path
) -> None:
    stacks.varied(database)
    taken = take(source_of(database, format=kind, jobs=2 if kind == "directory" else 1))
    copy = databases(database.server)
    if kind == "directory":
        folder = tmp_path / "dump"
        folder.mkdir()
        for name, data in taken.files.items():
            if name.startswith(f"{database.name}.dir/"):
                (folder / name.rpartition("/")[2]).write_bytes(data)
        run("pg_restore", "--exit-on-error", "--jobs=2", f"--dbname={copy.url}", str(folder))
    elif kind == "custom":
        run("pg_restore", "--exit-on-error", f"--dbname={copy.url}", stdin=taken.files[f"{database.name}.dump"])
    else:
        script = taken.files[f"{database.name}.sql"]
        run("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--quiet", "-d", copy.url, stdin=script)
    assert [line for line in compare(taken.facts, source_of(copy).facts()) if not line.equal] == []


def test_staged_copies_are_gone_after_the_capture(
    database: Database, source_of: Make, take: Take, tmp_path: Path
) -> None:
    stacks.varied(database)
    take(source_of(database, format="directory"))
    assert list((tmp_path / "staging").iterdir()) == []


def test_the_dump_is_compressed_only_where_the_repository_does_not(
    database: Database, source_of: Make, take: Take
) -> None:
    database.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 500)")
    name = f"{database.name}.dump"
    assert len(take(source_of(database)).files[name]) < 50_000
    assert len(take(source_of(database, compresses=True)).files[name]) > 500_000


def test_names_with_quotes_spaces_unicode_and_percent_signs_are_dumped(
    postgres: Postgres, databases: Callable[..., Database], source_of: Make, take: Take
) -> None:
    database = databases(postgres, 'it\'s "50 %" größer/…')
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    taken = take(source_of(database))
    assert json.loads(taken.files["database.json"])["name"] == database.name
    (dump,) = [name for name in taken.files if name.endswith(".dump")]
    assert dump.isascii()
    assert "/" not in dump
    assert b"TABLE DATA public t" in run("pg_restore", "--list", stdin=taken.files[dump])


def test_a_database_named_globals_does_not_take_the_name_of_the_roles(
    postgres: Postgres, databases: Callable[..., Database], source_of: Make, take: Take
) -> None:
    database = databases(postgres, "globals")
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    taken = take(source_of(database, format="plain", globals=True))
    assert b"CREATE TABLE public.t" in taken.files["%67lobals.sql"]
    assert b"CREATE ROLE" in taken.files["globals.sql"]


def test_roles_come_without_password_hashes_unless_asked_for(database: Database, source_of: Make, take: Take) -> None:
    database.execute("CREATE TABLE t ()")
    assert b"SCRAM" not in take(source_of(database, globals=True)).files["globals.sql"]
    assert b"SCRAM" in take(source_of(database, globals=True, role_passwords=True)).files["globals.sql"]


def test_the_record_says_what_a_dump_leaves_out(database: Database, source_of: Make, take: Take) -> None:
    stacks.rag(database)
    name = database.name
    database.execute(
        f"ALTER DATABASE {name} SET work_mem = '8MB'",
        f"COMMENT ON DATABASE {name} IS 'Mine'",
        "CREATE ROLE recoup_record_reader",
        "GRANT SELECT ON users TO recoup_record_reader",
    )
    try:
        record = json.loads(take(source_of(database)).files["database.json"])
    finally:
        database.execute("DROP OWNED BY recoup_record_reader", "DROP ROLE recoup_record_reader")
    assert record["settings"] == ["work_mem=8MB"]
    assert record["comment"] == "Mine"
    assert record["owner"] == "postgres"
    assert record["encoding"] == "UTF8"
    assert "recoup_record_reader" in record["roles"]
    assert {one["name"] for one in record["extensions"]} == {"plpgsql", "vector"}


def test_a_database_without_tables_is_a_failure_unless_that_is_allowed(
    database: Database, source_of: Make, take: Take
) -> None:
    with pytest.raises(EmptySourceError, match="has no tables"):
        take(source_of(database))
    assert take(source_of(database, allow_empty=True)).files[f"{database.name}.dump"].startswith(b"PGDMP")


def test_a_named_table_that_is_not_there_is_an_error_that_names_it(
    database: Database, source_of: Make, take: Take
) -> None:
    database.execute("CREATE TABLE there ()")
    source = source_of(database, tables=["there", "nowhere", "other.where"])
    with pytest.raises(SourceError, match=r"nowhere, other\.where") as caught:
        source.check()
    assert "public.there" in caught.value.hint
    with pytest.raises(SourceError, match="nowhere"):
        take(source)


def test_a_name_that_several_schemas_have_wants_its_schema(database: Database, source_of: Make, take: Take) -> None:
    database.execute("CREATE SCHEMA a", "CREATE SCHEMA b", "CREATE TABLE a.t ()", "CREATE TABLE b.t ()")
    with pytest.raises(SourceError, match="several schemas"):
        take(source_of(database, tables=["t"]))
    assert "tables/b.t.dump" in take(source_of(database, tables=["b.t"])).files


def test_an_older_server_is_dumped_by_programs_of_its_own_version(
    older_postgres: Postgres, databases: Callable[..., Database], source_of: Make, take: Take
) -> None:
    database = databases(older_postgres)
    stacks.varied(database)
    taken = take(source_of(database))
    assert json.loads(taken.files["database.json"])["program"].startswith(f"{older_postgres.major}.")
    assert taken.facts.values["table public.no_key"]["rows"] == 30


def test_vectors_whose_neighbours_cannot_be_recorded_are_named(database: Database, source_of: Make, take: Take) -> None:
    database.execute("CREATE EXTENSION vector", "CREATE TABLE v (e vector(3))", "INSERT INTO v VALUES ('[1,2,3]')")
    (told,) = take(source_of(database)).findings
    assert "no primary key" in told
