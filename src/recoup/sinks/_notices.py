"""What is told of conditions, and when: once at the change to bad, again after a while, once when it is good again.

What each receiver was told is remembered on this machine (`system/statefile.py`), only once it has arrived: a notice that was
lost is sent by the next run. Where nothing can be remembered, everything that is wrong is told each time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from recoup.model.reports import Problem
from recoup.model.structs import Struct
from recoup.system.statefile import Connection, Row, remembered, state_path

TABLES = """
CREATE TABLE IF NOT EXISTS notices (
    receiver TEXT NOT NULL,
    key TEXT NOT NULL,
    level TEXT NOT NULL,
    repository TEXT NOT NULL,
    source TEXT NOT NULL,
    sentence TEXT NOT NULL,
    hint TEXT NOT NULL,
    since REAL NOT NULL,
    told REAL NOT NULL,
    PRIMARY KEY (receiver, key)
);
CREATE TABLE IF NOT EXISTS receivers_failing (
    receiver TEXT PRIMARY KEY,
    since REAL NOT NULL,
    reason TEXT NOT NULL
);
"""


class Told(Struct):
    """A condition of which a receiver knows.

    Attributes:
        problem: as it was told.
        since: when it was told first (UTC).
        told: when it was told last (UTC).
    """

    problem: Problem
    since: datetime
    told: datetime


class Notice(Struct):
    """Something to tell.

    Attributes:
        what: that it begins, lasts or is over.
        problem: of what.
        since: when it was told first (UTC); now for one that begins.
    """

    what: Literal["began", "lasts", "ended"]
    problem: Problem
    since: datetime


def due(
    told: Mapping[str, Told],
    problems: Sequence[Problem],
    settled: Callable[[Problem], bool],
    now: datetime,
    remind: timedelta,
) -> list[Notice]:
    """What a receiver is to be told now. Pure.

    Args:
        told: what it knows, by key.
        problems: what is wrong.
        settled: whether a condition that it knows of, and that is not among `problems`, is over by what was looked at; a run
            of one source says nothing of another.
        now: the present moment.
        remind: after how long a condition is told again.
    """
    notices = [notice for problem in problems if (notice := _bad(told.get(problem.key), problem, now, remind))]
    wrong = {problem.key for problem in problems}
    over = (one for key, one in told.items() if key not in wrong and settled(one.problem))
    return [*notices, *(Notice("ended", one.problem, one.since) for one in over)]


def _bad(known: Told | None, problem: Problem, now: datetime, remind: timedelta) -> Notice | None:
    if known is None:
        return Notice("began", problem, now)
    if problem.level == "critical" and known.problem.level == "warning":
        return Notice("began", problem, known.since)
    silent = now - known.told
    if silent >= remind or silent < timedelta(0):  # a clock that was set back does not silence it
        return Notice("lasts", problem, known.since)
    return None


def known_to(stack: str, receiver: str) -> dict[str, Told]:
    """What a receiver was told and is not over, by key.

    Args:
        stack: name of the stack.
        receiver: name of the entry in `notify`.

    Raises:
        StateError: it cannot be read.
    """
    with remembered(stack, TABLES) as memory:
        rows = memory.execute("SELECT * FROM notices WHERE receiver = ?", (receiver,)).fetchall()
    return {row["key"]: _told(row) for row in rows}


def _told(row: Row) -> Told:
    problem = Problem(
        row["key"],
        "critical" if row["level"] == "critical" else "warning",
        row["repository"],
        row["source"],
        row["sentence"],
        row["hint"],
    )
    return Told(problem, datetime.fromtimestamp(row["since"], UTC), datetime.fromtimestamp(row["told"], UTC))


def note(stack: str, arrived: Mapping[str, Sequence[Notice]], now: datetime) -> None:
    """Remembers what arrived.

    Args:
        stack: name of the stack.
        arrived: by receiver.
        now: the present moment.

    Raises:
        StateError: it cannot be written.
    """
    with remembered(stack, TABLES) as memory:
        for receiver, notices in arrived.items():
            for notice in notices:
                _note_one(memory, receiver, notice, now)


def note_reached(stack: str, reached: Iterable[str], failed: Mapping[str, str], now: datetime) -> None:
    """Remembers who could be reached and who could not. To whom nothing was sent is neither.

    Args:
        stack: name of the stack.
        reached: receivers that took all that was sent to them.
        failed: receiver to the reason, without secrets.
        now: the present moment.

    Raises:
        StateError: it cannot be written.
    """
    with remembered(stack, TABLES) as memory:
        memory.executemany("DELETE FROM receivers_failing WHERE receiver = ?", [(name,) for name in reached])
        for receiver, reason in failed.items():
            memory.execute(
                "INSERT INTO receivers_failing VALUES (?, ?, ?) ON CONFLICT (receiver) DO UPDATE SET reason = excluded.reason",
                (receiver, now.timestamp(), reason),
            )


def _note_one(memory: Connection, receiver: str, notice: Notice, now: datetime) -> None:
    problem = notice.problem
    if notice.what == "ended":
        memory.execute("DELETE FROM notices WHERE receiver = ? AND key = ?", (receiver, problem.key))
        return
    memory.execute(
        "INSERT OR REPLACE INTO notices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            receiver,
            problem.key,
            problem.level,
            problem.repository,
            problem.source,
            problem.sentence,
            problem.hint,
            notice.since.timestamp(),
            now.timestamp(),
        ),
    )


def failing(stack: str, receivers: Iterable[str]) -> tuple[Problem, ...]:
    """Who could not be told at the last try, for `status`. Nothing is made where nothing is remembered.

    Args:
        stack: name of the stack.
        receivers: names of the entries in `notify`; what is remembered of others is left out.

    Raises:
        StateError: it cannot be read.
    """
    if not state_path(stack).exists():
        return ()
    with remembered(stack, TABLES) as memory:
        rows = memory.execute("SELECT * FROM receivers_failing ORDER BY receiver").fetchall()
    known = set(receivers)
    return tuple(_failing(row) for row in rows if row["receiver"] in known)


def _failing(row: Row) -> Problem:
    since = datetime.fromtimestamp(row["since"], UTC)
    return Problem(
        f"notify:{row['receiver']}",
        "warning",
        "",
        "",
        f"notices to {row['receiver']} do not arrive since {since:%Y-%m-%d %H:%M} UTC: {row['reason']}",
        f"`recoup notify test {row['receiver']}` tries again.",
    )
