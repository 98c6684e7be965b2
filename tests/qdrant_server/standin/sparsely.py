"""Copying files without filling their holes: a shard's files are tens of megabytes long and hold some kilobytes."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 20


def extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what is no hole, in bytes.

    Args:
        file: descriptor.
        size: the file's length.
    """
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
