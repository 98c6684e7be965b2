"""What this machine remembers of a schedule: the rows of its jobs, and when somebody last looked at it."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from recoup.model.schedule import JobState
from recoup.scheduler._jobs import Job, Row, state_of
from recoup.scheduler._starting import job_lock
from recoup.system.statefile import remembered, state_path

_TABLES = """\
CREATE TABLE IF NOT EXISTS schedule_jobs (name TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS schedule_alive (one INTEGER PRIMARY KEY CHECK (one = 1), at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS schedule_files (one INTEGER PRIMARY KEY CHECK (one = 1), files TEXT NOT NULL);
"""
_LEFT_BEHIND = timedelta(minutes=5)
"""When nobody looked at a schedule for so long, another configuration may take its place."""

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
        files: the configuration that the schedule is from.
    """

    def __init__(self, stack: str, files: Sequence[Path] = ()) -> None:
        self._stack, self._files = stack, _identity(files)

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
            memory.execute("INSERT OR REPLACE INTO schedule_files VALUES (1, ?)", (self._files,))


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


def another(stack: str, files: Sequence[Path], now: datetime) -> tuple[str, ...]:
    """The configuration that a schedule of this stack is run from, when it is another one that is there and was looked at in
    the last minutes; else nothing. Two that have one name would forget each other's jobs.

    Args:
        stack: the stack's name.
        files: the configuration at hand.
        now: the present moment.

    Raises:
        StateError: what is remembered cannot be read.
    """
    seen = alive(stack)
    if seen is None or abs(now - seen) > _LEFT_BEHIND:
        return ()
    with remembered(stack, _TABLES) as memory:
        found = memory.execute("SELECT files FROM schedule_files").fetchone()
    if found is None:
        return ()
    others, ours = tuple(json.loads(found["files"])), set(json.loads(_identity(files)))
    if ours <= set(others) or ours >= set(others):  # the same one, with or without something laid over it
        return ()
    return others if all(Path(other).exists() for other in others) else ()


def given_up(stack: str) -> None:
    """Notes that no configuration's schedule is run any more, so that another one's may be at once.

    Args:
        stack: the stack's name.

    Raises:
        StateError: it cannot be written.
    """
    if state_path(stack).exists():
        with remembered(stack, _TABLES) as memory:
            memory.execute("DELETE FROM schedule_files")


def _identity(files: Sequence[Path]) -> str:
    return json.dumps([str(file.resolve()) for file in files])


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
