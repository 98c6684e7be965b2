"""Shards of a collection, opened without a server: counted, listed, searched, as one.

The engine runs in a child (`_engine`), within limits of time and memory. What a limit stops is not damaged; what makes the engine
die is.
"""

import contextlib
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from recoup.errors import DamagedError, ExitCode, RecoupError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._point_ids import canonical_id
from recoup.sources.qdrant import _engine
from recoup.sources.qdrant._limits import DEFAULT, LimitError, Limits, Watch
from recoup.sources.qdrant._points_file import Point, unpacked
from recoup.sources.qdrant._record import ShardKey
from recoup.sources.qdrant._shards import PointId, order
from recoup.system.subprocesses import Child

__all__ = [
    "DEFAULT",
    "NO_KEYS",
    "About",
    "Engine",
    "Filter",
    "LimitError",
    "Limits",
    "OpenShards",
    "UnreadableError",
    "allocated",
    "opened",
]

Filter = Mapping[str, Any]
"""A filter in Qdrant's JSON form."""

_PAGE = 128  # points asked for at once
_LARGE = 64 << 20  # bytes: what the engine writes when it closes as much takes longer than to begin another one
_SEGMENT_VERSION = (0, 6, 0)  # `version.info` of segments that qdrant-edge-py 0.9.0 writes
_KNOWN = ".".join(map(str, _SEGMENT_VERSION))

NO_KEYS: Mapping[int, ShardKey | None] = {}
"""For collections without shard keys."""


class About(Struct):
    """What the engine tells of an opened shard.

    Attributes:
        segments: how many.
        indexed_vectors: vectors in a graph; may exceed the points.
        payload_schema: field name to the parameters of its index.
    """

    segments: int
    indexed_vectors: int
    payload_schema: Mapping[str, Any]


@contextlib.contextmanager
def opened(
    shards: Mapping[int, Path],
    limits: Limits = DEFAULT,
    what: str = "the snapshot",
    keys: Mapping[int, ShardKey | None] = NO_KEYS,
) -> Iterator["OpenShards"]:
    """Opens unpacked shards of one collection; the engine writes into their folders.

    Args:
        shards: number to folder, as `unpack` makes them.
        limits: for the engine.
        what: what they are called in errors.
        keys: shard number to its shard key, where there are such keys; points then have their `shard_key`.

    Raises:
        DamagedError: the engine cannot read one, or dies of it.
        LimitError: a limit was reached.
        UnreadableError: it was written by a server that is too old or too new.
    """
    with Engine(limits) as engine, engine.opened(shards, what, keys) as found:
        yield found


class Engine:
    """The engine's process for one collection after the other: begun when it is needed, and again after it died.

    Starting it takes longer than opening a small collection.

    Args:
        limits: for each collection.
    """

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._process: Child | None = None
        self._starting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def start(self) -> Child:
        """Its process: begun where there is none, without waiting for it."""
        if self._process is None:
            self._process, self._starting = Child(_engine.serve), True
        return self._process

    def kill(self) -> None:
        """Ends its process at once: what it would still write is in copies that nobody opens again."""
        if self._process is not None:
            self._process.kill()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.close()
            self._process = None

    @contextlib.contextmanager
    def opened(
        self, shards: Mapping[int, Path], what: str = "the snapshot", keys: Mapping[int, ShardKey | None] = NO_KEYS
    ) -> Iterator["OpenShards"]:
        """Opens shards, as the function of this name does; one collection at a time."""
        process = self.start()
        with Watch(process, self._limits, what) as watch:
            try:
                if self._starting:
                    self._starting = False
                    watch.answer(process.answer, "to start")
                found = OpenShards(process, watch, what, keys)
                for shard, folder in sorted(shards.items()):
                    found.add(shard, folder)
                yield found
            except BaseException:
                self._end()
                raise
            if watch.size > _LARGE:
                self._end()
                return
            try:
                found.close()
            except RecoupError:  # it answered all that was asked; the next collection gets another process
                self._end()


def allocated(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk, holes left out."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


@dataclass
class OpenShards:
    """Opened shards. Lists are in Qdrant's order: numbers, then UUIDs. An id is unique within a shard key.

    Attributes:
        about: shard number to what the engine tells of it.
        vectors: names of the dense vectors (empty for the unnamed one) to their parameters, as the engine tells them.
        sparse_vectors: the same of sparse vectors.
    """

    _process: Child
    _watch: Watch
    _what: str
    _keys: Mapping[int, ShardKey | None]
    about: dict[int, About] = field(default_factory=dict)
    vectors: Mapping[str, Any] = field(default_factory=dict)
    sparse_vectors: Mapping[str, Any] = field(default_factory=dict)
    _closed: bool = False

    def close(self) -> None:
        """Has the engine forget them; a list that is read further then ends with an error."""
        self._ask("close", "points")
        self._closed = True

    def add(self, shard: int, folder: Path) -> None:
        """Opens one more.

        Raises:
            DamagedError: the engine cannot read it, or dies of it.
            LimitError: a limit was reached.
        """
        self._watch.add(folder, allocated(folder))
        try:
            told = self._ask("open", f"shard {shard}", shard=shard, folder=str(folder))
        except DamagedError as error:
            reason = _foreign(folder)
            if not reason:
                raise
            raise UnreadableError(
                f"{shown(self._what)}, shard {shard}, cannot be read by the engine here: {reason}",
                "`recoup qdrant inspect` says what can be told without it; a server of its version restores it.",
            ) from error
        self.about[shard] = About(told["segments"], told["indexed_vectors"], told["payload_schema"])
        self.vectors, self.sparse_vectors = told["vectors"], told["sparse_vectors"]

    def count(self, filter: Filter | None = None) -> int:  # noqa: A002 - Qdrant's word
        """Points of all shards, or those that meet a filter; exact.

        Raises:
            UsageError: the filter is wrong.
            DamagedError: the data cannot be read.
            LimitError: a limit was reached.
        """
        return sum(self.counts(filter).values())

    def counts(self, filter: Filter | None = None) -> dict[int, int]:  # noqa: A002 - Qdrant's word
        """Points of each shard; raises as `count` does."""
        return {shard: self._ask("count", f"shard {shard}", shard=shard, filter=filter) for shard in self.about}

    def scroll(
        self,
        filter: Filter | None = None,  # noqa: A002 - Qdrant's word
        *,
        with_payload: bool = True,
        with_vectors: bool = True,
    ) -> Iterator[Point]:
        """Points in the order of their ids, read as they are asked for; raises as `count` does.

        Args:
            filter: which; all by default.
            with_payload: whether they have their `payload`.
            with_vectors: whether they have their `vector`.
        """
        pages = [self._scroll(shard, filter, payload=with_payload, vectors=with_vectors) for shard in self.about]
        return heapq.merge(*pages, key=lambda point: order(point["id"]))

    def _scroll(self, shard: int, filter: Filter | None, *, payload: bool, vectors: bool) -> Iterator[Point]:  # noqa: A002 - Qdrant's word
        offset: PointId | None = None
        while True:
            page = self._ask(
                "scroll",
                f"shard {shard}",
                shard=shard,
                filter=filter,
                offset=offset,
                limit=_PAGE,
                payload=payload,
                vectors=vectors,
            )
            yield from (self._point(point, shard) for point in json.loads(page["points"]))
            offset = page["following"]
            if offset is None:
                return

    def get(self, ids: Sequence[PointId], *, with_payload: bool = True, with_vectors: bool = True) -> list[Point]:
        """Points by their ids, in the order asked; those that are not there are left out. Raises as `count` does."""
        points: list[Point] = []
        for start in range(0, len(ids), _PAGE):
            page = list(ids[start : start + _PAGE])
            found: dict[str, list[Point]] = {}
            for point in self._ask("get", "points", ids=page, payload=with_payload, vectors=with_vectors):
                found.setdefault(str(point["id"]), []).append(self._point(point, point.pop("shard")))
            for one in page:
                points += found.pop(canonical_id(one), [])
        return points

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
        """The points nearest to a vector or to another point, best first, each with its `score`.

        Args:
            query: a vector (numbers, rows of numbers, or `indices` and `values`), or the id of a point, which is left out itself.
            limit: how many.
            filter: among which; all by default.
            using: the vector's name; may be left out where there is only one.
            exact: compare with every point, instead of asking the index.
            with_payload: whether they have their `payload`.
            with_vectors: whether they have their `vector`.

        Raises:
            UsageError: question or filter are wrong.
            DamagedError: the data cannot be read.
            LimitError: a limit was reached.
        """
        if limit < 1:
            raise UsageError("a search has to look for one point at least")
        asked = query if isinstance(query, int | str | Mapping) else list(query)
        hits = self._ask(
            "search",
            "points",
            query=asked,
            limit=limit,
            filter=filter,
            using=using,
            exact=exact,
            payload=with_payload,
            vectors=with_vectors,
        )
        return [self._point(hit, hit.pop("shard")) for hit in hits]

    def survey(self, shard: int, seed: int) -> None:
        """Has what `described` needs of one shard looked up beforehand; raises as `count` does."""
        self._ask("survey", f"shard {shard}", shard=shard, seed=seed)

    def described(self, seed: int) -> Any:
        """The facts of the collection, as `_sampling.describe` has them; raises as `count` does."""
        return self._ask("describe", "points", seed=seed)

    def _point(self, packed: dict[str, Any], shard: int) -> Point:
        if "vectors" in packed:
            packed["vector"] = unpacked(packed.pop("vectors"))
        key = self._keys.get(shard)
        return packed if key is None else {**packed, "shard_key": key}

    def _ask(self, verb: str, about: str, **question: Any) -> Any:
        if self._closed:
            raise UsageError(f"{shown(self._what)} is closed", "Use what was opened inside its `with`.")
        told = self._watch.answer(lambda: self._process.ask({"ask": verb, **question}), about)
        if "refused" in told:
            raise UsageError(told["refused"], told["hint"])
        return told["answer"]


class UnreadableError(RecoupError):
    """The engine here is too old or too new for the data, which may be sound."""

    exit_code = ExitCode.REFUSED


def _foreign(folder: Path) -> str:
    """Why this engine cannot read a shard that another one wrote; empty when it should."""
    for segment in sorted((folder / "segments").glob("*")):
        if (segment / "db_backup").exists():
            return "it was written by a server before 1.16, which kept payloads in RocksDB"
        with contextlib.suppress(OSError, ValueError):
            version = tuple(map(int, (segment / "version.info").read_text().split(".")))
            if version > _SEGMENT_VERSION:
                return f"its segments have version {'.'.join(map(str, version))}, and the engine here reads {_KNOWN}"
    return ""
