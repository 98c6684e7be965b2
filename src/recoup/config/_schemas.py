"""Reading a JSON schema made from the models: which keys there are, what each may be, and how to say it."""

from collections.abc import Iterator, Mapping
from typing import Any

from recoup.config._tree import KeyPath

Schema = Mapping[str, Any]

_PLAIN = {"boolean": "`true` or `false`", "null": "`null`", "object": "a group of keys"}
_PATTERNS = {
    "[smhd])": "a length of time such as `90s`, `30m` or `1h30m`",
    "(K|M|G|T|Ki|Mi|Gi|Ti)": "a size such as `500KB`, `10MB` or `8MiB`",
    "([0-9]{1,5}w)": "a length of time such as `90s`, `10m`, `6h`, `7d` or `2w` (`m` is minutes)",
    "([0-9]{1,4}y)": "a length of time such as `2y5m7d3h`",
    "._-]{0,63}": "a name of at most 64 letters, digits, `.`, `-` and `_`, the first a letter or digit",
    "_-]{0,63}": "a name of at most 64 letters, digits, `-` and `_`, the first a letter or digit",
    "^(postgres(ql)?": "a URL such as `postgresql://HOST:5432/NAME`",
    "^(https?://": "a URL such as `http://127.0.0.1:6333/readyz`",
    r":\[\]]{1,253}": "HOST:PORT, as in `127.0.0.1:8642`",
    "^(?:[A-Za-z0-9](?:": "the name of a host, as backup.example.org",
    "(?:/[A-Za-z0-9_~-]": "a path such as `/recoup`, without a slash at its end",
    "^https?://": "a URL such as `http://127.0.0.1:6333`",
}


def at(root: Schema, path: KeyPath) -> Schema | None:
    """The schema of the value at `path`, None where no key of that name is allowed."""
    candidates = [root]
    for step in path:
        candidates = [below for schema in candidates for below in _below(root, schema, step)]
    return candidates[0] if candidates else None


def variants(root: Schema, schema: Schema) -> Iterator[Schema]:
    """`schema`, or what it stands for: a reference is followed, alternatives come one by one."""
    if "$ref" in schema:
        yield from variants(root, {**root["$defs"][schema["$ref"].rpartition("/")[2]], **_without_ref(schema)})
    elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
        for alternative in alternatives:
            yield from variants(root, alternative)
    else:
        yield schema


def _without_ref(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "$ref"}


def _below(root: Schema, schema: Schema, step: str | int) -> Iterator[Schema]:
    for variant in variants(root, schema):
        if step in variant.get("properties", {}):
            yield variant["properties"][step]
        elif isinstance(variant.get("additionalProperties"), Mapping):
            yield variant["additionalProperties"]
        elif "patternProperties" in variant:
            yield from variant["patternProperties"].values()
        elif isinstance(step, int) and isinstance(variant.get("items"), Mapping):
            yield variant["items"]


def keys(root: Schema, path: KeyPath) -> list[str]:
    """The keys that a group of keys may have; empty for anything else."""
    schema = at(root, path)
    return [key for variant in variants(root, schema) for key in variant.get("properties", {})] if schema else []


def choices(root: Schema, schema: Schema) -> list[str]:
    """The words that are allowed, where only some are."""
    return [str(word) for variant in variants(root, schema) for word in _words(variant)]


def _words(variant: Schema) -> list[Any]:
    return [variant["const"]] if "const" in variant else list(variant.get("enum", ()))


def phrase(root: Schema, schema: Schema) -> str:
    """What a value may be, in words: "a whole number of at least 0 or `unlimited`"."""
    return _joined(list(dict.fromkeys(_phrase(root, variant) for variant in variants(root, schema)))) or "any value"


def _joined(phrases: list[str]) -> str:
    return ", ".join(phrases[:-1]) + (" or " if phrases[1:] else "") + "".join(phrases[-1:])


def _phrase(root: Schema, variant: Schema) -> str:
    if words := _words(variant):
        return _joined([f"`{word}`" for word in words])
    kind = variant.get("type", "")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(variant)
    if kind == "array":
        return f"a list, each {phrase(root, variant.get('items', {}))}"
    if kind == "string":
        return _text(variant)
    return _PLAIN.get(kind, "any value")


def _range(variant: Schema) -> str:
    low, high = variant.get("minimum"), variant.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of at least {low:g}"
    above = variant.get("exclusiveMinimum")
    return f" of at most {high:g}" if high is not None else f" above {above:g}" if above is not None else ""


def _text(variant: Schema) -> str:
    pattern = variant.get("pattern", "")
    for start, words in _PATTERNS.items():
        if start in pattern:
            return words
    return {"path": "a path", "password": "a secret text"}.get(variant.get("format", ""), "a text")
