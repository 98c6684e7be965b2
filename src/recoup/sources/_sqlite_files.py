"""SQLite files, read in a child process: frozen by a read transaction, copied, checked, described.

Everything here is called through `recoup.system.subprocesses` and never in our own process. SQLite guards its files with
POSIX locks, and those belong to a process and a file, not to a descriptor: closing *any* descriptor of the file drops all
locks that the process has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2). Were Recoup to open and close a
database inside the application that has it open, the application would lose its lock, and a second writer would get in.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from recoup.errors import EmptySourceError, SourceError
from recoup.model.names import shown
from recoup.system.atomicfile import create_private
from recoup.system.subprocesses import ChildFailedError

if TYPE_CHECKING:
    import sqlite3

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; it belongs to that database alone (https://www.sqlite.org/tempfiles.html)."""

UNCHECKED = "not checked whole"
"""How an integrity result begins that SQLite could not complete, e.g. for a collation of the application's own."""

_PAGES = 4096  # copied in one step of the backup: enough to be fast, few enough to answer signals
_MESSAGES = 3  # of an integrity check that fails: the first ones say what is wrong
_WRITER = slice(96, 100)  # of the header: version number of the library that wrote last, see fileformat2.html
_NOT_COUNTED = (
    "no such module",
    "no such table",
    "no such tokenizer",
    "no such function",
    "no such collation",
    "unable to use function",
)


@contextlib.contextmanager
def frozen(path: Path, timeout: float, private: Path | None = None) -> Iterator["sqlite3.Connection"]:
    """A connection inside a read transaction that shows the database at one moment.

    With a WAL, writers go on meanwhile. With a rollback journal they wait until this is left. Where a writer was killed and
    left a journal to be rolled back, which needs a write, that is done on a copy and the original stays as it is.

    Args:
        path: the database, links resolved, as the names of the side files follow the resolved name.
        timeout: seconds to wait for a writer.
        private: name for that copy, in a folder of ours, removed on leaving; without it such a database is refused.

    Raises:
        SourceError: it cannot be read.
    """
    import sqlite3

    had_log = _beside(path, "-wal").exists()
    with explained(path, timeout):
        try:
            connection = _begun(path, "mode=ro", timeout)
        except sqlite3.OperationalError as error:
            if private is None or error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
                raise
            connection = _rolled_back(path, private, timeout)
    try:
        with explained(path, timeout):
            yield connection
    finally:
        connection.close()
        if not had_log:
            _remove_empty_log(path)
        if private:
            for side in ("", *SIDE_FILES):
                _beside(private, side).unlink(missing_ok=True)


@contextlib.contextmanager
def unchanging(path: Path) -> Iterator["sqlite3.Connection"]:
    """A connection to a file of ours that nobody writes to; it leaves no side files and takes no locks."""
    with explained(path, 0):
        connection = _begun(path, "immutable=1", 0)
    try:
        with explained(path, 0):
            yield connection
    finally:
        connection.close()


def _begun(path: Path, how: str, timeout: float) -> "sqlite3.Connection":
    import sqlite3

    # Bytes are quoted, not text, so that names which are not UTF-8, or hold `?`, `#` or `%`, arrive as they are.
    uri = f"file:{quote(os.fsencode(path))}?{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
    connection.text_factory = _text
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # a BEGIN alone takes no lock yet
    except BaseException:
        connection.close()
        raise
    return connection


def _text(data: bytes) -> str:
    """Names and definitions are usually UTF-8, but nothing makes them so."""
    return data.decode("utf-8", "backslashreplace")


def _rolled_back(path: Path, private: Path, timeout: float) -> "sqlite3.Connection":
    """Copies a database with the journal that a killed writer left, and lets SQLite roll the copy back.

    Nobody writes to such a database before rolling it back, and that ends with the journal's removal. So an unchanged journal
    after the copy says that the copy is whole; a rollback caught half-way is simply done again, from the same journal.
    """
    journal = _beside(path, "-journal")
    before = _identity(journal)
    for source, target in ((path, private), (journal, _beside(private, "-journal"))):
        os.close(create_private(target))
        shutil.copyfile(source, target)
    if before is None or _identity(journal) != before:
        raise SourceError(
            f"{_name(path)} was being repaired after a crash while it was copied", "Run the backup again."
        )
    return _begun(private, "mode=rw", timeout)


def _identity(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _remove_empty_log(path: Path) -> None:
    """Has SQLite remove the empty `-wal` and the `-shm` that our reading made beside a cleanly closed database.

    A read-only connection has to make them and may not remove them. Unlinking them ourselves could hit a writer that has
    just come; SQLite, under its own locks, removes them only when it is the last connection.
    """
    import sqlite3

    log = _beside(path, "-wal")
    if not log.exists() or log.stat().st_size:
        return
    with contextlib.suppress(sqlite3.Error):
        _begun(path, "mode=rw", 0).close()


def _beside(path: Path, side: str) -> Path:
    return path.with_name(path.name + side)


def _name(path: Path) -> str:
    return shown(str(path))


@contextlib.contextmanager
def explained(path: Path, timeout: float) -> Iterator[None]:
    """Turns SQLite's errors into sentences with a hint."""
    import sqlite3

    try:
        yield
    except sqlite3.Error as error:
        raise _explanation(error, path, timeout) from error
    except OSError as error:
        raise SourceError(f"{_name(path)} cannot be read: {error.strerror or error}") from error


def _explanation(error: "sqlite3.Error", path: Path, timeout: float) -> SourceError:
    name, code = _name(path), getattr(error, "sqlite_errorname", "") or ""
    if code == "SQLITE_NOTADB":
        return SourceError(
            f"{name} is not an SQLite database, or it is encrypted",
            "An encrypted database is backed up as a file (`kind: files`) while its application is stopped.",
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return SourceError(
            f"{name} was held by a writer for more than {timeout:g} s",
            "Raise `busy_timeout`, or see whether the application keeps a write transaction open or uses "
            "`locking_mode = EXCLUSIVE`.",
        )
    if code.startswith("SQLITE_CORRUPT"):
        return SourceError(
            f"{name} is damaged: {error}", "Restore it from an earlier set, or try `.recover` of the sqlite3 program."
        )
    if code == "SQLITE_READONLY_ROLLBACK":
        return SourceError(
            f"{name} was left in the middle of a write that has to be rolled back first",
            "Start and stop its application once. A backup does not need that: it rolls a copy back.",
        )
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return _cannot_open(error, path)
    return SourceError(f"{name} cannot be read: {error}")


def _cannot_open(error: "sqlite3.Error", path: Path) -> SourceError:
    name = _name(path)
    if not path.exists():
        return SourceError(f"{name} is not there", "See whether the path in the configuration is right.")
    if not os.access(path, os.R_OK):
        return SourceError(f"{name} may not be read by this user", "Give the user who runs the backup the right to.")
    if not os.access(path.parent, os.W_OK):
        return SourceError(
            f"{name} cannot be read: it needs its `-shm` file, and this user may not write to the folder",
            "In WAL mode readers share that file: run the backup as the application's user, or give it the right to "
            "write to the folder.",
        )
    return SourceError(f"{name} cannot be opened: {error}")


def journal_mode(connection: "sqlite3.Connection") -> str:
    """`wal`, or the name of a rollback journal's mode."""
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def writer_of(path: Path) -> str:
    """Name and version of the library that wrote the file last, or `SQLite`.

    To be asked before this process opens the file with SQLite: closing a descriptor drops the locks.
    """
    try:
        with path.open("rb") as file:
            number = int.from_bytes(file.read(100)[_WRITER], "big")
    except OSError:
        return "SQLite"
    return f"SQLite {number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}" if number else "SQLite"


def copy(connection: "sqlite3.Connection", target: Path) -> None:
    """Copies what the connection's transaction shows into a new file, mode 0600, by SQLite's online backup.

    The transaction keeps the backup from starting over when others write. No side files stay beside the copy.

    Raises:
        SourceError: the disk is full, or the data cannot be read.
    """
    import sqlite3

    os.close(create_private(target))
    with explained(target, 0):
        copied = sqlite3.connect(f"file:{quote(os.fsencode(target))}?mode=rw", uri=True, isolation_level=None)
    try:
        copied.execute("PRAGMA journal_mode = OFF")  # a copy that is cut short is thrown away, not rolled back
        copied.execute("PRAGMA synchronous = OFF")  # whoever stores the copy makes it durable
        connection.backup(copied, pages=_PAGES)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_FULL":
            raise SourceError(
                "there is no room for the copy of the database", "Free space where Recoup keeps its staged copies."
            ) from error
        raise
    finally:
        copied.close()


def integrity(connection: "sqlite3.Connection") -> str:
    """What SQLite's own check says: `ok`, the first faults, or why it could not check all."""
    import sqlite3

    try:
        found = connection.execute(f"PRAGMA integrity_check({_MESSAGES})").fetchall()
    except sqlite3.OperationalError as error:
        if str(error).startswith(_NOT_COUNTED):
            return f"{UNCHECKED}: {error}"
        raise
    return "; ".join(str(row[0]) for row in found)


def tables(connection: "sqlite3.Connection") -> list[str]:
    """The names of all tables but SQLite's internal ones, sorted."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [str(row[0]) for row in rows]


def rows_in(connection: "sqlite3.Connection", table: str) -> int | None:
    """How many rows a table has; None for a virtual table whose module this SQLite does not have."""
    import sqlite3

    quoted = table.replace('"', '""')
    try:
        return int(connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])  # noqa: S608 - quoted
    except sqlite3.OperationalError as error:
        if str(error).startswith(_NOT_COUNTED):
            return None
        raise


def schema_digest(connection: "sqlite3.Connection") -> str:
    """SHA-256 of all definitions, hex, whatever their order in the file."""
    digest = hashlib.sha256()
    for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name, sql"):
        digest.update(repr(row).encode())
    return digest.hexdigest()


def counts(connection: "sqlite3.Connection") -> dict[str, int | None]:
    """Rows of every table."""
    return {table: rows_in(connection, table) for table in tables(connection)}


def description(connection: "sqlite3.Connection") -> dict[str, dict[str, Any]]:
    """A database's facts: what a correct copy must show."""
    rows = counts(connection)
    database: dict[str, Any] = {"integrity": integrity(connection), "tables": len(rows)}
    database["schema"] = schema_digest(connection)
    for number in ("user_version", "application_id"):
        database[number] = int(connection.execute(f"PRAGMA {number}").fetchone()[0])
    return {"database": database, **{f"table {table}": {"rows": count} for table, count in rows.items()}}


def settle(name: str) -> None:
    """Folds a database's `-wal` or `-journal` into it. Nobody may have it open.

    Raises:
        SourceError: it cannot be done; the side files then have to stay with the database.
    """
    path = Path(name)
    with explained(path, 0):
        _require_readable(path)
        connection = _begun(path, "mode=rw", 0)  # the first read rolls a journal back
        try:
            connection.execute("COMMIT")
            connection.execute("PRAGMA query_only = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()


def _require_readable(path: Path) -> None:
    """SQLite removes the log of a database whose first page it cannot read, when it closes one that it may write to."""
    import sqlite3

    try:
        _begun(path, "mode=ro", 0).close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_READONLY_ROLLBACK":
            raise


def look(name: str, timeout: float) -> dict[str, Any]:
    """Reads a database's definitions, to see whether it can be read at all: names of its tables, and its journal mode."""
    try:
        with frozen(Path(name), timeout) as connection:
            return {"tables": tables(connection), "journal": journal_mode(connection)}
    except SourceError as error:
        if getattr(error.__cause__, "sqlite_errorname", "") != "SQLITE_READONLY_ROLLBACK":
            raise
        return {"tables": [], "journal": "crashed"}  # a capture rolls a copy back


def describe(name: str, timeout: float) -> dict[str, dict[str, Any]]:
    """The facts of a database that nobody writes to."""
    with frozen(Path(name), timeout) as connection:
        return description(connection)


def require_whole(name: str) -> None:
    """Checks a restored file that nobody has open.

    Raises:
        SourceError: it is no database, or damaged.
    """
    path = Path(name)
    with unchanging(path) as connection:
        require_integrity(integrity(connection), path)


def require_integrity(found: str, path: Path) -> None:
    """Raises a `SourceError` unless SQLite's check found the file sound, as far as it could check."""
    if found != "ok" and not found.startswith(UNCHECKED):
        raise SourceError(
            f"{_name(path)} is damaged, SQLite's integrity check says: {found}",
            "Restore it from an earlier set, or try `.recover` of the sqlite3 program.",
        )


def hold(name: str, target_name: str, timeout: float, allow_empty: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """Freezes a database; asked again, copies it, lets go of it, and answers with what the copy shows.

    Args:
        name: the database, links resolved.
        target_name: the copy to be made, in a private folder.
        timeout: seconds to wait for a writer.
        allow_empty: whether a database without tables is accepted.

    Raises:
        SourceError: it cannot be read, or is damaged.
        EmptySourceError: it has no tables.
    """
    path, target = Path(name), Path(target_name)
    engine = writer_of(path)
    with frozen(path, timeout, _beside(target, ".unrolled")) as connection:
        if not allow_empty and not tables(connection):
            raise EmptySourceError(
                f"{_name(path)} has no tables", "See whether the path is right; `allow_empty: true` accepts it."
            )
        mode = journal_mode(connection)
        yield {"journal": mode, "engine": engine}
        # Counting takes a while: with a rollback journal writers would wait for it, so there the copy alone is counted.
        seen = counts(connection) if mode == "wal" else None
        pages = connection.execute("PRAGMA page_count").fetchone()
        copy(connection, target)
    with unchanging(target) as copied:
        facts = description(copied)
        same = copied.execute("PRAGMA page_count").fetchone() == pages and seen in (None, counts(copied))
    require_integrity(facts["database"]["integrity"], path)
    if not same:
        raise SourceError(f"the copy of {_name(path)} does not show what the database showed", "Run the backup again.")
    yield facts


@contextlib.contextmanager
def errors_of_child() -> Iterator[None]:
    """Turns what a child says of a source into the source's own errors. For our own process."""
    try:
        yield
    except ChildFailedError as error:
        kind = EmptySourceError if error.kind == "EmptySourceError" else SourceError
        raise kind(error.message, error.hint) from None
