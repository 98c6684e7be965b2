"""What a restore is about to do on a server, written down first, so that the next run can take back what a killed one left."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from recoup.model.structs import Struct
from recoup.system.journal import Journal, abandoned

PURPOSE = "qdrant-restore"
"""Name of the journals."""


class Making(Struct):
    """A collection is about to be made.

    Attributes:
        url: of the server.
        name: of the collection.
        mark: alias that leads to it as long as it is half made.
        body: what it is created with.
    """

    url: str
    name: str
    mark: str
    body: Mapping[str, Any]


class Replacing(Struct):
    """A collection is about to be deleted, and its name made an alias of the restored one, which is whole and checked.

    Attributes:
        url: of the server.
        name: of the collection that goes.
        into: of the restored one.
        aliases: that are made together with it.
        mark: alias that is removed with it.
    """

    url: str
    name: str
    into: str
    aliases: tuple[str, ...]
    mark: str


class Keeping(Struct):
    """A folder is about to get the copy of a collection that will be deleted.

    Attributes:
        url: of the server.
        folder: where.
    """

    url: str
    folder: str


class Writing(Struct):
    """Points are being written one by one into a half-made collection: how far that has come.

    Attributes:
        url: of the server.
        into: the collection.
        mark: alias that leads to it as long as it is half made.
        name: the name that was asked for.
        record: SHA-256 of what is restored, hex.
        done: points written, in the order in which the same record yields them again.
    """

    url: str
    into: str
    mark: str
    name: str
    record: str
    done: int


Intent = Making | Replacing | Keeping | Writing
_KINDS: dict[str, type[Making] | type[Replacing] | type[Keeping] | type[Writing]] = {
    "writing": Writing,
    "making": Making,
    "replacing": Replacing,
    "keeping": Keeping,
}


class Intents:
    """The intents of one run.

    Args:
        journal: where they are written.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def add(self, intent: Intent) -> None:
        """Writes one down, durably."""
        kind = next(name for name, one in _KINDS.items() if isinstance(intent, one))
        self._journal.add({"what": kind, **asdict(intent)})

    def __iter__(self) -> Iterator[Intent]:
        """Those that can be read, in order."""
        for fields in self._journal.intents():
            kind = _KINDS.get(str(fields.pop("what", "")))
            if kind is not None and (intent := _read(kind, fields)) is not None:
                yield intent

    @property
    def changed(self) -> float:
        """When something was last written down, in seconds since the epoch; 0 when nothing was."""
        try:
            return self._journal.path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def forget(self) -> None:
        """Everything was done, or taken back."""
        self._journal.forget()


def _read(kind: Any, fields: dict[str, Any]) -> Intent | None:
    if "aliases" in fields:
        fields["aliases"] = tuple(fields["aliases"])
    try:
        intent: Intent = kind(**fields)
    except TypeError:
        return None
    return intent


def begin() -> Intents:
    """Those of a new run."""
    return Intents(Journal.begin(PURPOSE))


def left_behind() -> Iterable[Intents]:
    """Those of runs that are dead."""
    return [Intents(journal) for journal in abandoned(PURPOSE)]
