"""The head of an archive that `pg_dump` writes (custom format, and `toc.dat` of the directory format): its table of contents.

Layout after PostgreSQL's `pg_backup_archiver.c`, archive versions 1.14 (PostgreSQL 12 to 15), 1.15 (16) and 1.16 (17, 18). An
integer is a byte for the sign and `int_size` bytes, little endian; a text is its length and its bytes, a length below zero means
none. The contents' entries name what they depend on, so that the part of an archive that one table needs can be told.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from recoup.errors import DamagedError
from recoup.model.structs import Struct

MAGIC = b"PGDMP"
CUSTOM, DIRECTORY = 1, 3
"""Formats, as the head numbers them; that of a directory says that it is a tar, whose contents are the same."""

_OLDEST, _NEWEST = (1, 14), (1, 16)
_COMPRESSIONS = ("none", "gzip", "lz4", "zstd")
_LONGEST = 1 << 30  # bytes of a text: PostgreSQL's own limit
_MOST = 10_000_000  # entries
_STEP = 1 << 16


class Entry(Struct):
    """One object of an archive.

    Attributes:
        id: its number in this archive.
        description: what it is: `TABLE`, `TABLE DATA`, `INDEX`, `SEQUENCE SET`, ...
        schema: its schema; empty where it has none.
        tag: its name.
        owner: its owner's name; empty where it has none.
        definition: SQL that makes it.
        data: whether the archive has data of it.
        depends: numbers of the entries that have to be there before.
        file: the file with its data, in directory format; else empty.
        raw: the entry as it stands in the archive.
    """

    id: int
    description: str
    schema: str
    tag: str
    owner: str
    definition: str
    data: bool
    depends: tuple[int, ...]
    file: str = ""
    raw: bytes = field(default=b"", repr=False)

    @property
    def shown(self) -> str:
        """For people: what it is, and its name."""
        return f"{self.description} {f'{self.schema}.' if self.schema else ''}{self.tag}"


class Contents(Struct):
    """What an archive says of itself.

    Attributes:
        version: of the archive's format, two numbers.
        format: `CUSTOM` or `DIRECTORY`.
        int_size: bytes of an integer.
        compression: of its data: `none`, `gzip`, `lz4` or `zstd`.
        database: name of the database that was dumped.
        server: version of its server.
        program: version of the `pg_dump` that wrote it.
        entries: in the archive's order.
        head: the bytes before the number of entries.
    """

    version: tuple[int, int]
    format: int
    int_size: int
    compression: str
    database: str
    server: str
    program: str
    entries: tuple[Entry, ...]
    head: bytes = field(default=b"", repr=False)

    def encoded(self, entries: Sequence[Entry]) -> bytes:
        """The beginning of an archive with only some of the entries; what followed the contents follows as it is."""
        count = b"\0" + len(entries).to_bytes(self.int_size, "little")
        return b"".join([self.head, count, *(entry.raw for entry in entries)])


class Intake:
    """Bytes that come in pieces of any length, read piece by piece of a wanted one.

    Args:
        read: gives at most as many bytes as asked for; empty at the end.
        what: what is read, for errors.
    """

    def __init__(self, read: Callable[[int], bytes], what: str) -> None:
        self._read, self.what = read, what
        self._buffer, self._at = b"", 0
        self._kept: list[bytes] = []

    def exactly(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            DamagedError: there are fewer.
        """
        while len(self._buffer) - self._at < size:
            more = self._read(max(_STEP, size))
            if not more:
                raise DamagedError(f"{self.what} ends in the middle")
            self._buffer, self._at = self._buffer[self._at :] + more, 0
        found = self._buffer[self._at : self._at + size]
        self._at += size
        self._kept.append(found)
        return found

    def taken(self) -> bytes:
        """What was read since this was asked last."""
        kept, self._kept = b"".join(self._kept), []
        return kept

    def maybe_byte(self) -> int | None:
        """One byte, None at the end."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._read(_STEP), 0
            if not self._buffer:
                return None
        return self.byte()

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces that are not kept.

        Raises:
            DamagedError: there are fewer.
        """
        while size:
            if self._at == len(self._buffer):
                self._buffer, self._at = self._read(_STEP), 0
                if not self._buffer:
                    raise DamagedError(f"{self.what} ends in the middle")
            piece = self._buffer[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def some(self) -> bytes:
        """Any bytes that come next; empty at the end. They are not kept."""
        if self._at < len(self._buffer):
            found, self._buffer, self._at = self._buffer[self._at :], b"", 0
            return found
        return self._read(_STEP)

    def byte(self) -> int:
        """One byte."""
        return self.exactly(1)[0]


@dataclass
class Numbers:
    """Integers and texts as an archive writes them."""

    intake: Intake
    int_size: int

    def integer(self) -> int:
        """The next integer."""
        sign = self.intake.byte()
        value = int.from_bytes(self.intake.exactly(self.int_size), "little")
        return -value if sign else value

    def text(self) -> str | None:
        """The next text; None where there is none.

        Raises:
            DamagedError: it cannot be one.
        """
        length = self.integer()
        if length < 0:
            return None
        if length > _LONGEST:
            raise DamagedError(f"{self.intake.what} has a text of {length:,} bytes, which is impossible")
        return self.intake.exactly(length).decode(errors="surrogateescape")

    def skip_texts(self, count: int) -> None:
        """Passes over some."""
        for _ in range(count):
            self.text()


def read_contents(intake: Intake) -> Contents:
    """Reads an archive up to the end of its contents.

    Raises:
        DamagedError: it is no archive, of a version that is not known, or ends before.
    """
    if intake.exactly(len(MAGIC)) != MAGIC:
        raise DamagedError(f"{intake.what} is no archive of pg_dump")
    major, minor, _ = intake.exactly(3)
    if not _OLDEST <= (major, minor) <= _NEWEST:
        raise DamagedError(
            f"{intake.what} is an archive of version {major}.{minor}; known are 1.14 to 1.16",
            "A newer Recoup may know it; pg_restore of the version that wrote it does.",
        )
    int_size, offset_size, kind = intake.exactly(3)
    if int_size not in (4, 8) or offset_size not in (4, 8) or kind not in (CUSTOM, DIRECTORY):
        raise DamagedError(f"{intake.what} is no archive in custom or directory format")
    numbers = Numbers(intake, int_size)
    compression = _compression(numbers, intake, minor)
    for _ in range(7):  # the time of the dump
        numbers.integer()
    database, server, program = (numbers.text() or "" for _ in range(3))
    head = intake.taken()
    entries = tuple(_entries(numbers, intake, minor, kind, offset_size))
    return Contents((major, minor), kind, int_size, compression, database, server, program, entries, head)


def _compression(numbers: Numbers, intake: Intake, minor: int) -> str:
    if minor < 15:
        return "gzip" if numbers.integer() else "none"
    number = intake.byte()
    if number >= len(_COMPRESSIONS):
        raise DamagedError(f"{intake.what} is compressed by a method that is not known")
    return _COMPRESSIONS[number]


def _entries(numbers: Numbers, intake: Intake, minor: int, kind: int, offset_size: int) -> Iterator[Entry]:
    count = numbers.integer()
    if not 0 <= count <= _MOST:
        raise DamagedError(f"{intake.what} says that it has {count:,} entries, which is impossible")
    intake.taken()
    for _ in range(count):
        number, data = numbers.integer(), bool(numbers.integer())
        numbers.skip_texts(2)  # numbers of the catalog
        tag, description = numbers.text() or "", numbers.text() or ""
        numbers.integer()  # section
        definition = numbers.text() or ""
        numbers.skip_texts(2)  # DROP, COPY
        schema = numbers.text() or ""
        numbers.skip_texts(2)  # tablespace, access method
        if minor >= 16:
            numbers.integer()  # kind of relation
        owner = numbers.text() or ""
        numbers.text()  # WITH OIDS
        depends = tuple(_depends(numbers))
        file = ""
        if kind == CUSTOM:
            intake.exactly(1 + offset_size)
        else:
            file = numbers.text() or ""
        yield Entry(number, description, schema, tag, owner, definition, data, depends, file, intake.taken())


def _depends(numbers: Numbers) -> Iterator[int]:
    while (text := numbers.text()) is not None:
        if not text.isdecimal():
            raise DamagedError(f"{numbers.intake.what} has a dependency that is no number")
        yield int(text)
