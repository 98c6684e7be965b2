"""Filters as a person writes them: Qdrant's own JSON, or `key=value` and its relatives."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from recoup.errors import UsageError

_SIMPLE = re.compile(r"(?P<key>[^=!<>]+?)\s*(?P<sign>!=|<=|>=|=|<|>)\s*(?P<value>.*)", re.DOTALL)
_BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_WAYS = (
    "Write key=value (also !=, <, <=, >, >=), or Qdrant's JSON: "
    """'{"must": [{"key": "kind", "match": {"value": "page"}}]}'."""
)


def parsed(texts: Sequence[str]) -> dict[str, Any] | None:
    """All of `texts` as one filter of Qdrant's, which a point has to meet; None without any.

    Raises:
        UsageError: one is neither JSON nor simple.
    """
    if not texts:
        return None
    found = [_one(text) for text in texts]
    return found[0] if len(found) == 1 else {"must": found}


def _one(text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return _json(text)
    simple = _SIMPLE.fullmatch(text.strip())
    if simple is None:
        raise UsageError(f"{text!r} is no filter", _WAYS)
    key, sign, value = simple["key"].strip(), simple["sign"], _value(simple["value"])
    if sign in _BOUNDS:
        return {"must": [{"key": key, "range": {_BOUNDS[sign]: _bound(text, value)}}]}
    return {"must" if sign == "=" else "must_not": [_equal(key, value)]}


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the filter is not valid JSON: {error}", _WAYS) from None
    if not isinstance(found, dict):
        raise UsageError("the filter is no JSON object", _WAYS)
    return found


def _value(text: str) -> Any:
    """A number or a truth value where it reads as one, else text; quotes make text of anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, float) and not math.isfinite(found):
        return text
    return found if isinstance(found, str | int | float) else text


def _equal(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, float):  # Qdrant matches texts, whole numbers and truth values; a fraction is a range
        return {"key": key, "range": {"gte": value, "lte": value}}
    return {"key": key, "match": {"value": value}}


def _bound(text: str, value: Any) -> Any:
    """A number, or a time as text, which Qdrant compares where the field is one."""
    if isinstance(value, bool) or value == "":
        raise UsageError(f"{text!r} compares with something else than a number or a time", _WAYS)
    return value


def ids(texts: Sequence[str]) -> list[int | str]:
    """Ids of points: numbers and UUIDs, with commas or spaces between them.

    Raises:
        UsageError: one is neither.
    """
    return [_id(word) for text in texts for word in re.split(r"[,\s]+", text) if word]


def _id(word: str) -> int | str:
    if re.fullmatch(r"[0-9]{1,20}", word) and int(word) < 1 << 64:
        return int(word)
    try:
        return str(UUID(word))
    except ValueError:
        raise UsageError(f"{word!r} is no id of a point", "Ids are whole numbers and UUIDs.") from None


def vector(text: str) -> list[Any] | dict[str, Any]:
    """A vector as JSON: a list of numbers, a list of such lists, or `{"indices": [...], "values": [...]}`.

    Raises:
        UsageError: it is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the vector is not valid JSON: {error}", "Write it as [0.1, 0.2, ...].") from None
    numbers = found if isinstance(found, list) else found.get("values") if isinstance(found, dict) else None
    if not isinstance(numbers, list) or not numbers:
        raise UsageError("the vector is no list of numbers", "Write it as [0.1, 0.2, ...].")
    return found  # type: ignore[no-any-return] # a list or an object, as was just seen
