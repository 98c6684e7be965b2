"""A short queue of bytes between two threads of which either may give up."""

import threading
from collections import deque
from collections.abc import Iterator

_WAITING = 4  # buffers that wait, so that memory stays bounded


class StoppedError(Exception):
    """The other side has given up."""


class Pipe:
    """Bytes from one thread to another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[memoryview] = deque()
        self._ended = self._stopped = False

    def write(self, data: bytes | memoryview, /) -> int:
        """Puts a buffer in, which must not be changed afterwards; waits while there are enough. Returns its length.

        Raises:
            StoppedError: the other side has given up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._waiting) < _WAITING)
            self._demand()
            if data:
                self._waiting.append(memoryview(data))
                self._changed.notify_all()
        return len(data)

    def flush(self) -> None:
        """Does nothing: what is in it can be read."""

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Gives up; what waits is dropped, and the other side gets an error."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end.

        Raises:
            StoppedError: the other side has given up.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._ended or self._waiting)
            self._demand()
            if not self._waiting:
                return b""
            piece, rest = self._waiting[0][:size], self._waiting[0][size:]
            if rest:
                self._waiting[0] = rest
            else:
                self._waiting.popleft()
                self._changed.notify_all()
            return bytes(piece)

    @property
    def stopped(self) -> bool:
        """Whether a side has given up."""
        return self._stopped

    def _demand(self) -> None:
        if self._stopped:
            raise StoppedError


class Taken:
    """Chunks as a file to read from, that remembers what was wrong with them.

    Attributes:
        error: what the chunks raised.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")
        self.error: Exception | None = None

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        while not self._rest:
            data = self.next()
            if data is None:
                return b""
            self._rest = memoryview(data)
        piece, self._rest = self._rest[:size], self._rest[size:]
        return bytes(piece)

    def next(self) -> bytes | None:
        """The next chunk, None at the end."""
        try:
            return next(self._chunks, None)
        except Exception as error:
            self.error = error
            raise

    def drain(self) -> None:
        """Reads the rest and drops it, for the error that may come at the end."""
        try:
            while self.error is None and self.next() is not None:
                pass
        except Exception as error:  # noqa: BLE001 - kept for whoever judges
            self.error = error

    def close(self) -> None:
        """Closes what the chunks hold open."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
