"""What is wrong with a configuration, said so that a person can mend it: place, key, what was found, what is allowed."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pydantic import ValidationError

from recoup.config import _schemas
from recoup.config._secrets import last_key, sounds_secret
from recoup.config._tree import KeyPath, Node, Origin, child, dotted
from recoup.errors import ConfigError
from recoup.model.structs import Struct

_MOST = 20  # faults in one message
_LONGEST = 60  # characters of a value that was found

_KEY = "[key]"  # how pydantic marks an error in a mapping's key


class Fault(Struct):
    """One thing that is wrong.

    Attributes:
        origin: where.
        path: the key; empty for the whole file.
        problem: what is wrong, to follow the key.
        advice: what is allowed, one or more sentences.
    """

    origin: Origin
    path: KeyPath
    problem: str
    advice: str

    def __str__(self) -> str:
        key = f"`{dotted(self.path)}` " if self.path else "it "
        return f"{self.origin}: {key}{self.problem}."


def raise_all(faults: Sequence[Fault], mask: Callable[[str], str]) -> None:
    """Raises one error that tells all faults; does nothing when there are none.

    Raises:
        ConfigError: there are faults.
    """
    if not faults:
        return
    if len(faults) == 1:
        raise ConfigError(mask(str(faults[0])), mask(faults[0].advice))
    shown = [f"  {fault}\n    {fault.advice}" for fault in faults[:_MOST]]
    more = f"\n  ... and {len(faults) - _MOST} more" if len(faults) > _MOST else ""
    raise ConfigError(mask(f"the configuration has {len(faults)} mistakes:\n" + "\n".join(shown) + more))


def nearest(word: str, allowed: Iterable[str]) -> str:
    """A question for the nearest right spelling, with a space behind; empty when nothing is near."""
    by_lower = {known.lower(): known for known in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower, 1)
    return f"Did you mean `{by_lower[close[0]]}`? " if close else ""


def unknown_word(word: str, allowed: Sequence[str]) -> str:
    """Advice for a word that is none of those allowed."""
    return f"{nearest(word, allowed)}Allowed: {', '.join(allowed)}."


def translate(error: ValidationError, node: Node, schema: _schemas.Schema, above: KeyPath = ()) -> list[Fault]:
    """The faults that a model found.

    Args:
        error: what the model raised.
        node: what it was given.
        schema: the model's JSON schema.
        above: the path of `node` in the configuration.
    """
    faults: dict[KeyPath, Fault] = {}
    for detail in error.errors(include_url=False, include_input=False):
        location = tuple(detail["loc"])
        path, found = deepest(node, location)
        key = (*path, location[-1]) if detail["type"] == "missing" else path
        if key not in faults:  # each alternative of a type reports its own; one says it all
            problem, advice = _words(detail["type"], location, found, schema, path, str(detail["msg"]))
            origin = replace(found.place, variables=found.origin.variables)
            faults[key] = Fault(origin, (*above, *key), problem, advice)
    return list(faults.values())


def deepest(node: Node, location: KeyPath) -> tuple[KeyPath, Node]:
    """The part of a location that is there: pydantic adds steps for alternatives and keys."""
    path: KeyPath = ()
    for step in location:
        below = child(node, step)
        if below is None:
            break
        path, node = (*path, step), below
    return path, node


def _words(
    kind: str, location: KeyPath, found: Node, schema: _schemas.Schema, path: KeyPath, message: str
) -> tuple[str, str]:
    """Problem and advice."""
    if kind == "missing":
        wanted = _schemas.at(schema, (*path, location[-1])) or {}
        meaning = f" {wanted['description']}" if "description" in wanted else ""
        return "is missing", f"Allowed: {_schemas.phrase(schema, wanted)}.{meaning}"
    if kind == "extra_forbidden":
        return "is not a known key", unknown_word(str(location[-1]), sorted(_schemas.keys(schema, path[:-1])))
    if location[-1:] == (_KEY,):
        return (
            "is not a name that can be used here",
            "Allowed: at most 64 letters, digits, `-` and `_`, the first a letter or digit.",
        )
    wanted = _schemas.at(schema, path) or {}
    if kind in ("value_error", "assertion_error"):
        return _own_words(message, wanted)
    secret = _is_secret(schema, wanted, path, found)
    near = nearest(found.value, _schemas.choices(schema, wanted)) if isinstance(found.value, str) and not secret else ""
    return f"is {shown(found, secret=secret)}", f"{near}Allowed: {_schemas.phrase(schema, wanted)}."


def _own_words(message: str, wanted: _schemas.Schema) -> tuple[str, str]:
    """Problem and advice from a model's own check, which says "problem; advice"."""
    problem, _, advice = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").partition("; ")
    advice = advice[:1].upper() + advice[1:] or str(wanted.get("description", "Look at the reference of this key."))
    return f"cannot be used: {problem}", advice if advice.endswith((".", "?")) else advice + "."


def _is_secret(schema: _schemas.Schema, wanted: _schemas.Schema, path: KeyPath, found: Node) -> bool:
    """Whether what was found is or may be a secret, so that it is not repeated."""
    declared = any(variant.get("format") == "password" for variant in _schemas.variants(schema, wanted))
    brought = bool(found.origin.variables)
    return declared or brought or sounds_secret(last_key(path), "?")


def shown(node: Node, *, secret: bool = False) -> str:
    """What was found, in words.

    Args:
        node: what was found.
        secret: say what it is, but do not repeat it.
    """
    value = node.value
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return "a number" if secret else f"the number {node.text or value}"[: _LONGEST + 12]
    if isinstance(value, str):
        if secret:
            return "a text"
        return f"the text {value[:_LONGEST]!r}" + (" ..." if len(value) > _LONGEST else "")
    if isinstance(value, tuple):
        return "a list"
    return "a group of keys"
