"""Where the tests and their servers keep files: in memory where that can be, because both wait for disks a lot."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
_PREFIX = "recoup-t"  # short: a socket has 107 characters at most, and gpg makes some in folders of tests
_NUMBERS = itertools.count()


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory that is gone afterwards.

    Args:
        otherwise: the folder to use where there is no memory for files, or less than 4 GiB of it.
    """
    with memory_folder(_ROOM) as folder:
        yield folder or otherwise


@contextmanager
def memory_folder(room: int) -> Iterator[Path | None]:
    """A folder in memory that is gone afterwards; None where there is no memory for files, or less than `room` bytes of it."""
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < room:
        yield None
        return
    _clear_left_ones()
    folder = _MEMORY / f"{_PREFIX}{os.getpid()}-{next(_NUMBERS)}"
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed and had our number
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_left_ones() -> None:
    """Removes the folders of processes that were killed: each has its process in its name."""
    for folder in _MEMORY.glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
