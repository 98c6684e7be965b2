"""Tar archives, written and read as streams, in the POSIX (pax) format that every tar program opens."""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, cast

from recoup.errors import DamagedError
from recoup.model.names import shown
from recoup.model.part import Member

_TYPES = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
}
_RECORD = 20 * tarfile.BLOCKSIZE  # tar(1): archives are padded to records of 20 blocks
_NS = 1_000_000_000


class TarWriter:
    """Writes entries one after the other.

    Args:
        write: takes the archive's bytes.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._offset = 0

    def entry(self, member: Member, size: int = 0, chunks: Iterable[bytes] = ()) -> None:
        """Writes one entry.

        Args:
            member: what it is.
            size: bytes of a file, exactly what `chunks` yields.
            chunks: a file's bytes.
        """
        info = tarfile.TarInfo(member.name)
        info.type = _TYPES[member.kind]
        info.size = size
        info.linkname = member.link
        if member.attributes is not None:
            info.mode = member.attributes.mode
            seconds, fraction = divmod(member.attributes.mtime_ns, _NS)
            info.mtime = seconds
            if fraction:
                info.pax_headers = {"mtime": f"{seconds}.{fraction:09d}"}
        self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        written = 0
        for chunk in chunks:
            self._put(chunk)
            written += len(chunk)
        if written != size:
            raise ValueError(f"{member.name}: {written} bytes written, {size} announced")
        self._put(bytes(-size % tarfile.BLOCKSIZE))

    def end(self) -> None:
        """Writes the end of the archive."""
        self._put(bytes(2 * tarfile.BLOCKSIZE))
        self._put(bytes(-self._offset % _RECORD))

    def _put(self, data: bytes) -> None:
        if data:
            self._write(data)
            self._offset += len(data)


class ChunkReader:
    """Lets `read` take any number of bytes from chunks of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, fewer at the end."""
        pieces, wanted = [], size
        while wanted > 0:
            if not self._rest:
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    break
            piece, self._rest = self._rest[:wanted], self._rest[wanted:]
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)


def entries(chunks: Iterator[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """The entries of an archive in order; a file's bytes are to be read before the next entry is asked for.

    Raises:
        DamagedError: it is no tar, or is cut short.
    """
    source = cast("IO[bytes]", ChunkReader(chunks))
    try:
        with tarfile.open(fileobj=source, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for info in archive:
                yield info, archive.extractfile(info) if info.isreg() else None
                archive.members = []  # type: ignore[attr-defined] # a stream is read once: keep memory bounded
    except tarfile.TarError as error:
        raise DamagedError(f"the archive is broken: {shown(str(error))}") from None
