"""The keys of a group, with what a person wants to know of each: for the sample and the reference."""

import json
from collections.abc import Mapping
from typing import Any

from recoup.config import _schemas
from recoup.model.structs import Struct


class Field(Struct):
    """One key.

    Attributes:
        key: its name.
        allowed: what its value may be, in words.
        required: whether it has to be given.
        default: its default as YAML; empty where it is required or has none.
        meaning: what it does.
        group: the schema of the group of keys that it holds, None when it holds none.
        named: whether the keys of that group are names that a person chooses.
        listed: whether it is a list of such groups.
        choice: whether it is nothing or one of several groups of keys, so that no default of theirs can stand.
    """

    key: str
    allowed: str
    required: bool
    default: str
    meaning: str
    group: _schemas.Schema | None = None
    named: bool = False
    listed: bool = False
    choice: bool = False


def of(root: _schemas.Schema, schema: _schemas.Schema) -> list[Field]:
    """The fields of a group of keys, in the model's order."""
    required = schema.get("required", ())
    return [_field(root, key, wanted, required=key in required) for key, wanted in schema.get("properties", {}).items()]


def _field(root: _schemas.Schema, key: str, wanted: _schemas.Schema, *, required: bool) -> Field:
    variants = [variant for variant in _schemas.variants(root, wanted) if variant.get("type") != "null"]
    groups = [variant for variant in variants if variant.get("type") == "object" and not _is_plain(root, variant)]
    items = [] if groups else _items(root, variants)
    named = bool(groups) and isinstance(groups[0].get("additionalProperties"), Mapping)
    choice = bool(groups) and wanted.get("default", "") is None and _is_choice(root, groups[0])
    return Field(
        key=key,
        allowed=_schemas.phrase(root, {"anyOf": variants}),
        required=required,
        default="" if required or (groups and not choice) else _default(wanted),
        meaning=str(wanted.get("description", "")),
        group=next(iter((*groups, *items)), None),
        named=named,
        listed=bool(items),
        choice=choice,
    )


def _items(root: _schemas.Schema, variants: list[_schemas.Schema]) -> list[_schemas.Schema]:
    """The groups of keys that a list holds."""
    held = (one for variant in variants for one in _schemas.variants(root, variant.get("items", {})))
    return [one for one in held if "properties" in one]


def _is_plain(root: _schemas.Schema, group: _schemas.Schema) -> bool:
    """Whether a group's keys are free and its values are none of groups: it is shown as one value."""
    below = group.get("additionalProperties")
    return isinstance(below, Mapping) and all(one.get("type") != "object" for one in _schemas.variants(root, below))


def _is_choice(root: _schemas.Schema, group: _schemas.Schema) -> bool:
    """Whether all keys of a group are groups that need not be there."""
    below = [list(_schemas.variants(root, wanted)) for wanted in group.get("properties", {}).values()]
    return bool(below) and all({one.get("type") for one in variants} == {"object", "null"} for variants in below)


def _default(wanted: Mapping[str, Any]) -> str:
    """A default as YAML; JSON is YAML."""
    default = wanted.get("default")
    return default if isinstance(default, str) and default.isprintable() and default else json.dumps(default)
