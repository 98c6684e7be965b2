"""Reading an object, or a range of it: a few blocks are fetched ahead, each again from its beginning when it was cut."""

from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from recoup.model.structs import Struct
from recoup.storage._background import Background


class Block(Struct):
    """Some bytes of an object.

    Attributes:
        data: the bytes.
        size: bytes of the whole object.
        mark: what tells this content from another under the same key; empty where the store has none.
    """

    data: memoryview
    size: int
    mark: str


_NOTHING = memoryview(b"")

Fetch = Callable[[int, int, str], Awaitable[Block]]
"""Gives the bytes from one offset up to another of the content that has a mark (empty: of any)."""


class ObjectReader:
    """A range of an object, in order.

    Args:
        background: where requests run.
        fetch: gets one block.
        start: first byte.
        length: bytes wanted; None up to the end.
        block: bytes of one request.
        ahead: blocks that are asked for before they are needed.

    Raises:
        FileNotFoundError: there is none.
    """

    def __init__(
        self, background: Background, fetch: Fetch, start: int, length: int | None, block: int, ahead: int
    ) -> None:
        self._background, self._fetch, self._block, self._ahead = background, fetch, block, ahead
        wanted = block if length is None else min(block, length)
        first = background.run(_awaited(fetch(start, start + wanted, "")))
        self._mark, self._data = first.mark, first.data
        end = first.size if length is None else min(first.size, start + length)
        self._next, self._end = start + len(first.data), end
        self._coming: deque[Future[Block]] = deque()

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        if not self._data:
            self._take_next()
        self._ask()
        piece = bytes(self._data[:size])
        self._data = self._data[size:] or _NOTHING  # an empty view would hold the whole block
        return piece

    def _ask(self) -> None:
        """Asks for what follows, once somebody reads at all."""
        while self._next < self._end and len(self._coming) < self._ahead:
            until = min(self._next + self._block, self._end)
            self._coming.append(self._background.start(_awaited(self._fetch(self._next, until, self._mark))))
            self._next = until

    def _take_next(self) -> None:
        self._ask()
        if self._coming:
            self._data = self._coming.popleft().result().data

    def close(self) -> None:
        """Ends what is on its way."""
        for future in self._coming:
            future.cancel()
        self._coming.clear()


async def _awaited(block: Awaitable[Block]) -> Block:
    return await block
