"""A snapshot that the server makes and keeps in its folder: of one shard, or of all that a node has of a collection.

It stands still between the request and the answer. The server gives its SHA-256 (not with S3 as its storage), its bytes can be
asked for again from where a connection broke, and it is deleted there when it is here.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from recoup.errors import InterruptedRunError
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._faults import ServerError, UnreachableError
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._leftovers import Request, possible_names
from recoup.sources.qdrant._record import Method
from recoup.sources.qdrant._spool import Spool
from recoup.sources.qdrant._taking import Item, Surroundings, Taken

_SECOND = 1.1  # seconds until the server's clock shows another second for certain
_POLL = 0.5  # seconds between two looks at the list
_BREAKS = 5  # times that a download may break without a byte in between

Description = Mapping[str, Any]
"""What the server says of a snapshot: name, size in bytes, SHA-256."""


class Stored:
    """One try to have a snapshot made and to download it."""

    def __init__(self, item: Item, node: Node, around: Surroundings) -> None:
        self._item, self._node, self._around = item, node, around
        name = item.collection.name
        if item.shard is None:
            self._folder = at("collections", name, "snapshots")
            self._stem = f"{name}-{node.peer or _only_peer(item)}"
        else:
            self._folder = at("collections", name, "shards", item.shard, "snapshots")
            self._stem = f"{name}-shard-{item.shard}"
        self._spool = Spool(around.file(), item.what, item.shard or 0)
        self._request: Request | None = None
        self._etag = ""
        self._description: Description = {}

    def look(self) -> None:
        """Nothing has to be known beforehand."""

    def freeze(self) -> None:
        """Has it made."""
        server, clock = self._node.server, self._around.site.clock
        request = self._request = Request(server.url, self._folder, self._free_names(), self._item.collection.name)
        self._around.ours.asked(request)
        self._first = clock.now()
        try:
            self._description = self._made(request)
        except UnreachableError:
            raise  # it may still be made: what was written down stays
        except ServerError:
            self._around.ours.gone(request)
            self._request = None
            raise
        self._last = clock.now()
        self._around.ours.made(request, str(self._description["name"]))

    def _free_names(self) -> tuple[str, ...]:
        """The names that it can get. One that is there already would be overwritten, so its second is waited for to end."""
        while True:
            there = {str(entry["name"]) for entry in self._list()}
            names = possible_names(self._stem, self._node.server.now)
            if not there.intersection(names):
                return names
            self._around.site.clock.sleep(_SECOND)

    def _list(self) -> list[Description]:
        return list(self._node.server.get(self._folder) or ())

    def _made(self, request: Request) -> Description:
        server = self._node.server
        if self._around.options.max_request is not None:
            server.post(f"{self._folder}?wait=false")
            return self._awaited(request)
        answer = server.post(f"{self._folder}?wait=true", wait=None)
        if not isinstance(answer, dict) or not answer.get("name"):
            raise ServerError(f"{server.url} made a snapshot of {self._item.what} and did not tell its name")
        return answer

    def _awaited(self, request: Request) -> Description:
        """One made in the background: the server tells neither its name nor a failure, so the list is watched.

        It is whole when it has its checksum, or (with S3, which knows none) when its size stays.
        """
        clock = self._around.site.clock
        end = clock.monotonic() + self._around.options.create_timeout
        before: Description = {}
        while clock.monotonic() < end:
            found = next((entry for entry in self._list() if entry["name"] in request.names), None)
            if found and (found.get("checksum") or found == before):
                return found
            before = found or {}
            clock.sleep(_POLL)
        raise UnreachableError(
            f"{self._node.server.url} did not make a snapshot of {self._item.what} in time",
            "See its log: it tells nobody when this fails, for example because its disk is full.",
        )

    def fetch(self) -> Taken:
        """Downloads it, going on where the connection broke, and deletes it there."""
        name = str(self._description["name"])
        self._download(f"{self._folder}{at(name)}")
        size = self._description.get("size")
        spooled = self._spool.finish(
            size if isinstance(size, int) else None, str(self._description.get("checksum") or "")
        )
        self._spool.keep()
        self._drop()
        method: Method = "collection" if self._item.shard is None else "stored"
        return Taken(self._item, method, self._node, self._first, self._last, spooled, name)

    def _download(self, path: str) -> None:
        breaks = 0
        while True:
            before = self._spool.size
            try:
                if self._more(path):
                    return
            except UnreachableError:
                breaks = 0 if self._spool.size > before else breaks + 1
                if breaks >= _BREAKS:
                    raise

    def _more(self, path: str) -> bool:
        """Reads on from what is here, or from the beginning where the server serves no ranges or has another file now.

        Returns:
            False when what came is not the rest of what is here: it has to be asked for from its beginning.
        """
        patience, known = self._around.options.stall_timeout, self._etag
        with self._node.server.download(path, start=self._spool.size, etag=known, wait=patience) as download:
            self._etag = download.etag
            if self._spool.size and (download.start != self._spool.size or download.etag != known):
                self._spool.restart()
            if download.start != self._spool.size:
                return False
            for block in download.blocks:
                self._spool.write(block)
                self._around.passing.add(len(block))
            return True

    def _drop(self) -> None:
        """Deletes it on the server; where that fails now, it is tried again in the end."""
        if self._request is not None:
            with contextlib.suppress(ServerError, InterruptedRunError):
                self._around.ours.delete(self._node.server, self._request)

    def close(self) -> None:
        """Drops what came, where it was not whole, and the server's copy with it."""
        self._spool.remove()
        self._drop()


def _only_peer(item: Item) -> int | None:
    """The peer id of a server alone, which its snapshots bear, too."""
    return next((copy.peer for shard in item.collection.shards for copy in shard.replicas), None)
