"""Copying files without filling their holes: a shard's files are tens of megabytes long and hold some kilobytes."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 16  # below what the allocator maps anew for each read
_PAGE = 4096
_ZEROS = bytes(_BLOCK)


def extents(file: int, size: int) -> list[tuple[int, int]]:
    """Offset and length of what is no hole, in bytes; pages of zeros count as holes, as some file systems fill these when read.

    Args:
        file: descriptor.
        size: the file's length.
    """
    found: list[tuple[int, int]] = []
    for start, length in _stored(file, size):
        at = start
        for data in blocks(file, start, length):
            for page, written in _pages(data, at):
                if found and found[-1][0] + found[-1][1] == page:
                    found[-1] = (found[-1][0], found[-1][1] + written)
                else:
                    found.append((page, written))
            at += len(data)
    return found


def stored_size(path: Path) -> int:
    """Bytes of a file that are no hole."""
    with path.open("rb") as reader:
        return sum(length for _, length in extents(reader.fileno(), os.fstat(reader.fileno()).st_size))


def _pages(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Offset and length of the pages that are not zeros."""
    if data == _ZEROS[: len(data)]:
        return
    for start in range(0, len(data), _PAGE):
        page = data[start : start + _PAGE]
        if page != _ZEROS[: len(page)]:
            yield at + start, len(page)


def _stored(file: int, size: int) -> Iterator[tuple[int, int]]:
    """What the file system stores."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        yield start, end - start


def blocks(file: int, start: int, length: int) -> Iterator[bytes]:
    """The bytes of a stretch."""
    while length:
        data = os.pread(file, min(_BLOCK, length), start)
        if not data:
            raise EOFError("the file became shorter while it was read")
        yield data
        start += len(data)
        length -= len(data)


def copy_file(source: Path, target: Path) -> None:
    """Copies one file, its holes as holes."""
    with source.open("rb") as reader, target.open("wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        for start, length in extents(reader.fileno(), size):
            writer.seek(start)
            for data in blocks(reader.fileno(), start, length):
                writer.write(data)
        writer.truncate(size)


def copy_tree(source: Path, target: Path) -> None:
    """Copies a folder with all below it; `target` must not be there."""
    target.mkdir(parents=True)
    for entry in os.scandir(source):
        if entry.is_dir():
            copy_tree(Path(entry.path), target / entry.name)
        else:
            copy_file(Path(entry.path), target / entry.name)
