"""Qdrant's JSON filters as the engine's own."""

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as edge

from qdrant_server.standin.errors import bad_input

Json = Mapping[str, Any]


def filter_of(json: Json | None) -> Any:
    """The engine's filter; None without one."""
    if not json:
        return None
    groups: dict[str, Any] = {name: _conditions(json.get(name)) for name in ("must", "should", "must_not")}
    least = json.get("min_should")
    if least:
        minimum = edge.MinShould(_conditions(least["conditions"]) or [], least["min_count"])
        return edge.Filter(**groups, min_should=minimum)
    return edge.Filter(**groups)


def _conditions(json: Any) -> list[Any] | None:
    if json is None:
        return None
    return [_condition(entry) for entry in (json if isinstance(json, list) else [json])]


def _condition(json: Json) -> Any:
    for name, make in _CONDITIONS.items():
        if name in json:
            return make(json[name])
    if "key" in json:
        return _field(json)
    if set(json) & {"must", "should", "must_not", "min_should"}:
        return filter_of(json)
    raise bad_input(f"unknown condition {json}")


def _field(json: Json) -> Any:
    found = {name: make(json[name]) for name, make in _FIELD.items() if json.get(name) is not None}
    return edge.FieldCondition(json["key"], **found)


def _match(json: Json) -> Any:
    for name, kind in _MATCHES.items():
        if name in json:
            return kind(json[name])
    raise bad_input(f"unknown match {json}")


def _range(json: Json) -> Any:
    bounds = {name: json.get(name) for name in ("gte", "gt", "lte", "lt")}
    dated = any(isinstance(bound, str) for bound in bounds.values())
    return edge.RangeDateTime(**bounds) if dated else edge.RangeFloat(**bounds)


def _point(json: Json) -> Any:
    return edge.GeoPoint(json["lon"], json["lat"])


def _line(json: Json) -> list[Any]:
    return [_point(point) for point in json["points"]]


_MATCHES: Mapping[str, Callable[[Any], Any]] = {
    "value": edge.MatchValue,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
}

_FIELD: Mapping[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": lambda json: edge.GeoBoundingBox(_point(json["top_left"]), _point(json["bottom_right"])),
    "geo_radius": lambda json: edge.GeoRadius(_point(json["center"]), json["radius"]),
    "geo_polygon": lambda json: edge.GeoPolygon(
        _line(json["exterior"]), [_line(ring) for ring in json.get("interiors") or []]
    ),
    "values_count": lambda json: edge.ValuesCount(**{name: json.get(name) for name in ("lt", "gt", "lte", "gte")}),
    "is_empty": bool,
    "is_null": bool,
}


_CONDITIONS: Mapping[str, Callable[[Any], Any]] = {
    "is_empty": lambda json: edge.IsEmptyCondition(json["key"]),
    "is_null": lambda json: edge.IsNullCondition(json["key"]),
    "has_id": lambda json: edge.HasIdCondition(set(json)),
    "has_vector": edge.HasVectorCondition,
    "nested": lambda json: edge.NestedCondition(json["key"], filter_of(json["filter"])),
}
