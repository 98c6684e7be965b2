"""A file of Qdrant's write-ahead log, checked while it passes.

A collection's snapshot holds operations that its segments do not have yet, in files of 32 MiB that are mostly holes. The server
stops reading at the first record whose checksum is wrong, without a word: what comes behind is lost. So it has to be found here.

Format, from `lib/wal/src/segment.rs` of Qdrant 1.18.3: `wal`, a zero byte, a seed (4 bytes, little endian); then records of a
length (8 bytes), data, zeros, and a CRC-32C over the three (4 bytes), together a multiple of 8 bytes. A record's CRC begins with
the bits of the one before it, reversed and inverted; the first with those of the seed. The rest is zeros.
"""

from collections.abc import Generator
from typing import Literal

from recoup.model.structs import Struct
from recoup.sources.qdrant._crc32c import crc32c

State = Literal["empty", "readable", "unfinished", "damaged", "unread"]
"""No record; all are readable; the last one was never completed, so that nobody was told it is safe; something is wrong; nobody
looked this time, as somebody did before."""

_HEADER = 8  # bytes: of the file, and of a record's length
_CRC = 4  # bytes
_ZEROS = bytes(1 << 16)


class WalFile(Struct):
    """What a file of the log holds.

    Attributes:
        state: whether it can be read to its end.
        records: readable records.
        bytes: used by the header and the readable records.
        fault: what is wrong, when it is damaged.
    """

    state: State
    records: int
    bytes: int
    fault: str = ""


class WalReading:
    """Reads one file that is fed to it, as a sink.

    Args:
        size: length of the file in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._records, self._used, self._position = 0, 0, 0
        self._state: State = "empty"
        self._fault = "" if size >= _HEADER else f"{size} bytes are no log"
        self._resting = False
        self._parser = self._log()
        self._wanted = next(self._parser)

    def write(self, data: bytes | memoryview) -> None:
        """Takes the next bytes."""
        view = memoryview(data)
        while view:
            piece, view = view[: self._wanted], view[self._wanted :]
            self._position += len(piece)
            self._wanted = self._parser.send(piece)

    def hole(self, size: int) -> None:
        """Takes zeros; behind the last record nothing has to be done for them."""
        while size > 0 and not self._resting:
            piece = _ZEROS[:size]
            self.write(piece)
            size -= len(piece)
        self._position += max(0, size)

    def close(self) -> None:
        """The file is complete."""
        if not self._resting and self._position > self._used + _HEADER:
            self._fail("ends inside a record")

    @property
    def result(self) -> WalFile:
        """What was found."""
        return WalFile("damaged" if self._fault else self._state, self._records, self._used, self._fault)

    def _fail(self, fault: str) -> None:
        self._fault = self._fault or f"{fault} (behind record {self._records}, byte {self._used:,})"

    def _log(self) -> Generator[int, memoryview, None]:
        header = yield from self._exactly(_HEADER)
        if header[:4] != b"wal\0":
            self._fail("does not begin like a log")
        crc = int.from_bytes(header[4:], "little")
        self._used = _HEADER
        going = not self._fault
        while going:
            crc, going = yield from self._record(crc)
        yield from self._rest()

    def _record(self, previous: int) -> Generator[int, memoryview, tuple[int, bool]]:
        """One record: its CRC, and whether another may follow."""
        head = yield from self._exactly(_HEADER)
        length = int.from_bytes(head, "little")
        left = length + (4 - length) % 8
        if not length:
            return 0, False
        if self._position + left + _CRC > self._size:
            self._fail(f"a record of {length:,} bytes does not fit")
            return 0, False
        crc = crc32c(head, ~_reversed(previous) & 0xFFFFFFFF)
        while left:
            piece = yield left
            crc = crc32c(piece, crc)
            left -= len(piece)
        stored = int.from_bytes((yield from self._exactly(_CRC)), "little")
        return crc, self._judge(crc, stored)

    def _judge(self, crc: int, stored: int) -> bool:
        if crc == stored:
            self._records += 1
            self._used = self._position
            self._state = "readable"
        elif stored:
            self._fail("the checksum of the next record is wrong")
        else:
            self._state = "unfinished"
        return crc == stored

    def _rest(self) -> Generator[int, memoryview, None]:
        """Behind the last record: zeros, but for what an unfinished one left."""
        self._resting = True
        while True:
            piece = yield len(_ZEROS)
            if self._state != "unfinished" and piece != _ZEROS[: len(piece)]:
                self._fail("something that is no record follows")

    def _exactly(self, size: int) -> Generator[int, memoryview, bytes]:
        got = bytearray()
        while len(got) < size:
            got += yield size - len(got)
        return bytes(got)


UNREAD = WalFile("unread", 0, 0)
"""A file that was checked before."""


def _reversed(value: int) -> int:
    return int(f"{value:032b}"[::-1], 2)
