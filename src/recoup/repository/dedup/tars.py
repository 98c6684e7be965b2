"""Where the content of members begins and ends in a tar that streams by, so that cuts can follow it.

Nothing depends on what is said here but where chunks are cut. So what is not understood is no error: nothing more is said
about that archive, and about the one around it what is known without.

Formats: "Basic Tar Format" of the GNU tar manual, its sparse files (in the header of the old GNU form, and in PAX records of the
versions 0.0, 0.1 and 1.0), and POSIX.1-2017, `pax`. Names play no part and are passed over.
"""

import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

BLOCK = 512
"""Bytes of a tar block."""

LARGE = 64 << 10
"""Bytes of content from which on its begin and its end are marks."""

_DEEPEST = 4  # archives inside an archive
_LONGEST_RECORDS = 1 << 20  # bytes of one PAX header, of one name, and of one sparse map in the data
_MOST_MARKS = 1 << 16  # of one sparse file
_LARGEST = 1 << 62  # bytes of a member, beyond what any file system holds
_WITHOUT_DATA = frozenset(b"123456")  # links, devices, folders, pipes
_NAMES = frozenset(b"KL")
_RECORDS = frozenset(b"xXg")
_RECORD = re.compile(rb"([1-9][0-9]{0,7}) ([^=\n]+)=")
_LISTED = re.compile(rb"[^,\n]+")
_ZEROS = bytes(LARGE)


class _Odd(Exception):  # noqa: N818 - no error: the parser's way out
    """This is no archive, or one that is not understood from here on."""


_Parser = Generator[int, bytes, None]
"""Asks for so many bytes; a negative number asks that so many go by."""


@dataclass(slots=True)
class _Records:
    """What the headers in front of a member say of it: its length, its sparse map, whether that is in the data."""

    size: int | None = None
    pieces: Iterable[int] | None = None
    inside: bool = False


class Tar:
    """One stream, fed in pieces of any size; memory is bounded by a few MB, whatever is in it."""

    def __init__(self) -> None:
        self.over = False
        """Whether nothing more will be said."""
        self._at = 0  # bytes that the parser was given, or that went by
        self._left = 0  # bytes that it still waits for,
        self._reads = False  # to have them, or that they go by
        self._came = bytearray()  # the first of those that it will have
        self._marked = False  # there is a mark where it stands
        self._parser = self._stream()
        self._ask(next(self._parser))

    def feed(self, data: bytes | memoryview) -> list[int]:
        """Takes the next bytes.

        Returns:
            The marks: places in `data`, its end among them, where large content begins or ends.
        """
        view, place, marks = memoryview(data), 0, list[int]()
        while place < len(view) and not self.over:
            count = min(self._left, len(view) - place)
            self._go_on(count, view[place : place + count] if self._reads else b"")
            place += count
            if self._marked:
                marks.append(place)
                self._marked = False
        return marks

    def hole(self, length: int) -> None:
        """Takes so many zero bytes. What begins or ends there is not told."""
        while length and not self.over:
            count = min(self._left, length)
            if self._reads:
                count = min(count, len(_ZEROS))
            self._go_on(count, _ZEROS[:count] if self._reads else b"")
            length -= count
        self._marked = False

    def _go_on(self, count: int, data: bytes | memoryview) -> None:
        """So many bytes came; the parser goes on when these are all that it waited for."""
        self._at += count
        self._left -= count
        if self._left:
            self._came += data
            return
        if self._came:
            data = bytes(self._came) + data
            self._came = bytearray()
        try:
            self._ask(self._parser.send(bytes(data)))
            while not self._left:
                self._ask(self._parser.send(b""))
        except StopIteration:
            self.over = True

    def _ask(self, length: int) -> None:
        self._left, self._reads = abs(length), length > 0

    def _stream(self) -> _Parser:
        try:
            yield from self._archive((yield BLOCK), _LARGEST, 0)
        except _Odd:
            return

    def _archive(self, header: bytes, end: int, depth: int) -> _Parser:
        """The members of an archive that is over at `end`, or at its first block of zeros."""
        records = _Records()
        while True:
            if not is_header(header):
                raise _Odd
            kind = header[156]
            if kind in _RECORDS or kind in _NAMES:
                yield from self._extra(header, end, records)
            else:
                yield from self._member(header, end, depth, records)
                records = _Records()
            if end - self._at < BLOCK:
                return
            header = yield BLOCK
            if not any(header):
                return

    def _extra(self, header: bytes, end: int, records: _Records) -> _Parser:
        """A header's own data: PAX records or a long name."""
        size = _number(header[124:136])
        if size > _LONGEST_RECORDS:
            raise _Odd
        padded = self._padded(size, end)
        if header[156] in _NAMES:
            yield -padded
        elif padded:
            _note((yield padded)[:size], records)
            if header[156] == ord("g") and records != _Records():
                raise _Odd  # a length for all members

    def _padded(self, size: int, end: int) -> int:
        """The bytes of whole blocks for so many; less where the archive ends before."""
        if size > end - self._at:
            raise _Odd
        return min(size + -size % BLOCK, end - self._at)

    def _member(self, header: bytes, end: int, depth: int, records: _Records) -> _Parser:
        size = _number(header[124:136]) if records.size is None else records.size
        pieces = records.pieces
        if header[156] == ord("S"):
            pieces = yield from self._old_map(header, end)
        if header[156] in _WITHOUT_DATA:
            return
        over = self._at + self._padded(size, end)
        behind = self._at + size
        if records.inside:
            pieces = yield from self._map_inside(behind)
        if pieces is not None:
            yield from self._sparse(pieces, behind)
        elif size >= LARGE:
            yield from self._large(behind, depth)
        yield self._at - over

    def _large(self, behind: int, depth: int) -> _Parser:
        """Content that may be an archive itself."""
        self._marked = True
        if depth < _DEEPEST:
            first = yield BLOCK
            if is_header(first):
                with suppress(_Odd):  # what is odd inside is content like any other
                    yield from self._archive(first, behind, depth + 1)
        yield self._at - behind
        self._marked = True

    def _sparse(self, pieces: Iterable[int], behind: int) -> _Parser:
        """Content of which only the pieces are there, one behind the other."""
        marks = 0
        for piece in pieces:
            length = min(piece, behind - self._at)
            large = length >= LARGE and marks < _MOST_MARKS
            marks += large
            if large:
                self._marked = True
            yield -length
            if large:
                self._marked = True
        yield self._at - behind

    def _old_map(self, header: bytes, end: int) -> Generator[int, bytes, list[int]]:
        """The lengths of the pieces from the header, and from the blocks behind it."""
        pieces, more = _old_entries(header[386:482]), header[482]
        while more:
            if end - self._at < BLOCK:
                raise _Odd
            block = yield BLOCK
            more = block[504]
            if len(pieces) < _MOST_MARKS:
                pieces += _old_entries(block[:504])
        return pieces

    def _map_inside(self, behind: int) -> Generator[int, bytes, Iterable[int]]:
        """The lengths of the pieces from the map that begins the data: how many, then offset and length of each, a line each."""
        text, lines, wanted = bytearray(), 0, 1
        while lines < wanted:
            if behind - self._at < BLOCK or len(text) >= _LONGEST_RECORDS:
                raise _Odd
            block = yield BLOCK
            text += block
            lines += block.count(b"\n")
            if wanted == 1 and lines:
                wanted += 2 * _decimal(bytes(text[: text.index(b"\n")]))
        return _each_second(bytes(text), 2, wanted)


def is_header(block: bytes) -> bool:
    """Whether a block begins a member: it says `ustar`, and its sum agrees."""
    return block[257:262] == b"ustar" and _sum_agrees(block)


def _sum_agrees(block: bytes) -> bool:
    """Whether the bytes, those of the sum itself taken for spaces, add up as is said: Adler-32 adds them in its lower half."""
    field = block[148:156]
    try:
        said = _number(field)
    except _Odd:
        return False
    return zlib.adler32(block) & 0xFFFF == (1 + said + sum(field) - 8 * 32) % 65521


def _number(field: bytes) -> int:
    """A number in octal digits, or, where it is too large for these, in bytes behind a byte of 128."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:]) if field[0] == 0x80 else _LARGEST + 1
    else:
        value = _digits(field.split(b"\0", 1)[0].strip(b" "), 8)
    if value > _LARGEST:
        raise _Odd
    return value


def _decimal(text: bytes) -> int:
    """A number in decimal digits."""
    value = _digits(text, 10)
    if value > _LARGEST:
        raise _Odd
    return value


def _digits(text: bytes, base: int) -> int:
    if not text:
        return 0
    if len(text) > 24 or not text.isdigit():
        raise _Odd
    try:
        return int(text, base)
    except ValueError:
        raise _Odd from None


def _each_second(text: bytes, first: int, end: int | None) -> Iterator[int]:
    """Each second one of the numbers in a text, one at a time: the text may be a million bytes."""
    return (_decimal(found[0]) for found in islice(_LISTED.finditer(text), first, end, 2))


def _old_entries(entries: bytes) -> list[int]:
    """The lengths from entries of offset and length, 12 bytes each."""
    return [_number(entries[place + 12 : place + 24]) for place in range(0, len(entries), 24)]


def _note(data: bytes, records: _Records) -> None:
    """Takes from PAX records what says where content lies."""
    if b"size=" not in data and b"GNU.sparse." not in data:
        return
    loose, place = list[int](), 0
    while place < len(data):
        found = _RECORD.match(data, place)
        if found is None or (end := place + int(found[1])) > len(data) or end <= found.end():
            raise _Odd
        name, value, place = found[2], data[found.end() : end - 1], end
        if name == b"size":
            records.size = _decimal(value)
        elif name == b"GNU.sparse.numbytes":
            loose.append(_decimal(value))
        elif name == b"GNU.sparse.map":
            records.pieces = _each_second(value, 1, None)
        elif name == b"GNU.sparse.major":
            records.inside = value == b"1"
    if loose:
        records.pieces = loose
