"""Collections of a backup or a bare snapshot, opened without a server: counted, listed, searched.

    with SnapshotFile("docs-4667856484918545-2026-11-20-02-00-00.snapshot") as docs:
        print(docs.count({"must": [{"key": "kind", "match": {"value": "page"}}]}))
        for point in docs.scroll(with_vectors=True):
            ...

The files are unpacked into a temporary folder, as Qdrant's engine writes into what it loads; they themselves are only read.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from recoup.errors import UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.qdrant import _pieces
from recoup.sources.qdrant._gathering import Gathering, gather
from recoup.sources.qdrant._insight import insight
from recoup.sources.qdrant._opened import DEFAULT, Filter, Limits, OpenShards, opened
from recoup.sources.qdrant._pieces import Piece, Pieces
from recoup.sources.qdrant._points_file import Point, PointsReader
from recoup.sources.qdrant._record import ShardKey
from recoup.sources.qdrant._shards import PointId
from recoup.system.tempdirs import temporary_folder

PathLike = str | os.PathLike[str]
"""What a file or folder may be named by."""


class Shard(Struct):
    """A shard of an opened collection.

    Attributes:
        id: its number.
        key: its shard key; None without custom sharding.
        points: how many, exactly.
        segments: how many, as the engine sees them.
        indexed_vectors: vectors in a graph; operations in flight may make them more than the points.
        payload_schema: field name to the parameters of its index.
    """

    id: int
    key: ShardKey | None
    points: int
    segments: int
    indexed_vectors: int
    payload_schema: Mapping[str, Any]


class SnapshotFile:
    """A collection in files, opened without a server. Close it, or use it in a `with`.

    Args:
        path: a snapshot of a collection or a shard (`.snapshot`, also `.zst` or `.gz`), whoever made it; several of them, of the
            nodes or shards of one collection, which are then merged; a file of points; or the folder of a collection in a set.
        collection: its name, where the folder holds several.
        limits: for the engine, which runs in a process of its own.
        staging: where to unpack; the system's temporary folder by default.
        partial: accept that shards are missing, as in one node's snapshot of a cluster's collection.
    """

    def __init__(
        self,
        path: PathLike | Sequence[PathLike],
        *,
        collection: str | None = None,
        limits: Limits = DEFAULT,
        staging: PathLike | None = None,
        partial: bool = False,
    ) -> None:
        listed = [path] if isinstance(path, str | os.PathLike) else list(path)
        if not listed:
            raise UsageError("no file was named")
        self._found = _pieces.found([Path(one) for one in listed])
        self._asked, self._limits, self._partial = collection, limits, partial
        self._staging = Path(staging) if staging is not None else None
        self._open: OpenShards | None = None
        self._gathered: Gathering | None = None
        self._resources = contextlib.ExitStack()
        if not self._wanted():
            raise UsageError(
                f"there is no collection {shown(collection or '')}", f"There are: {', '.join(self.collections)}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine, and removes what was unpacked."""
        self._open = self._gathered = None
        self._resources.close()

    @property
    def collections(self) -> tuple[str, ...]:
        """Names of the collections in the files; of bare snapshots, as their file names tell."""
        return tuple(pieces.collection for pieces in self._found)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Its shards, by number; raises as `count` does."""
        found = self._opened()
        keys, points = self._gathered.shard_keys() if self._gathered else {}, found.counts()
        return tuple(
            Shard(number, keys.get(number), points[number], about.segments, about.indexed_vectors, about.payload_schema)
            for number, about in sorted(found.about.items())
        )

    @property
    def config(self) -> Mapping[str, Any]:
        """The collection's configuration, as the server told it or its snapshot holds it; of a shard's bare snapshot its vectors.

        Raises:
            UsageError: there are several collections, and none was named.
            DamagedError: the files are damaged.
        """
        pieces = self._chosen()
        if pieces.record:
            return pieces.record.config
        if pieces.pieces[0].points:
            return _header_config(pieces.pieces[0])
        found = self._opened()
        contents = self._gathered.contents.values() if self._gathered else ()
        vectors = {"params": {"vectors": found.vectors, "sparse_vectors": found.sparse_vectors}}
        return next((one.config for one in contents if one.config), vectors)

    def count(self, filter: Filter | None = None) -> int:  # noqa: A002 - Qdrant's word
        """Points, exactly.

        Args:
            filter: Qdrant's filter in its JSON form, e.g. `{"must": [{"key": "kind", "match": {"value": "page"}}]}`.

        Raises:
            UsageError: the filter is wrong; or shards are missing, and that was not accepted.
            DamagedError: the files are damaged.
            LimitError: the engine needed more than it may take.
            UnreadableError: the engine is too old or too new for the files.
        """
        return self._opened().count(filter)

    def scroll(
        self,
        filter: Filter | None = None,  # noqa: A002 - Qdrant's word
        *,
        with_payload: bool = True,
        with_vectors: bool = False,
    ) -> Iterator[Point]:
        """Points in the order of their ids, in Qdrant's JSON form, read as they are asked for; raises as `count` does.

        Args:
            filter: which; all by default.
            with_payload: whether they have their `payload`.
            with_vectors: whether they have their `vector`.
        """
        return self._opened().scroll(filter, with_payload=with_payload, with_vectors=with_vectors)

    def get(self, ids: Sequence[PointId], *, with_payload: bool = True, with_vectors: bool = False) -> list[Point]:
        """Points by their ids, in the order asked; those that are not there are left out. Raises as `count` does."""
        return self._opened().get(ids, with_payload=with_payload, with_vectors=with_vectors)

    def search(
        self,
        query: PointId | Sequence[Any] | Mapping[str, Any],
        limit: int = 10,
        filter: Filter | None = None,  # noqa: A002 - Qdrant's word
        *,
        using: str = "",
        exact: bool = True,
        with_payload: bool = True,
        with_vectors: bool = False,
    ) -> list[Point]:
        """The points nearest to a vector or to another point, best first, each with its `score`; raises as `count` does.

        Args:
            query: a vector (numbers, rows of numbers, or `indices` and `values`), or the id of a point, which is left out itself.
            limit: how many.
            filter: among which; all by default.
            using: the vector's name; may be left out where there is only one.
            exact: compare with every point, instead of asking the index.
            with_payload: whether they have their `payload`.
            with_vectors: whether they have their `vector`.
        """
        found = self._opened()
        return found.search(
            query, limit, filter, using=using, exact=exact, with_payload=with_payload, with_vectors=with_vectors
        )

    def inspect(self) -> list[dict[str, Any]]:
        """What can be told of each collection, in JSON types; also of one that is damaged, or that the engine cannot read.

        Each has `collection`, `method`, `server`, `aliases`, `config`, `payload_schema`, `points` (None where the engine could
        not say), `shards` (`id`, `key`, `points`, `segments`, `wal`, `replicas`, ...), `files`, `missing_shards`, and `faults`:
        sentences about all that is not as it should be, with the `exit_code` that goes with them.
        """
        return [insight(pieces, self._limits, self._staging) for pieces in self._wanted()]

    def _wanted(self) -> list[Pieces]:
        return [pieces for pieces in self._found if self._asked in (None, pieces.collection) or not pieces.record]

    def _chosen(self) -> Pieces:
        wanted = self._wanted()
        if len(wanted) > 1:
            raise UsageError("there are several collections", f"Name one of them: {', '.join(self.collections)}.")
        return wanted[0]

    def _opened(self) -> OpenShards:
        if self._open is None:
            try:
                self._open = self._load(self._chosen())
            except BaseException:
                self.close()
                raise
        return self._open

    def _load(self, pieces: Pieces) -> OpenShards:
        root = self._resources.enter_context(temporary_folder("look", self._staging))
        gathered = gather(pieces, root)
        if gathered.missing and not (self._partial and gathered.folders):
            listed = ", ".join(map(str, gathered.missing))
            raise UsageError(
                f"the files do not hold shard {listed} of {shown(pieces.collection)}: only a part could be seen",
                "In a cluster each node's snapshot holds that node's shards: name the other nodes' files, too.",
            )
        self._gathered = gathered
        return self._resources.enter_context(
            opened(gathered.folders, self._limits, pieces.collection, gathered.shard_keys())
        )


def _header_config(piece: Piece) -> Mapping[str, Any]:
    with piece.path.open("rb") as file:
        return PointsReader(file, piece.name).header.config
