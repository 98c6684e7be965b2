"""What is in effect, and where each value was set."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from recoup.config import _secrets, _yaml
from recoup.config._tree import KeyPath, Origin
from recoup.config.loading import Loaded
from recoup.model.secrets import MASK, Masker
from recoup.model.structs import Struct

_HIDDEN = "*" * 10  # how pydantic prints a secret
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")


class Line(Struct):
    """One line of the effective configuration.

    Attributes:
        path: its key; the numbers of list items count from 0.
        value: as YAML on one line, `***` for a secret; None for what only has lines below it.
        origin: where it was set; None for what only has lines below it.
        is_default: whether nobody set it.
    """

    path: KeyPath
    value: str | None = None
    origin: str | None = None
    is_default: bool = False

    @property
    def key(self) -> str:
        """The last step of its path; a dash for a list item."""
        return "-" if isinstance(self.path[-1], int) else self.path[-1]


def effective(loaded: Loaded) -> str:
    """The effective configuration as YAML; each value's origin stands behind it as a comment, secrets are `***`."""
    return "".join(f"{_as_yaml(line)}\n" for line in effective_lines(loaded))


def effective_lines(loaded: Loaded) -> tuple[Line, ...]:
    """The effective configuration line by line, what is above before what is below."""
    return tuple(_lines(effective_values(loaded), loaded, ()))


def _as_yaml(line: Line) -> str:
    start = f"{'  ' * (len(line.path) - 1)}{line.key}"
    colon = "" if line.key == "-" else ":"
    return f"{start}{colon}" if line.value is None else f"{start}{colon} {line.value}  # {line.origin}"


def effective_values(loaded: Loaded) -> dict[str, Any]:
    """The effective configuration as JSON types, with `***` for secrets."""
    settings = loaded.settings.model_dump(mode="json")
    sources = {name: options.model_dump(mode="json") for name, options in loaded.sources.items()}
    first = {key: settings.pop(key) for key in ("version", "stack")}
    notify = [{"name": name, **_without_name(options)} for name, options in loaded.notify.items()]
    values = {**first, "sources": sources, **settings, "notify": notify}
    masked: dict[str, Any] = _masked(values, Masker(loaded.secrets), "")
    return masked


def _without_name(options: BaseModel) -> dict[str, Any]:
    return {key: value for key, value in options.model_dump(mode="json").items() if key != "name"}


def _masked(value: Any, mask: Masker, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _masked(below, mask, name) for name, below in value.items()}
    if isinstance(value, list):
        return [_masked(item, mask, key) for item in value]
    if isinstance(value, str):
        return MASK if value == _HIDDEN or _secrets.holds_secret(key, value) else mask(value)
    return value


def _lines(values: Mapping[str, Any], loaded: Loaded, path: KeyPath) -> Iterator[Line]:
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and value:
            yield Line(here)
            yield from _lines(value, loaded, here)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield Line(here)
            for number, group in enumerate(value):
                given = {name: one for name, one in group.items() if one is not None}
                yield _line(given, loaded, (*here, number))
        else:
            yield _line(value, loaded, here)


def _line(value: Any, loaded: Loaded, path: KeyPath) -> Line:
    origin = _origin(loaded, path)
    return Line(path, flow(value), str(origin), origin.kind == "default")


def _origin(loaded: Loaded, path: KeyPath) -> Origin:
    """Where a value was set; a secret may have come from `<key>_file` or `<key>_command`."""
    *above, key = path
    for ending in ("", _secrets.FILE_SUFFIX, _secrets.COMMAND_SUFFIX):
        found = loaded.origins.get((*above, f"{key}{ending}"))
        if found:
            return found
    return loaded.origin(path)


def flow(value: Any) -> str:
    """A value on one line, as YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return "null" if value is None else str(value).lower()


def _text(value: str) -> str:
    """A text as it is where YAML reads it as one, else in double quotes."""
    if value and set(value) <= _SAFE and value[0] != "-" and isinstance(_yaml.scalar(value), str):
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
