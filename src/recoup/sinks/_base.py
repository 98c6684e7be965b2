"""The promise that every sink keeps, and what all of them need: one line from a message, a file that is appended to.

A sink is called with each piece of news, from any thread, and masks every text before it leaves the process. A plug file
defines a frozen `Options` and ends with `connect(options, masker)`.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from recoup.model.events import News
from recoup.model.names import shown
from recoup.system.atomicfile import create_private, make_private_folder


class Sink(Protocol):
    """Where news go."""

    def __call__(self, news: News, /) -> None:
        """Takes one piece of news.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Ends it. Harmless when repeated."""
        ...


class Lenient:
    """A sink that is given up when it cannot be written.

    Args:
        sink: it.
        tell: is handed the one error.
    """

    def __init__(self, sink: Sink, tell: Callable[[OSError], None]) -> None:
        self._sink, self._tell, self._lost = sink, tell, False

    def __call__(self, news: News, /) -> None:
        """Hands it on, as long as the sink takes it."""
        if self._lost:
            return
        try:
            self._sink(news)
        except OSError as error:
            self._lost = True
            self._tell(error)

    def close(self) -> None:
        """Closes the sink."""
        self._sink.close()


def one_line(text: str) -> str:
    """`text` on a single line and fit for a terminal, so that no message can pass itself off as another line."""
    return shown(" ".join(text.splitlines()))


class AppendedFile:
    """A file to which whole lines are appended, readable by its owner alone when it is made here.

    Every line is written at the end of the file under a lock, so that several processes may share it. It is opened at the
    first line: a run without news leaves no file. What a full disk cut short is ended before the next line begins.

    Args:
        path: where; missing folders are made, mode 0700.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._guard = threading.Lock()

    def line(self, text: str) -> None:
        """Appends `text` and a newline.

        Raises:
            OSError: it cannot be written.
        """
        with self._guard:
            if self._descriptor < 0:
                self._descriptor = self._opened()
            with self._alone():
                data = text.encode("utf-8", "backslashreplace") + b"\n"
                if self._is_torn():
                    data = b"\n" + data
                while data:
                    data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Closes the file. Harmless when repeated."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _opened(self) -> int:
        make_private_folder(self._path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(create_private(self._path))
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from writing meanwhile: a line of theirs that is only begun would look torn."""
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _is_torn(self) -> bool:
        try:
            size = os.fstat(self._descriptor).st_size
            return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        except OSError:
            return False  # a pipe or a terminal has no end to look at
