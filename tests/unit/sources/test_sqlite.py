"""SQLite: frozen by a read transaction, copied, checked, put back."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recoup.errors import BusyError, DamagedError, EmptySourceError, RecoupError, RestoreError, SourceError
from recoup.model.facts import Facts, compare
from recoup.model.part import Part, StreamPart
from recoup.sources._base import NoRestoreOptions, Site
from recoup.sources._staged import StagedFile
from recoup.sources.sqlite import Options, SqliteSource, connect
from recoup.system.clock import SystemClock

HOSTILE = [
    "plain.db",
    "a b?c#d%20.db",
    "quote'\"s.db",
    "line\nbreak.db",
    "unicodé-漢字.db",
    os.fsdecode(b"bytes-\xff\xfe.db"),
]


def the_source(path: Path, **settings: object) -> SqliteSource:
    staging = path.parent.parent / "staging"
    staging.mkdir(exist_ok=True, mode=0o700)
    options = Options.model_validate({"kind": "sqlite", "path": path, **settings})
    return connect(options, Site("chat", path.parent, staging, SystemClock()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "chat.db"


def fill(path: Path, mode: str = "wal", rows: int = 100) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO messages (text) VALUES (?)", [(f"message {n}",) for n in range(rows)])
        connection.execute("PRAGMA user_version = 7")
        connection.commit()


def captured(source: SqliteSource, into: Path) -> Facts:
    """Captures, and keeps the copy."""
    with source.capture() as capture:
        (part,) = list(capture.parts())
        into.write_bytes(content(part))
        assert list(capture.findings()) == []
        assert capture.brackets() == ()
        return capture.facts()


def content(part: Part) -> bytes:
    assert isinstance(part, StreamPart)
    with part.content.open() as reader:
        return b"".join(iter(lambda: reader.read(1 << 20), b""))


def part_of(path: Path) -> StreamPart:
    return StreamPart(path.name, StagedFile(path, disposable=False), size=path.stat().st_size)


def rows(path: Path, query: str = "SELECT count(*) FROM messages") -> object:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()[0]


@contextlib.contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another program; it prints a line when it is ready."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout
        assert other.stdout.readline().strip() == "ready"
        yield other
    finally:
        other.kill()
        other.communicate()


TRANSFERS = """
    import random, sqlite3, sys
    c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
    print("ready", flush=True)
    while True:
        a, b = random.sample(range(100), 2)
        n = random.randrange(50)
        c.execute("BEGIN IMMEDIATE")
        c.execute("UPDATE accounts SET money = money - ? WHERE id = ?", (n, a))
        c.execute("INSERT INTO log (note, filler) VALUES ('x', randomblob(3000))")
        c.execute("UPDATE accounts SET money = money + ? WHERE id = ?", (n, b))
        c.execute("DELETE FROM log WHERE id < (SELECT max(id) FROM log) - 500")
        c.execute("COMMIT")
"""


@pytest.mark.parametrize("mode", ["wal", "delete", "persist"])
def test_every_capture_beside_writers_shows_a_moment_at_which_the_sum_was_right(
    path: Path, tmp_path: Path, mode: str
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, money INTEGER)")
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT, filler BLOB)")
        connection.executemany("INSERT INTO accounts VALUES (?, 1000)", [(n,) for n in range(100)])
        connection.commit()
    with process(TRANSFERS, path) as first, process(TRANSFERS, path) as second:
        for number in range(4):
            copy = tmp_path / f"copy{number}.db"
            facts = captured(the_source(path), copy)
            assert rows(copy, "SELECT sum(money) FROM accounts") == 100_000
            assert facts.values["table accounts"]["rows"] == 100
            assert facts.values["table log"]["rows"] == rows(copy, "SELECT count(*) FROM log")
        assert first.poll() is None
        assert second.poll() is None


def test_writers_go_on_while_a_capture_of_a_wal_database_is_open(path: Path, tmp_path: Path) -> None:
    fill(path)
    with the_source(path).capture() as capture:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("INSERT INTO messages (text) VALUES ('later')")
            connection.commit()
        (part,) = list(capture.parts())
        copy = tmp_path / "copy.db"
        copy.write_bytes(content(part))
        assert capture.facts().values["table messages"]["rows"] == 100
        assert capture.frozen.is_moment
    assert rows(copy) == 100
    assert rows(path) == 101


def test_writers_go_on_once_a_database_with_a_rollback_journal_is_staged(path: Path, tmp_path: Path) -> None:
    fill(path, "delete")
    with the_source(path).capture() as capture:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("INSERT INTO messages (text) VALUES ('later')")
            connection.commit()
        (part,) = list(capture.parts())
        copy = tmp_path / "copy.db"
        copy.write_bytes(content(part))
        assert "staged" in capture.method
    assert rows(copy) == 100


LOCK_TEST = """
    import sqlite3, sys
    c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
    try:
        c.execute("BEGIN IMMEDIATE")
        print("got in")
    except sqlite3.OperationalError as error:
        print(error)
"""


@pytest.mark.parametrize("use", ["capture", "check", "facts"])
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_an_application_keeps_its_lock_while_recoup_works_in_its_own_process(path: Path, mode: str, use: str) -> None:
    """Were the file opened and closed in this process, its POSIX locks would be gone and the other writer would get in."""
    fill(path, mode)
    source = the_source(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        application.execute("INSERT INTO messages (text) VALUES ('half done')")
        if use == "capture":
            with source.capture() as capture:
                assert len(list(capture.parts())) == 1
                assert source.estimate() > 0
        else:
            getattr(source, use)()
        command = [sys.executable, "-c", textwrap.dedent(LOCK_TEST), str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert answer == "database is locked"
        application.execute("COMMIT")
    assert rows(path) == 101


def test_the_test_of_locks_would_notice_a_file_that_is_opened_and_closed_in_this_process(path: Path) -> None:
    fill(path, "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as application:
        application.execute("BEGIN IMMEDIATE")
        path.read_bytes()
        command = [sys.executable, "-c", textwrap.dedent(LOCK_TEST), str(path)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "got in"
        with contextlib.suppress(sqlite3.Error):
            application.execute("ROLLBACK")


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_every_sort_are_captured_and_restored(path: Path, tmp_path: Path, name: str, mode: str) -> None:
    here = path.with_name(name)
    fill(path, mode)
    path.rename(here)
    source, copy = the_source(here), tmp_path / "copy.db"
    facts = captured(source, copy)
    here.unlink()
    source.restore([part_of(copy)], NoRestoreOptions())
    assert compare(facts, source.facts())
    assert all(line.equal for line in compare(facts, source.facts()))
    assert os.listdir(path.parent) == [name]


def test_table_names_of_every_sort_are_counted(path: Path, tmp_path: Path) -> None:
    names = ['quote"d', "bracket]", "ünï", "with space", "semi;colon", "sqliteish", "100%"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for number, name in enumerate(names):
            quoted = name.replace('"', '""')
            connection.execute(f'CREATE TABLE "{quoted}" (a)')
            connection.executemany(f'INSERT INTO "{quoted}" VALUES (?)', [(1,)] * number)
        connection.commit()
    facts = captured(the_source(path), tmp_path / "copy.db")
    assert {f"table {name}": {"rows": number} for number, name in enumerate(names)}.items() <= facts.values.items()


def test_full_text_tables_are_counted(path: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
        connection.executemany("INSERT INTO words VALUES (?)", [("one two",), ("three",)])
        connection.commit()
    assert captured(the_source(path), tmp_path / "copy.db").values["table words"] == {"rows": 2}


def test_a_virtual_table_of_the_applications_own_is_copied_and_said_not_to_be_counted(path: Path) -> None:
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING vec0(embedding)')"
        )
        connection.commit()
    with the_source(path).capture() as capture:
        list(capture.parts())
        assert capture.facts().values["table v"] == {"rows": None}
        assert [(finding.item, finding.harmless) for finding in capture.findings()] == [("table v", True)]


def test_facts_hold_versions_and_the_schema(path: Path, tmp_path: Path) -> None:
    fill(path)
    before = captured(the_source(path), tmp_path / "copy.db").values["database"]
    assert (before["integrity"], before["tables"], before["user_version"]) == ("ok", 1, 7)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE INDEX by_text ON messages (text)")
    assert captured(the_source(path), tmp_path / "copy.db").values["database"]["schema"] != before["schema"]


def test_the_copy_is_complete_by_itself_and_keeps_the_journal_mode(path: Path, tmp_path: Path) -> None:
    fill(path)
    with contextlib.closing(sqlite3.connect(path)) as application:
        application.execute("PRAGMA wal_autocheckpoint = 0")
        application.execute("INSERT INTO messages (text) VALUES ('in the log only')")
        application.commit()
        captured(the_source(path), tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == 101
    assert rows(tmp_path / "copy.db", "PRAGMA journal_mode") == "wal"


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_capture_leaves_nothing_behind(path: Path, tmp_path: Path, mode: str) -> None:
    fill(path, mode)
    before = path.read_bytes(), path.stat().st_mtime_ns
    source = the_source(path)
    source.check()
    captured(source, tmp_path / "copy.db")
    with contextlib.suppress(ZeroDivisionError), source.capture():
        raise ZeroDivisionError
    assert os.listdir(path.parent) == ["chat.db"]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert os.listdir(tmp_path / "staging") == []


@pytest.mark.requirement("SR-14")
def test_staged_copies_are_private(path: Path) -> None:
    fill(path)
    os.umask(0o000)
    try:
        with the_source(path).capture() as capture:
            (part,) = list(capture.parts())
            assert isinstance(part, StreamPart)
            assert part.content.local_path
            assert Path(part.content.local_path).stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(0o022)


KILLED = """
    import sqlite3, sys, os, signal
    c = sqlite3.connect(sys.argv[1], isolation_level=None)
    if sys.argv[2] == "wal":
        c.execute("PRAGMA wal_autocheckpoint = 0")
        c.execute("INSERT INTO messages (text) VALUES ('committed')")
    c.execute("PRAGMA cache_size = 1")
    c.execute("BEGIN IMMEDIATE")
    c.execute("UPDATE messages SET text = 'torn'")
    c.executemany("INSERT INTO messages (text) VALUES (?)", [("x" * 2000,) for _ in range(2000)])
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("mode", "expected"), [("wal", 101), ("delete", 100)])
def test_what_a_killed_writer_had_committed_is_captured_and_nothing_else(
    path: Path, tmp_path: Path, mode: str, expected: int
) -> None:
    fill(path, mode)
    with process(KILLED, path, mode) as writer:
        assert writer.wait() == -signal.SIGKILL
    path.with_name("chat.db-shm").unlink(missing_ok=True)  # as after a power cut
    side = path.with_name("chat.db-wal" if mode == "wal" else "chat.db-journal")
    before = path.read_bytes(), side.read_bytes()
    source = the_source(path)
    source.check()
    facts = captured(source, tmp_path / "copy.db")
    assert facts.values["table messages"]["rows"] == expected
    assert rows(tmp_path / "copy.db", "SELECT count(*) FROM messages WHERE text = 'torn'") == 0
    assert (path.read_bytes(), side.read_bytes()) == before
    assert os.listdir(tmp_path / "staging") == []


def test_a_writer_that_never_ends_is_named_as_the_reason(path: Path) -> None:
    fill(path, "delete")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceError, match=r"held by a writer for more than 0\.2 s") as caught:
            the_source(path, busy_timeout=0.2).check()
        assert "busy_timeout" in caught.value.hint
        with pytest.raises(SourceError, match="held by a writer"), the_source(path, busy_timeout=0.2).capture():
            pass


def test_a_short_writer_is_waited_for(path: Path, tmp_path: Path) -> None:
    fill(path, "delete")
    code = """
        import sqlite3, sys, time
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("BEGIN EXCLUSIVE")
        c.execute("INSERT INTO messages (text) VALUES ('x')")
        print("ready", flush=True)
        time.sleep(1)
        c.execute("COMMIT")
    """
    with process(code, path):
        assert captured(the_source(path), tmp_path / "copy.db").values["table messages"]["rows"] == 101


def test_a_damaged_database_is_a_failed_source_with_the_message_of_the_engine(path: Path) -> None:
    fill(path, "delete", rows=2000)
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    with pytest.raises(SourceError, match="damaged"), the_source(path).capture() as capture:
        list(capture.parts())


def test_a_damaged_index_is_noticed_though_every_row_can_be_read(path: Path) -> None:
    fill(path, "wal")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE INDEX by_text ON messages (text)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX by_text ON messages (id)' WHERE name = 'by_text'"
        )
        connection.commit()
    with pytest.raises(SourceError, match="integrity check says"), the_source(path).capture() as capture:
        list(capture.parts())


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"x" * 8192, "not an SQLite database, or it is encrypted"), (b"", "has no tables")],
)
def test_what_is_no_database_is_said(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(SourceError, match=message), the_source(path).capture() as capture:
        list(capture.parts())


def test_a_database_without_tables_is_accepted_where_that_is_allowed(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    with pytest.raises(EmptySourceError), the_source(path).capture():
        pass
    with the_source(path, allow_empty=True).capture() as capture:
        assert len(list(capture.parts())) == 1
        assert capture.facts().values["database"]["user_version"] == 3


def test_an_absent_database_is_said_to_be_absent(path: Path) -> None:
    source = the_source(path)
    assert not source.present()
    with pytest.raises(SourceError, match="is not there"):
        source.check()
    with pytest.raises(SourceError, match="is not there"), source.capture():
        pass


def test_a_folder_is_no_database(path: Path) -> None:
    path.mkdir()
    with pytest.raises(SourceError, match="not a file"):
        the_source(path).check()


def test_a_link_to_a_database_is_captured_with_the_log_of_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    fill(path)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with contextlib.closing(sqlite3.connect(path)) as application:
        application.execute("PRAGMA wal_autocheckpoint = 0")
        application.execute("INSERT INTO messages (text) VALUES ('in the log')")
        application.commit()
        assert captured(the_source(link), tmp_path / "copy.db").values["table messages"]["rows"] == 101


@pytest.mark.requirement("DM-14")
def test_a_restore_keeps_what_was_there_with_its_log_folded_in(path: Path, tmp_path: Path) -> None:
    fill(path)
    source, copy = the_source(path), tmp_path / "copy.db"
    captured(source, copy)
    with process(KILLED, path, "wal") as writer:
        writer.wait()
    assert path.with_name("chat.db-wal").exists()
    placement = source.restore([part_of(copy)], NoRestoreOptions())
    assert rows(Path(placement.kept)) == 101
    assert rows(path) == 100
    assert {name.split(".before-restore-")[0] for name in os.listdir(path.parent)} == {"chat.db"}
    assert not path.with_name("chat.db-wal").exists()


def test_a_stale_log_beside_the_new_file_never_shows(path: Path, tmp_path: Path) -> None:
    """A log that SQLite cannot fold in moves away with its database, so that the restored one does not replay it."""
    fill(path)
    source, copy = the_source(path), tmp_path / "copy.db"
    captured(source, copy)
    path.write_bytes(b"damaged" * 1000)
    path.with_name("chat.db-wal").write_bytes(b"stale" * 1000)
    placement = source.restore([part_of(copy)], NoRestoreOptions())
    assert Path(placement.kept + "-wal").read_bytes() == b"stale" * 1000
    assert not path.with_name("chat.db-wal").exists()
    assert rows(path) == 100


def test_a_database_that_somebody_has_open_is_not_replaced(path: Path, tmp_path: Path) -> None:
    fill(path)
    source, copy = the_source(path), tmp_path / "copy.db"
    captured(source, copy)
    code = """
        import sqlite3, sys
        c = sqlite3.connect(sys.argv[1])
        c.execute("SELECT * FROM messages").fetchone()
        print("ready", flush=True)
        sys.stdin.read()
    """
    with process(code, path) as holder, pytest.raises(BusyError, match=str(holder.pid)):
        source.restore([part_of(copy)], NoRestoreOptions())
    assert rows(path) == 100


def refused(parts: Callable[[Path], list[Part]], error: type[RecoupError], path: Path, tmp_path: Path) -> None:
    fill(path)
    before = path.read_bytes()
    with pytest.raises(error):
        the_source(path).restore(parts(tmp_path), NoRestoreOptions())
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["chat.db"]


def _torn(tmp_path: Path) -> list[Part]:
    fill(tmp_path / "torn.db", "delete", 2000)
    with (tmp_path / "torn.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    return [part_of(tmp_path / "torn.db")]


def _short(tmp_path: Path) -> list[Part]:
    fill(tmp_path / "short.db", "delete")
    return [StreamPart("short.db", StagedFile(tmp_path / "short.db"), size=10**6)]


def test_a_restored_file_that_is_not_sound_is_not_put_in_place(path: Path, tmp_path: Path) -> None:
    refused(_torn, RestoreError, path, tmp_path)


def test_a_part_that_is_cut_short_is_not_put_in_place(path: Path, tmp_path: Path) -> None:
    refused(_short, DamagedError, path, tmp_path)


def test_a_set_without_the_database_restores_nothing(path: Path, tmp_path: Path) -> None:
    refused(lambda _: [], DamagedError, path, tmp_path)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM messages WHERE id = 5", "DROP TABLE messages", "CREATE TABLE more (a)"]
)
@pytest.mark.requirement("CI-6")
def test_a_twin_shows_the_facts_of_the_capture_until_it_is_damaged(path: Path, tmp_path: Path, damage: str) -> None:
    fill(path)
    source, copy = the_source(path), tmp_path / "copy.db"
    facts = captured(source, copy)
    (tmp_path / "drill").mkdir()
    with source.scratch(tmp_path / "drill") as twin:
        twin.restore([part_of(copy)], NoRestoreOptions())
        assert all(line.equal for line in compare(facts, twin.facts()))
        (place,) = (tmp_path / "drill").rglob("chat.db")
        with contextlib.closing(sqlite3.connect(place)) as connection:
            connection.execute(damage)
            connection.commit()
        assert not all(line.equal for line in compare(facts, twin.facts()))
    assert os.listdir(tmp_path / "drill") == []


def test_settings_can_be_read_back(path: Path) -> None:
    source = the_source(path, busy_timeout=2)
    assert Options.model_validate({"kind": "sqlite", **source.settings()}) == source.options
