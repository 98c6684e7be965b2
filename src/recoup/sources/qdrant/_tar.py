"""A tar reader that is fed: bytes come from the network as they come, and are checked while they pass.

The standard library's `tarfile` pulls from a file, and takes the end of its input, or a broken header in the middle, for the end
of the archive. This one is pushed, needs memory for one header alone, and says what is not as it has to be.

It reads what Qdrant writes (GNU headers: long names, sparse files of the old GNU form) and what `tarfile` and GNU tar write when
somebody packed a snapshot again (POSIX headers, PAX records). Links and devices are refused: no snapshot has them.
Format: POSIX.1-2017 `pax`, and "Basic Tar Format" of the GNU tar manual (old GNU sparse: four extents in the header at 386, the
flag for more at 482, the file's real length at 483; 21 extents and a flag at 504 in each following block).
"""

from array import array
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from recoup.errors import DamagedError, UnsafePathError
from recoup.model.names import shown
from recoup.model.structs import Struct

BLOCK = 512
"""Bytes of a tar block."""

Bytes = bytes | memoryview
"""A piece of content."""

_LONGEST_NAME = 8192  # bytes, of a name in a record of its own
_LONGEST_RECORDS = 1 << 20  # bytes of one PAX header
_MOST_EXTENTS = 1 << 21  # of one sparse file: 32 MiB of memory
_LARGEST = 1 << 62  # bytes of a file, beyond what any file system holds
_ZEROS = bytes(1 << 16)
_FILES = b"\x000S"
_Parser = Generator[int, memoryview, None]


class Sink(Protocol):
    """Where the content of a member goes."""

    def write(self, data: Bytes, /) -> None:
        """Takes the next bytes."""
        ...

    def hole(self, size: int, /) -> None:
        """Takes `size` zero bytes that the archive left out."""
        ...

    def close(self) -> None:
        """The member is complete."""
        ...


class Entry(Struct):
    """A member as its header tells it.

    Attributes:
        name: as it stands there, without a leading `./` and a trailing `/`; not yet checked for safety. Empty for the root.
        folder: True for a folder, else it is a file.
        size: length of the file in bytes, holes included.
    """

    name: str
    folder: bool
    size: int


Begin = Callable[[Entry], Sink | None]
"""Is told of each member; returns where its content goes, or None when nobody wants it."""


class Archive:
    """One archive, fed in pieces of any size.

    Args:
        begin: is told of each member.
        what: what it is called in errors.
        marked: whether the archive has to end with its two blocks of zeros; Qdrant leaves them out of the archives inside one.
    """

    def __init__(self, begin: Begin, what: str, *, marked: bool = True) -> None:
        self._begin, self._what, self._marked = begin, what, marked
        self._member = ""
        self._position = 0
        self._between = True  # no part of anything was read: an archive may end here when it needs no mark
        self._open = False  # inside a member's content
        self._ended = False
        self._parser = self._archive()
        self._wanted = next(self._parser)

    @property
    def position(self) -> int:
        """Bytes that were fed so far."""
        return self._position

    @property
    def ended(self) -> bool:
        """Whether its end mark was read: only zeros may follow."""
        return self._ended

    def feed(self, data: Bytes) -> None:
        """Takes the next bytes.

        Raises:
            DamagedError: they cannot be what follows.
            UnsafePathError: a member is no file and no folder.
        """
        view = memoryview(data)
        while view:
            piece, view = view[: self._wanted], view[self._wanted :]
            self._position += len(piece)
            self._wanted = self._parser.send(piece)

    def finish(self) -> None:
        """Says that nothing follows.

        Raises:
            DamagedError: the archive is cut short.
        """
        if self._ended or (self._between and not self._marked):
            return
        if not self._position:
            raise self._damaged("is empty")
        raise self._damaged(
            f"is cut short at byte {self._position:,}, {'inside' if self._open else 'behind'} {shown(self._member)}"
        )

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{shown(self._what)} {what}")

    def _archive(self) -> _Parser:
        long_name, size = "", -1
        while True:
            header = yield from self._header()
            if not any(header):
                yield from self._end()
            kind = header[156:157]
            if kind == b"L":
                long_name = yield from self._long_name(header)
            elif kind == b"x":
                long_name, size = yield from self._records(header, long_name)
            else:
                yield from self._file(header, long_name or _name(header), size)
                long_name, size = "", -1
            self._between = not long_name and size < 0

    def _header(self) -> Generator[int, memoryview, bytes]:
        header = yield from self._exactly(BLOCK, between=True)
        if any(header) and not _checksum_agrees(header):
            raise self._damaged(f"is damaged at byte {self._position - BLOCK:,}: there is no header of a member")
        return header

    def _end(self) -> _Parser:
        """After the first block of zeros: another one, and nothing but zeros behind it."""
        self._between = False
        second = yield from self._exactly(BLOCK)
        if any(second):
            raise self._damaged(f"is damaged at byte {self._position - BLOCK:,}: its end mark is half there")
        self._ended = True
        while True:
            rest = yield len(_ZEROS)
            if rest != _ZEROS[: len(rest)]:
                raise self._damaged(f"has something behind its end at byte {self._position:,}")

    def _exactly(self, size: int, *, between: bool = False) -> Generator[int, memoryview, bytes]:
        got = bytearray()
        while len(got) < size:
            got += yield size - len(got)
            self._between = self._between and not between
        return bytes(got)

    def _long_name(self, header: bytes) -> Generator[int, memoryview, str]:
        size = self._number(header[124:136])
        if not 0 < size <= _LONGEST_NAME:
            raise self._damaged(f"is damaged at byte {self._position:,}: a name of {size:,} bytes")
        data = yield from self._exactly(_padded(size))
        return _text(data[:size].partition(b"\0")[0])

    def _records(self, header: bytes, name: str) -> Generator[int, memoryview, tuple[str, int]]:
        """The name and size that a PAX header gives to the member behind it."""
        length = self._number(header[124:136])
        if length > _LONGEST_RECORDS:
            raise self._damaged(f"is damaged at byte {self._position:,}: a PAX header of {length:,} bytes")
        data = yield from self._exactly(_padded(length))
        size = -1
        for key, value in self._keys(data[:length]):
            if key.startswith("GNU.sparse"):
                raise self._damaged("holds sparse files in a form that Qdrant does not write (GNU.sparse)")
            if key == "path":
                name = _text(value)
            elif key == "size":
                size = self._digits(value, 10)
        return name, size

    def _keys(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        while data:
            length = data.partition(b" ")[0]
            end = self._digits(length, 10)
            key, equals, value = data[len(length) + 1 : end].partition(b"=")
            if not equals or end > len(data) or not value.endswith(b"\n"):
                raise self._damaged(f"is damaged at byte {self._position:,}: a PAX header that is none")
            yield _text(key), value[:-1]
            data = data[end:]

    def _file(self, header: bytes, name: str, size: int) -> _Parser:
        kind = header[156:157]
        self._member = name
        if kind == b"5":
            self._begin(Entry(_trimmed(name), folder=True, size=0))
            return
        if kind not in (b"\0", b"0", b"S"):
            raise UnsafePathError(f"{shown(self._what)} holds {shown(name)}, which is neither a file nor a folder")
        stored = size if size >= 0 else self._number(header[124:136])
        extents, real = (
            (yield from self._extents(header, stored)) if kind == b"S" else (array("q", (0, stored)), stored)
        )
        sink = self._begin(Entry(_trimmed(name), folder=False, size=real))
        self._between, self._open = False, True
        yield from self._content(extents, real, sink)
        yield from self._exactly(-stored % BLOCK)
        self._open = False
        if sink:
            sink.close()

    def _content(self, extents: "array[int]", real: int, sink: Sink | None) -> _Parser:
        at = 0
        for start, length in zip(extents[::2], extents[1::2], strict=True):
            if sink and start > at:
                sink.hole(start - at)
            left = length
            while left:
                piece = yield left
                left -= len(piece)
                if sink:
                    sink.write(piece)
            at = start + length
        if sink and real > at:
            sink.hole(real - at)

    def _extents(self, header: bytes, stored: int) -> Generator[int, memoryview, tuple["array[int]", int]]:
        """Where the content of a sparse file lies: start, length, start, length ...; and the file's real length."""
        real = self._number(header[483:495])
        extents = array("q")
        more = self._add_extents(extents, header[386:482]) and header[482]
        while more:
            block = yield from self._exactly(BLOCK)
            more = self._add_extents(extents, block[:504]) and block[504]
        end = 0
        for start, length in zip(extents[::2], extents[1::2], strict=True):
            if start < end:
                raise self._damaged(f"is damaged at {shown(self._member)}: its pieces overlap")
            end = start + length
        if end > real or sum(extents[1::2]) != stored:
            raise self._damaged(f"is damaged at {shown(self._member)}: its pieces do not make {real:,} bytes")
        return extents, real

    def _add_extents(self, extents: "array[int]", data: bytes) -> bool:
        for at in range(0, len(data), 24):
            if not data[at]:
                return False
            extents.append(self._number(data[at : at + 12]))
            extents.append(self._number(data[at + 12 : at + 24]))
        if len(extents) > 2 * _MOST_EXTENTS:
            raise self._damaged(f"is damaged at {shown(self._member)}: it is in more than {_MOST_EXTENTS:,} pieces")
        return True

    def _number(self, field: bytes) -> int:
        """A header's number: octal digits, or binary when the first bit is set."""
        if field[0] & 0x80:
            number = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
            if number > _LARGEST:
                raise self._damaged(f"is damaged at byte {self._position:,}: a length of {number:,}")
            return number
        return self._digits(field.partition(b"\0")[0].strip(b" ") or b"0", 8)

    def _digits(self, text: bytes, base: int) -> int:
        if not text.isdigit() or len(text) > 21 or (base == 8 and max(text) > ord("7")):
            raise self._damaged(f"is damaged at byte {self._position:,}: {shown(_text(text[:24]))} is no number")
        number = int(text, base)
        if number > _LARGEST:
            raise self._damaged(f"is damaged at byte {self._position:,}: a length of {number:,}")
        return number


class Nested:
    """An archive inside an archive, as the sink of its member.

    Args:
        archive: fed with the member's content.
    """

    def __init__(self, archive: Archive) -> None:
        self.write = archive.feed
        self.close = archive.finish

    def hole(self, size: int) -> None:
        """Feeds zeros."""
        while size > 0:
            self.write(_ZEROS[:size])
            size -= len(_ZEROS)


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _name(header: bytes) -> str:
    name = _text(header[:100].partition(b"\0")[0])
    if header[257:263] != b"ustar\0":  # GNU headers have other things there
        return name
    prefix = _text(header[345:500].partition(b"\0")[0])
    return f"{prefix}/{name}" if prefix else name


def _trimmed(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return "" if name == "." else name.removesuffix("/")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _checksum_agrees(header: bytes) -> bool:
    """The sum of the header's bytes, its own field taken as spaces."""
    field = header[148:156].partition(b"\0")[0].strip(b" ")
    if not field.isdigit() or max(field) > ord("7"):
        return False
    return int(field, 8) == sum(header) - sum(header[148:156]) + 8 * ord(" ")
