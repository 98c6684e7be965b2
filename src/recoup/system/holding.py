"""Locks between processes of one machine that the system gives back whatever ends the process (flock(2)).

An open descriptor holds the lock, also one that a child inherited: so a lock can be handed to the child that does the work, and
tells whether that one still lives after its parent has died.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from recoup.errors import LockedError
from recoup.system.atomicfile import create_private, make_private_folder

_LONGEST = 500  # bytes of what a holder says of itself


class Lock:
    """A lock, by a file that stays.

    Args:
        path: the file; made when it is first needed, mode 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def held(self, who: str, what: str, hint: str = "") -> Iterator[int]:
        """Holds the lock meanwhile. Yields the descriptor, which a child may inherit: it goes on holding it.

        Args:
            who: what this holder says of itself, one line.
            what: what is locked, for the error's message.
            hint: for the error.

        Raises:
            LockedError: somebody holds it; the message has what that one says of itself.
            OSError: the file cannot be made or locked.
        """
        descriptor = self._opened()
        try:
            if not _locked(descriptor) or not self._is(descriptor):
                raise LockedError(f"{what}: {self._said(descriptor)}", hint)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, who.encode("utf-8", "backslashreplace")[:_LONGEST], 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def lives(self) -> bool:
        """Whether somebody holds it."""
        if not self.path.exists():
            return False
        descriptor = self._opened()
        try:
            return not _locked(descriptor, fcntl.LOCK_SH)  # which two who ask at a time can both have
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        make_private_folder(self.path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(create_private(self.path))
        return os.open(self.path, os.O_RDWR | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))

    def _is(self, descriptor: int) -> bool:
        """Whether a descriptor is still that of the file that is there: who held the lock before may have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _said(self, descriptor: int) -> str:
        return os.pread(descriptor, _LONGEST, 0).decode(errors="replace") or "somebody who does not say who it is"


def _locked(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
