"""Sessions that were ended before their time, so that a copy of their cookie opens nothing."""

import os
import threading
from pathlib import Path

from recoup.system.atomicfile import create_private, write_atomic


class Ended:
    """Ids of sessions in a small file, one a line with the time of its end; shared by the servers of a stack.

    Args:
        path: the file.
        kept: seconds after which an id need not be remembered, since its cookie is over.
    """

    def __init__(self, path: Path, kept: int) -> None:
        self._path, self._kept = path, kept
        self._seen: tuple[int, int] = (0, 0)
        self._ids: dict[str, int] = {}
        self._turn = threading.Lock()

    def __contains__(self, session: str) -> bool:
        with self._turn:
            self._look()
            return session in self._ids

    def add(self, session: str, now: int) -> None:
        """Notes that a session was ended.

        Args:
            session: its id.
            now: seconds since 1970.
        """
        with self._turn:
            self._look()
            if any(now - ended > self._kept for ended in self._ids.values()):
                self._ids = {known: ended for known, ended in self._ids.items() if now - ended <= self._kept}
                write_atomic(self._path, "".join(_line(*one) for one in self._ids.items()).encode())
            self._append(_line(session, now))

    def _append(self, line: str) -> None:
        try:
            descriptor = create_private(self._path)
        except FileExistsError:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def _look(self) -> None:
        """Reads the file when it has changed."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return
        now = (found.st_mtime_ns, found.st_size)
        if now != self._seen:
            lines = (line.split() for line in self._path.read_text().splitlines())
            self._ids = {one[0]: int(one[1]) for one in lines if len(one) == 2 and one[1].isdecimal()}
            self._seen = now


def _line(session: str, ended: int) -> str:
    return f"{session} {ended}\n"
