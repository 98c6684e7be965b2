"""One shard as a stream of what changed since an earlier set, made into a whole snapshot here.

`POST .../snapshot/partial/create` (since 1.14.1) is told what is there, and freezes the shard as a full stream does. Where
nothing changed the server answers 304, and the snapshot is the earlier one. The result is checked like every stream, and compared
with the lists of files that the server gave before and after; whatever is doubtful makes the next try a full one.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import NoReturn

from recoup.errors import InterruptedRunError, RecoupError
from recoup.model.structs import Struct
from recoup.sources._staged import Readable
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._exchange import Download
from recoup.sources.qdrant._faults import ServerError
from recoup.sources.qdrant._increments import Increments, PastShard, TakenFrom
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._manifests import DoubtfulError, Manifest, same
from recoup.sources.qdrant._merging import merged
from recoup.sources.qdrant._spool import Spool, Spooled
from recoup.sources.qdrant._streaming import Streamed
from recoup.sources.qdrant._taking import Item, Surroundings, Taken

_PIECE = 1 << 20  # bytes read at once


class Incremental(Streamed):
    """One try; a full stream where there is nothing to build on."""

    def __init__(self, item: Item, node: Node, around: Surroundings, increments: Increments) -> None:
        super().__init__(item, node, around)
        self._increments = increments
        self._past: PastShard | None = None
        self._unchanged = False

    def look(self) -> None:
        """Reads the list of segments, and looks whether what an earlier set has can be built on."""
        super().look()
        server = self._node.server
        taken_from = TakenFrom(self._item.collection.name, self._item.shard or 0, server.url, self._node.peer)
        self._past = self._increments.take(taken_from, self._before)

    def _asked(self, patience: float) -> contextlib.AbstractContextManager[Download]:
        if self._past is None:
            return super()._asked(patience)
        known = self._past.increment.manifest
        return self._node.server.download(f"{self._path}/partial/create", body=known, wait=patience)

    def freeze(self) -> None:
        """Asks, and waits for the first byte, or for the word that nothing changed."""
        try:
            super().freeze()
        except ServerError as error:
            if self._past is None:
                raise
            if error.status != HTTPStatus.NOT_MODIFIED:
                self._give_up(error)
            self._last = self._around.site.clock.now()
            self._unchanged = True

    def fetch(self) -> Taken:
        """Reads what changed, and makes the whole of it."""
        if self._past is None:
            return super().fetch()
        try:
            return self._made(self._past)
        except InterruptedRunError:
            raise
        except (RecoupError, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: RecoupError | OSError) -> NoReturn:
        self._increments.tell_full(self._item.what, str(error))
        if isinstance(error, ServerError):
            raise error
        raise DoubtfulError(str(error)) from error

    def _made(self, past: PastShard) -> Taken:
        came = 0
        if self._unchanged:
            spooled, manifest = self._copied(past), past.increment.manifest
        else:
            with self._changes() as changes:
                came = changes.size
                spooled, manifest = self._merged(past, changes)
        if unchecked := self._compare(spooled.contents):
            raise DoubtfulError(unchecked)
        if self._unchanged and not same(self._after or {}, past.increment.manifest):
            raise DoubtfulError("the server said that nothing changed, and lists other files than before")
        increment = past.grown(manifest, spooled.contents.shards[self._item.shard or 0].segments)
        self._increments.tell_merged(self._item.what, came, spooled.size)
        return replace(self._kept(spooled, ""), increment=increment)

    @contextlib.contextmanager
    def _changes(self) -> Iterator[Spooled]:
        """The partial snapshot in a file of its own, for as long as it is needed."""
        spool = Spool(self._around.file(), f"what changed in {self._item.what}", self._item.shard or 0)
        try:
            self._read_into(spool)
            changes = spool.finish(None, "")
            if changes.contents.form != "partial":
                raise DoubtfulError("the server sent something else than what changed")
            yield changes
        finally:
            spool.remove()

    def _merged(self, past: PastShard, changes: Spooled) -> tuple[Spooled, Manifest]:
        held = changes.contents.shards[self._item.shard or 0]
        with self._earlier(past) as reader:
            self._write(merged(past.base, reader, changes.path, held))
        return self._whole(), held.partial

    def _copied(self, past: PastShard) -> Spooled:
        """The earlier snapshot, since it is what the server has."""
        with self._earlier(past) as reader:
            self._write(_pieces(reader))
        spooled = self._whole()
        if spooled.contents.shards[self._item.shard or 0].records() != past.shard.segments:
            raise DoubtfulError(f"{past.set} does not hold what its record says")
        return spooled

    @contextlib.contextmanager
    def _earlier(self, past: PastShard) -> Iterator["_Until"]:
        with past.part.content.open() as reader:
            yield _Until(reader, self._node.server)

    def _write(self, blocks: Iterator[bytes]) -> None:
        for block in blocks:
            self._spool.write(block)

    def _whole(self) -> Spooled:
        spooled = self._spool.finish(None, "")
        if spooled.contents.form != "streamed":
            raise DoubtfulError("what was merged is no streamed snapshot")
        return spooled


class _Until(Struct):
    """Reads on until the capture is stopped."""

    reader: Readable
    server: Server

    def read(self, size: int, /) -> bytes:
        if self.server.stopped:
            raise InterruptedRunError("stopped")
        return self.reader.read(size)


def _pieces(reader: Readable) -> Iterator[bytes]:
    while data := reader.read(_PIECE):
        yield data


def streaming(item: Item, node: Node, around: Surroundings) -> Streamed:
    """A try to stream a shard: what changed alone, where the settings want that."""
    if around.increments is None:
        return Streamed(item, node, around)
    return Incremental(item, node, around, around.increments)
