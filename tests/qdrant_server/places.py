"""Where the tests and their servers keep files: in memory where that can be, because both wait for disks a lot."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
_PREFIX = "recoup-tests-"


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
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
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
