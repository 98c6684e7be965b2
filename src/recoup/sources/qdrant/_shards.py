"""Shards of a collection as Qdrant's own engine, qdrant-edge, shows them. Runs in a child process (`_engine`)."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from recoup.errors import DamagedError, RecoupError, UsageError
from recoup.model.names import shown
from recoup.sources._point_ids import canonical_id
from recoup.sources.qdrant._filter import filter_of
from recoup.sources.qdrant._points_file import packed

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard

PointId = int | str
"""Qdrant's id of a point: a number of 64 bits, or a UUID as text."""

Hit = tuple[float, Any, int]
"""Score, point and shard."""

_ENOUGH = 4 << 20  # bytes of one answer with points
_PAGE = 10_000  # ids listed at once
_REFUSALS = ("Wrong ", "Not existing vector name", "Vector dimension error")  # how its words begin
_CONFIG = "edge_config.json"  # what the engine writes down of a shard that it loaded
_NEAREST_IS_LOWEST = ("Euclid", "Manhattan")


class Shards:
    """Opened shards of one collection."""

    def __init__(self) -> None:
        self.opened: dict[int, EdgeShard] = {}
        self.vectors: dict[str, Mapping[str, Any]] = {}
        self.sparse: dict[str, Mapping[str, Any]] = {}
        self.surveys: dict[tuple[int, int], Any] = {}
        """By shard and seed, as `_sampling.survey` keeps them."""

    def open(self, shard: int, folder: str) -> dict[str, Any]:
        """Opens one more; the answer is what the engine tells of it.

        Raises:
            DamagedError: the engine cannot read it.
        """
        import qdrant_edge as edge

        try:
            loaded = edge.EdgeShard.load(folder)
        except Exception as error:  # noqa: BLE001 - the engine's errors have no class of their own
            raise DamagedError(f"the engine cannot read shard {shard}: {_said(error, folder)}") from None
        self.opened[shard] = loaded
        config = json.loads((Path(folder) / _CONFIG).read_text())
        self.vectors |= config.get("vectors") or {}
        self.sparse |= config.get("sparse_vectors") or {}
        return self.about(shard)

    def close(self) -> None:
        """Forgets them; what the engine wrote need not reach the disk, as nobody opens these copies again."""
        self.opened.clear()
        self.surveys.clear()
        self.vectors, self.sparse = {}, {}

    def about(self, shard: int) -> dict[str, Any]:
        """Segments, indexed vectors and payload indexes of a shard."""
        info = self.opened[shard].info()
        return {
            "segments": info.segments_count,
            "indexed_vectors": info.indexed_vectors_count,
            "payload_schema": {name: _schema(index) for name, index in sorted(info.payload_schema.items())},
            "vectors": self.vectors,
            "sparse_vectors": self.sparse,
        }

    def count(self, shard: int, filter: Mapping[str, Any] | None) -> int:  # noqa: A002 - Qdrant's word
        """Points of a shard, exactly."""
        import qdrant_edge as edge

        with _engine():
            return self.opened[shard].count(edge.CountRequest(exact=True, filter=_wanted(filter)))

    def having(self, name: str) -> int:
        """Points of all shards that have a vector, exactly."""
        return sum(self.count(shard, {"must": [{"has_vector": name}]}) for shard in self.opened)

    def ids(self, shard: int, filter: Mapping[str, Any] | None = None) -> Iterator[list[str]]:  # noqa: A002 - Qdrant's word
        """Ids of a shard's points as text, in their order, many at a time."""
        import qdrant_edge as edge

        offset: Any = None
        while True:
            with _engine():
                request = edge.ScrollRequest(
                    offset=offset, limit=_PAGE, filter=_wanted(filter), with_payload=False, with_vector=False
                )
                records, offset = self.opened[shard].scroll(request)
            yield [canonical_id(record.id) for record in records]
            if offset is None:
                return

    def scroll(
        self,
        shard: int,
        filter: Mapping[str, Any] | None,  # noqa: A002 - Qdrant's word
        offset: PointId | None,
        limit: int,
        payload: bool,  # noqa: FBT001 - by name only
        vectors: bool,  # noqa: FBT001 - by name only
    ) -> dict[str, Any]:
        """A page of a shard's points in their order: as JSON text, as their number varies with their size."""
        import qdrant_edge as edge

        with _engine():
            request = edge.ScrollRequest(
                offset=offset, limit=limit, filter=_wanted(filter), with_payload=payload, with_vector=vectors
            )
            records, following = self.opened[shard].scroll(request)
        points, size = [], 0
        for record in records:
            if size > _ENOUGH:
                following = record.id
                break
            points.append(json.dumps(_packed_point(record)))
            size += len(points[-1])
        return {"points": f"[{','.join(points)}]", "following": None if following is None else _json_id(following)}

    def get(self, ids: list[PointId], payload: bool, vectors: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - by name only
        """Points by their ids, from every shard that has them, each with its shard; those that are nowhere are left out."""
        asked = [_asked(one) for one in ids]
        found = []
        for number, shard in self.opened.items():
            with _engine():
                records = shard.retrieve(asked, payload, vectors)
            found += [{**_packed_point(record), "shard": number} for record in records]
        return found

    def records(self, shard: int, ids: list[str]) -> list[Any]:
        """The engine's own records of points whose ids are spelled as text."""
        asked: list[Any] = [int(one) if one.isdecimal() else UUID(one) for one in ids]
        with _engine():
            found: list[Any] = self.opened[shard].retrieve(asked, True, True)
        return found

    def search(
        self,
        query: Any,
        limit: int,
        filter: Mapping[str, Any] | None,  # noqa: A002 - Qdrant's word
        using: str,
        exact: bool,  # noqa: FBT001 - by name only
        payload: bool,  # noqa: FBT001 - by name only
        vectors: bool,  # noqa: FBT001 - by name only
    ) -> list[dict[str, Any]]:
        """The nearest points of all shards, best first; a point as the question is not among them."""
        name = self.named(using)
        vector, itself = self._vector_of(query, name) if isinstance(query, int | str) else (_query(query), None)
        found = self.nearest(vector, name, limit + 1, exact=exact, filter=filter, payload=payload, vectors=vectors)
        hits = [hit for hit in found if _json_id(hit[1].id) != itself]
        return [{**_packed_point(point), "score": score, "shard": shard} for score, point, shard in hits[:limit]]

    def nearest(
        self,
        vector: Any,
        name: str,
        limit: int,
        *,
        exact: bool,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - Qdrant's word
        payload: bool = False,
        vectors: bool = False,
    ) -> list[Hit]:
        """Score, point and shard of the nearest of all shards, best first, equal ones by their ids."""
        import qdrant_edge as edge

        with _engine():
            request = edge.SearchRequest(
                query=edge.Query.Nearest(vector, using=name or None),
                limit=limit,
                filter=_wanted(filter),
                params=edge.SearchParams(exact=exact),
                with_payload=payload,
                with_vector=vectors,
            )
            found = [
                (point.score, point, number) for number, shard in self.opened.items() for point in shard.search(request)
            ]
        return self._best(found, name, limit)

    def nearest_of_each(self, vectors: list[Any], name: str, limit: int, *, exact: bool) -> list[list[Hit]]:
        """The same for many vectors, with one reading of the data for all of them."""
        import qdrant_edge as edge

        found: list[list[Hit]] = [[] for _ in vectors]
        with _engine():
            queries = [
                edge.QueryRequest(
                    query=edge.Query.Nearest(vector, using=name or None),
                    limit=limit,
                    params=edge.SearchParams(exact=exact),
                )
                for vector in vectors
            ]
            for number, shard in self.opened.items():
                for hits, points in zip(found, shard.query_batch(edge.QueryBatchRequest(queries)), strict=True):
                    hits += [(point.score, point, number) for point in points]
        return [self._best(hits, name, limit) for hits in found]

    def _best(self, found: list[Hit], name: str, limit: int) -> list[Hit]:
        sign = 1 if self.lowest_is_nearest(name) else -1
        return sorted(found, key=lambda hit: (sign * hit[0], order(_json_id(hit[1].id)), hit[2]))[:limit]

    def lowest_is_nearest(self, name: str) -> bool:
        """Whether a vector's scores are distances, less being nearer."""
        return str(self.vectors.get(name, {}).get("distance")) in _NEAREST_IS_LOWEST

    def named(self, using: str) -> str:
        """The vector that is meant: the named one; without a name the unnamed or the only one.

        Raises:
            UsageError: there is none of that name.
        """
        names = [*self.vectors, *self.sparse]
        if using in names:
            return using
        if not using and len(names) == 1:
            return names[0]
        known = ", ".join(shown(name) for name in names if name) or "none has a name"
        message = f"there is no vector {shown(using)!r}" if using else "which vector is meant has to be said"
        raise UsageError(message, f"Known: {known}.")

    def _vector_of(self, point: PointId, name: str) -> tuple[Any, PointId]:
        asked = _asked(point)
        for shard in self.opened.values():
            with _engine():
                records = shard.retrieve([asked], False, True)
            for record in records:
                vector = record.vector.get(name) if isinstance(record.vector, dict) else record.vector
                if vector is None:
                    raise UsageError(f"point {point} has no vector {shown(name)!r}")
                return vector, _json_id(record.id)
        raise UsageError(f"there is no point {point}")


def order(point_id: PointId) -> tuple[int, int | str]:
    """Qdrant's order of ids: numbers first, then UUIDs."""
    return (0, point_id) if isinstance(point_id, int) else (1, point_id)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """What the engine refuses is the question's fault; everything else is the data's."""
    try:
        yield
    except RecoupError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"the engine refuses the question: {_said(error)}") from None
    except Exception as error:  # noqa: BLE001 - the engine's errors have no class of their own
        if str(error).startswith(_REFUSALS):
            raise UsageError(f"the engine refuses the question: {_said(error)}") from None
        raise DamagedError(f"the engine cannot read the data: {_said(error)}") from None


def _said(error: Exception, folder: str = "") -> str:
    """The engine's own words, short, without our folder's name."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = (lines[0] if lines else type(error).__name__)[:600]
    return shown(text.replace(f"{folder}/", "") if folder else text)


def _wanted(given: Mapping[str, Any] | None) -> Any:
    return None if given is None else filter_of(given)


def _asked(point_id: PointId) -> Any:
    try:
        text = canonical_id(point_id)
    except ValueError:
        raise UsageError(f"{shown(str(point_id))!r} is no id: ids are numbers and UUIDs") from None
    return point_id if isinstance(point_id, int) else UUID(text)


def _json_id(found: Any) -> PointId:
    return found if isinstance(found, int) else str(found)


def json_vector(found: Any) -> Any:
    """A vector of the engine's in Qdrant's JSON form."""
    if isinstance(found, dict):
        return {name: json_vector(one) for name, one in found.items()}
    if found is None or isinstance(found, list):
        return found
    return {"indices": found.indices, "values": found.values}


def _query(given: Any) -> Any:
    """A vector in Qdrant's JSON form as the engine takes it."""
    import qdrant_edge as edge

    if not isinstance(given, Mapping):
        return given
    if set(given) != {"indices", "values"}:
        raise UsageError("a sparse vector has `indices` and `values`")
    with _engine():
        return edge.SparseVector(given["indices"], given["values"])


def _packed_point(record: Any) -> dict[str, Any]:
    """A point as JSON, but for its vectors, which are packed: they are most of it."""
    point: dict[str, Any] = {"id": _json_id(record.id)}
    if record.payload is not None:
        point["payload"] = record.payload
    if record.vector is not None:
        point["vectors"] = packed(json_vector(record.vector))
    return point


def _schema(index: Any) -> dict[str, Any]:
    """A payload index as Qdrant's REST API tells it, without what is not set."""
    found: dict[str, Any] = {"data_type": _word(index.data_type)}
    if index.params is not None:
        found["params"] = {name: value for name, value in _parameters(index.params) if value is not None}
    return found


def _parameters(params: Any) -> Iterable[tuple[str, Any]]:
    for name in sorted(vars(type(params))):
        if not name.startswith("_"):
            yield name, _plain(getattr(params, name))


def _plain(value: Any) -> Any:
    """A parameter as JSON: enums are words, sets are sorted lists."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, set | list | tuple):
        return sorted(json.dumps(_plain(one)).strip('"') for one in value)
    if str(value).startswith(f"{type(value).__name__}."):
        return _word(value)
    return {name: one for name, one in _parameters(value) if one is not None}


def _word(value: Any) -> str:
    """An enum's name as Qdrant spells it."""
    return str(value).rpartition(".")[2].lower()
