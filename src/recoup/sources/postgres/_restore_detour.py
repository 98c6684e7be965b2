"""Dumps for servers of version 16 and older by a `pg_restore` or `pg_dump` of version 17 or newer.

Those begin every script with `SET transaction_timeout = 0`, which older servers refuse (`_doSetFixedOutputState` in PostgreSQL's
`pg_backup_archiver.c`); it only says that no limit is wanted, and such a server has none. `pg_restore` cannot be told to leave it
out when it talks to the server itself, so it writes its script, and `psql` runs that without the line.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from recoup.system.programs import Program

KNOWN_SINCE = 17
"""The major version of servers that know the setting."""

_SETTING = b"\nSET transaction_timeout = 0;\n"
_ROWS = b"\nCOPY "
_HEAD = 16_384  # bytes in which a script's settings stand; the line is looked for in nothing else
_PIECE = 1 << 20  # bytes carried at once


def without_setting(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Reads a script without the setting among those that it begins with.

    Args:
        read: gives the script; empty at its end.
    """
    begun = False

    def reading(size: int) -> bytes:
        nonlocal begun
        if begun:
            return read(size)
        begun = True
        head = b""
        while len(head) < _HEAD and (data := read(size)):
            head += data
        settings, rows, rest = head.partition(_ROWS)
        return settings.replace(_SETTING, b"\n", 1) + rows + rest

    return reading


@contextlib.contextmanager
def carried(writer: Program, runner: Program) -> Iterator[None]:
    """Has what one program writes run by another one meanwhile, without the setting; on leaving, all of it was handed over.

    Args:
        writer: `pg_restore` that writes a script.
        runner: `psql`, reading from its stdin. Where it gives up, the rest is read all the same, so that the writer ends.
    """
    thread = threading.Thread(target=_carry, args=(writer, runner), name="script to psql", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        writer.kill()
        runner.kill()
        raise
    finally:
        thread.join()


def _carry(writer: Program, runner: Program) -> None:
    read, gone = without_setting(writer.read), False
    with contextlib.suppress(ValueError, OSError):  # one of them was closed: the run is given up
        while data := read(_PIECE):
            try:
                if not gone:
                    runner.write(data)
            except BrokenPipeError:
                gone = True
