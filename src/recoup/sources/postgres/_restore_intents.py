"""Databases that a run is about to make for a time, written down first, so that the next run can drop what a killed one left."""

from collections.abc import Iterator

from recoup.system.journal import Journal, abandoned

PURPOSE = "postgres-scratch"
"""Name of the journals: each line has the `server` (its system identifier) and the database's `name`; one that comes after the
present database was dropped has `dropped`, its name."""


class Intents:
    """Those of one run.

    Args:
        server: the server's system identifier.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._journal = Journal.begin(PURPOSE)
        self._open: set[str] = set()

    def make(self, name: str) -> None:
        """A database is about to be made."""
        self._open.add(name)
        self._journal.add({"server": self._server, "name": name})

    def dropped(self, name: str) -> None:
        """The present database is about to be dropped, before the new one is whole."""
        self._open.add(name)
        self._journal.add({"server": self._server, "name": name, "dropped": True})

    def settle(self, name: str) -> None:
        """It has its final place, or is gone; what a dropped one's end was is known."""
        self._open.discard(name)
        if not self._open:
            self._journal.forget()


def any_left() -> bool:
    """Whether a killed run left anything, on any server."""
    return bool(abandoned(PURPOSE))


class Left:
    """What a killed run left on one server.

    Attributes:
        made: databases that it may have made, none of which is in its final place.
        dropped: databases that it may have dropped without having put another one there.
    """

    def __init__(self, journal: Journal, server: str) -> None:
        intents = list(journal.intents())
        here = [intent for intent in intents if intent.get("server") == server and isinstance(intent.get("name"), str)]
        self.made = [str(intent["name"]) for intent in here if not intent.get("dropped")]
        self.dropped = [str(intent["name"]) for intent in here if intent.get("dropped")]
        self._journal, self._alone = journal, len(here) == len(intents)

    def forget(self) -> None:
        """It was taken back; what is on other servers stays written down."""
        if self._alone:
            self._journal.forget()


def left_behind(server: str) -> Iterator[Left]:
    """What killed runs left on the server of this system identifier."""
    for journal in abandoned(PURPOSE):
        left = Left(journal, server)
        if left.made or left.dropped or not list(journal.intents()):
            yield left
