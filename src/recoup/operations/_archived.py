"""Members of a tar inside a stored content, and of tars inside that: found without unpacking, and without believing it anything.

The standard library's `tarfile` parses the headers. What it takes for granted is looked after here: that it moves on, that a
header is no larger than headers are, that nothing else than the end is behind the last member, and that names are only compared.
"""

import math
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import IO, Self, TypeVar, cast

from recoup.errors import DamagedError, UsageError
from recoup.model.names import shown
from recoup.model.part import Attributes, Content, Member, Ranged, Reader
from recoup.model.structs import Struct

T = TypeVar("T")

_BLOCK = 1024 * 1024
_NEAR = 4 * _BLOCK  # bytes that are read over rather than opened anew
_WINDOW = _BLOCK // 16  # bytes that are opened for a header; twice as many each time that it goes on from there
_HEADERS = 4 * _BLOCK  # bytes that the headers of one member may have: names, extended attributes, a sparse file's map
_LATEST = 1 << 62  # nanoseconds since the epoch that a file system takes
_FAULTS = (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError, IndexError, KeyError, AttributeError)


def hits(name: str, wanted: Sequence[str]) -> bool:
    """Whether a name is one of those wanted, or below one; the empty one means all."""
    return any(not one or name == one or name.startswith(f"{one}/") for one in wanted)


def deeper(name: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Of the names that are wanted below `name`, the rest."""
    return tuple(one[len(name) + 1 :] for one in wanted if one.startswith(f"{name}/"))


def within(content: Content, item: str, wanted: Sequence[str]) -> Iterator[Member]:
    """The members of an archive that are wanted, and what is below them. Each one's content is to be read before the next is
    asked for. Of two files with one name the first counts. A content that can be read from any place is read only where it has
    to be; any other one to its end, so that it is compared with what was stored.

    Args:
        content: the archive.
        item: what to call it in an error.
        wanted: names inside it, also inside archives in it; the empty one means all.

    Raises:
        UsageError: it is no archive.
        DamagedError: it is broken, or cut short.
    """
    with _Source(content, item) as source:
        left = set(wanted)
        for tar, info in _entries(source, item):
            name = _name(info)
            if name and hits(name, wanted):
                yield _member(tar, source, info, name)
                left -= {name} if not info.isdir() else set()
            elif name and info.isreg() and (below := deeper(name, wanted)):
                inner = _content(tar, source, info)
                yield from (_inside(name, member) for member in within(inner, f"{item}/{name}", below))
                left -= {f"{name}/{one}" for one in below}
            if not left:
                break
        source.drain()


def _inside(name: str, member: Member) -> Member:
    link = f"{name}/{member.link}" if member.kind == "hardlink" else member.link
    return replace(member, name=f"{name}/{member.name}", link=link)


def _entries(source: "_Source", item: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    tar = _opened(source, item)
    last = -1
    while (info := _asked(source, item, tar.next)) is not None:
        if info.offset <= last or info.size < 0:
            raise DamagedError(f"{shown(item)} is broken as an archive: at byte {info.offset:,} it leads back")
        last = info.offset
        yield tar, info
        tar.members.clear()  # type: ignore[attr-defined] # what was passed need not be remembered
    if any(source.block) or len(source.block) % tarfile.BLOCKSIZE:  # archives of segments end without blocks of an end
        raise DamagedError(f"{shown(item)} is broken or cut short as an archive, at byte {source.tell():,}")


def _opened(source: "_Source", item: str) -> tarfile.TarFile:
    def made() -> tarfile.TarFile:
        return tarfile.TarFile(fileobj=cast("IO[bytes]", source), encoding="utf-8", errors="surrogateescape")

    try:
        return _asked(source, item, made)
    except DamagedError:
        if source.tell() > _HEADERS or source.fault:
            raise
        raise UsageError(f"{shown(item)} is no archive, so there is nothing below it") from None


def _asked(source: "_Source", item: str, parse: Callable[[], T]) -> T:
    source.budget = _HEADERS
    try:
        return parse()
    except _FAULTS as error:
        raise DamagedError(f"{shown(item)} is broken as an archive: {shown(str(error))}") from None
    finally:
        source.budget = None


def _name(info: tarfile.TarInfo) -> str:
    return "/".join(step for step in info.name.split("/") if step not in ("", "."))


def _member(tar: tarfile.TarFile, source: "_Source", info: tarfile.TarInfo, name: str) -> Member:
    kinds = {"file": info.isreg(), "folder": info.isdir(), "symlink": info.issym(), "hardlink": info.islnk()}
    kind = next((kind for kind, it_is in kinds.items() if it_is), "special")
    link = info.linkname if kind == "symlink" else ""
    if kind == "hardlink":
        link = "/".join(step for step in info.linkname.split("/") if step not in ("", "."))
    attributes = None if kind == "hardlink" else Attributes(info.mode & 0o777, _mtime_ns(info))
    content = _content(tar, source, info) if kind == "file" else None
    return Member(name, kind, attributes, info.size if kind == "file" else 0, link, content)


def _mtime_ns(info: tarfile.TarInfo) -> int:
    seconds = float(info.mtime)
    return 0 if not math.isfinite(seconds) else int(min(max(seconds, 0) * 1e9, _LATEST))


def _content(tar: tarfile.TarFile, source: "_Source", info: tarfile.TarInfo) -> Content:
    if info.issparse() or not isinstance(source.content, Ranged):
        return _Extracted(tar, source, info)
    return _Slice(source.content, info.offset_data, info.size, source.item)


class _Source:
    """A content as the file that `tarfile` reads.

    Args:
        content: the archive.
        item: what to call it in an error.

    Attributes:
        block: what was read last, if it was one block: at the end, the block that is no header.
        budget: bytes that may still be read, while a header is parsed.
        fault: whether reading was what failed.
    """

    def __init__(self, content: Content, item: str) -> None:
        self.content, self.item = content, item
        self.block = b""
        self.budget: int | None = None
        self.fault = False
        self._opened = ExitStack()
        self._reader: Reader | None = None
        self._at = self._end = self._place = 0
        self._window = _WINDOW

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._place

    def seek(self, place: int) -> int:
        """Goes to a byte, when the next one is read."""
        if place < 0:
            raise ValueError("a place before the beginning")
        self._place = place
        return place

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        if self.budget is not None:
            self.budget -= size
            if size < 0 or self.budget < 0:
                raise ValueError("a header larger than any is")
        try:
            data = self._read(size)
        except BaseException:
            self.fault = True
            raise
        self.block = data if size == tarfile.BLOCKSIZE else b""
        return data

    def drain(self) -> None:
        """Reads a content to its end that is compared with what was stored only there."""
        if not isinstance(self.content, Ranged):
            while data := self._next(_BLOCK):
                self._at += len(data)

    def _read(self, size: int) -> bytes:
        pieces = []
        while size:
            self._go()
            data = self._next(min(size, _BLOCK))
            if not data:
                break
            pieces.append(data)
            size -= len(data)
            self._at += len(data)
            self._place = self._at
        return b"".join(pieces)

    def _next(self, size: int) -> bytes:
        if self._reader is None:
            self._go()
        return self._reader.read(size) if self._reader is not None else b""

    def _go(self) -> None:
        """Brings the reader to the place."""
        if isinstance(self.content, Ranged):
            self._open_window(self.content)
        elif self._reader is None:
            self._reader = self._opened.enter_context(self.content.open())
        if self._place < self._at:
            raise DamagedError(f"{shown(self.item)} is an archive that cannot be read in one go")
        while self._at < self._place and self._reader is not None:
            data = self._reader.read(min(_BLOCK, self._place - self._at))
            if not data:
                self._place = self._at  # behind the end: there, nothing is found
            self._at += len(data)

    def _open_window(self, content: Ranged) -> None:
        """Opens a range from the place on, unless the one that is open has it, or nearly: larger ones while it goes on."""
        if self._reader is not None and 0 <= self._place - self._at <= _NEAR and self._place < self._end:
            return
        goes_on = self._reader is not None and self._place == self._end
        self._window = min(2 * self._window, 64 * _BLOCK) if goes_on else _WINDOW
        self._opened.close()
        self._reader = self._opened.enter_context(content.open_at(self._place, self._window))
        self._at, self._end = self._place, self._place + self._window


class _Slice(Struct):
    """A member that lies in one piece in a content that can be read from any place."""

    content: Ranged
    begin: int
    size: int
    item: str
    local_path: None = None
    disposable: bool = False

    def open(self) -> AbstractContextManager[Reader]:
        return self.open_at(0)

    @contextmanager
    def open_at(self, start: int, length: int | None = None, /) -> Iterator[Reader]:
        left = max(0, self.size - start)
        wanted = left if length is None else min(left, length)
        with self.content.open_at(self.begin + start, wanted) as reader:
            yield _Exactly(reader, wanted, self.item)


class _Exactly:
    """A reader of so many bytes, or an error."""

    def __init__(self, reader: Reader, left: int, item: str) -> None:
        self._reader, self._left, self._item = reader, left, item
        self.changed = False

    def read(self, size: int, /) -> bytes:
        size = min(size, self._left)
        data = self._reader.read(size) if size else b""
        if size and not data:
            raise DamagedError(f"{shown(self._item)} is cut short as an archive")
        self._left -= len(data)
        return data


class _Extracted(Struct):
    """A member that `tarfile` puts together: of a content that is read in one go, or a sparse one."""

    tar: tarfile.TarFile
    source: _Source
    info: tarfile.TarInfo
    local_path: None = None
    disposable: bool = False

    @contextmanager
    def open(self) -> Iterator[Reader]:
        with cast("IO[bytes]", self.tar.extractfile(self.info)) as file:
            yield _Exactly(_Parsed(file, self.source.item), self.info.size, self.source.item)


class _Parsed:
    """A reader whose faults are those of the archive."""

    changed = False

    def __init__(self, file: IO[bytes], item: str) -> None:
        self._file, self._item = file, item

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except _FAULTS as error:
            raise DamagedError(f"{shown(self._item)} is broken as an archive: {shown(str(error))}") from None
