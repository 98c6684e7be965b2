"""What a capture yields and a restore consumes: named byte streams and trees of members.

The same types flow both ways. A source's capture yields `Part`s whose content reads the frozen data; a repository's fetch
yields `Part`s whose content reads the stored bytes and checks them on the way.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import field
from pathlib import PurePath
from typing import Protocol, runtime_checkable

from recoup.model.structs import Struct


class Reader(Protocol):
    """An open content. Read to the end, then ask `changed`."""

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end.

        Raises:
            DamagedError: the bytes are not what the manifest promised (stored content only; at the latest at the end).
        """
        ...

    @property
    def changed(self) -> bool:
        """True when the data changed underneath while it was read, so that these bytes may never have existed together."""
        ...


class Content(Protocol):
    """Bytes that can be opened, possibly more than once."""

    def open(self) -> AbstractContextManager[Reader]:
        """Opens from the beginning.

        Raises:
            OSError: it cannot be read now; the caller names the part.
        """
        ...

    @property
    def local_path(self) -> PurePath | None:
        """A file of this machine that holds exactly these bytes and will not change, or None (then only `open` works)."""
        ...

    @property
    def disposable(self) -> bool:
        """True when the file at `local_path` is a staged copy that whoever stores it may move away."""
        ...


@runtime_checkable
class Ranged(Content, Protocol):
    """Content of which any range can be read without what is before it. What is read of it is what was stored, or an error."""

    def open_at(self, start: int, length: int | None = None, /) -> AbstractContextManager[Reader]:
        """Opens a range.

        Args:
            start: its first byte, from 0.
            length: bytes, fewer at the end of the content; None is to the end.

        Raises:
            OSError: it cannot be read now; the caller names the part.
        """
        ...


@runtime_checkable
class Hashed(Protocol):
    """Content that was hashed while the file at its `local_path` was written by us."""

    @property
    def sha256(self) -> str:
        """SHA-256 of all bytes, hex; empty when it is not known."""
        ...


class Attributes(Struct):
    """File attributes that come back at restore.

    Attributes:
        mode: permission bits (0 to 0o7777).
        mtime_ns: modification time, nanoseconds since the epoch.
        xattrs: extended attributes, name to value.
    """

    mode: int
    mtime_ns: int
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


class Member(Struct):
    """One entry of a tree: a file, folder, symbolic link or hard link.

    Attributes:
        name: relative POSIX path inside the tree; bytes that are not UTF-8 are surrogate-escaped. `.` is the tree's own root.
        kind: `file`, `folder`, `symlink` or `hardlink`.
        attributes: mode, time and extended attributes; None for a hard link (they belong to its file).
        size: bytes of a file as planned; what was really stored stands in the manifest. 0 for the others.
        link: target text of a symbolic link (never followed), or the name of the earlier member that a hard link equals.
        content: a file's bytes; None for the others.
    """

    name: str
    kind: str
    attributes: Attributes | None = None
    size: int = 0
    link: str = ""
    content: Content | None = None


class StreamPart(Struct):
    """One named byte stream: a database file, a dump, a shard stream.

    Attributes:
        name: relative POSIX path inside its source; unique there.
        content: the bytes.
        size: bytes where they are known beforehand, else None.
        attributes: given when the stream is a file whose mode and time come back at restore.
        once: when it equals the copy in an earlier set, a repository need not store it again.
    """

    name: str
    content: Content
    size: int | None = None
    attributes: Attributes | None = None
    once: bool = False


class TreePart(Struct):
    """A folder with all that is in it.

    Attributes:
        name: relative POSIX path inside its source, or `.` when the source is this one folder.
        members: yields each member once, parents before children, a hard link after its file. To be consumed once,
            each member's content before the next member is asked for (an archive is read in order).
        size: bytes of all files where known, else None.
        once: files that equal those in an earlier set need not be stored again.
    """

    name: str
    members: Iterator[Member]
    size: int | None = None
    once: bool = False


Part = StreamPart | TreePart
