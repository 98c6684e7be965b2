"""Bytes on their way to a browser, given up loudly where they turn out to be wrong."""

import threading
from collections.abc import Generator, Iterator, Mapping

import anyio
from anyio import to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from recoup.errors import DamagedError, LockedError

AT_ONCE = 4
"""Downloads that run at once: each takes some megabytes of memory."""

_RUNNING = threading.BoundedSemaphore(AT_ONCE)


class Blocks:
    """Blocks of a content, each given out when the next one is there, and the last one when all was found to be right.

    A browser that gets all the bytes that it was promised takes the file for whole, whatever happens afterwards. So an error at
    the very end has to come before the last block.

    Args:
        blocks: yields the content; raises at the latest at its end, when it is not what was stored.
        length: bytes that it has to have; None where nobody knows.

    Raises:
        LockedError: too many run.
        RecoupError: it cannot be read, or is so short that it was read to its end.
    """

    def __init__(self, blocks: Generator[bytes], length: int | None) -> None:
        if not _RUNNING.acquire(blocking=False):
            raise LockedError(f"{AT_ONCE} downloads run already", "Wait until one of them has ended.")
        self._blocks, self._left, self._closed = blocks, length, False
        try:
            self._held = self._next()
            self._ahead = self._next()
        except BaseException:
            self.close()
            raise

    def next(self) -> bytes:
        """The next block; empty at the end.

        Raises:
            RecoupError: it is not what was stored; what was given out is not to be relied on.
        """
        given, self._held = self._held, self._ahead
        if self._held:
            self._ahead = self._next()
        return given

    def _next(self) -> bytes:
        block = next(filter(None, self._blocks), b"")
        if self._left is not None:
            self._left -= len(block)
            if self._left < 0 or (not block and self._left):
                raise DamagedError("the file has another size than its set says", "Run a hash check of the set.")
        return block

    def close(self) -> None:
        """Ends reading. Harmless after the end."""
        if not self._closed:
            self._closed = True
            self._blocks.close()
            _RUNNING.release()


class Download(StreamingResponse):
    """An answer of blocks. When reading them fails in the middle, the connection is broken off.

    Args:
        blocks: what is sent; closed at the end, whatever happens.
        headers: of the answer.
        status: of the answer.
    """

    def __init__(self, blocks: Blocks, headers: Mapping[str, str], status: int = 200) -> None:
        super().__init__(iter(blocks.next, b""), status, dict(headers), "application/octet-stream")
        self._blocks = blocks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._blocks.close)


def closable(blocks: Iterator[bytes]) -> Generator[bytes]:
    """An iterator as a generator, which can be closed."""
    yield from blocks
