"""Snapshots of a Qdrant shard that lives for six days, written by Qdrant's own engine: series of `dedup_series`.

Each day 1 % new points come, the payload of 0.5 % is set, and 0.2 % are deleted. Before day 4 the optimizer rewrites the large
segment. The same points come for the same seed; the engine's segments have other names each time, and its graph, made by
several threads, other links.
"""

import itertools
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from dedup_texts import Language, installed, pieces
from qdrant_server.standin import layout
from qdrant_server.standin.tar_writing import Member, tar

SEED = 42
DAYS = 6
REWRITE = 4
NEW, SET, DELETED = 0.01, 0.005, 0.002  # of the first day's points, each day
DELETED_BEFORE_REWRITE = 0.2  # of the points, in the real series
BATCH = 1000  # points
CLUSTERS = 200  # of the generated vectors
INDEXED = {"lang": "Keyword", "tenant": "Integer", "source": "Keyword"}

Item = TypeVar("Item")
Payload = dict[str, Any]
Points = Iterator[tuple[list[float], Payload]]


@dataclass(frozen=True)
class Stack:
    """How a shard is filled and changed.

    Attributes:
        dimensions: of its vectors.
        points: vectors and payloads without end, the same ones each time.
        distance: name of Qdrant's distance.
        deleted_first: whether so many points are deleted before the rewrite that the optimizer's own rule asks for one; else
            the rule is made stricter for that day.
        streamed: whether the snapshots are those of a streamed shard (files one by one, no log), else a stored collection's.
        clustered: whether neighbours are changed and deleted, else points at random.
    """

    dimensions: int
    points: Callable[[], Points]
    distance: str = "Cosine"
    deleted_first: bool = False
    streamed: bool = False
    clustered: bool = False


def generated(dimensions: int = 384, *, half: bool = False) -> Points:
    """Vectors in clusters, and sentences of a made-up language.

    Args:
        dimensions: of the vectors.
        half: whether the numbers were of 16 bits once; else they have length 1.
    """
    language, chance = Language(SEED), np.random.default_rng(SEED)
    centres = chance.standard_normal((CLUSTERS, dimensions), dtype=np.float32)
    scale = (0.3 + chance.random(dimensions)).astype(np.float32)
    for begin in itertools.count(step=BATCH):
        vectors = centres[chance.integers(0, CLUSTERS, BATCH)] * 0.8
        vectors = (vectors + chance.standard_normal((BATCH, dimensions), dtype=np.float32) * 0.6) * scale
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if half:
            vectors = vectors.astype(np.float16).astype(np.float32)
        for number, (vector, text) in enumerate(zip(vectors, language.texts(BATCH), strict=True), begin):
            source = f"s3://docs/{number // 40:06d}/page-{number % 40}.html"
            yield vector.tolist(), _payload(number, text, source, number % 40, ("en", "de", "fr")[number % 3])


def real() -> Points:
    """Pieces of real sources and documentation, and their real embeddings."""
    from recoup.demo.embedding import best_embedder

    embedder = best_embedder()
    if not embedder.real:
        raise SystemExit("the real series needs real embeddings: install wordllama (it is in the group `dev`)")
    numbers = itertools.count()
    for batch in _batches(pieces(SEED, installed()), BATCH):
        vectors = embedder.embed([piece.text for piece in batch])
        for number, vector, piece in zip(numbers, vectors, batch, strict=False):
            yield vector.tolist(), _payload(number, piece.text, piece.source, piece.number, piece.language)
    raise SystemExit(
        "this machine has too few texts of Go, Python and Rust for so many points: ask for fewer by --points"
    )


def _payload(number: int, text: str, source: str, chunk: int, language: str) -> Payload:
    day = f"2026-0{1 + number % 9}-1{number % 10}T0{number % 10}:00:00Z"
    return {"text": text, "source": source, "chunk": chunk, "created_at": day, "lang": language, "tenant": number % 17}


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


STACKS = {
    "generated": Stack(384, generated),
    "real": Stack(256, real, deleted_first=True, streamed=True),
    "clustered": Stack(384, generated, clustered=True),
    "half": Stack(384, lambda: generated(half=True), distance="Dot"),
}


def snapshots(stack: Stack, count: int, folder: Path) -> Iterator[Path]:
    """Lets the shard live in `folder` and writes each day's snapshot there, `day0.snapshot` first."""
    shard = Shard(stack, count, folder / "live")
    try:
        for day in range(DAYS):
            if day:
                shard.live_a_day(day)
            else:
                shard.fill()
            yield _written(shard.members(), folder / f"day{day}.snapshot")
    finally:
        shard.close()
        shutil.rmtree(folder / "live")


def _written(members: list[Member], path: Path) -> Path:
    with path.open("wb") as file:
        for block in tar(members):
            file.write(block)
    return path


class Shard:
    """The shard, open in Qdrant's engine."""

    def __init__(self, stack: Stack, count: int, place: Path) -> None:
        import qdrant_edge as qe

        self._stack, self._count, self._place, self._qe = stack, count, place, qe
        self._chance = random.Random(SEED)
        self._points = stack.points()
        self._ids: list[int] = []
        self._next = 0
        self._shard = qe.EdgeShard.create(str(place), self._config())
        for field, kind in INDEXED.items():
            self._update("create_field_index", field, getattr(qe.PayloadSchemaType, kind))

    def fill(self) -> None:
        """The first day."""
        self._add(self._count)
        self._optimize()

    def live_a_day(self, day: int) -> None:
        """One more day; day `REWRITE` is that on which the optimizer rewrites the large segment."""
        self._add(int(self._count * NEW))
        chosen = self._choose(int(self._count * SET))
        for number, ids in enumerate(_batches(chosen, 100)):
            self._update("set_payload", ids, {"reviewed": day, "tag": f"batch-{day}-{number}"})
        self._delete(int(self._count * DELETED))
        if day == REWRITE:
            self._rewrite()
        else:
            self._optimize()

    def members(self) -> list[Member]:
        """What a snapshot of it holds."""
        self._shard.flush()
        if self._stack.streamed:
            clocks = layout.clocks_member(1, self._next)
            return [*layout.streamed_segments(self._place), clocks, Member("wal/"), *layout.shard_tail({})]
        segments = layout.regular_segments(self._place, "0/")
        return [*segments, *layout.wal_members(self._place, "0/"), *layout.shard_tail({}, "0/")]

    def close(self) -> None:
        """Ends the engine."""
        self._shard.close()

    def _config(self, **optimizers: Any) -> Any:
        """Qdrant's `EdgeConfig`."""
        qe = self._qe
        rules = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 2}
        limits = {"max_segment_size": 200_000, "indexing_threshold": 10_000}
        distance = getattr(qe.Distance, self._stack.distance)
        return qe.EdgeConfig(
            vectors=qe.EdgeVectorParams(size=self._stack.dimensions, distance=distance, memory=qe.Memory.Cold),
            payload_memory=qe.Memory.Cold,
            hnsw_config=qe.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000, max_indexing_threads=2),
            optimizers=qe.EdgeOptimizersConfig(**(rules | limits | optimizers)),
        )

    def _update(self, operation: str, *arguments: object) -> None:
        self._shard.update(getattr(self._qe.UpdateOperation, operation)(*arguments))

    def _add(self, count: int) -> None:
        ids = range(self._next, self._next + count)
        self._next += count
        for batch in _batches(ids, BATCH):
            points = zip(batch, itertools.islice(self._points, len(batch)), strict=True)
            self._update("upsert_points", [self._qe.Point(number, *point) for number, point in points])
        self._ids += ids

    def _choose(self, count: int) -> list[int]:
        if not self._stack.clustered:
            return self._chance.sample(self._ids, count)
        begin = self._chance.randrange(len(self._ids) - count)
        return self._ids[begin : begin + count]

    def _delete(self, count: int) -> None:
        chosen = self._choose(count)
        for ids in _batches(chosen, BATCH):
            self._update("delete_points", ids)
        gone = set(chosen)
        self._ids = [number for number in self._ids if number not in gone]

    def _rewrite(self) -> None:
        if self._stack.deleted_first:
            self._delete(int(len(self._ids) * DELETED_BEFORE_REWRITE))
        else:
            self._reopen(deleted_threshold=0.005, vacuum_min_vector_number=100)
        if not self._optimize():
            raise SystemExit("the optimizer did not rewrite anything on the day of the rewrite")
        self._reopen()

    def _reopen(self, **optimizers: Any) -> None:
        self._shard.flush()
        self._shard.close()
        self._shard = self._qe.EdgeShard.load(str(self._place), self._config(**optimizers))

    def _optimize(self) -> bool:
        self._shard.flush()
        return self._shard.optimize()
