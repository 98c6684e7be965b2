"""A page of what is in a set: the things right below a path, however much lies below these. Pure.

What a set has comes as one stream, which may be of a million members. A page reads a stretch of it, and says where the next one
goes on.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from recoup.model.structs import Struct
from recoup.operations.contents import split

if TYPE_CHECKING:
    from recoup.operations.contents import Entry

ROWS = 500
"""Things on a page."""

STRETCH = 60_000
"""Members that are read for a page: about two seconds."""


class Row(Struct):
    """A thing right below a path.

    Attributes:
        name: below it.
        path: in the set.
        kind: `stream` or `tree` for a part, else `file`, `folder`, `symlink`, `hardlink` or `special`.
        bytes: what it holds, plain; None for what is known only by what is below it.
        modified: when it was changed (UTC), where that is known.
        link: text of a symbolic link, or what a hard link equals.
    """

    name: str
    path: str
    kind: str
    bytes: int | None = None
    modified: datetime | None = None
    link: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it has bytes of its own that can be taken out."""
        return self.kind in ("stream", "file")

    @property
    def holds_more(self) -> bool:
        """Whether something may be below it: a folder, or a file that may be an archive."""
        return self.kind in ("tree", "folder") or (self.is_file and self.name.endswith(_ARCHIVES))


_ARCHIVES = (".tar", ".snapshot")


class Cursor(Struct):
    """Where a page goes on in the stream.

    Attributes:
        index: members that were read before it.
        name: of the last thing before it, which is not to be shown again.
    """

    index: int = 0
    name: str = ""


class Listing(Struct):
    """A page.

    Attributes:
        itself: what the path leads to, when that is a file.
        rows: what is right below it.
        next: where it goes on; None when this is the end.
        looked_at: members that were read for it.
    """

    itself: "Entry | None"
    rows: tuple[Row, ...]
    next: Cursor | None
    looked_at: int


def listing(entries: "Iterable[Entry]", path: str, begin: Cursor) -> Listing:
    """The page that begins at a place in the stream.

    Args:
        entries: what is at the path and below it; at most `STRETCH` of them behind `begin` are read.
        path: in the set.
        begin: where the page begins.
    """
    base = "/".join(step for step in split(path) if step)
    stream = islice(entries, begin.index, None)
    itself, rows, last, count = None, dict[str, Row](), begin.name, 0
    for entry in stream:
        name = _child(entry, base)
        if count == STRETCH or (len(rows) == ROWS and name != last):
            return Listing(itself, tuple(rows.values()), Cursor(begin.index + count, last), count)
        count += 1
        if not name:
            itself = entry
        elif name not in rows and name != begin.name:
            rows[name] = _row(entry, base, name)
        last = name or last
    return Listing(itself, tuple(rows.values()), None, count)


def _child(entry: "Entry", base: str) -> str:
    """The name right below the path on the way to an entry; empty for the path's own entry."""
    return _below(entry, base).partition("/")[0]


def _below(entry: "Entry", base: str) -> str:
    return entry.path[len(base) :].lstrip("/") if base else entry.path


def _row(entry: "Entry", base: str, name: str) -> Row:
    path = f"{base}/{name}" if base else name
    if _below(entry, base) == name:
        return Row(name, path, entry.kind, entry.bytes, entry.modified, entry.link)
    return Row(name, path, "folder")
