"""Snapshots that a run makes on a server, written down before they are made, so that they go in any case.

A name is given by the server when it begins: the collection, the shard or peer, and the second by its own clock. So the names
that the request can get are known before it is sent, and after a kill the next run finds the file by them. Nothing else is ever
deleted.
"""

import contextlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from recoup.errors import InterruptedRunError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import MissingError, ServerError, SilentError
from recoup.sources.qdrant._metrics import creations
from recoup.system.journal import Journal, abandoned

PURPOSE = "qdrant-snapshots"

_SECONDS = 3  # that the server's clock may go on between being asked and giving the name


def possible_names(stem: str, now: datetime) -> tuple[str, ...]:
    """The names that a snapshot asked for now can get.

    Args:
        stem: what comes before the time, e.g. `docs-shard-0`.
        now: the server's own time.
    """
    times = [now + timedelta(seconds=number) for number in range(_SECONDS)]
    return tuple(f"{stem}-{time:%Y-%m-%d-%H-%M-%S}.snapshot" for time in times)


class Request(Struct):
    """A snapshot that was asked for.

    Attributes:
        server: URL of the node.
        folder: path of the list that it appears in, e.g. `/collections/docs/shards/0/snapshots`.
        names: names that it can get, and that nothing had before.
        collection: whose it is.
    """

    server: str
    folder: str
    names: tuple[str, ...]
    collection: str


class Ours:
    """The snapshots of one run. May be used by several threads."""

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._lock = threading.Lock()
        self._open: dict[Request, str] = {}

    def asked(self, request: Request) -> None:
        """Writes down a request, before it is sent."""
        with self._lock:
            if self._journal is None:
                self._journal = Journal.begin(PURPOSE)
            self._journal.add(asdict(request))
            self._open[request] = ""

    def made(self, request: Request, name: str) -> None:
        """Writes down the name that it got."""
        with self._lock:
            if self._journal is not None:
                self._journal.add({"server": request.server, "folder": request.folder, "made": name})
            self._open[request] = name

    def gone(self, request: Request) -> None:
        """Says that there is nothing of it any more: it failed, or it was deleted."""
        with self._lock:
            self._open.pop(request, None)

    def delete(self, server: Server, request: Request) -> None:
        """Deletes one as soon as it is not needed any more; one whose name nobody told may still be made, and goes in the end.

        Raises:
            ServerError: it could not be deleted; the next run tries again.
        """
        name = self._open.get(request, "")
        if name:
            _delete(server, request.folder, name)
            self.gone(request)

    def delete_all(self, servers: Mapping[str, Server], *, hurry: bool) -> tuple[str, ...]:
        """Deletes what is left; returns what could not be deleted, as sentences. The journal keeps those for the next run.

        Args:
            servers: node URL to the node; each is asked by new connections.
            hurry: True when the user waits for us to end.
        """
        failed = []
        for request, name in list(self._open.items()):
            limit = 1.0 if hurry else None
            with servers[request.server].again(timeout=limit, connect_timeout=limit) as server:
                try:
                    if _take_back(server, request.folder, name, request.names) or name:
                        self.gone(request)
                    else:
                        failed.append(f"{shown(request.names[0])} may still be made by {request.server}")
                except (ServerError, InterruptedRunError) as error:
                    failed.append(f"{shown(name or request.names[0])} stays on {request.server} for now: {error}")
                    if hurry:
                        break
        if self._journal is not None and not self._open:
            self._journal.forget()
            self._journal = None
        return tuple(failed)


def left_behind(servers: Mapping[str, Server]) -> tuple[str, ...]:
    """What killed runs left on these nodes, a sentence for each; deletes nothing.

    Args:
        servers: node URL to the node.
    """
    left = [one for journal in abandoned(PURPOSE) for one in _left(journal.intents())]
    names = [(one, _present(servers[one.server], one)) for one in left if one.server in servers]
    return tuple(f"{shown(name)} on {one.server}, which a killed backup left there" for one, name in names if name)


def _present(server: Server, left: "_Left") -> str:
    """Name of a request's snapshot; empty when there is none."""
    try:
        there = {str(entry.get("name")) for entry in server.get(left.folder) or ()}
    except MissingError:
        return ""
    return next((name for name in ((left.made,) if left.made else left.names) if name in there), "")


def take_back(servers: Mapping[str, Server]) -> tuple[str, ...]:
    """Deletes what killed runs left on these nodes; returns a sentence for each.

    Args:
        servers: node URL to the node.
    """
    told: list[str] = []
    for journal in abandoned(PURPOSE):
        left = _left(journal.intents())
        if not all(one.server in servers for one in left):
            continue  # it belongs to another server, whose own run will find it
        with contextlib.suppress(ServerError):
            settled = [_settled(one, servers[one.server], told) for one in left]
            if all(settled):
                journal.forget()
    return tuple(told)


def _settled(one: "_Left", server: Server, told: list[str]) -> bool:
    """Deletes what one request left; False while the server may still be making it."""
    deleted = _take_back(server, one.folder, one.made, one.names)
    told += [f"deleted {shown(name)} on {one.server}, which a killed backup had left there" for name in deleted]
    return bool(deleted or one.made or not creations([server], [one.collection]))


@dataclass
class _Left:
    """A request as the journal tells it."""

    server: str
    folder: str
    names: tuple[str, ...]
    collection: str
    made: str = ""


def _left(intents: Iterable[Mapping[str, Any]]) -> list[_Left]:
    left: list[_Left] = []
    for intent in intents:
        server, folder = str(intent.get("server")), str(intent.get("folder"))
        if "names" in intent:
            left.append(_Left(server, folder, tuple(map(str, intent["names"])), str(intent.get("collection"))))
            continue
        for one in reversed(left):
            if (one.server, one.folder) == (server, folder):
                one.made = str(intent.get("made", ""))
                break
    return left


def _take_back(server: Server, folder: str, made: str, names: Iterable[str]) -> list[str]:
    """Deletes the snapshot of one request: the one it got, or the first of those that it can have got."""
    if made:
        return [made] if _delete(server, folder, made) else []
    try:
        there = {str(entry.get("name")) for entry in server.get(folder) or ()}
    except MissingError:
        return []
    found = next((name for name in names if name in there), "")
    return [found] if found and _delete(server, folder, found) else []


def _delete(server: Server, folder: str, name: str) -> bool:
    """Whether there was something to delete."""
    try:
        server.delete(f"{folder}{at(name)}")
    except MissingError:
        return False
    except SilentError:
        return True  # deleting goes on without us
    return True
