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
    """
    return state_folder() / "stacks" / f"{stack}.db"


@contextlib.contextmanager
def remembered(stack: str, tables: str) -> Iterator[sqlite3.Connection]:
    """One transaction on what is remembered of a stack: committed on leaving, rolled back by an error. Others wait meanwhile, so
    it has to be short. A damaged file is put aside as `STACK.db.damaged`, and a new one is begun.

    Args:
        stack: name of the stack.
        tables: `CREATE TABLE IF NOT EXISTS ...;` statements.

    Raises:
        StateError: it cannot be read or written.
    """
    path = state_path(stack)
    try:
        connection = _connected(path, tables)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from None
    with contextlib.closing(connection):
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
        except sqlite3.Error as error:
            raise _unusable(path, error) from None


def forget(stack: str) -> bool:
    """Removes what is remembered of a stack; whether there was anything.

    Args:
        stack: its name.
    """
    found = False
    for path in (state_path(stack), state_path(stack).with_suffix(".db.damaged")):
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
    except sqlite3.OperationalError:
        raise  # busy, read-only, disk full: not a matter of its content
    except sqlite3.DatabaseError:
        path.replace(path.with_suffix(".db.damaged"))
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


def _unusable(path: Path, error: Exception) -> StateError:
    reason = getattr(error, "strerror", None) or str(error)
    return StateError(
        f"{path}, where this machine remembers runs and notices, cannot be used: {reason}",
        "Check the folder's owner, its rights and the free space; $XDG_STATE_HOME chooses another place.",
    )
