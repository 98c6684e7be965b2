"""The lowest and highest exact count of live collections, from before to after their capture."""

import contextlib
import threading
from collections.abc import Iterable, Iterator

from recoup.errors import InterruptedRunError, RecoupError
from recoup.model.facts import Bracket
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ServerError

_PAUSE = 0.5  # seconds between two rounds


class Counts:
    """What was counted so far. May be used by several threads.

    Args:
        server: the node that is asked; it answers for all shards.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._low: dict[str, int] = {}
        self._high: dict[str, int] = {}

    def sample(self, collection: str) -> None:
        """Counts once more; a collection that is gone, or a server that does not answer now, leaves what was counted."""
        with contextlib.suppress(ServerError):
            count = int(
                self._server.post(at("collections", collection, "points", "count"), {"exact": True}, safe=True)["count"]
            )
            with self._lock:
                self._low[collection] = min(count, self._low.get(collection, count))
                self._high[collection] = max(count, self._high.get(collection, count))

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
        with self._lock:
            if collection not in self._low:
                return None
            return Bracket(f"collection {collection}", "points", self._low[collection], self._high[collection])
