"""Configuration values before they are checked: a tree in which every value knows where it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from recoup.errors import ConfigError
from recoup.model.structs import Struct

Scalar = str | int | float | bool | None
KeyPath = tuple[str | int, ...]
"""Keys from the top of the file down to a value; list positions count from 0."""


class Origin(Struct):
    """Where a value was set.

    Attributes:
        kind: `file`, `environment` (a variable is a key), `option` (`--set`) or `default`.
        name: the file as it is to be shown, the variable's name, or the key given to `--set`.
        file: absolute path of the file; None for other kinds.
        line: line in the file, from 1; 0 where there is none.
        column: column in that line, from 1; 0 where there is none.
        variables: variables that `${...}` brought in.
    """

    kind: Literal["file", "environment", "option", "default"]
    name: str = ""
    file: Path | None = None
    line: int = 0
    column: int = 0
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = {
            "file": f"{self.name}:{self.line}" if self.line else self.name,
            "environment": f"{self.name} in the environment",
            "option": f"--set {self.name}",
            "default": "default",
        }[self.kind]
        return f"{place}, from {', '.join(self.variables)}" if self.variables else place


DEFAULT = Origin("default")


class Node(Struct):
    """A value with its origin.

    Attributes:
        value: a scalar, or a mapping or list of nodes.
        origin: where it was set.
        text: how an unquoted scalar was spelled, so that `stack: 010` stays "010" where a text is wanted.
        key: where its key stands; None for list items and the top.
    """

    value: "Scalar | Mapping[str, Node] | tuple[Node, ...]"
    origin: Origin
    text: str | None = None
    key: Origin | None = None

    @property
    def entries(self) -> "Mapping[str, Node]":
        """The entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def place(self) -> Origin:
        """Where to point a person to: the key, else the value."""
        return self.key or self.origin

    def with_entries(self, entries: "Mapping[str, Node]") -> "Node":
        """The same mapping with other entries."""
        return replace(self, value=dict(entries))


def child(node: Node, step: str | int) -> Node | None:
    """The node one step below, or None."""
    if isinstance(node.value, Mapping):
        return node.value.get(str(step))
    if isinstance(node.value, tuple) and isinstance(step, int) and 0 <= step < len(node.value):
        return node.value[step]
    return None


def walk(node: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Every node with its path, parents first."""
    yield path, node
    if isinstance(node.value, Mapping):
        for key, entry in node.value.items():
            yield from walk(entry, (*path, key))
    elif isinstance(node.value, tuple):
        for index, item in enumerate(node.value):
            yield from walk(item, (*path, index))


def plain(node: Node) -> object:
    """The value without origins: dicts, lists and scalars."""
    if isinstance(node.value, Mapping):
        return {key: plain(entry) for key, entry in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(item) for item in node.value]
    return node.value


def merge(low: Node, high: Node) -> Node:
    """`high` laid over `low`: mappings are merged key by key, anything else is replaced."""
    if not (isinstance(low.value, Mapping) and isinstance(high.value, Mapping)):
        return high
    entries = dict(low.value)
    for key, node in high.value.items():
        entries[key] = merge(entries[key], node) if key in entries else node
    return low.with_entries(entries)


def put(node: Node, path: KeyPath, leaf: Node) -> Node:
    """`node` with `leaf` at `path`; mappings on the way are made where there are none.

    Raises:
        ConfigError: something on the way is set and is not a mapping.
    """
    if not path:
        return replace(leaf, key=leaf.key or node.key)
    step = path[0]
    if isinstance(node.value, tuple) and isinstance(step, int):
        items = [put(item, path[1:], leaf) if n == step else item for n, item in enumerate(node.value)]
        return replace(node, value=tuple(items))
    if not isinstance(node.value, Mapping) and node.value is not None:
        raise ConfigError(
            f"{leaf.origin}: cannot set `{step}`, because the key above it is not a group of keys.",
            f"The key above it was set at {node.place}.",
        )
    below = node.entries.get(str(step)) or Node({}, leaf.origin, key=leaf.origin)
    return replace(node, value={**node.entries, str(step): put(below, path[1:], leaf)}, text=None)


def dotted(path: KeyPath) -> str:
    """The path as people write it: `sources.cache.include.0`."""
    return ".".join(map(str, path))
