"""The keys of a group, with what a person wants to know of each: for the sample and the reference."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoup.config import _schemas


@dataclass(frozen=True)
class Field:
    """One key.

    Attributes:
        key: its name.
        allowed: what its value may be, in words.
        required: whether it has to be given.
        default: its default as YAML; empty where it is required or has none.
        meaning: what it does.
        group: the schema of the group of keys that it holds, None when it holds none.
        named: whether the keys of that group are names that a person chooses.
    """

    key: str
    allowed: str
    required: bool
    default: str
    meaning: str
    group: _schemas.Schema | None = None
    named: bool = False


def of(root: _schemas.Schema, schema: _schemas.Schema) -> list[Field]:
    """The fields of a group of keys, in the model's order."""
    required = schema.get("required", ())
    return [_field(root, key, wanted, required=key in required) for key, wanted in schema.get("properties", {}).items()]


def _field(root: _schemas.Schema, key: str, wanted: _schemas.Schema, *, required: bool) -> Field:
    variants = [variant for variant in _schemas.variants(root, wanted) if variant.get("type") != "null"]
    groups = [variant for variant in variants if variant.get("type") == "object"]
    named = bool(groups) and isinstance(groups[0].get("additionalProperties"), Mapping)
    return Field(
        key=key,
        allowed=_schemas.phrase(root, {"anyOf": variants}),
        required=required,
        default="" if required or groups else _default(wanted),
        meaning=str(wanted.get("description", "")),
        group=groups[0] if groups else None,
        named=named,
    )


def _default(wanted: Mapping[str, Any]) -> str:
    """A default as YAML; JSON is YAML."""
    default = wanted.get("default")
    return default if isinstance(default, str) and default else json.dumps(default)
