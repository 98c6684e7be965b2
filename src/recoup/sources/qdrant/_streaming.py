"""One shard as a stream: nothing is stored on the server, and nothing tells that it failed there but its content.

It stands still from the request on: the server holds back all changes of the shard before it sends the first byte. The list of
its segments (`.../snapshot/partial/manifest`, since 1.14.1) is read before and after, and what both name has to be in the stream.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from recoup.errors import DamagedError
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._exchange import Download
from recoup.sources.qdrant._faults import ForbiddenError, MissingError
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._shard_tar import Contents
from recoup.sources.qdrant._spool import Spool, Spooled
from recoup.sources.qdrant._taking import Item, Surroundings, Taken

Listed = Mapping[str, Any]
"""Segment id to what the server says of it; `file_versions` has its files."""


class Streamed:
    """One try to stream a shard."""

    def __init__(self, item: Item, node: Node, around: Surroundings) -> None:
        self._item, self._node, self._around = item, node, around
        self._path = at("collections", item.collection.name, "shards", item.shard or 0, "snapshot")
        self._open = contextlib.ExitStack()
        self._spool = Spool(around.file(), item.what, item.shard or 0)
        self._blocks: Iterator[bytes] = iter(())
        self._first: datetime | None = None
        self._before: Listed | None = None
        self._after: Listed | None = None
        self._head = b""

    def look(self) -> None:
        """Reads the list of segments, so that all streams can be asked for at the same time afterwards."""
        self._before = self._listed()

    def freeze(self) -> None:
        """Asks, and waits for the first byte."""
        if self._before is None:
            self.look()
        clock = self._around.site.clock
        self._first = clock.now()
        download = self._open.enter_context(self._asked(self._around.options.stall_timeout))
        self._blocks = download.blocks
        self._head = next(self._blocks, b"")
        self._last = clock.now()

    def _asked(self, patience: float) -> contextlib.AbstractContextManager[Download]:
        return self._node.server.download(self._path, wait=patience)

    def fetch(self) -> Taken:
        """Reads it to the end, at once: the server cuts a reader that stalls for five minutes."""
        self._read_into(self._spool)
        spooled = self._spool.finish(None, "")
        return self._kept(spooled, self._compare(spooled.contents))

    def _read_into(self, spool: Spool) -> None:
        for block in itertools.chain((self._head,), self._blocks):
            spool.write(block)
            self._around.passing.add(len(block))

    def _kept(self, spooled: Spooled, unchecked: str) -> Taken:
        """What was taken; its file stays."""
        self._spool.keep()
        first, increments = self._first or self._last, self._around.increments
        held = spooled.contents.shards[self._item.shard or 0]
        increment = increments.begun(self._before, held, first) if increments else None
        taken = Taken(self._item, "stream", self._node, first, self._last, spooled, unchecked=unchecked)
        return replace(taken, increment=increment)

    def _compare(self, contents: Contents) -> str:
        """Demands what the server listed; returns why nothing could be demanded."""
        after = self._after = self._listed()
        if self._before is None or after is None:
            return "the server does not tell which segments there are (the key may not ask, or it is older than 1.14.1)"
        agreed = agreed_files(self._before, after)
        if self._before and not agreed:
            raise DamagedError(f"{self._item.what}: its segments were all replaced while they were read")
        lacking = missing_files(agreed, contents.shards[self._item.shard or 0].segments)
        if lacking:
            raise DamagedError(f"{self._item.what}: the stream lacks {lacking[0]} (and {len(lacking) - 1} more)")
        return ""

    def _listed(self) -> Listed | None:
        try:
            answer = self._node.server.get(f"{self._path}/partial/manifest")
        except (ForbiddenError, MissingError):
            return None
        return answer if isinstance(answer, dict) else None

    def close(self) -> None:
        """Breaks the stream off, where it was not read to its end; then what came of it goes, too."""
        self._open.close()
        self._spool.remove()


def agreed_files(before: Listed, after: Listed) -> dict[str, frozenset[str]]:
    """Segment to its files, as far as both lists name them: what was replaced meanwhile may or may not be in the stream."""
    return {segment: _files(before[segment]) & _files(after[segment]) for segment in before.keys() & after.keys()}


def _files(segment: Any) -> frozenset[str]:
    versions = segment.get("file_versions") if isinstance(segment, dict) else None
    return frozenset(versions or ())


def missing_files(listed: Mapping[str, frozenset[str]], found: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What was listed and did not come."""
    missing = []
    for segment, files in sorted(listed.items()):
        if segment not in found:
            missing.append(f"segment {segment}")
        else:
            missing += [f"{segment}/{name}" for name in sorted(files - found[segment].keys())]
    return missing
