"""Changes of a shard's points: JSON as it travels between nodes, and the engine's operations."""

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as edge

from qdrant_server.standin.filters import filter_of
from qdrant_server.standin.indexes import engine_schema

Json = Mapping[str, Any]


def engine_operation(change: Json) -> Any:
    """The engine's operation.

    Args:
        change: `{"kind": ..., ...}`, as `points.py` and `collections.py` make it.
    """
    return _KINDS[change["kind"]](change)


def point_of(json: Json) -> Any:
    """The engine's point."""
    return edge.Point(json["id"], _vectors(json.get("vector", {})), json.get("payload") or {})


def _vectors(json: Any) -> Any:
    if isinstance(json, Mapping):
        return {name: _vector(value) for name, value in json.items()}
    return json


def _vector(json: Any) -> Any:
    return edge.SparseVector(json["indices"], json["values"]) if isinstance(json, Mapping) else json


def _upsert(change: Json) -> Any:
    return edge.UpdateOperation.upsert_points([point_of(point) for point in change["points"]])


def _vectors_update(change: Json) -> Any:
    return edge.UpdateOperation.update_vectors(
        [edge.PointVectors(point["id"], _vectors(point["vector"])) for point in change["points"]]
    )


def _chosen(by_id: str, by_filter: str, *arguments: str) -> Callable[[Json], Any]:
    """An operation on points that are named by their ids or by a filter."""

    def make(change: Json) -> Any:
        given = [change[name] for name in arguments]
        if change.get("points") is not None:
            return getattr(edge.UpdateOperation, by_id)(list(change["points"]), *given)
        return getattr(edge.UpdateOperation, by_filter)(filter_of(change["filter"]) or edge.Filter(), *given)

    return make


_KINDS: Mapping[str, Callable[[Json], Any]] = {
    "upsert": _upsert,
    "update_vectors": _vectors_update,
    "delete": _chosen("delete_points", "delete_points_by_filter"),
    "delete_vectors": _chosen("delete_vectors", "delete_vectors_by_filter", "vector"),
    "set_payload": _chosen("set_payload", "set_payload_by_filter", "payload", "key"),
    "overwrite_payload": _chosen("overwrite_payload", "overwrite_payload_by_filter", "payload", "key"),
    "delete_payload": _chosen("delete_payload", "delete_payload_by_filter", "keys"),
    "clear_payload": _chosen("clear_payload", "clear_payload_by_filter"),
    "create_index": lambda change: edge.UpdateOperation.create_field_index(
        change["field_name"], engine_schema(change["field_schema"])
    ),
    "delete_index": lambda change: edge.UpdateOperation.delete_field_index(change["field_name"]),
}
