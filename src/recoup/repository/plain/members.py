"""Member lists: one JSON object a line (`docs/format.md`, Member lists)."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator

from recoup.errors import DamagedError, RefusedError, UnsafePathError
from recoup.model.names import checked_relative, shown
from recoup.model.part import Attributes
from recoup.model.structs import Struct

_KINDS = ("file", "folder", "symlink", "hardlink")
_BLOCK = 1024 * 1024  # bytes of a list that are written at once
_LONGEST = 1024 * 1024  # bytes of one line: names and xattrs are far below


class Line(Struct):
    """One member as the list has it.

    Attributes:
        name: relative path, surrogate-escaped; `.` for the tree's own folder.
        kind: `file`, `folder`, `symlink` or `hardlink`.
        attributes: None for a hard link.
        bytes: of a file.
        sha256: of a file, hex.
        link: of a symbolic or hard link.
        changed: the file changed while it was read.
        at: where its content begins in the stream of a tree in a dedup repository (bytes); None: right behind the one before.
    """

    name: str
    kind: str
    attributes: Attributes | None = None
    bytes: int = 0
    sha256: str = ""
    link: str = ""
    changed: bool = False
    at: int | None = None


def encode(line: Line) -> bytes:
    """The line with its newline."""
    fields: dict[str, object] = {"name": line.name, "kind": line.kind}
    if line.attributes is not None:
        fields["mode"] = line.attributes.mode
        fields["mtime_ns"] = line.attributes.mtime_ns
        if line.attributes.xattrs:
            fields["xattrs"] = encode_xattrs(line.attributes)
    if line.kind == "file":
        fields["bytes"] = line.bytes
        fields["sha256"] = line.sha256
    if line.link:
        fields["link"] = line.link
    if line.changed:
        fields["changed"] = True
    if line.at is not None:
        fields["at"] = line.at
    return json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def encode_xattrs(attributes: Attributes) -> dict[str, str]:
    """Extended attributes with their values in base64."""
    return {name: base64.b64encode(value).decode() for name, value in attributes.xattrs.items()}


def decode(chunks: Iterable[bytes]) -> Iterator[Line]:
    """Reads a list that may be damaged or hostile.

    Raises:
        DamagedError: a line is not a member.
        UnsafePathError: a name leads out of the tree.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for text in lines:
            yield _line(text)
        if len(rest) > _LONGEST:
            raise DamagedError("the member list has a line that is too long")
    if rest:
        raise DamagedError("the member list ends in the middle of a line")


def _line(text: bytes) -> Line:
    try:
        fields = json.loads(text)
        kind, name = fields["kind"], fields["name"]
        known = (
            kind in _KINDS and isinstance(name, str) and int(fields.get("bytes", 0)) >= 0 <= int(fields.get("at", 0))
        )
        attributes = None
        if kind != "hardlink":
            xattrs = {str(k): base64.b64decode(v, validate=True) for k, v in fields.get("xattrs", {}).items()}
            attributes = Attributes(int(fields["mode"]) & 0o7777, int(fields["mtime_ns"]), xattrs)
        size, sha256 = (int(fields["bytes"]), str(fields["sha256"])) if kind == "file" else (0, "")
        link = str(fields.get("link", ""))
        changed = fields.get("changed") is True
        at = None if fields.get("at") is None else int(fields["at"])
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, binascii.Error
    ) as error:  # fmt: skip
        raise DamagedError(f"the member list has a broken line: {error}") from None
    if not known or (attributes is not None and not -(2**63) <= attributes.mtime_ns < 2**63):
        raise DamagedError("the member list has a line that is no member")
    if name != ".":
        checked_relative(name)
    if kind == "hardlink":
        checked_relative(link)
    if "\0" in link:
        raise UnsafePathError("the member list has a link with NUL in its text")
    return Line(name, kind, attributes, size, sha256, link, changed, at)


class Listing:
    """A member list being written, in blocks.

    Args:
        source: whose tree it is, for errors.
        write: takes its bytes.

    Attributes:
        count: members so far.
        bytes: of all files so far.
    """

    def __init__(self, source: str, write: Callable[[bytes], None]) -> None:
        self._source, self._write = source, write
        self._buffer = bytearray()
        self._seen: set[int] = set()
        self.count = self.bytes = 0

    def enter(self, name: str) -> None:
        """Notes that a member of this name is coming.

        Raises:
            RefusedError: the tree has one already.
            UnsafePathError: it leads out of the tree.
        """
        if name != ".":
            checked_relative(name)
        mark = hash(name)
        if mark in self._seen:
            raise RefusedError(f"source {self._source} yields {shown(name)!r} twice")
        self._seen.add(mark)

    def leave(self, name: str) -> None:
        """Takes `enter` back: the member was aborted."""
        self._seen.discard(hash(name))

    def line(self, line: Line) -> None:
        """Appends a member."""
        self._buffer += encode(line)
        self.count += 1
        self.bytes += line.bytes
        if len(self._buffer) >= _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        if self._buffer:
            self._write(bytes(self._buffer))
            self._buffer.clear()
