"""What this machine remembers of a stack between runs: which job ran when, which notices were sent. A small SQLite database
of our own in the user's state folder, `stacks/STACK.db`; losing it loses no backup.

Each room that remembers something has tables of its own, made when they are first needed.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from recoup.errors import RecoupError
from recoup.system.atomicfile import create_private, make_private_folder
from recoup.system.journal import state_folder

_PATIENCE = 10.0  # seconds to wait for another process's transaction; each takes milliseconds

Row = sqlite3.Row
Connection = sqlite3.Connection


class StateError(RecoupError):
    """What is remembered cannot be read or written."""


def state_path(stack: str) -> Path:
    """Where the memory of a stack lies.

    Args:
        stack: its name, as the configuration allows it.

    Raises:
        StateError: nobody knows where.
    """
    try:
        return state_folder() / "stacks" / f"{stack}.db"
    except RuntimeError:  # an account without a home, as in some containers
        raise StateError(
            "this account has no home folder, where this machine would remember runs and notices",
            "Set $XDG_STATE_HOME to a folder that lasts.",
        ) from None


@contextlib.contextmanager
def remembered(stack: str, tables: str) -> Iterator[sqlite3.Connection]:
    """One transaction on what is remembered of a stack: committed on leaving, rolled back by an error. Others wait meanwhile, so
    it has to be short. A damaged file is put aside as `STACK.db.damaged`, and a new one is begun: at once, or by the next
    transaction when the damage shows inside of this one.

    Args:
        stack: name of the stack.
        tables: `CREATE TABLE IF NOT EXISTS ...;` statements.

    Raises:
        StateError: it cannot be read or written, or turned out to be damaged.
    """
    path = state_path(stack)
    try:
        connection = _connected(path, tables)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from None
    try:
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
    except sqlite3.Error as error:
        raise (_put_aside(path) if _is_damage(error) else _unusable(path, error)) from None


def forget(stack: str) -> bool:
    """Removes what is remembered of a stack; whether there was anything.

    Args:
        stack: its name.
    """
    found = False
    for suffix in (".db", ".db-journal", ".db.damaged"):
        path = state_path(stack).with_name(f"{stack}{suffix}")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            found = True
    return found


def _connected(path: Path, tables: str) -> sqlite3.Connection:
    make_private_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(create_private(path))
    try:
        return _opened(path, tables)
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise  # busy, read-only, disk full: not a matter of its content
        path.replace(_damaged(path))
        os.close(create_private(path))
        return _opened(path, tables)


def _opened(path: Path, tables: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.executescript(tables)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _damaged(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _put_aside(path: Path) -> StateError:
    """Moves a file away that turned out to be damaged, unless another process has done so, and begun the new one."""
    try:
        if not _is_sound(path):
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)  # it would be taken for that of the new one
            path.replace(_damaged(path))
    except OSError as error:
        return _unusable(path, error)
    return StateError(
        f"{path}, where this machine remembers runs and notices, was damaged; it is now {_damaged(path).name}",
        "The next run begins a new one. What was remembered is lost, and no backup with it.",
    )


def _is_sound(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.Error as error:
        return not _is_damage(error)


def _unusable(path: Path, error: Exception) -> StateError:
    reason = getattr(error, "strerror", None) or str(error)
    return StateError(
        f"{path}, where this machine remembers runs and notices, cannot be used: {reason}",
        "Check the folder's owner, its rights and the free space; $XDG_STATE_HOME chooses another place.",
    )
