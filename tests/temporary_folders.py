"""Temporary folders of tests and of what they start: in memory where there is room, for most tests wait for a disk otherwise."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from qdrant_server.places import memory_folder

_ROOM = 6 << 30
"""Bytes that must be free: far more than tests at the same time ever have."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Sets the base of `tmp_path` and `TMPDIR`, unless the caller has said where; workers of pytest-xdist get both from us."""
    if hasattr(config, "workerinput") or config.option.basetemp or _available() < _ROOM:
        return
    held = contextlib.ExitStack()
    config.add_cleanup(held.close)
    folder = held.enter_context(memory_folder(_ROOM))
    if folder is None or not _keeps_attributes(folder):
        return
    folder.chmod(0o711)  # servers that run as another user have to pass
    config.option.basetemp = str(folder / "b")
    if "TMPDIR" not in os.environ:
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")


def pytest_report_header(config: pytest.Config) -> str:
    """Says where they are, and how to have them after the run."""
    place = config.option.basetemp or tempfile.gettempdir()
    return f"temporary folders: {place} (to look at what failed tests left: --basetemp FOLDER)"


def _available() -> int:
    """Bytes of memory that programs can still get."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _keeps_attributes(folder: Path) -> bool:
    """Whether extended attributes of users work there (tmpfs has them since Linux 6.6): tests need them."""
    try:
        os.setxattr(folder, "user.recoup", b"1")
    except OSError:
        return False
    return True
