"""What was put on this machine for a stack, so that it can be taken away: where it lies, written down before it is made."""

import os
from collections.abc import Sequence

from recoup.system.statefile import remembered

_TABLES = """
CREATE TABLE IF NOT EXISTS installed (
    purpose TEXT NOT NULL, -- schedule, wrappers
    name BLOB NOT NULL,    -- a path, whose bytes need not be UTF-8, or `crontab of ACCOUNT`
    PRIMARY KEY (purpose, name)
);
"""

SCHEDULE = "schedule"
"""Purpose of what calls the schedule: cron's file or lines, units of systemd."""
WRAPPERS = "wrappers"
"""Purpose of scripts."""


def installed(stack: str, purpose: str) -> tuple[str, ...]:
    """Names of what was installed and not removed since, in alphabetical order: paths, or `crontab of ACCOUNT`.

    Args:
        stack: for which.
        purpose: `SCHEDULE` or `WRAPPERS`.

    Raises:
        StateError: the record cannot be read.
    """
    with remembered(stack, _TABLES) as memory:
        rows = memory.execute("SELECT name FROM installed WHERE purpose = ? ORDER BY name", (purpose,)).fetchall()
    return tuple(os.fsdecode(row["name"]) for row in rows)


def record(stack: str, purpose: str, names: Sequence[str]) -> None:
    """Writes down what is about to be installed.

    Raises:
        StateError: it cannot be written.
    """
    with remembered(stack, _TABLES) as memory:
        memory.executemany("INSERT OR IGNORE INTO installed VALUES (?, ?)", _rows(purpose, names))


def strike(stack: str, purpose: str, names: Sequence[str]) -> None:
    """Forgets what is gone.

    Raises:
        StateError: it cannot be written.
    """
    with remembered(stack, _TABLES) as memory:
        memory.executemany("DELETE FROM installed WHERE purpose = ? AND name = ?", _rows(purpose, names))


def _rows(purpose: str, names: Sequence[str]) -> list[tuple[str, bytes]]:
    return [(purpose, os.fsencode(name)) for name in names]
