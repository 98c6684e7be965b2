"""Where things lie in a plain repository (`docs/format.md`)."""

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


def marks_prefix(name: SetName) -> str:
    """Folder of a set's marks."""
    return f"{MARKS}/{name}"
