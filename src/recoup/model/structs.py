"""What the nouns are made of: frozen values, of which a class is finished when its first value is made.

A command loads two hundred classes of values, and makes values of a few of them. `dataclasses` compiles six methods for each
class, and doing so for all of them took a quarter of the time in which a command starts.
"""

import functools
import threading
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, dataclass_transform

_FINISHING = threading.RLock()


class _Unfinished:
    """Stands for the fields of a class that nobody has asked for: who does finishes it."""

    def __get__(self, _value: object, cls: "type[Struct]") -> "dict[str, Field[Any]]":
        if cls is Struct:
            raise AttributeError("__dataclass_fields__")  # it has no fields, and is no dataclass itself
        _finish(cls)
        found: dict[str, Field[Any]] = vars(cls)["__dataclass_fields__"]
        return found


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Struct:
    """A frozen dataclass, to be derived from; it takes no decorator.

    Equal are values of one class with equal fields. A class that inherits fields is finished at once, so that it never takes
    the constructor of what it inherits from for its own. What is made by the million has slots, and is a dataclass as usual.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[Any] = _Unfinished()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if any(is_dataclass(base) for base in cls.__bases__):
            _finish(cls)

    def __init__(self, *args: Any, **fields: Any) -> None:
        _finish(type(self))
        type(self).__init__(self, *args, **fields)  # which is the class's own by now

    def __setstate__(self, state: dict[str, Any]) -> None:  # a value that another process pickled calls no constructor
        _finish(type(self))
        vars(self).update(state)

    def __setattr__(self, name: str, _value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return _compared(self) == _compared(other)

    def __hash__(self) -> int:
        kind: Any = self.__class__  # mypy takes a class's own hash for that of its values
        return hash(tuple(getattr(self, name) for name in _hashed_names(kind)))

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _finish(cls: type[Struct]) -> None:
    """Gives a class its fields and its constructor, unless it has them."""
    with _FINISHING:
        if "__dataclass_fields__" not in vars(cls):
            dataclass(frozen=True, repr=False, eq=False)(cls)


def _compared(value: object) -> tuple[Any, ...]:
    kind: Any = value.__class__
    return tuple(getattr(value, name) for name in _compared_names(kind))


@functools.cache
def _compared_names(cls: Any) -> tuple[str, ...]:
    return tuple(one.name for one in fields(cls) if one.compare)


@functools.cache
def _hashed_names(cls: Any) -> tuple[str, ...]:
    return tuple(one.name for one in fields(cls) if (one.compare if one.hash is None else one.hash))
