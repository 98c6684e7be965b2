"""Points of Qdrant's local mode, read in a child process without running anything that they say.

`QdrantClient(path=...)` keeps each point as a pickle of its class `PointStruct`, and unpickling runs what a pickle names. Here
the unpickler admits a short list of names and answers with inert classes of ours, so that a hostile pickle gets nowhere and
no version of qdrant-client is needed. The child also has bounds for memory and for processor time.

Read from the sources of qdrant-client 1.20: `local/persistence.py` (one table `points(id, point)`; of several rows of a point
the last counts) and `local/utils.py` (spelling of ids).
"""

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import resource
import signal
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self
from uuid import UUID

from recoup.errors import SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources import _sqlite_files
from recoup.sources._point_ids import MODULUS, IdDigest, rank

if TYPE_CHECKING:
    import sqlite3

    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

PROBES = 20
"""Nearest-neighbour questions for each dense vector of a collection."""

NEIGHBOURS = 10
"""Answers that each question keeps."""

_MEMORY = 1 << 30  # bytes that the child may ask for beyond what it has when it starts to read
_SECONDS = 60.0  # of processor time for one batch of points, which honest ones take a few milliseconds for
_BATCH = 256  # points
_CHUNK = 8 << 20  # bytes of vectors compared at once; scores and their 64-bit copies take three times as much
_HYPHENATED = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_UUID = re.compile(rf"[0-9a-fA-F]{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}|urn:uuid:{_HYPHENATED}")


class _Inert:
    """Stands for a value that is not looked at: part of a payload, a sparse vector."""

    def __new__(cls, *_arguments: object) -> Self:
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None:
        pass


class _Identifier(_Inert):
    """Stands for a `uuid.UUID`, which old versions stored as it came."""

    number = -1

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict) and type(state.get("int")) is int:
            self.number = state["int"]


class _Point:
    """Stands for a `PointStruct`: its id and vectors."""

    id: object = None
    vector: object = None

    def __setstate__(self, state: object) -> None:
        fields = state.get("__dict__") if isinstance(state, dict) else None  # as pydantic 1 and 2 write it
        if not isinstance(fields, dict):
            raise pickle.UnpicklingError("a point without fields")
        self.id, self.vector = fields.get("id"), fields.get("vector")


_MODELS = "qdrant_client.http.models.models"
_ADMITTED: Mapping[tuple[str, str], type] = {
    (_MODELS, "PointStruct"): _Point,
    (_MODELS, "SparseVector"): _Inert,
    ("uuid", "UUID"): _Identifier,
    ("uuid", "SafeUUID"): _Inert,
    # payloads of old versions, which stored Python's own values
    **{("datetime", name): _Inert for name in ("datetime", "date", "time", "timedelta", "timezone")},
    ("decimal", "Decimal"): _Inert,
}


class _Unpickler(pickle.Unpickler):
    """Admits a list of exact names; everything else that a pickle could call is refused."""

    def find_class(self, module: str, name: str, /) -> type:
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise pickle.UnpicklingError(f"it names {shown(module)}.{shown(name)}, which no point needs")
        return admitted

    def persistent_load(self, _pid: object) -> NoReturn:
        raise pickle.UnpicklingError("it refers to something outside")


def read_point(data: object) -> _Point:
    """Unpickles one point.

    Raises:
        UnpicklingError: it is no point, or names something that no point needs.
    """
    if not isinstance(data, bytes):
        raise pickle.UnpicklingError("it is no pickle")
    try:
        point = _Unpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a hostile stream may make the unpickler raise anything
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error
    if type(point) is not _Point:
        raise pickle.UnpicklingError("it is no point")
    return point


def canonical_id(found: object) -> str:
    """A point's id as text, one spelling for each.

    Raises:
        UnpicklingError: it is no id.
    """
    if type(found) is int and 0 <= found < 1 << 64:
        return str(found)
    if type(found) is str and found.isprintable():
        return str(UUID(found)) if _UUID.fullmatch(found) else found
    if type(found) is _Identifier and 0 <= found.number < 1 << 128:
        return str(UUID(int=found.number))
    raise pickle.UnpicklingError("its id is neither a number nor a UUID")


class Layout(Struct):
    """A collection's vectors.

    Attributes:
        dense: name (empty for the unnamed one) to size and distance.
        other: names of sparse and multi-vectors, for which there is no exact search here.
    """

    dense: Mapping[str, tuple[int, str]]
    other: tuple[str, ...]
    text: str

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Layout":
        """From the collection's entry in `meta.json`.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is not one.
        """
        vectors = settings.get("vectors") or {}
        named = {"": vectors} if isinstance(vectors.get("size"), int) else vectors
        dense, other, words = {}, [], []
        for name, vector in sorted(named.items()):
            size, distance = int(vector["size"]), str(vector["distance"])
            several = bool(vector.get("multivector_config"))
            words.append(f"{name or '(unnamed)'}: {size} {distance}{' multi' if several else ''}")
            if several or distance not in ("Cosine", "Dot", "Euclid", "Manhattan"):
                other.append(name)
            else:
                dense[name] = (size, distance)
        sparse = sorted(settings.get("sparse_vectors") or {})
        words += [f"{name}: sparse" for name in sparse]
        return cls(dense, (*other, *sparse), ", ".join(words))

    def vectors_of(self, point: _Point) -> Iterator[tuple[str, list[float]]]:
        """The dense vectors that a point has.

        Raises:
            UnpicklingError: one has another size, or is no list of numbers.
        """
        found = point.vector if isinstance(point.vector, dict) else {"": point.vector}
        for name, (size, _) in self.dense.items():
            vector = found.get(name)
            if vector is None:
                continue
            if type(vector) is not list or len(vector) != size or not set(map(type, vector)) <= {float, int}:
                raise pickle.UnpicklingError(f"its vector {name!r} is not a list of {size} numbers")
            yield name, vector


@dataclass
class _Question:
    """A probe while its answer is looked for."""

    point: str
    vector: list[float]
    best: list[tuple[float, str]] = field(default_factory=list)


def describe_collections(seed: int, folder: str) -> Generator[dict[str, Any], dict[str, Any], None]:
    """Answers questions `{collection, file, live, settings}` with `{values, probes}`, until they end.

    Args:
        seed: of the choice of probes.
        folder: a private folder for working files.

    Raises:
        SourceError: a collection cannot be read; the message names it.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fixed order of additions, and little memory
    os.environ["SQLITE_TMPDIR"] = folder
    import sqlite3  # noqa: F401 - both before the bounds are set

    import numpy as np  # noqa: F401

    confine()
    answer: dict[str, Any] = {}
    while True:
        question = yield answer
        with _naming(question["collection"]):
            answer = _described(question, seed)


def confine() -> None:
    """Bounds this process: a hostile pickle may ask for any size and may compute for ever."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + _MEMORY
    with contextlib.suppress(ValueError, OSError):  # a platform without that bound, or with a lower one already
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also inside the unpickler's own code


@contextlib.contextmanager
def _naming(collection: str) -> Iterator[None]:
    try:
        yield
    except (pickle.UnpicklingError, MemoryError, OverflowError) as error:
        raise SourceError(
            f"collection {shown(collection)} holds a point that cannot be read: {error or 'it needs too much memory'}",
            "Points are pickles, and only what qdrant-client itself writes is admitted. Look where this one came from.",
        ) from error
    except SourceError as error:
        raise SourceError(f"collection {shown(collection)}: {error.message}", error.hint) from error


def _described(question: Mapping[str, Any], seed: int) -> dict[str, Any]:
    path = Path(question["file"])
    try:
        layout = Layout.of(question["settings"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError("its settings in meta.json are damaged") from error
    opened = _sqlite_files.frozen(path, 30) if question["live"] else _sqlite_files.unchanging(path)
    with opened as connection, contextlib.closing(_index()) as index:
        _sqlite_files.require_integrity(_sqlite_files.integrity(connection), path)
        questions = _scan(connection, index, layout, seed)
        values = _values(index, connection)
        for name, asked in questions.items():
            _search(connection, index, layout, name, asked)
    values["vectors"] = layout.text
    settings = json.dumps(question["settings"], sort_keys=True).encode()
    values["settings"] = hashlib.sha256(settings).hexdigest()
    if layout.other:
        values["not probed"] = ", ".join(layout.other)
    probes = [
        {"vector": name, "point": one.point, "neighbours": [other for _, other in one.best]}
        for name, asked in questions.items()
        for one in asked
    ]
    return {"values": values, "probes": probes}


def _index() -> "sqlite3.Connection":
    """Ids with their last row and digest, on disk, as there may be many (an empty name is a temporary file of SQLite's)."""
    import sqlite3

    index = sqlite3.connect("", isolation_level=None)
    index.execute("PRAGMA journal_mode = OFF")
    index.execute("PRAGMA synchronous = OFF")
    index.execute("CREATE TABLE latest (id TEXT PRIMARY KEY, place INTEGER, digest BLOB) WITHOUT ROWID")
    index.execute("BEGIN")
    return index


def _rows(connection: "sqlite3.Connection") -> Iterator[tuple[int, bytes, _Point]]:
    """All rows, the oldest first; each batch has its share of processor time."""
    cursor = connection.execute("SELECT rowid, point FROM points ORDER BY rowid")
    try:
        while True:
            signal.setitimer(signal.ITIMER_PROF, _SECONDS)
            batch = cursor.fetchmany(_BATCH)
            if not batch:
                return
            for place, data in batch:
                yield place, data, read_point(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        cursor.close()


def _scan(
    connection: "sqlite3.Connection", index: "sqlite3.Connection", layout: Layout, seed: int
) -> dict[str, list[_Question]]:
    """Fills the index, and chooses the probes: the points whose SHA-256 of seed and id is lowest.

    That is a random choice of equal chances, the same for every order of rows, and little changed by a missing point.
    """
    chosen: dict[str, dict[str, tuple[bytes, list[float]]]] = {name: {} for name in layout.dense}
    for place, data, point in _rows(connection):
        identifier = canonical_id(point.id)
        digest = hashlib.sha256(identifier.encode() + b"\0" + data).digest()
        index.execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?)", (identifier, place, digest))
        place_in_order = rank(seed, identifier)
        vectors = dict(layout.vectors_of(point))
        for name, candidates in chosen.items():
            candidates.pop(identifier, None)  # an outdated row of this point
            if name in vectors:
                candidates[identifier] = (place_in_order, vectors[name])
            if len(candidates) > PROBES:
                del candidates[max(candidates, key=lambda one: candidates[one][0])]
    return {
        name: [_Question(point, candidates[point][1]) for point in sorted(candidates)]
        for name, candidates in chosen.items()
    }


def _values(index: "sqlite3.Connection", connection: "sqlite3.Connection") -> dict[str, Any]:
    """Counts, and digests that do not depend on an order: sums of SHA-256 modulo 2**256."""
    ids, content = IdDigest(), 0
    for identifier, digest in index.execute("SELECT id, digest FROM latest"):
        ids.add_text(identifier)
        content += int.from_bytes(digest, "big")
    rows = connection.execute("SELECT count(*) FROM points").fetchone()[0]
    values: dict[str, Any] = {
        "points": ids.count,
        "ids": ids.hex(),
        "content": f"{content % MODULUS:064x}",
    }
    if rows != ids.count:
        values["outdated rows"] = rows - ids.count
    return values


def _search(
    connection: "sqlite3.Connection", index: "sqlite3.Connection", layout: Layout, name: str, asked: list[_Question]
) -> None:
    """Finds each question's nearest points by comparing with every vector, a chunk at a time."""
    import numpy as np

    size, distance = layout.dense[name]
    queries = np.array([one.vector for one in asked], dtype=np.float32).astype(np.float64).reshape(len(asked), size)
    room = max(1, _CHUNK // (4 * max(1, size)))
    chunk, points = np.empty((room, size), dtype=np.float32), list[str]()
    for place, _, point in _rows(connection):
        identifier = canonical_id(point.id)
        vector = dict(layout.vectors_of(point)).get(name)
        if vector is None or not _is_latest(index, identifier, place):
            continue
        chunk[len(points)] = vector
        points.append(identifier)
        if len(points) == room:
            _compare(queries, chunk, points, distance, asked)
            points = []
    if points:
        _compare(queries, chunk[: len(points)], points, distance, asked)


def _is_latest(index: "sqlite3.Connection", identifier: str, place: int) -> bool:
    found = index.execute("SELECT place FROM latest WHERE id = ?", (identifier,)).fetchone()
    return bool(found and found[0] == place)


def _compare(
    queries: "Matrix", chunk: "NDArray[np.float32]", points: list[str], distance: str, asked: list[_Question]
) -> None:
    """Merges a chunk into the best answers. Equal scores are ordered by id, so that the answer is one."""
    import numpy as np

    vectors = chunk.astype(np.float64)
    for query, question in zip(queries, asked, strict=True):
        scores = _scores(query, vectors, distance)
        scores[~np.isfinite(scores)] = -np.inf
        enough = min(len(scores), NEIGHBOURS + 1)  # the point itself may be among them
        lowest = np.partition(scores, len(scores) - enough)[len(scores) - enough]
        near = np.flatnonzero((scores >= lowest) & (scores > -np.inf))
        found = [(-float(scores[at]), points[at]) for at in near if points[at] != question.point]
        question.best = sorted([*question.best, *found])[:NEIGHBOURS]


def _scores(query: "Matrix", vectors: "Matrix", distance: str) -> "NDArray[np.float32]":
    """How near each vector is, more is nearer: computed in 64 bits and rounded to 32, so that equal vectors score alike."""
    import numpy as np

    with np.errstate(all="ignore"):
        if distance == "Euclid":
            scores = -np.square(vectors - query).sum(axis=1)
        elif distance == "Manhattan":
            scores = -np.abs(vectors - query).sum(axis=1)
        else:
            scores = vectors @ query
        if distance == "Cosine":
            norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
            scores = scores / np.where(norms == 0, 1, norms)
        near: NDArray[np.float32] = scores.astype(np.float32)
    return near
