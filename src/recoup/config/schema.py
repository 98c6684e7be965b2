"""The JSON schema of the whole file, for editors and for checks elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from recoup.config import _notify, _secrets
from recoup.config._group import NAME_PATTERN
from recoup.config._web import AccountSettings
from recoup.config.settings import Settings
from recoup.storage._object_options import ObjectOptions
from recoup.system import plugs

FILE_NAME = "recoup.schema.json"
"""What the samples call the schema's file: `recoup config schema > recoup.schema.json`."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{", "description": "A text with ${VARIABLE} or ${VARIABLE:-default}."}


def schema() -> dict[str, Any]:
    """The schema by JSON Schema 2020-12. Every key also takes a text with `${VARIABLE}`, as the file does."""
    whole = described()
    definitions = {name: _with_variables(definition) for name, definition in whole.pop("$defs").items()}
    definitions["variable"] = _VARIABLE
    return {"$schema": _DIALECT, **_with_variables(whole), "$defs": definitions}


def described() -> dict[str, Any]:
    """The schema as the models say it, without `${VARIABLE}`: what samples and the reference are made from."""
    whole = _named_groups(Settings.model_json_schema())
    definitions = whole.setdefault("$defs", {})
    for holder in (ObjectOptions, AccountSettings):
        definitions[holder.__name__]["properties"].update(_elsewhere(holder))
    references = {}
    for kind in plugs.kinds("recoup.sources"):
        options = plugs.load("recoup.sources", kind).Options
        definitions[f"source-{kind}"] = _of_plug(options, kind, "source", definitions)
        references[kind] = f"#/$defs/source-{kind}"
    sources = {
        "type": "object",
        "description": "What is backed up, by name.",
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {
            "oneOf": [{"$ref": reference} for reference in references.values()],
            "discriminator": {"propertyName": "kind", "mapping": references},
        },
        "default": {},
    }
    properties = whole["properties"]
    first = {key: properties[key] for key in ("version", "stack")}
    last = {"notify": _notified(definitions)}
    return {**whole, "title": "recoup.yaml", "properties": {**first, "sources": sources, **properties, **last}}


def _notified(definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of `notify`; those of its kinds go to `definitions`."""
    references = {}
    for kind in _notify.kinds():
        options = plugs.load(_notify.ROOM, kind).Options
        definitions[f"notify-{kind}"] = _of_plug(options, kind, "entry", definitions)
        references[kind] = f"#/$defs/notify-{kind}"
    entry = {
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "kind", "mapping": references},
    }
    return {"type": "array", "description": _notify.DESCRIPTION, "items": entry, "default": []}


def _of_plug(options: type[BaseModel], kind: str, what: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one kind of source or entry; what it refers to goes to `definitions` under names of its own."""
    prefix = f"{kind}-"
    own = options.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    definitions.update({prefix + name: definition for name, definition in own.pop("$defs", {}).items()})
    properties = own["properties"]
    properties["kind"] = {"const": kind, "description": properties["kind"].get("description", "")}
    properties.update(_elsewhere(options))
    elsewhere = set(_secrets.secret_fields(options))
    required = [name for name in own.get("required", []) if name not in elsewhere and name != "kind"]
    return {**own, "title": f"{what} of kind {kind}", "required": ["kind", *required]}


def _elsewhere(options: type[BaseModel]) -> dict[str, Any]:
    """The keys that say where the secrets of a model lie."""
    keys: dict[str, Any] = {}
    for name in _secrets.secret_fields(options):
        keys[name + _secrets.FILE_SUFFIX] = {
            "type": "string",
            "format": "path",
            "description": f"File that holds `{name}` and nothing else.",
        }
        keys[name + _secrets.COMMAND_SUFFIX] = {
            "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
            "description": f"Program, with its arguments, that prints `{name}`; no shell is involved.",
        }
    return keys


def _named_groups(schema: Any) -> Any:
    """Groups of freely named keys said so that editors mark a wrong name too."""

    def one(node: dict[str, Any]) -> dict[str, Any]:
        if len(node.get("patternProperties", {})) != 1:
            return node
        ((pattern, below),) = node["patternProperties"].items()
        rest = {key: value for key, value in node.items() if key != "patternProperties"}
        return {**rest, "propertyNames": {"pattern": pattern}, "additionalProperties": below}

    return _mapped(schema, one)


def _with_variables(schema: Any) -> Any:
    """Values that are not free texts get the alternative of a text with `${...}`."""

    def one(node: dict[str, Any]) -> dict[str, Any]:
        narrow = node.get("type") in ("integer", "number", "boolean") or "enum" in node or "pattern" in node
        if not narrow or "type" not in node:
            return node
        outside: dict[str, Any] = {key: node[key] for key in ("title", "description", "default") if key in node}
        inside = {key: value for key, value in node.items() if key not in outside}
        return {**outside, "anyOf": [inside, {"$ref": "#/$defs/variable"}]}

    return _mapped(schema, one)


def _mapped(schema: Any, one: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """`one` done to every schema inside, innermost first. Names of keys are no schemas."""
    if isinstance(schema, list):
        return [_mapped(item, one) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    done: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs"):
            done[key] = {name: _mapped(below, one) for name, below in value.items()}
        elif key in ("anyOf", "oneOf", "items", "additionalProperties"):
            done[key] = _mapped(value, one)
        else:
            done[key] = value
    return one(done)
