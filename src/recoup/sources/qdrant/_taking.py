"""What every way of taking a snapshot shares: where it is taken, when it stood still, and what came of it."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from recoup.model.events import Progress
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._base import Site
from recoup.sources.qdrant._increments import Increments
from recoup.sources.qdrant._inventory import Collection, Node
from recoup.sources.qdrant._leftovers import Ours
from recoup.sources.qdrant._options import Options
from recoup.sources.qdrant._points_file import Tally
from recoup.sources.qdrant._record import IncrementRecord, Method
from recoup.sources.qdrant._spool import Spooled

_STEP = 4 * 1024 * 1024  # bytes between two pieces of news


class Item(Struct):
    """What one snapshot is of.

    Attributes:
        collection: whose.
        shard: the shard's number; None for all that a node has of the collection.
        nodes: where a good copy is, the one to ask first first.
    """

    collection: Collection
    shard: int | None
    nodes: tuple[Node, ...]

    @property
    def what(self) -> str:
        """What it is called in messages."""
        name = f"collection {shown(self.collection.name)}"
        return name if self.shard is None else f"{name} shard {self.shard}"


class Taken(Struct):
    """A snapshot that was taken whole.

    Attributes:
        item: what it is of.
        method: how.
        node: from where.
        first: when its freeze began (UTC): it shows a moment between `first` and `last`.
        last: when it ended.
        spooled: the file.
        name: the name that the server gave it; empty for a stream.
        unchecked: why its segments could not be compared with the server's own list; empty when they were, or need not be.
        tally: points and digest of their ids, of points that were read one by one.
        increment: what the next one can build on.
    """

    item: Item
    method: Method
    node: Node
    first: datetime
    last: datetime
    spooled: Spooled
    name: str = ""
    unchecked: str = ""
    tally: Tally | None = None
    increment: IncrementRecord | None = None


class Taking(Protocol):
    """One try to take a snapshot."""

    def look(self) -> None:
        """Asks what has to be asked before anything stands still."""
        ...

    def freeze(self) -> None:
        """Returns when it stands still.

        Raises:
            ServerError: the server refuses or cannot be reached.
            DamagedError: what it answers is not to be trusted.
        """
        ...

    def fetch(self) -> Taken:
        """Brings it here.

        Raises:
            ServerError: the server refuses or cannot be reached.
            DamagedError: what came is not whole.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds; after an error also what came so far."""
        ...


@dataclass
class Passing:
    """Bytes that came so far, told now and then. May be used by several threads."""

    site: Site
    total: int | None = None
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        """Counts."""
        with self._lock:
            before, self.done = self.done, self.done + count
            if before // _STEP != self.done // _STEP:
                self.site.emit(Progress(f"read {self.site.name}", self.done, self.total))

    def finish(self) -> None:
        """Says that all is here."""
        with self._lock:
            self.site.emit(Progress(f"read {self.site.name}", self.done, self.total, finished=True))


class Surroundings(Struct):
    """What taking needs to know besides its item.

    Attributes:
        options: the settings.
        site: clock and news.
        folder: where files go.
        ours: snapshots that we have made on servers.
        passing: bytes that came.
        increments: what earlier snapshots there are to build on; None where every one is to be full.
    """

    options: Options
    site: Site
    folder: Path
    ours: Ours
    passing: Passing
    increments: Increments | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _files: list[Path] = field(default_factory=list)

    def file(self) -> Path:
        """A name for a new file."""
        with self._lock:
            path = self.folder / f"{len(self._files)}.snapshot"
            self._files.append(path)
            return path
