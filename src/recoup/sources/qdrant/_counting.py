"""The lowest and highest exact count of live collections, from before to after their capture."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

from recoup.errors import InterruptedRunError, RecoupError
from recoup.model.facts import Bracket
from recoup.model.structs import Struct
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ServerError

_PAUSE = 0.5  # seconds between two rounds


class Seen(Struct):
    """What was counted in one collection.

    Attributes:
        first: the first count.
        last: the last one.
        low: the lowest.
        high: the highest.
        up: how far the count rose from one time to the next, all rises together.
        down: how far it fell, all falls together.
    """

    first: int
    last: int
    low: int
    high: int
    up: int = 0
    down: int = 0

    def then(self, count: int) -> "Seen":
        """With one count more."""
        change = count - self.last
        up, down = self.up + max(change, 0), self.down + max(-change, 0)
        return Seen(self.first, count, min(self.low, count), max(self.high, count), up, down)


class Counts:
    """What was counted so far. May be used by several threads.

    Args:
        server: the node that is asked; it answers for all shards.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._seen: dict[str, Seen] = {}

    def sample(self, collection: str) -> None:
        """Counts once more; a collection that is gone, or a server that does not answer now, leaves what was counted."""
        with contextlib.suppress(ServerError):
            count = int(
                self._server.post(at("collections", collection, "points", "count"), {"exact": True}, safe=True)["count"]
            )
            with self._lock:
                before = self._seen.get(collection)
                self._seen[collection] = before.then(count) if before else Seen(count, count, count, count)

    @contextlib.contextmanager
    def polled(self, collections: Iterable[str]) -> Iterator[None]:
        """Counts before, all the while, and after."""
        names = list(collections)
        for name in names:
            self.sample(name)
        ended = threading.Event()
        thread = threading.Thread(target=self._poll, args=(names, ended), name="count points", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        for name in names:
            self.sample(name)

    def _poll(self, names: list[str], ended: threading.Event) -> None:
        with contextlib.suppress(InterruptedRunError, RecoupError):
            while not ended.wait(_PAUSE):
                for name in names:
                    if ended.is_set():
                        return
                    self.sample(name)

    def bracket(self, collection: str) -> Bracket | None:
        """Lowest and highest count; None when it could not be counted."""
        seen = self.seen(collection)
        return None if seen is None else Bracket(f"collection {collection}", "points", seen.low, seen.high)

    def seen(self, collection: str) -> Seen | None:
        """All that was counted; None when it could not be counted."""
        with self._lock:
            return self._seen.get(collection)
