"""JSON schemas of the values that answers have, made from the frozen values themselves and from what they say of their fields."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from recoup.model.json_values import SHOWN_PROPERTIES
from recoup.model.structs import Struct

Schema = dict[str, Any]

_SCALARS: tuple[tuple[type, Schema], ...] = (
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (str, {"type": "string"}),
    (NoneType, {"type": "null"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (PurePath, {"type": "string"}),
)
_FIELD = re.compile(r"(?P<name>\w+): (?P<text>.*)")
_REFERENCE = "#/components/schemas/"


class Schemas:
    """Schemas of values as `recoup.model.json_values.plain` writes them, with those that they refer to.

    Attributes:
        components: name to schema of each kind of value that was met.
    """

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type.

        Args:
            kind: a type, as annotations say it.
        """
        origin, inside = get_origin(kind), get_args(kind)
        if kind is Any:
            return {}
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(one) for one in inside]}
        if origin is Literal:
            return {"enum": list(inside)}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(inside[1])}
        if origin is tuple and inside[-1] is not Ellipsis:
            items = [self.of(one) for one in inside]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if isinstance(origin, type) and issubclass(origin, Collection):
            return {"type": "array", "items": self.of(inside[0])}
        return self._of_class(kind)

    def _of_class(self, kind: type) -> Schema:
        if issubclass(kind, Struct):
            return self._referred(kind)
        if issubclass(kind, Enum):
            return {"enum": [one.value for one in kind]}
        return next(dict(schema) for known, schema in _SCALARS if issubclass(kind, known))

    def _referred(self, kind: type[Struct]) -> Schema:
        name = name_of(kind)
        if name not in self.components:
            self.components[name] = {}  # which ends the walk where values hold others of their kind
            self.components[name] = self._of_struct(kind)
        return {"$ref": _REFERENCE + name}

    def _of_struct(self, kind: type[Struct]) -> Schema:
        hints, said = get_type_hints(kind), _attributes(kind)
        names = [one.name for one in fields(kind) if not one.name.startswith("_")]
        properties = {name: _described(self.of(hints[name]), said.get(name, "")) for name in names}
        for name, getter in _properties(kind).items():
            found = self.of(get_type_hints(getter)["return"])
            properties[name] = _described(found, sentence(getter))
        return {
            "type": "object",
            "description": sentence(kind),
            "properties": properties,
            "required": list(properties),
        }


def name_of(kind: type[Struct]) -> str:
    """What a kind of value is called in the document. Rows of plans are told apart by the verb that they are of."""
    if kind.__name__ == "Row":
        return kind.__module__.rpartition(".")[2].title() + kind.__name__
    return kind.__name__


def _properties(kind: type[Struct]) -> dict[str, Callable[[Any], Any]]:
    found = {name: getattr(kind, name, None) for name in SHOWN_PROPERTIES}
    return {name: one.fget for name, one in found.items() if isinstance(one, property) and one.fget is not None}


def _described(schema: Schema, text: str) -> Schema:
    for said, meant in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{said}\b", meant, text)
    return {**schema, "description": text[:1].upper() + text[1:]} if text else schema


def sentence(documented: Any) -> str:
    """What its docstring says before its sections, on one line."""
    text = re.split(r"\n(?:Args|Attributes|Raises|Returns):\n", inspect.getdoc(documented) or "")[0]
    return " ".join(text.split())


def _attributes(kind: type) -> Mapping[str, str]:
    """What a class and those that it derives from say of their attributes."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        doc = inspect.cleandoc(vars(one).get("__doc__") or "")
        _, _, section = doc.partition("\nAttributes:\n")
        for entry in re.split(r"\n {4}(?=\w+: )", "\n" + section.split("\n\n")[0]):
            if match := _FIELD.fullmatch(" ".join(entry.split())):
                found[match["name"]] = match["text"]
    return found
