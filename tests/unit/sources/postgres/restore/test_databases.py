import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres_server import stacks
from postgres_server.running import PASSWORD, Database, Postgres, embedded_programs, home, running
from recoup.errors import BusyError, DamagedError, HarmedError, RestoreError
from recoup.model.part import StreamPart
from recoup.sources._staged import StagedBytes
from recoup.sources.postgres._record import FACTS
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres.server import PostgresSource
from recoup.testing.source_contract import Kept, Taken, differences

Make = Callable[..., PostgresSource]
Keep = Callable[[PostgresSource], Taken]
Put = Callable[..., str]
Left = Callable[[], set[str]]


@pytest.fixture
def filled(database: Database, leftovers: Left) -> Database:
    """A database with a table, an index and a sequence."""
    database.execute(
        "CREATE TABLE notes (id bigserial PRIMARY KEY, said text)",
        "CREATE INDEX notes_said ON notes (said)",
        "INSERT INTO notes (said) SELECT 'note ' || n FROM generate_series(1, 500) AS n",
    )
    return database


@pytest.mark.requirement("SR-8")
@pytest.mark.parametrize(
    "settings",
    [{}, {"jobs": 2}, {"format": "directory", "jobs": 2}, {"format": "plain"}],
    ids=["custom", "jobs", "directory", "plain"],
)
def test_a_database_comes_back_whole_and_the_present_one_is_kept(
    settings: dict[str, Any], database: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    stacks.rag(database)
    stacks.varied(database)
    source = source_of(database, **settings)
    taken = keep(source)
    database.execute("DELETE FROM memory_logs", "DROP TABLE document_chunks")
    kept = put(source, taken)
    assert leftovers() == {kept}
    assert differences(taken.facts, source.facts()) == []
    assert database.server.rows(kept, "SELECT count(*) FROM memory_logs") == [(0,)]
    assert source.recover() == ()


@pytest.mark.parametrize(
    "name", ['with "quotes"', "with spaces", "größe 🐘", "100%", "it's", "a=b host=nowhere", "-x", "x" * 63]
)
def test_names_of_databases_need_no_care(
    name: str,
    postgres: Postgres,
    databases: Callable[..., Database],
    source_of: Make,
    keep: Keep,
    put: Put,
    leftovers: Left,
) -> None:
    database = databases(postgres, name)
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    source = source_of(database)
    taken = keep(source)
    database.execute("DELETE FROM t")
    (kept,) = {put(source, taken)}
    assert database.rows("SELECT a FROM t") == [(1,)]
    assert postgres.rows(kept, "SELECT a FROM t") == []


def test_owner_rights_settings_and_comment_of_the_present_database_are_carried_over(
    filled: Database, role: Callable[..., str], source_of: Make, keep: Keep, put: Put
) -> None:
    owner, reader = role("the owner"), role("reader")
    name = filled.name
    filled.execute(
        f'ALTER DATABASE "{name}" OWNER TO "{owner}"',
        f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{name}" TO "{reader}" WITH GRANT OPTION',
        f"""ALTER DATABASE "{name}" SET search_path = '$user', '', "a ""b", public""",
        f"ALTER DATABASE \"{name}\" SET DateStyle = 'SQL, DMY'",
        f"ALTER DATABASE \"{name}\" SET app.name = 'it''s, this'",
        f'ALTER ROLE "{reader}" IN DATABASE "{name}" SET work_mem = \'7MB\'',
        f"COMMENT ON DATABASE \"{name}\" IS 'What it''s for'",
        f'ALTER DATABASE "{name}" CONNECTION LIMIT 17',
    )
    query = f"""SELECT pg_get_userbyid(datdba), datacl::text, shobj_description(oid, 'pg_database'), datconnlimit,
        (SELECT array_agg(setconfig::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)
        FROM pg_database WHERE datname = '{name}'"""
    source = source_of(filled)
    taken, before = keep(source), filled.rows(query)
    kept = put(source, taken)
    assert kept
    assert filled.rows(query) == before
    filled.server.drop(name)
    put(source, taken)  # nothing there: those of the backup
    (made,) = filled.rows(query)
    assert made[:3] == before[0][:3]
    assert "search_path" in made[4][0]


def test_a_restore_goes_to_another_name(filled: Database, source_of: Make, keep: Keep, put: Put) -> None:
    source = source_of(filled)
    taken = keep(source)
    url = filled.server.url("elsewhere")
    other = source_of(url)
    planned = other.foresee(taken.again(), RestoreOptions())
    assert not planned.present
    assert PASSWORD not in str(planned)
    try:
        assert put(other, taken) == ""
        assert differences(taken.facts, other.facts()) == []
    finally:
        filled.server.drop("elsewhere")


@pytest.mark.requirement("SR-8")
def test_drop_create_keeps_nothing_and_drop_old_neither(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    for options in ({"mode": "drop-create"}, {"drop_old": True}):
        filled.execute("DELETE FROM notes")
        assert put(source, taken, **options) == ""
        assert leftovers() == set()
        assert differences(taken.facts, source.facts()) == []


def test_drop_create_that_fails_says_that_the_database_is_gone(
    filled: Database, source_of: Make, keep: Keep, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    with pytest.raises(HarmedError, match="is not there now"):
        source.restore(taken.again(breaks=True), RestoreOptions(mode="drop-create"))
    assert filled.name not in filled.server.databases()
    assert leftovers() == set()
    assert source.recover() == ()


def test_sessions_in_the_way_are_listed_before_anything_is_made(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    with filled.connect(application_name="the app") as session:
        session.execute("BEGIN")
        session.execute("SELECT 1")  # a long transaction
        for attempt in (lambda: source.foresee(taken.again(), RestoreOptions()), lambda: put(source, taken)):
            with pytest.raises(BusyError, match=r"the app.*idle in transaction, in a transaction for") as caught:
                attempt()
            assert "--terminate" in caught.value.hint
        assert leftovers() == set()
        assert session.execute("SELECT count(*) FROM notes").fetchone() == (500,)


def test_a_session_that_is_just_leaving_is_not_in_the_way(
    filled: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    source = source_of(filled)
    taken = keep(source)
    session = filled.connect()
    leaving = threading.Timer(0.3, session.close)
    leaving.start()
    assert put(source, taken)
    leaving.join()


def test_sessions_that_come_in_the_middle_stop_the_swap_or_are_ended(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    sessions: list[Any] = []

    def parts() -> Iterator[Any]:
        yield from taken.again()
        sessions.append(filled.connect())

    with pytest.raises(BusyError):
        source.restore(parts(), RestoreOptions(wait=0.3))
    assert leftovers() == set()
    assert source.restore(parts(), RestoreOptions(terminate=True)).kept
    for session in sessions:
        session.close()


def test_a_prepared_transaction_is_named(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    with filled.connect() as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO notes (said) VALUES ('prepared')")
        session.execute("PREPARE TRANSACTION 'waiting'")
    try:
        with pytest.raises(BusyError, match="1 prepared transaction"):
            put(source, taken, terminate=True)
        assert leftovers() == set()
    finally:
        filled.execute("ROLLBACK PREPARED 'waiting'")


def test_missing_roles_are_said_before_anything_is_made(
    filled: Database, role: Callable[..., str], source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    gone = role("soon gone")
    filled.execute(f'ALTER TABLE notes OWNER TO "{gone}"')
    source = source_of(filled)
    taken = keep(source)
    filled.execute("ALTER TABLE notes OWNER TO postgres")
    filled.server.drop_role(gone)
    with pytest.raises(RestoreError, match="roles are not there: soon gone"):
        source.foresee(taken.again(), RestoreOptions())
    with pytest.raises(RestoreError, match="roles are not there: soon gone"):
        put(source, taken)
    assert leftovers() == set()


@pytest.mark.requirement("SR-14")
def test_a_role_of_its_own_restores_with_no_more_than_it_needs(
    filled: Database, role: Callable[..., str], source_of: Make, keep: Keep, put: Put
) -> None:
    owner = role("app")
    restorer = role("restorer", "LOGIN CREATEDB PASSWORD 'restore-word'")
    filled.execute(f'ALTER DATABASE "{filled.name}" OWNER TO app', "ALTER TABLE notes OWNER TO app")
    taken = keep(source_of(filled))
    source = source_of(filled.url_of(restorer, "restore-word"))
    with pytest.raises(RestoreError, match=r"does not own the database.*no member of the roles app"):
        put(source, taken)
    filled.execute(f"GRANT {owner} TO {restorer}")
    assert put(source, taken)
    assert differences(taken.facts, source_of(filled).facts()) == []
    assert filled.rows("SELECT tableowner FROM pg_tables WHERE tablename = 'notes'") == [("app",)]


def _with(taken: Taken, name: str, data: bytes) -> Iterator[Any]:
    for part in taken.again():
        assert isinstance(part, StreamPart)
        yield StreamPart(part.name, StagedBytes(data), len(data)) if part.name == name else part


@pytest.mark.parametrize("settings", [{}, {"format": "plain"}], ids=["custom", "plain"])
def test_a_dump_truncated_at_any_byte_replaces_nothing(
    settings: dict[str, str], filled: Database, source_of: Make, keep: Keep, leftovers: Left
) -> None:
    source = source_of(filled, compresses=True, **settings)
    taken = keep(source)
    ((name, kept),) = [
        (part.name, part.content)
        for part, _ in taken.parts
        if isinstance(part, StreamPart) and not part.name.endswith(".json")
    ]
    assert isinstance(kept, Kept)
    data = kept.path.read_bytes()
    chance = random.Random(3)
    filled.execute("INSERT INTO notes (said) VALUES ('present')")
    for length in [0, 4, len(data) - 1, *(chance.randrange(len(data)) for _ in range(12))]:
        if name.endswith(".sql") and length == len(data) - 1:
            continue  # a line end behind the end
        with pytest.raises((DamagedError, RestoreError)):
            source.restore(_with(taken, name, data[:length]), RestoreOptions())
        assert leftovers() == set(), length
    assert filled.rows("SELECT count(*) FROM notes") == [(501,)]


def test_what_is_not_what_was_backed_up_replaces_nothing(
    filled: Database, source_of: Make, keep: Keep, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    ((facts, kept),) = [
        (part.name, part.content) for part, _ in taken.parts if part.name == FACTS and isinstance(part, StreamPart)
    ]
    assert isinstance(kept, Kept)
    told = json.loads(kept.path.read_bytes())
    told["values"]["table public.notes"]["rows"] = 501
    with pytest.raises(RestoreError, match=r"table public.notes: rows: expected 501, found 500"):
        source.restore(_with(taken, facts, json.dumps(told).encode()), RestoreOptions())
    assert leftovers() == set()


def test_an_error_of_pg_restore_is_a_failure(
    filled: Database, databases: Callable[..., Database], source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    filled.execute(
        "CREATE FUNCTION ok(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$",
        "ALTER TABLE notes ADD CHECK (public.ok(said))",
        "CREATE OR REPLACE FUNCTION ok(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN false; END $$",
    )
    source = source_of(filled)
    taken = keep(source)
    with pytest.raises(RestoreError, match="violates check constraint"):
        put(source, taken)
    assert leftovers() == set()


def test_a_dump_of_an_older_version_restores_and_one_of_a_newer_is_refused(
    postgres: Postgres,
    older_postgres: Postgres,
    databases: Callable[..., Database],
    source_of: Make,
    keep: Keep,
    put: Put,
) -> None:
    old, new = databases(older_postgres), databases(postgres)
    stacks.varied(old)
    new.execute("CREATE TABLE t AS SELECT 1 AS a")
    taken, newer = keep(source_of(old)), keep(source_of(new))
    kept = put(source_of(new), taken)
    try:
        assert differences(taken.facts, source_of(new).facts()) == []
    finally:
        postgres.drop(kept)
    before = older_postgres.databases()
    with pytest.raises(RestoreError, match="is of a server of version 18"):
        put(source_of(old), newer)
    assert older_postgres.databases() == before
    again = put(source_of(old), taken)
    assert differences(taken.facts, source_of(old).facts()) == []
    older_postgres.drop(again)


@pytest.mark.parametrize(
    "settings",
    [{}, {"format": "directory", "jobs": 2}, {"format": "plain"}],
    ids=["custom", "directory", "plain"],
)
def test_an_older_server_takes_what_newer_programs_dumped(
    older_postgres: Postgres,
    databases: Callable[..., Database],
    source_of: Make,
    keep: Keep,
    put: Put,
    settings: dict[str, Any],
) -> None:
    old = databases(older_postgres)
    stacks.varied(old)
    old.execute(
        "CREATE TABLE scripts (line text)",
        "INSERT INTO scripts VALUES ('SET transaction_timeout = 0;'), ('COPY x FROM stdin;'), ('\\.')",
    )
    source = source_of(old, programs=embedded_programs(), drill_here=True, **settings)
    taken = keep(source)
    kept = put(source, taken)
    try:
        assert differences(taken.facts, source.facts()) == []
        assert old.rows("SELECT count(*) FROM scripts WHERE line = 'SET transaction_timeout = 0;'") == [(1,)]
    finally:
        older_postgres.drop(kept)


def test_what_an_older_server_refuses_is_no_success_by_way_of_psql(
    older_postgres: Postgres, databases: Callable[..., Database], source_of: Make, keep: Keep, put: Put
) -> None:
    old = databases(older_postgres)
    old.execute("CREATE TABLE a (id int)", "CREATE TABLE b (id int)", "INSERT INTO b SELECT generate_series(1, 200000)")
    source = source_of(old, programs=embedded_programs())
    taken = keep(source)
    before = older_postgres.databases()
    dumps = [(part, content.path) for part, content in _kept(taken) if part.name.endswith(".dump")]
    whole = dumps[0][1].read_bytes()
    for cut in (len(whole) - 1, len(whole) // 2):
        with pytest.raises((DamagedError, RestoreError)):
            source.restore(_with(taken, dumps[0][0].name, whole[:cut]), RestoreOptions())
        assert older_postgres.databases() == before, "what failed leaves nothing"


def _kept(taken: Taken) -> Iterator[tuple[StreamPart, Kept]]:
    for part, _ in taken.parts:
        if isinstance(part, StreamPart) and isinstance(part.content, Kept):
            yield part, part.content


def test_an_extension_that_the_server_lacks_is_said_before_anything_is_made(
    filled: Database, source_of: Make, keep: Keep, put: Put, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    ((name, kept),) = [
        (part.name, part.content)
        for part, _ in taken.parts
        if part.name == "database.json" and isinstance(part, StreamPart)
    ]
    assert isinstance(kept, Kept)
    told = json.loads(kept.path.read_bytes())
    told["extensions"].append({"name": "timescaledb", "version": "2.0", "schema": "public"})
    with pytest.raises(RestoreError, match="extensions are not installed on the server: timescaledb"):
        source.restore(_with(taken, name, json.dumps(told).encode()), RestoreOptions())
    assert leftovers() == set()


@pytest.mark.started
def test_the_password_is_in_no_argument_of_any_child_of_a_restore(
    filled: Database, source_of: Make, keep: Keep, put: Put
) -> None:
    source = source_of(filled)
    takens = [keep(source), keep(source_of(filled, format="plain"))]
    seen: set[str] = set()
    stop = threading.Event()

    def started(event: str, given: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and not stop.is_set():
            seen.add(" ".join(map(os.fsdecode, given[1])))

    sys.addaudithook(started)  # those that live too short for a look; children of theirs are looked at

    def watch() -> None:
        while not stop.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    try:
                        seen.add((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                    except OSError:
                        continue
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for taken in takens:
            put(source, taken)
            put(source_of(filled, jobs=2), taken)
    finally:
        stop.set()
        watcher.join()
    programs = [line for line in seen if re.search(r"/(pg_restore|psql) ", line)]
    assert {"pg_restore", "psql"} <= {word for line in programs for word in re.findall(r"/(pg_restore|psql) ", line)}
    assert [line for line in seen if PASSWORD in line] == []


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[Postgres]:
    """A server whose tables are on a disk of 120 MB; its log of changes is elsewhere."""
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    with home() as folder, home() as other:
        disk = folder / "disk"
        disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(disk)], check=False)
        if done.returncode:
            pytest.skip("this machine lets nobody mount")
        try:
            shutil.chown(disk, "nobody")
            server = Postgres(embedded_programs(), disk)
            server.initialize()
            shutil.move(server.data / "pg_wal", other / "pg_wal")
            for path in (other / "pg_wal", *(other / "pg_wal").rglob("*")):
                shutil.chown(path, "nobody")
            (server.data / "pg_wal").symlink_to(other / "pg_wal")
            server.start()
            try:
                yield server
            finally:
                server.stop()
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_in_the_middle_of_a_restore_leaves_what_was_there(
    small_server: Postgres, databases: Callable[..., Database], source_of: Make, keep: Keep
) -> None:
    database = small_server.create("shop")
    database.execute("CREATE TABLE big AS SELECT n, repeat(md5(n::text), 60) AS t FROM generate_series(1, 26000) AS n")
    source = source_of(database, digest="none")
    taken = keep(source)
    with pytest.raises(RestoreError, match="No space left on device") as caught:
        source.restore(taken.again(), RestoreOptions())
    assert "Free space" in caught.value.hint
    assert small_server.databases() == {"postgres", "template0", "template1", "shop"}
    assert database.rows("SELECT count(*) FROM big") == [(26000,)]


def test_a_server_that_ends_in_the_middle_leaves_what_the_next_run_drops(source_of: Make, keep: Keep) -> None:
    with running(embedded_programs()) as server:
        database = server.create("shop")
        database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n")
        source = source_of(database)
        taken = keep(source)

        def parts() -> Iterator[Any]:
            for part in taken.again():
                if part.name == FACTS:
                    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
                    while source.address.answers():
                        time.sleep(0.01)
                yield part

        def restore() -> None:
            with pytest.raises(RestoreError):
                source.restore(parts(), RestoreOptions())

        pid = os.fork()  # what is left is another run's to drop
        if pid == 0:
            code = 1
            try:
                restore()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        server.stop(at_once=True)
        server.start()
        assert len(server.databases()) == 5
        assert ["was dropped" in sentence for sentence in source.recover()] == [True]
        assert len(server.databases()) == 4
        assert source.recover() == ()
        assert database.rows("SELECT count(*) FROM t") == [(1000,)]


def test_a_set_without_its_dump_or_facts_restores_nothing(
    filled: Database, source_of: Make, keep: Keep, leftovers: Left
) -> None:
    source = source_of(filled)
    taken = keep(source)
    for left_out in range(len(taken.parts)):
        some = dataclasses.replace(taken, parts=[one for at, one in enumerate(taken.parts) if at != left_out])
        with pytest.raises(DamagedError):
            source.restore(some.again(), RestoreOptions())
    assert leftovers() == set()
