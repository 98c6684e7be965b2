"""Where the servers of the tests keep their files: in memory where that can be, because the engine waits for disks a lot."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
_PREFIX = "recoup-qdrant-"


@contextmanager
def quick_folder(otherwise: Path) -> Iterator[Path]:
    """A folder in memory that is gone afterwards.

    Args:
        otherwise: the folder to use where there is no memory for files, or less than 4 GiB of it.
    """
    if not _MEMORY.is_dir() or not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield otherwise
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
