"""Qdrant's filters in their JSON form, made into those of the engine. Runs where the engine runs: in a child.

The form is that of Qdrant's REST API (`Filter` in its OpenAPI description). What is not known is refused, by name: a filter that
is understood by halves would choose other points.
"""

from collections.abc import Callable, Mapping
from typing import Any

from recoup.errors import UsageError
from recoup.model.names import shown

Json = Mapping[str, Any]

_HINT = "See https://qdrant.tech/documentation/concepts/filtering/ for what a filter looks like."


def filter_of(given: Any) -> Any:
    """The engine's filter.

    Args:
        given: Qdrant's JSON: `{"must": [...], "should": [...], "must_not": [...], "min_should": {...}}`.

    Raises:
        UsageError: it is none; the message says where.
    """
    import qdrant_edge as edge

    try:
        fields = _fields(given, "filter", "must", "should", "must_not", "min_should")
        parts: dict[str, Any] = {
            name: _conditions(fields[name], name) for name in ("must", "should", "must_not") if name in fields
        }
        if "min_should" in fields:
            wanted = _fields(fields["min_should"], "min_should", "conditions", "min_count")
            conditions = _conditions(_one(wanted, "conditions"), "conditions")
            parts["min_should"] = edge.MinShould(conditions, _one(wanted, "min_count"))
        return edge.Filter(**parts)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"the filter is wrong: {str(error).splitlines()[0]}", _HINT) from None


def _wrong(what: str) -> UsageError:
    return UsageError(f"the filter is wrong: {what}", _HINT)


def _fields(given: Any, where: str, *known: str) -> dict[str, Any]:
    """An object's fields that are set; all have to be known."""
    if not isinstance(given, Mapping):
        raise _wrong(f"{where} has to be an object")
    for name in given:
        if name not in known:
            raise _wrong(f"{where} has no {shown(str(name))!r} (known: {', '.join(known)})")
    return {name: value for name, value in given.items() if value is not None}


def _one(fields: Json, name: str) -> Any:
    if name not in fields:
        raise _wrong(f"{name!r} is missing")
    return fields[name]


def _conditions(given: Any, where: str) -> list[Any]:
    """Conditions; one alone may stand without a list."""
    listed = given if isinstance(given, list) else [given]
    return [_condition(one, where) for one in listed]


def _condition(given: Any, where: str) -> Any:
    import qdrant_edge as edge

    if not isinstance(given, Mapping):
        raise _wrong(f"a condition in {where} has to be an object")
    if "nested" in given:
        inner = _fields(_fields(given, "condition", "nested")["nested"], "nested", "key", "filter")
        return edge.NestedCondition(_one(inner, "key"), filter_of(_one(inner, "filter")))
    if "key" in given:
        return _field_condition(given)
    for name, make in _SPECIAL.items():
        if name in given:
            return make(_one(_fields(given, "condition", name), name))
    return filter_of(given)


def _is_empty(given: Any) -> Any:
    import qdrant_edge as edge

    return edge.IsEmptyCondition(_one(_fields(given, "is_empty", "key"), "key"))


def _is_null(given: Any) -> Any:
    import qdrant_edge as edge

    return edge.IsNullCondition(_one(_fields(given, "is_null", "key"), "key"))


def _has_id(given: Any) -> Any:
    import qdrant_edge as edge

    return edge.HasIdCondition(set(given))


def _has_vector(given: Any) -> Any:
    import qdrant_edge as edge

    return edge.HasVectorCondition(given)


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "is_empty": _is_empty,
    "is_null": _is_null,
    "has_id": _has_id,
    "has_vector": _has_vector,
}


def _field_condition(given: Json) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "condition", "key", *_OF_FIELD)
    if len(fields) < 2:
        raise _wrong(f"the condition on {shown(str(given['key']))!r} says nothing")
    made = {name: make(fields[name]) for name, make in _OF_FIELD.items() if name in fields}
    return edge.FieldCondition(_one(fields, "key"), **made)


def _same(given: Any) -> Any:
    return given


def _match_value(given: Any) -> Any:
    """The engine's binding takes a `bool` of Python's for a number, and one of numpy's for what it is."""
    import numpy as np
    import qdrant_edge as edge

    value: Any = np.bool_(given) if isinstance(given, bool) else given
    made = edge.MatchValue(value)
    if type(made.value) is not type(given):
        raise _wrong("the engine here cannot compare with true or false; numpy 2 is needed")
    return made


def _match(given: Any) -> Any:
    import qdrant_edge as edge

    kinds: dict[str, Callable[[Any], Any]] = {
        "value": _match_value,
        "text": edge.MatchText,
        "text_any": edge.MatchTextAny,
        "phrase": edge.MatchPhrase,
        "prefix": edge.MatchPrefix,
        "substring": edge.MatchSubstring,
        "any": edge.MatchAny,
        "except": edge.MatchExcept,
    }
    fields = _fields(given, "match", *kinds)
    if len(fields) != 1:
        raise _wrong(f"a match has one of {', '.join(kinds)}")
    [(name, value)] = fields.items()
    return kinds[name](value)


def _range(given: Any) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "range", "gt", "gte", "lt", "lte")
    times = any(isinstance(value, str) for value in fields.values())
    return edge.RangeDateTime(**fields) if times else edge.RangeFloat(**fields)


def _values_count(given: Any) -> Any:
    import qdrant_edge as edge

    return edge.ValuesCount(**_fields(given, "values_count", "gt", "gte", "lt", "lte"))


def _point(given: Any) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "point", "lon", "lat")
    return edge.GeoPoint(_one(fields, "lon"), _one(fields, "lat"))


def _box(given: Any) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "geo_bounding_box", "top_left", "bottom_right")
    return edge.GeoBoundingBox(_point(_one(fields, "top_left")), _point(_one(fields, "bottom_right")))


def _radius(given: Any) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "geo_radius", "center", "radius")
    return edge.GeoRadius(_point(_one(fields, "center")), _one(fields, "radius"))


def _line(given: Any) -> list[Any]:
    return [_point(one) for one in _one(_fields(given, "line", "points"), "points")]


def _polygon(given: Any) -> Any:
    import qdrant_edge as edge

    fields = _fields(given, "geo_polygon", "exterior", "interiors")
    return edge.GeoPolygon(_line(_one(fields, "exterior")), [_line(one) for one in fields.get("interiors", ())])


_OF_FIELD: dict[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
    "values_count": _values_count,
    "is_empty": _same,
    "is_null": _same,
}
