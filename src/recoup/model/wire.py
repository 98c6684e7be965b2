"""Values of ours as JSON types and back: for what passes between processes."""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@functools.cache
def adapter(kind: Any) -> "TypeAdapter[Any]":
    """What turns values of a type into JSON types and back; made once, which takes time."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def encoded(kind: Any, value: Any) -> Any:
    """A value as JSON types.

    Args:
        kind: its type.
        value: of that type.
    """
    return adapter(kind).dump_python(value, mode="json")


def decoded(kind: Any, value: Any) -> Any:
    """The value that `encoded` had."""
    return adapter(kind).validate_python(value)
