"""Reading YAML with the place of every key and value, by the YAML 1.2 core schema.

Under YAML 1.1, which most Python readers follow, `02:00` is the number 120, `on` is true and `010` is 8. The core schema of
YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) has none of these traps.

The tree is built from the parser's events: the library's own composer recurses in C, and a few thousand nested lists make it
overrun the stack.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

from recoup.config._tree import Node, Origin, Scalar
from recoup.errors import ConfigError

_LARGEST_FILE = 1024 * 1024  # bytes
_DEEPEST = 64  # levels
_BUDGET = 200_000  # values after aliases are followed; every 64 characters of text count as one more

_CORE_SCHEMA = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    ("int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        "float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
)
_TAG = "tag:yaml.org,2002:"
_QUOTED_WORD = re.compile(r"'[^'\s]{3,}'")


def read(path: Path, shown: str) -> Node:
    """The tree of a file; an empty file is an empty mapping.

    Args:
        path: the file.
        shown: how messages name it.

    Raises:
        ConfigError: it cannot be read, is too large, is not UTF-8, or is not YAML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{shown}: there is no such file.", "Name an existing file, or write one with `recoup init`."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{shown}: cannot be read ({error.strerror}).", "Look at the file and its permissions."
        ) from None
    if len(data) > _LARGEST_FILE:
        raise ConfigError(f"{shown}: larger than 1 MiB, which no configuration is.", "Is this the right file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8 text.", "Save the file with the encoding UTF-8.") from None
    return parse(text, Origin("file", shown, path))


def parse(text: str, origin: Origin) -> Node:
    """The tree of a YAML text; nothing but comments is an empty mapping.

    Args:
        text: one YAML document.
        origin: where the text stands; its line and column are filled in for each value.

    Raises:
        ConfigError: it is not YAML, or uses what a configuration may not use.
    """
    try:
        return _Builder(yaml.parse(text, Loader=_loader()), origin).document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, origin) from None
    except (yaml.YAMLError, UnicodeError):
        raise ConfigError(
            f"{origin}: holds a character that YAML does not allow.",
            'Write control characters as "\\t" or "\\x1b" in quotes.',
        ) from None


def scalar(text: str) -> Scalar:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a number with too many digits.
    """
    for kind, pattern in _CORE_SCHEMA:
        if pattern.match(text):
            return _converted(kind, text)
    return text


def value(text: str, origin: Origin) -> Node:
    """The node for one value that was given outside of a file: `7`, `a text`, `[a, b]`, `{last: 7}`.

    What does not read as YAML is a text. Where a text is wanted, the spelling counts, whatever it would be in YAML.
    """
    try:
        if text[:1] in ("[", "{", '"', "'"):
            return replace(parse(text, origin), origin=origin, text=text if text[0] in "[{" else None)
        return Node(scalar(text), origin, text)
    except (ConfigError, ValueError):
        return Node(text, origin, text)


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _converted(kind: str, text: str) -> Scalar:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _syntax_error(error: yaml.MarkedYAMLError, origin: Origin) -> ConfigError:
    """The library's message with its place; words that it quotes are left out, as they may be part of a password."""
    mark = error.problem_mark or error.context_mark
    place = replace(origin, line=mark.line + 1, column=mark.column + 1) if mark else origin
    problem = _QUOTED_WORD.sub("that", error.problem or "not valid YAML")
    context = f" ({_QUOTED_WORD.sub('that', error.context)})" if error.context else ""
    return ConfigError(
        f"{place}: not valid YAML: {problem}{context}.",
        "Look at the indentation and the quotes there and on the line before; "
        "a value that starts with one of * & ! % @ ` [ { needs quotes.",
    )


@dataclass
class _Built:
    """A finished node and what it counts against the budget."""

    node: Node
    weight: int


@dataclass
class _Builder:
    """Turns the events of one document into nodes."""

    events: Iterator[Any]
    origin: Origin
    _anchors: dict[str, _Built] = field(default_factory=dict)

    def document(self) -> Node:
        """The whole document."""
        built: _Built | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if built:
                    self._refuse(
                        event, "a second document begins here", "Keep one document in a file: remove the `---`."
                    )
                built = self._node(next(self.events), 0)
        if built is None or (built.node.value is None and built.node.text == ""):
            return Node({}, self.origin)
        return built.node

    def _node(self, event: Any, depth: int) -> _Built:
        if depth > _DEEPEST:
            self._refuse(event, f"more than {_DEEPEST} levels deep", "No key of a configuration lies that deep.")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            built = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            built = self._sequence(event, depth)
        else:
            built = self._mapping(event, depth)
        if built.weight > _BUDGET:
            self._refuse(
                event, "too many values", "Use fewer aliases (`*name`): each one repeats all that it stands for."
            )
        if event.anchor:
            self._anchors[event.anchor] = built
        return built

    def _alias(self, event: Any) -> _Built:
        built = self._anchors.get(event.anchor)
        if built is None:
            # the name stays out of the message: it may be the rest of an unquoted password
            self._refuse(
                event,
                "an alias that is not defined above",
                "Put quotes around a value that starts with `*`; or define it with `&`.",
            )
        return replace(built, node=replace(built.node, origin=self._at(event)))

    def _scalar(self, event: Any) -> _Built:
        text: str = event.value
        if "\0" in text:
            self._refuse(event, "a NUL character", "Remove it: no path and no name may hold one.")
        kind = self._kind(event, ("null", "bool", "int", "float", "str", "merge"))
        node = Node(text, self._at(event))
        if kind is None and event.implicit[0]:
            node = Node(self._guarded(event, lambda: scalar(text)), self._at(event), text)
        elif kind not in (None, "str", "merge"):
            pattern = dict(_CORE_SCHEMA)[kind]
            if not pattern.match(text):
                self._refuse(event, f"the tag says {kind}, the value does not", "Remove the tag, or correct the value.")
            node = Node(self._guarded(event, lambda: _converted(kind, text)), self._at(event))
        return _Built(node, 1 + len(text) // 64)

    def _guarded(self, event: Any, convert: Any) -> Scalar:
        try:
            converted: Scalar = convert()
        except ValueError:
            self._refuse(event, "a number with too many digits", "Put quotes around it if it is meant as text.")
        return converted

    def _sequence(self, event: Any, depth: int) -> _Built:
        self._kind(event, ("seq",))
        items, weight = [], 1
        while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
            built = self._node(item, depth + 1)
            items.append(built.node)
            weight += built.weight
        return _Built(Node(tuple(items), self._at(event)), weight)

    def _mapping(self, event: Any, depth: int) -> _Built:
        self._kind(event, ("map",))
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        weight = 1
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            name = self._key(key)
            built = self._node(next(self.events), depth + 1)
            weight += built.weight + len(name) // 64
            if name == "<<" and key.implicit[0]:
                merged = {**self._merged(key, built.node), **merged}
            elif name in entries:
                first = entries[name].key
                self._refuse(
                    key, f"the key `{name}` is here twice", f"It is already at line {first.line if first else '?'}."
                )
            else:
                entries[name] = replace(built.node, key=self._at(key))
        return _Built(Node({**merged, **entries}, self._at(event)), weight)

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key that is not a word", "A value that starts with one of * [ { needs quotes.")
        if event.anchor:
            self._refuse(event, "an anchor on a key", "Put quotes around a word that starts with `&`.")
        self._kind(event, ("str", "merge", "int", "float", "bool", "null"))
        name: str = event.value
        if "\0" in name:
            self._refuse(event, "a NUL character", "Remove it: no path and no name may hold one.")
        return name

    def _merged(self, event: Any, node: Node) -> dict[str, Node]:
        """The entries that a `<<` brings in; of several mappings the first wins."""
        sources = node.value if isinstance(node.value, tuple) else (node,)
        merged: dict[str, Node] = {}
        for source in reversed(sources):
            if not isinstance(source.value, dict):
                self._refuse(
                    event, "`<<` without a group of keys", "Write `<<: *name`, where `&name` marks a group of keys."
                )
            merged.update(source.entries)
        return merged

    def _kind(self, event: Any, allowed: tuple[str, ...]) -> str | None:
        """The kind that an explicit tag says; None without a tag."""
        if event.tag is None or event.tag == "!":
            return None if event.tag is None else "str"
        kind = event.tag.removeprefix(_TAG)
        if kind not in allowed:
            # nor is the tag repeated: `password: !secret` is a password without quotes
            self._refuse(event, "a tag, which has no meaning here", "Put quotes around a value that starts with `!`.")
        return str(kind)

    def _at(self, event: Any) -> Origin:
        mark = event.start_mark
        return replace(self.origin, line=mark.line + 1, column=mark.column + 1)

    def _refuse(self, event: Any, what: str, hint: str) -> NoReturn:
        raise ConfigError(f"{self._at(event)}: {what}.", hint)
