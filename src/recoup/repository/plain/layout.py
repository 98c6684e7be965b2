"""Where things lie in a plain repository (`docs/format.md`)."""

import contextlib
from datetime import UTC, datetime

from recoup.model.manifest import Pack, StoredPart
from recoup.model.names import SetName, checked_relative

REPOSITORY = "recoup-repository.json"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SEALED = "sealed.json"
MARKS = "marks"
TRASH = ".trash"
PARTIAL = ".partial"
STAGING = ".staging"
CATALOG = ".catalog"
MEMBERS = ".members.jsonl"


def stream_path(source: str, name: str, suffix: str) -> str:
    """A stream part's path inside its set."""
    return checked_relative(f"{source}/{name}{suffix}")


def tree_path(source: str, name: str, pack: Pack) -> str:
    """A tree part's path inside its set: its folder, or its archive."""
    if pack == "tree":
        return source if name == "." else checked_relative(f"{source}/{name}")
    return checked_relative(f"{source}/{'tree' if name == '.' else name}.{pack}")


def members_path(source: str, name: str) -> str:
    """Path of a tree part's member list inside its set; source names have no dot, so it collides with none."""
    return f"{source}{MEMBERS}" if name == "." else f"{source}.{name.replace('/', '.')}{MEMBERS}"


def member_path(part: StoredPart, name: str) -> str:
    """Path inside the set of a file of a tree that is stored as a tree."""
    return f"{part.path}/{name}"


def takers_prefix(name: SetName) -> str:
    """Folder, beside the claim to a set that several machines write, where the first to store a part takes its path."""
    return f"{PARTIAL}/{name}.takers"


def marks_prefix(name: SetName) -> str:
    """Folder of a set's marks."""
    return f"{MARKS}/{name}"


_TRASH_TIME = "%Y%m%dT%H%M%S%f"


def trash_key(name: SetName, deleted: datetime) -> str:
    """Where a deleted set lies, or what says that it is deleted.

    Args:
        name: of the set.
        deleted: when (UTC).
    """
    return f"{TRASH}/{name}@{deleted.strftime(_TRASH_TIME)}"


def trashed_in(key: str) -> tuple[SetName, datetime] | None:
    """The set that a key of the trash names, and when it was deleted; None for any other key."""
    text, _, time = key.removeprefix(f"{TRASH}/").partition("@")
    name = SetName.parse(text)
    with contextlib.suppress(ValueError):
        deleted = datetime.strptime(time, _TRASH_TIME).replace(tzinfo=UTC)
        return None if name is None else (name, deleted)
    return None
