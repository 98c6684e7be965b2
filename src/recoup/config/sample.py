"""A commented sample of the file, made from the models."""

import textwrap
from collections.abc import Iterator

from recoup.config import _fields, _notify, _schedule, _schemas
from recoup.config.schema import FILE_NAME, described

_WIDTH = 100  # columns
_INDENT = "  "

_NAMES = {"repositories": "local", "watch.sources": "my-files"}
_VALUES = {
    "version": "1",
    "stack": "my-stack",
    "repositories.local.path": "data/backups",
    "repositories.local.keep.last": "7",
    "sources.my-directory.stop": "[systemctl, stop, my-service]",
    "sources.my-directory.start": "[systemctl, start, my-service]",
    "sources.my-directory.wait.port": "6333",
}
"""What the sample sets; all else is there as a comment with its default."""


_EXAMPLES = {"schedule": _schedule.SAMPLE, "notify": _notify.SAMPLE}
"""What stands for lists of groups of keys, as a comment; whose keys are in the reference."""


def schema_lines(place: str = FILE_NAME) -> str:
    """The first lines of a file whose keys editors complete.

    Args:
        place: path, relative to the file, or URL of the schema.
    """
    return (
        f"# yaml-language-server: $schema={place}\n"
        f"# Editors complete and check the keys once `recoup config schema > {FILE_NAME}` has written the schema.\n"
    )


def sample(place: str = FILE_NAME) -> str:
    """The sample: it can be loaded as it is, and has one source of each kind.

    Args:
        place: path, relative to the file, or URL of the schema.
    """
    whole = described()
    lines = [
        schema_lines(place),
        "# Texts may hold ${VARIABLE} or ${VARIABLE:-default}; $$ is one $. Relative paths start at this file's folder.",
        "# A key with a `#` before it shows its default.",
    ]
    for field in _fields.of(whole, whole):
        lines.append("")
        lines += _sources(whole, field) if field.key == "sources" else _entry(whole, field, field.key, 0)
    return "\n".join(lines) + "\n"


def _sources(whole: _schemas.Schema, field: _fields.Field) -> Iterator[str]:
    yield from _comment(field.meaning, 0)
    yield "sources:"
    definitions = {name: one for name, one in whole["$defs"].items() if name.startswith("source-")}
    for number, (name, definition) in enumerate(definitions.items()):
        if number:
            yield ""
        kind = name.removeprefix("source-")
        yield f"{_INDENT}my-{kind}:"
        yield f"{_INDENT * 2}kind: {kind}"
        for key in _fields.of(whole, definition):
            if key.key != "kind":
                yield from _source_key(whole, key, kind)


def _source_key(whole: _schemas.Schema, field: _fields.Field, kind: str) -> Iterator[str]:
    path = f"sources.my-{kind}.{field.key}"
    if field.group is not None:
        yield from _entry(whole, field, path, 2)
        return
    yield from _comment(field.meaning, 2)
    value = _VALUES.get(path, f"data/{kind}" if field.key == "path" else f"my-{field.key}")
    yield f"{_INDENT * 2}{field.key}: {value}" if field.required else f"{_INDENT * 2}# {field.key}: {field.default}"


def _entry(
    whole: _schemas.Schema, field: _fields.Field, path: str, depth: int, *, inert: bool = False
) -> Iterator[str]:
    """The lines of a key and of all below it.

    Args:
        whole: the schema of the file.
        field: the key.
        path: its dotted path.
        depth: how many levels it is indented.
        inert: it stands inside a group that becomes a comment as a whole.
    """
    yield from _comment(field.meaning, depth)
    indent = _INDENT * depth
    if field.listed:
        yield from (f"{indent}# {line}" for line in _EXAMPLES.get(path, f"{field.key}: []").splitlines())
    elif field.group is not None and not field.choice:
        yield from _commented_group(whole, field, path, depth, inert=inert)
    elif path in _VALUES or inert:
        yield f"{indent}{field.key}: {_VALUES.get(path, field.default)}"
    else:
        yield f"{indent}# {field.key}: {field.default}"


def _commented_group(
    whole: _schemas.Schema, field: _fields.Field, path: str, depth: int, *, inert: bool
) -> Iterator[str]:
    """A group of keys; one in which the sample sets nothing is a comment that stays right when its marks are removed."""
    indent = _INDENT * depth
    if inert or any(key.startswith(f"{path}.") for key in _VALUES):
        yield from _group(whole, field, path, depth, inert=inert)
        return
    for line in _group(whole, field, path, depth, inert=True):
        yield f"{indent}# {line.removeprefix(indent)}"


def _group(whole: _schemas.Schema, field: _fields.Field, path: str, depth: int, *, inert: bool) -> Iterator[str]:
    yield f"{_INDENT * depth}{field.key}:"
    group = field.group or {}
    if field.named:
        depth, path = depth + 1, f"{path}.{_NAMES[path]}"
        yield f"{_INDENT * depth}{path.rpartition('.')[2]}:"
        group = next(_schemas.variants(whole, group["additionalProperties"]))
    for below in _fields.of(whole, group):
        yield from _entry(whole, below, f"{path}.{below.key}", depth + 1, inert=inert)


def _comment(meaning: str, depth: int) -> list[str]:
    indent = _INDENT * depth + "# "
    return textwrap.wrap(meaning, _WIDTH, initial_indent=indent, subsequent_indent=indent)
