"""SHA-256 beside the reading and writing: large streams are hashed in a thread, since hashlib lets others run meanwhile."""

import hashlib
import hmac
import queue
import threading
from typing import Protocol

_INLINE = 4 * 1024 * 1024  # bytes hashed before a thread pays off
_WAITING = 4  # buffers that may wait, so that memory stays bounded


class Digest(Protocol):
    """What adds up to a digest: of hashlib, or of hmac."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Appends a buffer."""
        ...

    def hexdigest(self) -> str:
        """The digest of all buffers."""
        ...


def digest(key: bytes | None = None) -> Digest:
    """SHA-256, with a key HMAC-SHA256 (RFC 2104)."""
    return hashlib.sha256() if key is None else hmac.new(key, digestmod=hashlib.sha256)


class Hasher:
    """SHA-256 of a stream of buffers, and their count. A buffer handed in must not be changed afterwards.

    Args:
        key: makes it an HMAC.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.bytes = 0
        self._hash = digest(key)
        self._queue: queue.Queue[bytes | memoryview | None] | None = None
        self._thread: threading.Thread | None = None

    def update(self, data: bytes | memoryview) -> None:
        """Appends a buffer."""
        self.bytes += len(data)
        if self._queue is not None:
            self._queue.put(data)
            return
        self._hash.update(data)
        if self.bytes > _INLINE:
            self._queue = queue.Queue(_WAITING)
            self._thread = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
            self._thread.start()

    def _work(self, waiting: "queue.Queue[bytes | memoryview | None]") -> None:
        while (data := waiting.get()) is not None:
            self._hash.update(data)

    def hexdigest(self) -> str:
        """The digest of all buffers; ends the thread."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Ends the thread; harmless when there is none."""
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._queue = self._thread = None


class Known(Hasher):
    """The digest of bytes that whoever wrote them has hashed; nothing can be appended.

    Args:
        sha256: of them, hex.
        size: how many.
    """

    def __init__(self, sha256: str, size: int) -> None:
        super().__init__()
        self.bytes, self._sha256 = size, sha256

    def update(self, data: bytes | memoryview) -> None:
        """Refused."""
        raise ValueError(f"{len(data)} more bytes for a digest that is final")

    def hexdigest(self) -> str:
        """The digest."""
        return self._sha256
