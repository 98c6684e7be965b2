"""One number for all the content that passes by, whatever its order: so that a drill can compare byte for byte."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import PurePath

from recoup.errors import RecoupError
from recoup.model.part import Content, Member, Part, Reader, StreamPart, TreePart
from recoup.model.structs import Struct

_MODULUS = 2**256


_NEWS = 4 * 1024 * 1024  # bytes between two words about the progress


class Fingerprint:
    """Counts items and adds up a digest of each: name, kind, attributes, link and bytes.

    Args:
        advance: is told, now and then, how many bytes have passed so far.
        digests: whether the bytes count; without them the sum says nothing of content, and large contents pass far faster.

    Attributes:
        fault: why the content could not be read; None while it can. Whoever reads it may wrap the error in another one.
    """

    def __init__(self, advance: Callable[[int], None] | None = None, *, digests: bool = True) -> None:
        self._advance, self._told, self.digests = advance, 0, digests
        self.fault: Exception | None = None
        self.items = 0
        self.bytes = 0
        self._sum = 0

    def add(self, what: str, digest: str) -> None:
        """Adds one item."""
        text = f"{what}\0{digest}".encode("utf-8", "surrogateescape")
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(text).digest(), "big")) % _MODULUS
        self.items += 1

    def count(self, size: int) -> None:
        """Counts bytes that pass by."""
        self.bytes += size
        if self._advance is not None and self.bytes - self._told >= _NEWS:
            self._told = self.bytes
            self._advance(self.bytes)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Notes an error as one of reading."""
        try:
            yield
        except (RecoupError, OSError) as error:
            self.fault = error
            raise

    def hexdigest(self) -> str:
        """The sum as 64 hex digits; equal for equal items in any order."""
        return f"{self._sum:064x}"


class _WatchedReader:
    def __init__(self, reader: Reader, fingerprint: Fingerprint, what: str) -> None:
        self._reader, self._fingerprint, self._what = reader, fingerprint, what
        self._digest = hashlib.sha256() if fingerprint.digests else None
        self._ended = False

    def read(self, size: int, /) -> bytes:
        with self._fingerprint.reading():
            data = self._reader.read(size)
        if self._digest is not None:
            self._digest.update(data)
        self._fingerprint.count(len(data))
        if size and not data and not self._ended:
            self._ended = True
            self._fingerprint.add(self._what, self._digest.hexdigest() if self._digest is not None else "")
        return data

    @property
    def changed(self) -> bool:
        return self._reader.changed


class _Watched(Struct):
    """A content whose bytes are fingerprinted when it is read to its end."""

    content: Content
    fingerprint: Fingerprint
    what: str
    local_path: PurePath | None = None
    disposable: bool = False

    def open(self) -> AbstractContextManager[Reader]:
        return self._opened()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Reader]:
        with contextlib.ExitStack() as opened:
            with self.fingerprint.reading():
                reader = opened.enter_context(self.content.open())
            yield _WatchedReader(reader, self.fingerprint, self.what)


def watched(part: Part, fingerprint: Fingerprint) -> Part:
    """`part`, adding itself to `fingerprint` while it is read."""
    if isinstance(part, StreamPart):
        mode = part.attributes.mode if part.attributes else ""
        return replace(part, content=_Watched(part.content, fingerprint, f"stream\0{part.name}\0{mode}"))
    return TreePart(part.name, _members(part.members, fingerprint), part.size)


def _members(members: Iterator[Member], fingerprint: Fingerprint) -> Iterator[Member]:
    for member in _read(members, fingerprint):
        attributes = member.attributes
        mode = attributes.mode if attributes and member.kind != "symlink" else ""
        time = attributes.mtime_ns if attributes and member.kind == "file" else ""
        what = f"{member.kind}\0{member.name}\0{mode}\0{time}\0{member.link}"
        if member.content is not None:
            yield replace(member, content=_Watched(member.content, fingerprint, what))
        else:
            fingerprint.add(what, "")
            yield member


def _read(members: Iterator[Member], fingerprint: Fingerprint) -> Iterator[Member]:
    while True:
        with fingerprint.reading():
            member = next(members, None)
        if member is None:
            return
        yield member


def consume(part: Part) -> None:
    """Reads a part to its end and drops it."""
    contents = [part.content] if isinstance(part, StreamPart) else (m.content for m in part.members)
    for content in contents:
        if content is not None:
            with content.open() as reader:
                while reader.read(1024 * 1024):
                    pass
