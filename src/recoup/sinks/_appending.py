"""Appending lines to files that others may append to, too."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from recoup.errors import StorageError
from recoup.system.atomicfile import PRIVATE_FILE, make_private_folder


@contextlib.contextmanager
def appending(path: Path) -> Iterator[int]:
    """A descriptor whose writes go to the end of `path`, one line each, whoever else appends.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        make_private_folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags, PRIVATE_FILE)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}", "Check its folder and rights."
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
