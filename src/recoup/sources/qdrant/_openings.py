"""The collections of a capture, opened one after the other, while their shards still come."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from recoup.sources.qdrant._described import Described, described
from recoup.sources.qdrant._gathering import Gathering
from recoup.sources.qdrant._opened import Engine, OpenShards
from recoup.sources.qdrant._record import CollectionRecord
from recoup.system.atomicfile import make_private_folder
from recoup.system.tempdirs import remove_tree


class Openings:
    """The engine, and a folder for what it opens. What a collection leaves behind is removed while its parts are stored.

    Args:
        folder: of our own.
        seed: of what is chosen at random.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._root, self._seed = folder / "opened", seed
        self._engine = Engine()
        self._pool = ThreadPoolExecutor(1, "tidy")
        self._tidying: Future[None] | None = None

    def __enter__(self) -> Self:
        self._engine.start()  # it takes as long as small snapshots take to be made
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)
        self._engine.__exit__()

    def _settle(self) -> None:
        tidying, self._tidying = self._tidying, None
        if tidying is not None:
            tidying.result()

    @contextlib.contextmanager
    def opened(self, record: CollectionRecord) -> "Iterator[Opening]":
        """One collection.

        Args:
            record: without its shards yet.
        """
        self._settle()
        with contextlib.ExitStack() as stack:
            make_private_folder(self._root)
            stack.callback(remove_tree, self._root)
            found = stack.enter_context(self._engine.opened({}, f"collection {record.name}"))
            asking = ThreadPoolExecutor(1, "ask")
            try:
                yield Opening(Gathering(self._root, record.name, record), found, asking, self._seed)
            except BaseException:
                self._engine.kill()  # so that nobody waits for an answer any more
                raise
            finally:
                asking.shutdown(wait=True, cancel_futures=True)
            self._tidying = self._pool.submit(stack.pop_all().close)


@dataclass
class Opening:
    """The shards of one collection that were opened so far: the engine looks at one while the next is unpacked.

    Attributes:
        gathered: where they come together; its record grows with them.
    """

    gathered: Gathering
    _found: OpenShards
    _asking: ThreadPoolExecutor
    _seed: int
    _looks: dict[int, Future[None]] = field(default_factory=dict)

    def look(self) -> None:
        """Has the engine open what was gathered since the last time.

        Raises:
            RecoupError: it could not open a shard before.
        """
        for shard, folder in sorted(self.gathered.folders.items()):
            if shard not in self._looks:
                self._looks[shard] = self._asking.submit(self._open, shard, folder)
        for asked in self._looks.values():
            if asked.done():
                asked.result()

    def _open(self, shard: int, folder: Path) -> None:
        self._found.add(shard, folder)
        self._found.survey(shard, self._seed)

    def described(self) -> Described:
        """The facts of all that was gathered.

        Raises:
            DamagedError: the engine cannot read a shard, or dies of it.
            LimitError: a limit was reached.
            UnreadableError: it was written by a server that is too old or too new.
        """
        self.look()
        for asked in self._looks.values():
            asked.result()
        return described(self.gathered.collection, self._found, self._seed)
