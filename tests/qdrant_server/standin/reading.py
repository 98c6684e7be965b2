"""Questions to one shard, in JSON: what a node asks itself, and what another node of the cluster may ask it."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from qdrant_server.standin import indexes
from qdrant_server.standin.errors import bad_input
from qdrant_server.standin.filters import filter_of

Json = Mapping[str, Any]


def answer(shard: Any, question: str, json: Json) -> Any:
    """The shard's answer as JSON.

    Args:
        shard: the engine's shard.
        question: `count`, `scroll`, `retrieve`, `query`, `facet` or `info`.
        json: the question's arguments, as the endpoint of that name takes them.
    """
    return _QUESTIONS[question](shard, json)


def of_nothing(question: str) -> Any:
    """What a shard answers that nobody has touched."""
    nothing: Mapping[str, Any] = {"count": 0, "info": {"points": 0, "indexed": 0, "segments": 1, "fields": {}}}
    return nothing.get(question, [])


def _count(shard: Any, json: Json) -> int:
    return int(shard.count(edge.CountRequest(exact=json.get("exact", True), filter=filter_of(json.get("filter")))))


def _scroll(shard: Any, json: Json) -> list[dict[str, Any]]:
    order = json.get("order_by")
    request = edge.ScrollRequest(
        offset=json.get("offset"),
        limit=json["limit"],
        filter=filter_of(json.get("filter")),
        with_payload=payload_selector(json.get("with_payload", True)),
        with_vector=json.get("with_vector") or False,
        order_by=_order(order) if order else None,
    )
    return [_record(record) for record in shard.scroll(request)[0]]


def _retrieve(shard: Any, json: Json) -> list[dict[str, Any]]:
    payload = payload_selector(json.get("with_payload", True))
    return [_record(record) for record in shard.retrieve(list(json["ids"]), payload, json.get("with_vector") or False)]


def _query(shard: Any, json: Json) -> list[dict[str, Any]]:
    params = json.get("params") or {}
    request = edge.QueryRequest(
        json["limit"],
        query=edge.Query.Nearest(_query_vector(json["query"]), using=json.get("using") or None),
        with_vector=json.get("with_vector") or False,
        with_payload=payload_selector(json.get("with_payload") or False),
        filter=filter_of(json.get("filter")),
        score_threshold=json.get("score_threshold"),
        params=edge.SearchParams(hnsw_ef=params.get("hnsw_ef"), exact=bool(params.get("exact"))),
    )
    return [_scored(point) for point in shard.query(request)]


def _facet(shard: Any, json: Json) -> list[dict[str, Any]]:
    request = edge.FacetRequest(json["key"], limit=100000, exact=True, filter=filter_of(json.get("filter")))
    return [{"value": hit.value, "count": hit.count} for hit in shard.facet(request).hits]


def _info(shard: Any, json: Json) -> dict[str, Any]:
    info = shard.info()
    return {
        "points": info.points_count,
        "indexed": info.indexed_vectors_count,
        "segments": info.segments_count,
        "fields": {name: indexes.described(entry) for name, entry in info.payload_schema.items()},
    }


_QUESTIONS: Mapping[str, Callable[[Any, Json], Any]] = {
    "count": _count,
    "scroll": _scroll,
    "retrieve": _retrieve,
    "query": _query,
    "facet": _facet,
    "info": _info,
}


def payload_selector(json: Any) -> Any:
    """Which fields of the payload to give."""
    if isinstance(json, Mapping):
        if "include" in json:
            return list(json["include"])
        return edge.PayloadSelector.Exclude(list(json["exclude"]))
    return json


def id_of(value: Any) -> int | str:
    """A point's id as JSON has it."""
    return str(value) if isinstance(value, UUID) else value


def _order(json: Any) -> Any:
    if isinstance(json, str):
        return edge.OrderBy(json)
    direction = edge.Direction.Desc if json.get("direction") == "desc" else edge.Direction.Asc
    return edge.OrderBy(json["key"], direction, json.get("start_from"))


def _query_vector(json: Any) -> Any:
    if isinstance(json, Mapping):
        if "indices" not in json:
            raise bad_input(f"unknown query {str(json)[:200]}")
        return edge.SparseVector(json["indices"], json["values"])
    return json


def _record(record: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": id_of(record.id)}
    if record.payload is not None:
        found["payload"] = record.payload
    if record.vector is not None:
        found["vector"] = _vectors(record.vector)
    return found


def _scored(point: Any) -> dict[str, Any]:
    return {"id": id_of(point.id), "version": point.version, "score": point.score} | _record(point)


def _vectors(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _vectors(vector) for name, vector in value.items()}
    if isinstance(value, edge.SparseVector):
        return {"indices": value.indices, "values": value.values}
    return value
