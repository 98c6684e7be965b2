"""What this machine remembers of a schedule: the rows of its jobs, and when somebody last looked at it."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from recoup.model.schedule import JobState
from recoup.scheduler._jobs import Job, Row, state_of
from recoup.scheduler._starting import job_lock
from recoup.system.statefile import remembered, state_path

_TABLES = """\
CREATE TABLE IF NOT EXISTS schedule_jobs (name TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS schedule_alive (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL);
"""
_COLUMNS = tuple(field.name for field in dataclasses.fields(Row))
_TIMES = frozenset(("anchor", "settled", "pending", "due", "started", "finished"))


class Memory(Protocol):
    """Where the rows of a schedule are kept. One process has it at a time."""

    def read(self) -> dict[str, Row]:
        """All rows by the jobs' names."""
        ...

    def write(self, rows: Iterable[Row], gone: Iterable[str], alive: datetime) -> None:
        """Keeps rows, forgets others, and notes that the schedule is being looked at; all or nothing.

        Args:
            rows: those that changed.
            gone: names of jobs that are no more.
            alive: the present moment.
        """
        ...


class StackMemory:
    """The memory of a stack's schedule on this machine.

    Args:
        stack: its name.
    """

    def __init__(self, stack: str) -> None:
        self._stack = stack

    def read(self) -> dict[str, Row]:
        """All rows by the jobs' names.

        Raises:
            StateError: they cannot be read.
        """
        with remembered(self._stack, _TABLES) as memory:
            found = [_row(one["row"]) for one in memory.execute("SELECT row FROM schedule_jobs")]
        return {row.name: row for row in found if row is not None}

    def write(self, rows: Iterable[Row], gone: Iterable[str], alive: datetime) -> None:
        """Keeps rows, forgets others, and notes that the schedule is being looked at.

        Raises:
            StateError: it cannot be written; nothing of it is.
        """
        with remembered(self._stack, _TABLES) as memory:
            memory.executemany("DELETE FROM schedule_jobs WHERE name = ?", [(name,) for name in gone])
            saved = [(row.name, _text(row)) for row in rows]
            memory.executemany("INSERT OR REPLACE INTO schedule_jobs VALUES (?, ?)", saved)
            memory.execute("INSERT OR REPLACE INTO schedule_alive VALUES (1, ?)", (alive.isoformat(),))


def alive(stack: str) -> datetime | None:
    """When a daemon or tick last looked at a stack's schedule (UTC); None when none ever did.

    Args:
        stack: its name.

    Raises:
        StateError: what is remembered cannot be read.
    """
    if not state_path(stack).exists():
        return None
    with remembered(stack, _TABLES) as memory:
        found = memory.execute("SELECT at FROM schedule_alive").fetchone()
    return datetime.fromisoformat(found["at"]) if found else None


def job_states(stack: str, jobs: Sequence[Job], now: datetime) -> tuple[JobState, ...]:
    """What is known of each job of a schedule, in the order of its lines. One whose process is dead does not run, whatever is
    remembered.

    Args:
        stack: the stack's name.
        jobs: the schedule.
        now: the present moment.

    Raises:
        StateError: what is remembered cannot be read.
    """
    rows: Mapping[str, Row] = StackMemory(stack).read() if state_path(stack).exists() else {}
    if any(row.running for row in rows.values()) and not job_lock(stack).lives():
        rows = {name: dataclasses.replace(row, running=False) for name, row in rows.items()}
    return tuple(state_of(job, rows.get(job.name), now) for job in jobs)


def _row(text: str) -> Row | None:
    """A row from its text; None for one that another version wrote in another way, whose job then begins anew."""
    try:
        values = {name: value for name, value in json.loads(text).items() if name in _COLUMNS}
        times = {name: datetime.fromisoformat(values[name]) for name in _TIMES if values[name] is not None}
        return Row(**{**values, **times})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _text(row: Row) -> str:
    return json.dumps(dataclasses.asdict(row), default=datetime.isoformat)
