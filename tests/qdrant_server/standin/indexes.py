"""Payload indexes: Qdrant's JSON parameters as the engine's own."""

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as edge

from qdrant_server.standin.errors import Refused

Json = Mapping[str, Any]

_KINDS: Mapping[str, Any] = {
    name: getattr(edge.PayloadSchemaType, name.capitalize())
    for name in ("keyword", "integer", "float", "geo", "text", "bool", "datetime", "uuid")
}
_COMMON = ("on_disk", "enable_hnsw")
_PARAMS: Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "keyword": (edge.KeywordIndexParams, ("is_tenant",)),
    "integer": (edge.IntegerIndexParams, ("lookup", "range", "is_principal")),
    "float": (edge.FloatIndexParams, ("is_principal",)),
    "geo": (edge.GeoIndexParams, ()),
    "text": (edge.TextIndexParams, ("min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching")),
    "bool": (edge.BoolIndexParams, ()),
    "datetime": (edge.DatetimeIndexParams, ("is_principal",)),
    "uuid": (edge.UuidIndexParams, ("is_tenant",)),
}


def kind_of(schema: str | Json) -> str:
    """The type's name in an index's parameters."""
    return schema if isinstance(schema, str) else str(schema["type"])


def checked(schema: Any) -> str | Json:
    """The parameters of an index as a request gives them.

    Raises:
        Refused: there is no such type.
    """
    if not isinstance(schema, str | Mapping) or kind_of(schema) not in _KINDS:
        raise Refused(
            400, "Format error in JSON body: data did not match any variant of untagged enum PayloadFieldSchema"
        )
    return schema


def engine_schema(schema: str | Json) -> Any:
    """What the engine needs to build the index."""
    if isinstance(schema, str):
        return _KINDS[schema]
    make, names = _PARAMS[schema["type"]]
    given = {name: schema[name] for name in (*_COMMON, *names) if schema.get(name) is not None}
    if "tokenizer" in schema:
        given["tokenizer"] = getattr(edge.TokenizerType, schema["tokenizer"].capitalize())
    return make(**given)


def described(entry: Any) -> dict[str, Any]:
    """One entry of `payload_schema` in a collection's information, as the engine has the index."""
    kind = _name(entry.data_type)
    shown: dict[str, Any] = {"data_type": kind}
    if entry.params is not None:
        given = {name: getattr(entry.params, name) for name in dir(entry.params) if not name.startswith("_")}
        told = {name: value if isinstance(value, bool | int) else _name(value) for name, value in given.items()}
        shown["params"] = {"type": kind} | {name: told[name] for name in told if given[name] is not None}
    return {**shown, "points": entry.points}


def _name(value: Any) -> str:
    return str(value).rpartition(".")[2].lower()
