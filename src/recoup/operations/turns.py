"""Which part of a repository's bytes a verification reads next, so that every byte is read in the course of several.

Files stand on a ring by a hash of their names. Each verification of a part goes on where the last one ended: there stands what
was read longest ago. This machine remembers it (`system/statefile.py`); when that is lost, the next one begins anywhere.
"""

import random
from collections.abc import Sequence
from datetime import datetime

from recoup.model.events import Event, Level
from recoup.model.structs import Struct
from recoup.repository._base import Subset
from recoup.system.statefile import remembered

_TABLES = """\
CREATE TABLE IF NOT EXISTS verify_turns (repository TEXT NOT NULL, sets TEXT NOT NULL, at TEXT NOT NULL, begin REAL NOT NULL,
  share REAL NOT NULL);
"""


class Turn(Struct):
    """One verification of a part.

    Attributes:
        at: when it ended (UTC).
        begin: where on the ring it began (0.0 to 1.0).
        share: of the ring.
    """

    at: datetime
    begin: float
    share: float


class Turns(Struct):
    """What this machine remembers of the verifications of parts.

    Attributes:
        stack: the stack's name.
        repository: which repository.
        sets: what was asked for; empty for all sets. Each has turns of its own.
    """

    stack: str
    repository: str
    sets: str = ""

    def begin(self) -> float:
        """Where the next one begins: where the last one ended, else anywhere.

        Raises:
            StateError: nothing can be remembered here.
        """
        turns = self.read()
        if not turns:
            return random.random()  # noqa: S311 - no secret
        return (turns[-1].begin + turns[-1].share) % 1.0

    def read(self) -> list[Turn]:
        """The last ones, the oldest first. Raises as `begin` does."""
        with remembered(self.stack, _TABLES) as connection:
            rows = connection.execute(
                "SELECT at, begin, share FROM verify_turns WHERE repository = ? AND sets = ? ORDER BY rowid", self._key
            ).fetchall()
        return [Turn(datetime.fromisoformat(row["at"]), row["begin"], row["share"]) for row in rows]

    def read_now(self, subset: Subset, now: datetime, unread: int = 0) -> Event:
        """Remembers that a part was read, and says how far this has come.

        Args:
            subset: what was read.
            now: the present moment (UTC).
            unread: sets of which nobody knows what belongs to them, so that nothing was read.

        Raises:
            StateError: as `begin` does.
        """
        kept = last_round([*self.read(), Turn(now, subset.begin, subset.share or 0.0)])
        with remembered(self.stack, _TABLES) as connection:
            connection.execute("DELETE FROM verify_turns WHERE repository = ? AND sets = ?", self._key)
            connection.executemany(
                "INSERT INTO verify_turns VALUES (?, ?, ?, ?, ?)",
                [(*self._key, one.at.isoformat(), one.begin, one.share) for one in kept],
            )
        return _told(kept, self.repository, now, unread)

    @property
    def _key(self) -> tuple[str, str]:
        return self.repository, self.sets


def last_round(turns: Sequence[Turn]) -> list[Turn]:
    """The newest ones that together read everything; all of them while they have not. Pure."""
    share, kept = 0.0, list[Turn]()
    for turn in reversed(turns):
        kept.insert(0, turn)
        share += turn.share
        if share >= 1:
            break
    return kept


def _told(kept: Sequence[Turn], repository: str, now: datetime, unread: int) -> Event:
    share = min(1.0, sum(turn.share for turn in kept))
    since = f"{kept[0].at:%Y-%m-%d}"
    text = f"every byte of {repository} was read since {since}"
    if share < 1:
        text = f"{share:.0%} of the bytes of {repository} were read since {since}; the others come in turn"
    text += f"; {unread} of its sets cannot be read at all" if unread else ""
    fields = {"repository": repository, "share": round(share, 4), "since": kept[0].at.isoformat(), "unread": unread}
    return Event("bytes_read", now, text, Level.WARNING if unread else Level.INFO, fields=fields)
