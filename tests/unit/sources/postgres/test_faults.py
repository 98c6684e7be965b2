import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database, Postgres, embedded_programs, installed_programs, running
from recoup.app import Stack, open_stack
from recoup.errors import ExitCode, RefusedError, SourceError
from recoup.model.events import Event, News
from recoup.model.part import StreamPart
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Intake, read_contents
from recoup.sources.postgres._connection import Address, Ender
from recoup.sources.postgres.server import PostgresSource
from recoup.system.subprocesses import end_all

Make = Callable[..., PostgresSource]
Take = Callable[[PostgresSource], Any]


def test_a_server_that_ends_in_the_middle_of_a_dump_fails_the_part(source_of: Make) -> None:
    with running(embedded_programs()) as server:
        server.execute(
            "postgres", "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 20) FROM generate_series(1, 60000) n"
        )
        source = source_of(server.url("postgres"), digest="none", compresses=True)
        with pytest.raises(SourceError), source.capture() as capture:
            parts = capture.parts()
            next(parts)
            whole = next(parts)
            assert isinstance(whole, StreamPart)
            with whole.content.open() as reader:
                assert reader.read(1 << 16)
                server.stop(at_once=True)
                while reader.read(1 << 16):
                    pass


@pytest.fixture
def stack(tmp_path: Path) -> Callable[..., tuple[Stack, list[News]]]:
    """A stack with a repository and a file beside the database."""

    def make(sources: dict[str, Any], **repository: str) -> tuple[Stack, list[News]]:
        repositories = {"r": {"path": "repo", **repository}}
        config = {"version": 1, "stack": "t", "repositories": repositories, "sources": sources}
        (tmp_path / "recoup.yaml").write_text(json.dumps(config))
        (tmp_path / "note.txt").write_text("a note")
        news: list[News] = []
        opened = open_stack([tmp_path / "recoup.yaml"], emit=news.append)
        opened.create_repositories()
        return opened, news

    return make


def stored(folder: Path) -> list[str]:
    return sorted(
        path.name for path in (folder / "repo").rglob("*") if path.is_file() and path.name != "recoup-repository.json"
    )


def test_a_dump_that_fails_is_discarded_and_the_other_sources_are_kept(
    database: Database, stack: Callable[..., tuple[Stack, list[News]]], tmp_path: Path
) -> None:
    stacks.varied(database)
    database.execute(
        "CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted %', 'failure'; END $$"
    )
    database.execute("CREATE ROLE recoup_half LOGIN PASSWORD 'half-word'", "GRANT pg_read_all_data TO recoup_half")
    try:
        url = database.url_of("recoup_half", "half-word")  # it may not read the large object, which comes last
        opened, news = stack(
            {"db": {"kind": "postgres", "url": url, "digest": "none"}, "note": {"kind": "files", "path": "note.txt"}}
        )
        report = opened.backup()
    finally:
        database.execute("DROP ROLE recoup_half")
    assert report.exit_code == ExitCode.INCOMPLETE
    assert "large object" in report.errors["db"]
    assert not [name for name in stored(tmp_path) if name.endswith((".dump", "database.json"))]
    assert "note.txt" in stored(tmp_path)
    assert PASSWORD not in str(news)


def test_a_password_never_reaches_a_file_of_the_repository_or_an_event(
    database: Database, stack: Callable[..., tuple[Stack, list[News]]], tmp_path: Path
) -> None:
    stacks.rag(database)
    opened, news = stack({"db": {"kind": "postgres", "url": database.url, "tables": list(stacks.TABLES)}})
    report = opened.backup()
    assert report.exit_code == ExitCode.OK
    assert PASSWORD not in str(news) + str(report)
    for path in (tmp_path / "repo").rglob("*"):
        assert path.is_dir() or PASSWORD.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert [report.damage for report in opened.verify()] == [()]


@pytest.mark.parametrize(("compression", "expected"), [("none", "gzip"), ("zstd", "none")])
def test_nothing_is_compressed_twice(
    compression: str,
    expected: str,
    database: Database,
    stack: Callable[..., tuple[Stack, list[News]]],
    tmp_path: Path,
) -> None:
    database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 100) AS n")
    opened, _ = stack({"db": {"kind": "postgres", "url": database.url}}, compression=compression)
    assert opened.backup().exit_code == ExitCode.OK
    (path,) = (tmp_path / "repo").glob(f"*/db/{database.name}.dump*")
    opener = zstandard.open if compression == "zstd" else open
    with opener(path, "rb") as file:
        assert read_contents(Intake(file.read, "dump")).compression == expected


def test_a_role_without_rights_on_one_table_is_told_its_name(database: Database, source_of: Make, take: Take) -> None:
    database.execute(
        "CREATE TABLE open_one (a int)",
        "CREATE TABLE secret_one (a serial)",
        "CREATE ROLE recoup_poor LOGIN PASSWORD 'poor-word'",
        "GRANT SELECT ON open_one TO recoup_poor",
    )
    try:
        source = source_of(database.url_of("recoup_poor", "poor-word"))
        with pytest.raises(SourceError, match=r"public\.secret_one \(needs SELECT\)") as caught:
            source.check()
        assert "pg_read_all_data" in caught.value.hint
        assert "open_one" not in caught.value.message
        with pytest.raises(SourceError, match="secret_one"):
            take(source)
    finally:
        database.execute("DROP OWNED BY recoup_poor", "DROP ROLE recoup_poor")


def test_a_table_dropped_between_plan_and_dump_is_named_or_not_missed(
    database: Database, source_of: Make, take: Take
) -> None:
    database.execute("CREATE TABLE stays AS SELECT 1 AS a", "CREATE TABLE goes (a int)")
    named, unnamed = source_of(database, tables=["goes"]), source_of(database)
    named.check()
    unnamed.check()
    database.execute("DROP TABLE goes")
    with pytest.raises(SourceError, match="goes"):
        take(named)
    assert "table public.goes" not in take(unnamed).facts.values


def test_a_table_cannot_be_dropped_or_emptied_between_the_freeze_and_its_dump(
    database: Database, source_of: Make
) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    with source_of(database).capture(), database.connect() as other:
        other.execute("SET lock_timeout = 50")
        for statement in ("DROP TABLE t", "TRUNCATE t", "ALTER TABLE t ADD b int"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(statement)
    database.execute("DROP TABLE t")


def test_a_table_that_stays_locked_is_named_with_who_holds_it(database: Database, source_of: Make, take: Take) -> None:
    database.execute("CREATE TABLE held (a int)", "CREATE TABLE free (a int)")
    with database.connect(application_name="the holder") as other, other.transaction():
        other.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceError, match=r"public\.held by process \d+ \(role postgres, the holder") as caught:
            take(source_of(database, lock_wait_timeout=0.2))
    assert "lock_wait_timeout" in caught.value.hint
    take(source_of(database, lock_wait_timeout=0.2))


def test_who_waits_for_a_table_is_named_with_whom_it_waits_for(database: Database, source_of: Make, take: Take) -> None:
    """A long query, an ALTER TABLE that waits for it, and everybody else behind that."""
    database.execute("CREATE TABLE held AS SELECT 1 AS a")
    with database.connect() as reader, database.connect() as alterer, reader.transaction():
        reader.execute("SELECT * FROM held")
        alterer.execute("SET lock_timeout = '60s'")
        waiting = threading.Thread(target=alterer.execute, args=("ALTER TABLE held ADD b int",))
        waiting.start()
        while not database.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):
            pass
        with pytest.raises(SourceError) as caught:
            take(source_of(database, lock_wait_timeout=0.2))
        told = f"by process {alterer.info.backend_pid} (role postgres, itself waiting for process {reader.info.backend_pid})"
        assert told in caught.value.message
        reader.execute("ROLLBACK")
        waiting.join()


def test_limits_of_the_role_do_not_end_a_capture(database: Database, source_of: Make, take: Take) -> None:
    database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "lock_timeout"):
        database.execute(f"ALTER DATABASE {database.name} SET {limit} = '150ms'")
    with source_of(database).capture() as capture, database.connect() as other:
        other.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
        other.execute("SELECT pg_sleep(0.4)")
        for part in capture.parts():
            assert isinstance(part, StreamPart)
            with part.content.open() as reader:
                while reader.read(1 << 16):
                    pass
    assert capture.facts().values["table public.t"]["rows"] == 1000


@pytest.mark.skipif(not installed_programs(), reason="the system has no programs of an older version")
def test_programs_older_than_the_server_refuse_before_anything_is_written(
    database: Database, stack: Callable[..., tuple[Stack, list[News]]], tmp_path: Path
) -> None:
    database.execute("CREATE TABLE t ()")
    db = {"kind": "postgres", "url": database.url, "programs": str(installed_programs()[0])}
    opened, _ = stack({"db": db})
    report = opened.backup()
    assert report.exit_code == ExitCode.REFUSED
    assert f"needs one of version {database.server.major}" in report.errors["db"]
    assert stored(tmp_path) == []
    opened, news = stack({"db": db, "note": {"kind": "files", "path": "note.txt"}})
    report = opened.backup()
    assert report.exit_code == ExitCode.INCOMPLETE
    assert any(isinstance(one, Event) and one.name == "source_failed" for one in news)


def test_where_no_programs_are_installed_the_packages_are_named(
    database: Database, source_of: Make, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE t ()")
    with pytest.raises(SourceError, match="no pg_dump in") as caught:
        source_of(database, programs=str(tmp_path)).check()
    for package in ("postgresql-client-18", "brew install postgresql@18"):
        assert package in caught.value.hint


def test_the_programs_of_the_servers_version_are_chosen_else_the_next_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("16.4", "18.1", "17.2", "15.9"):
        folder = tmp_path / version
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    wrapped = tmp_path / "wrapped"
    wrapped.mkdir()
    shutil.copy(tmp_path / "18.1" / "pg_dump", wrapped / "pg_wrapper")
    (wrapped / "pg_dump").symlink_to("pg_wrapper")  # as Debian has it: another script decides what runs
    monkeypatch.setattr(_programs, "_FOLDERS", (f"{tmp_path}/1*",))
    monkeypatch.setenv("PATH", f"{wrapped}{os.pathsep}/usr/bin")
    assert _programs.for_server(17).folder == tmp_path / "17.2"
    shutil.rmtree(tmp_path / "17.2")
    assert _programs.for_server(17).folder == tmp_path / "18.1"
    with pytest.raises(RefusedError, match=r"18\.1"):
        _programs.for_server(19)


def test_a_connection_that_was_ended_answers_no_further_question(database: Database) -> None:
    """Between two statements there is nothing to cancel; the next one must not begin."""
    with pytest.raises(SourceError), Address.at(database.url).connected() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
        Ender(connection).kill()
        connection.execute("SELECT pg_sleep(60)")


_ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"


def test_a_statement_that_is_waited_for_ends_with_us(database: Database) -> None:
    """Whether the server's answer or the end of the line is seen first is the system's choice."""
    with pytest.raises(SourceError), Address.at(database.url).connected() as connection:
        ender = threading.Thread(target=_end_when_asleep, args=(database,))
        ender.start()
        try:
            connection.execute("SELECT pg_sleep(60)")
        finally:
            ender.join()
    _wait_for_asleep(database, 0)


def _end_when_asleep(database: Database) -> None:
    _wait_for_asleep(database, 1)
    end_all()


def _wait_for_asleep(database: Database, sessions: int) -> None:
    """Waits until so many sessions sleep, for half of the time that they would."""
    with psycopg.connect(database.url, autocommit=True) as watching:
        for _ in range(600):
            if watching.execute(_ASLEEP).fetchone() == (sessions,):
                return
            time.sleep(0.05)
    raise AssertionError(f"never {sessions} sessions asleep")


def test_a_key_press_ends_a_capture_and_leaves_no_session(
    database: Database, source_of: Make, postgres: Postgres
) -> None:
    database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 300000) n")
    with pytest.raises(KeyboardInterrupt), source_of(database).capture() as capture:
        next(capture.parts())
        raise KeyboardInterrupt
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}' AND application_name = 'recoup'"
    assert postgres.rows("postgres", query) == [(0,)]
