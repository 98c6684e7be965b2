"""Which parts are artefacts: a file that holds a whole collection, table, database or folder by itself.

By the names that parts have (`docs/format.md`): a record beside a snapshot, one shard of several, or one node's share is none.
"""

import re

_WHOLE = re.compile(r"(?P<part>[^/]+)/(?P=part)-[0-9]{4}(?:-[0-9]{2}){5}")
"""A collection's own snapshot, from the only node that has it: `docs/docs-2026-11-21-02-00-00`."""

_TABLE = re.compile(r"tables/(?P<part>[^/]+)")
_RESTORED = re.compile(r"(?:__restore_[0-9]{8}_[0-9]{6}(?:_[0-9]{1,3})?)+\Z")
"""How restores to a Qdrant server name what they make: `docs__restore_20261121_020000`."""

_ALONE = re.compile(r"(?P<part>[^/]+)")
_SNAPSHOT = ".snapshot"


def of_stream(name: str, extension: str) -> str | None:
    """What a stream part holds whole.

    Args:
        name: of the part.
        extension: what artefacts end in; a part of another kind is none.

    Returns:
        The collection, table or database as its file's name spells it; None for a part that is no artefact.
    """
    if not name.endswith(extension):
        return None
    stem = name.removesuffix(extension)
    patterns = (_WHOLE,) if extension == _SNAPSHOT else (_TABLE, _ALONE)
    found = next((match for pattern in patterns if (match := pattern.fullmatch(stem))), None)
    return found["part"] if found else None


def names_for(part: str) -> tuple[str, ...]:
    """What an artefact may be named after, the best first: clients know a collection that was restored by the name without
    what the restore put behind, which is an alias since then."""
    return tuple(dict.fromkeys((_RESTORED.sub("", part), part)))


def of_tree(source: str, name: str, pack: str, extension: str) -> str | None:
    """The same for a tree that is packed as one archive; `.` is the whole source."""
    if extension != f".{pack}" or "/" in name:
        return None
    return source if name == "." else name
