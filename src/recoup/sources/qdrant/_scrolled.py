"""A collection taken point by point: needs the right to read alone, and shows no single moment."""

import hashlib
from datetime import datetime
from pathlib import Path

from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._points_file import Header
from recoup.sources.qdrant._scrolling import opened, scrolled, write_points
from recoup.sources.qdrant._shard_tar import Contents
from recoup.sources.qdrant._spool import Spooled
from recoup.sources.qdrant._taking import Item, Surroundings, Taken

_BLOCK = 1024 * 1024


class Scrolled:
    """One try to read all points of a collection."""

    def __init__(self, item: Item, node: Node, around: Surroundings) -> None:
        self._item, self._node, self._around = item, node, around
        self._path = around.file()
        self._first: datetime | None = None

    def look(self) -> None:
        """Nothing has to be known beforehand."""

    def freeze(self) -> None:
        """Nothing stands still: this is where the interval begins."""
        self._first = self._around.site.clock.now()

    def fetch(self) -> Taken:
        """Reads all points."""
        options, collection, server = self._around.options, self._item.collection, self._node.server
        header = Header(collection.name, server.version, collection.config, collection.payload_schema)
        with opened(server, collection.name, api_key=options.key, grpc_port=options.grpc_port) as reader:
            tally = write_points(self._path, header, scrolled(reader, collection.shard_keys))
        last = self._around.site.clock.now()
        spooled = Spooled(self._path, self._path.stat().st_size, _sha256(self._path), Contents())
        self._around.passing.add(spooled.size)
        return Taken(self._item, "scroll", self._node, self._first or last, last, spooled, tally=tally)

    def close(self) -> None:
        """`write_points` leaves no half file."""


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
