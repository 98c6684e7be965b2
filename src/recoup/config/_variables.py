"""Variables: the environment, the `.env` file beside the configuration, and `${...}` in values."""

import io
import re
from collections.abc import Mapping
from dataclasses import field, replace
from functools import partial
from pathlib import Path

from recoup.config import _yaml
from recoup.config._tree import KeyPath, Node, Origin, child, put
from recoup.errors import ConfigError
from recoup.model.structs import Struct

_PREFIX = "recoup__"
_LARGEST_FILE = 1024 * 1024  # bytes

_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\}|(?P<wrong>\{))"
)
"""`$$`, `${NAME}`, `${NAME:-default}`; any other `${` is a mistake. A `$` before anything else stands for itself."""


class Variables(Struct):
    """What `${NAME}` may name; the environment wins over the `.env` file.

    Attributes:
        environ: the environment.
        dotenv: what the `.env` file sets; never exported to the environment.
        lines: the line of each variable in it.
        shown: how messages name it; empty when none was read.
        unreadable_lines: lines of it that are not `NAME=value`.
    """

    environ: Mapping[str, str]
    dotenv: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    shown: str = ""
    unreadable_lines: tuple[int, ...] = ()

    def get(self, name: str) -> str | None:
        """The variable's value, None when it is not set."""
        return self.environ.get(name, self.dotenv.get(name))


def read_dotenv(path: Path, shown: str, environ: Mapping[str, str]) -> Variables:
    """Reads a `.env` file.

    Args:
        path: the file.
        shown: how messages name it.
        environ: the environment, which values of the file may refer to.

    Raises:
        ConfigError: it cannot be read, is larger than 1 MiB or is not UTF-8.
    """
    from dotenv.parser import parse_stream

    hint = "Mend it, or set `env_file: null` to do without."
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror}).", hint) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{shown}: not UTF-8 text.", hint) from None
    if len(data) > _LARGEST_FILE:
        raise ConfigError(f"{shown}: larger than 1 MiB, which no `.env` file is.", hint)
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    unreadable = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            unreadable.append(binding.original.line)
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = _REFERENCE.sub(partial(_lenient, {**values, **environ}), binding.value)
            lines[binding.key] = binding.original.line
    return Variables(environ, values, lines, shown, tuple(unreadable))


def _lenient(known: Mapping[str, str], found: re.Match[str]) -> str:
    """What a reference inside `.env` stands for, as applications read it: `$$` is not special, an unknown name is empty."""
    if not found["name"]:
        return found[0]
    return known.get(found["name"]) or found["default"] or ""


class Brought(Struct):
    """A value that `${...}` brought into the configuration.

    Attributes:
        variable: the variable's name.
        value: its value.
        from_dotenv: whether it came from the `.env` file.
        whole: whether the configuration's value is nothing else.
        path: the key that it came to.
    """

    variable: str
    value: str
    from_dotenv: bool
    whole: bool
    path: KeyPath


def expand(node: Node, variables: Variables, path: KeyPath = ()) -> tuple[Node, list[Brought]]:
    """Replaces `${...}` in every text that stands in a file, and tells what was brought in.

    Values from the environment and from `--set` stay as they are: there the shell has done it already.

    Raises:
        ConfigError: a variable is not set and has no default, or the reference is malformed.
    """
    if isinstance(node.value, Mapping):
        done = {key: expand(entry, variables, (*path, key)) for key, entry in node.value.items()}
        return node.with_entries({key: entry for key, (entry, _) in done.items()}), [
            b for _, many in done.values() for b in many
        ]
    if isinstance(node.value, tuple):
        items = [expand(item, variables, (*path, index)) for index, item in enumerate(node.value)]
        return replace(node, value=tuple(item for item, _ in items)), [b for _, many in items for b in many]
    if isinstance(node.value, str) and node.origin.kind == "file" and "$" in node.value:
        return _expanded(node, node.value, variables, path)
    return node, []


def _expanded(node: Node, text: str, variables: Variables, path: KeyPath) -> tuple[Node, list[Brought]]:
    brought: list[Brought] = []

    def substitute(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        if found["wrong"]:
            raise ConfigError(
                f"{node.origin}: `${{` begins no variable here.",
                "Write ${NAME} or ${NAME:-default}, where the default holds no braces; write $${ for the two characters.",
            )
        name, default = found["name"], found["default"]
        value = variables.get(name)
        if value is None and default is None:
            raise ConfigError(
                f"{node.origin}: the variable {name} is not set.",
                f"Set it in the environment or in the `.env` file, or give a default: ${{{name}:-value}}.",
            )
        if not value and default is not None:
            return str(default)
        if value is not None:
            _check_text(value, name, node.origin)
            brought.append(Brought(name, value, name not in variables.environ, found[0] == text, path))
        return value or ""

    expanded = _REFERENCE.sub(substitute, text)
    names = tuple(dict.fromkeys(b.variable for b in brought))
    return replace(node, value=expanded, text=None, origin=replace(node.origin, variables=names)), brought


def keys_from(variables: Mapping[str, str], tree: Node, place: Mapping[str, Origin] | None = None) -> Node:
    """`tree` with every key that a variable sets: `RECOUP__SOURCES__CACHE__PATH` is `sources.cache.path`.

    Args:
        variables: names and values; those without the prefix `RECOUP__` are left alone.
        tree: what the keys are laid over. A level's name is matched to a key there without regard to case, `_` also to `-`.
        place: where a variable was set, when not in the environment.

    Raises:
        ConfigError: a name has an empty level, or two variables set the same key.
    """
    seen: dict[KeyPath, str] = {}
    for name in sorted(n for n in variables if n.lower().startswith(_PREFIX)):
        origin = (place or {}).get(name) or Origin("environment", name)
        levels = name[len(_PREFIX) :].split("__")
        if not all(levels):
            raise ConfigError(
                f"the environment variable {name} names no key.",
                "Write two underscores between levels: RECOUP__SOURCES__CACHE__PATH.",
            )
        _check_text(variables[name], name, origin)
        path = _matched(tree, levels)
        if path in seen:
            raise ConfigError(
                f"the environment variables {seen[path]} and {name} set the same key.", "Keep one of them."
            )
        seen[path] = name
        tree = put(tree, path, _given(variables[name], origin))
    return tree


def _matched(tree: Node, levels: list[str]) -> KeyPath:
    """The path that the levels name: keys that are there, else the names in lower case."""
    path: list[str | int] = []
    node: Node | None = tree
    for level in levels:
        wanted = level.lower()
        present = list(node.entries) if node else []
        same = [key for key in present if key.lower() == wanted] or [
            key for key in present if key.lower().replace("-", "_") == wanted
        ]
        step: str | int = same[0] if same else wanted
        if node and isinstance(node.value, tuple) and wanted.isdecimal():
            step = int(wanted)
        path.append(step)
        node = child(node, step) if node else None
    return tuple(path)


def overridden(tree: Node, overrides: "list[str] | tuple[str, ...]") -> Node:
    """`tree` with what `--set KEY=VALUE` sets.

    Raises:
        ConfigError: there is no `=`, or a level of the key is empty.
    """
    for override in overrides:
        key, equals, value = override.partition("=")
        levels = key.strip().split(".")
        if not equals or not all(levels):
            # the value may be a secret, so only what stands before the `=` is repeated
            shown = key if equals else "what was given"
            raise ConfigError(
                f"--set: {shown} is not KEY=VALUE.", "Write for example --set repositories.local.keep.last=7."
            )
        origin = Origin("option", key.strip())
        _check_text(value, f"--set {key.strip()}", origin)
        tree = put(tree, _path(tree, levels), _given(value, origin))
    return tree


def _path(tree: Node, levels: list[str]) -> KeyPath:
    path: list[str | int] = []
    node: Node | None = tree
    for level in levels:
        step: str | int = int(level) if node and isinstance(node.value, tuple) and level.isdecimal() else level
        path.append(step)
        node = child(node, step) if node else None
    return tuple(path)


def _given(text: str, origin: Origin) -> Node:
    return replace(_yaml.value(text, origin), key=origin)


def _check_text(text: str, name: str, origin: Origin) -> None:
    """Refuses what is no text: the system hands over bytes that are not UTF-8 as lone surrogates."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError(f"{origin}: the value of {name} is not UTF-8 text.", "Set it to plain text.")
