"""What became of the last runs of each verb, as this machine remembers them (`system/statefile.py`)."""

from datetime import UTC, datetime
from typing import Any

from recoup.model.reports import VerbRun
from recoup.system.statefile import remembered, state_path

KEPT = 200
"""Runs of each verb that are remembered; the last one that did all that was asked is never forgotten."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    sources TEXT NOT NULL,
    repository TEXT NOT NULL,
    started REAL NOT NULL,
    finished REAL NOT NULL,
    exit_code INTEGER NOT NULL,
    sentence TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_of_verb ON runs (verb, id);
"""

_FORGET = """
DELETE FROM runs WHERE verb = :verb
    AND id <= (SELECT id FROM runs WHERE verb = :verb ORDER BY id DESC LIMIT 1 OFFSET :kept)
    AND id NOT IN (SELECT max(id) FROM runs WHERE verb = :verb AND exit_code = 0)
"""


def remember(stack: str, run: VerbRun) -> None:
    """Notes a run that has ended.

    Args:
        stack: name of the stack.
        run: the run; its sentence carries no secret.

    Raises:
        StateError: it cannot be noted.
    """
    values = (run.verb, ",".join(run.sources), run.repository, run.started.timestamp(), run.finished.timestamp())
    with remembered(stack, _TABLES) as memory:
        memory.execute(
            "INSERT INTO runs (verb, sources, repository, started, finished, exit_code, sentence)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*values, run.exit_code, run.sentence),
        )
        memory.execute(_FORGET, {"verb": run.verb, "kept": KEPT})


def runs(stack: str) -> tuple[VerbRun, ...]:
    """All runs that are remembered, in the order in which they ended, the newest first. Nothing is made where nothing is.

    Args:
        stack: name of the stack.

    Raises:
        StateError: they cannot be read.
    """
    try:
        state_path(stack).stat()
    except FileNotFoundError:
        return ()
    except OSError:
        pass  # the same again, in words
    with remembered(stack, _TABLES) as memory:
        return tuple(_run(row) for row in memory.execute("SELECT * FROM runs ORDER BY id DESC"))


def _run(row: Any) -> VerbRun:
    return VerbRun(
        verb=row["verb"],
        sources=tuple(filter(None, row["sources"].split(","))),
        repository=row["repository"],
        started=datetime.fromtimestamp(row["started"], UTC),
        finished=datetime.fromtimestamp(row["finished"], UTC),
        exit_code=row["exit_code"],
        sentence=row["sentence"],
    )
