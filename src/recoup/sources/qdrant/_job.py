"""One snapshot until it is whole or given up: tried a few times, from each node that has a good copy, never kept half."""

import contextlib
import threading
from collections.abc import Sequence

from recoup.errors import DamagedError, InterruptedRunError, RecoupError
from recoup.sources.qdrant._counting import Counts
from recoup.sources.qdrant._faults import ForbiddenError, MissingError, ServerError, UnreachableError
from recoup.sources.qdrant._incremental import streaming
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._record import Method
from recoup.sources.qdrant._scrolled import Scrolled
from recoup.sources.qdrant._storing import Stored
from recoup.sources.qdrant._taking import Item, Surroundings, Taken, Taking

_TRIES = 3
_WAIT = 0.5  # seconds before the second try; twice that before the third


class Job:
    """One snapshot.

    Args:
        item: what it is of.
        methods: how to take it, at the first, second ... try; the last one stands for all further.
        around: settings and surroundings.
        counts: of the live collections; asked around a later try.
    """

    def __init__(self, item: Item, methods: Sequence[Method], around: Surroundings, counts: Counts) -> None:
        self.item, self._methods = item, methods
        self._around, self._counts = around, counts
        self._tries = 0
        self._taking: Taking | None = None
        self.frozen = threading.Event()
        self.again = False
        self.taken: Taken | None = None
        self.error: RecoupError | None = None

    def look(self) -> None:
        """Asks what has to be asked before anything stands still; a failure comes again when it is frozen."""
        with contextlib.suppress(ServerError, InterruptedRunError):
            self._begin()

    def freeze(self) -> None:
        """Makes it stand still, or gives up."""
        try:
            while self._tries < _TRIES and not self.frozen.is_set():
                self._freeze_once()
        except InterruptedRunError as error:
            self.error = error
        finally:
            self.frozen.set()

    def _freeze_once(self) -> None:
        self._tries += 1
        try:
            self._begin().freeze()
        except (ServerError, DamagedError) as error:
            self._failed(error)
        else:
            self.error = None
            self.frozen.set()

    def fetch(self) -> None:
        """Brings it here, or gives up. Where it has to stand still once more, the live collection is counted around that."""
        try:
            while self.error is None and self.taken is None and self._taking is not None:
                self._fetch_once(self._taking)
        except InterruptedRunError as error:
            self.error = error
        finally:
            self._close()

    def _fetch_once(self, taking: Taking) -> None:
        try:
            self.taken = taking.fetch()
        except (ServerError, DamagedError) as error:
            self._failed(error)
            if self._tries < _TRIES:
                self._once_more()

    def _once_more(self) -> None:
        self.again = True
        self.error = None
        self._counts.sample(self.item.collection.name)
        self.frozen.clear()
        self.freeze()
        self._counts.sample(self.item.collection.name)

    def freeze_and_fetch(self) -> None:
        """Both, for what has to be read as soon as it stands still."""
        self.freeze()
        self.fetch()

    def _begin(self) -> Taking:
        """The present try; it is begun where there is none."""
        if self._taking is None:
            taking = self._made(self._method, self.item.nodes[max(self._tries - 1, 0) % len(self.item.nodes)])
            try:
                taking.look()
            except BaseException:
                taking.close()
                raise
            self._taking = taking
        return self._taking

    @property
    def _method(self) -> Method:
        return self._methods[min(max(self._tries, 1), len(self._methods)) - 1]

    def _made(self, method: Method, node: Node) -> Taking:
        match method:
            case "stream":
                return streaming(self.item, node, self._around)
            case "scroll":
                return Scrolled(self.item, node, self._around)
            case _:
                return Stored(self.item, node, self._around)

    def _failed(self, error: RecoupError) -> None:
        self.error = error
        self._close()
        if isinstance(error, ForbiddenError | MissingError):
            self._tries = _TRIES
        elif self._tries < _TRIES:
            self._around.site.clock.sleep(_WAIT * self._tries)

    def _close(self) -> None:
        if self._taking is not None:
            taking, self._taking = self._taking, None
            taking.close()

    @property
    def gone(self) -> bool:
        """Whether it failed because there is nothing of that name any more."""
        return isinstance(self.error, MissingError)

    @property
    def unreachable(self) -> bool:
        """Whether it failed because nobody answers."""
        return isinstance(self.error, UnreachableError)
