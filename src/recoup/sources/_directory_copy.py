"""A copy of a directory by reflinks: it shares all blocks with the original, and takes a moment whatever its size."""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from recoup.model.structs import Struct
from recoup.system import filesystem
from recoup.system.tempdirs import remove_tree, temporary_folder

_PURPOSE = "frozen"
_NAME = f"recoup-{_PURPOSE}-"

Clone = Callable[[int, int], bool]
"""As `filesystem.clone`."""


class Copy(Struct):
    """A copy, or why there is none.

    Attributes:
        path: where it is; None when there is none.
        refused: why, for people.
    """

    path: Path | None
    refused: str = ""


def is_copy(name: str) -> bool:
    """Whether a name is that of a folder that holds such a copy."""
    return name.startswith(_NAME)


@contextlib.contextmanager
def reflinked(path: Path, pause: Callable[[], None], clone: Clone = filesystem.clone) -> Iterator[Copy]:
    """A copy of a directory that stands still, on the same file system; removed on leaving, after a kill by the next run.

    Args:
        path: the directory. What is mounted inside it cannot be shared, so that there is no copy then.
        pause: called for each file; raises when the user wants to stop.
        clone: makes a file share the blocks of another one.
    """
    real = path.resolve()
    parent = real if filesystem.is_mount_point(real) else real.parent
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(temporary_folder(_PURPOSE, parent))
            copy = folder / real.name
            refused = _copied(real, copy, pause, clone)
        except OSError as error:
            yield Copy(None, (error.strerror or str(error)).lower())
            return
        if refused:
            remove_tree(copy)
        yield Copy(None, refused) if refused else Copy(copy)


def _copied(path: Path, copy: Path, pause: Callable[[], None], clone: Clone) -> str:
    """Copies; returns why it cannot be done, or nothing."""
    cloning = _Cloning(pause, clone)
    try:
        shutil.copytree(path, copy, symlinks=True, copy_function=cloning.one, ignore=_without_copies)
    except shutil.Error as error:
        failures = error.args[0]
        return str(failures[0][2]) if failures else "a file could not be copied"
    except _NoReflinkError as error:
        return str(error)
    return ""


def _without_copies(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if is_copy(name)]


class _NoReflinkError(Exception):
    """The file system has no reflinks; not an `OSError`, so that the first one ends the copying."""


class _Cloning:
    """Copies file by file, hard links as hard links; sockets and their like are left out, as by every walk."""

    def __init__(self, pause: Callable[[], None], clone: Clone) -> None:
        self._pause, self._clone = pause, clone
        self._linked: dict[tuple[int, int], str] = {}

    def one(self, source: str, target: str) -> None:
        """One file."""
        self._pause()
        status = os.lstat(source)
        if not stat.S_ISREG(status.st_mode):
            return
        key = (status.st_dev, status.st_ino)
        if key in self._linked:
            os.link(self._linked[key], target)
            return
        if status.st_nlink > 1:
            self._linked[key] = target
        self._share(source, target, status.st_size)
        shutil.copystat(source, target, follow_symlinks=False)

    def _share(self, source: str, target: str, size: int) -> None:
        reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if size and not self._clone(reading, writing):
                    raise _NoReflinkError("this file system has no reflinks")
                if os.fstat(writing).st_size != size:
                    raise _NoReflinkError("a file has another size in the copy")
            finally:
                os.close(writing)
        finally:
            os.close(reading)
