"""A storage in memory whose listings show late what was written, as some object stores do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from recoup.storage._base import Object
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.system.clock import Clock


class LateListing(MemoryStorage):
    """An object can be read as soon as it is there; listings have it some time later. What is deleted is gone from both.

    Nothing moves there, as in an object store: what moved late would be in neither place for a while.

    Args:
        clock: time.
        delay: how long listings lack a new object, by its key.
    """

    def __init__(self, clock: Clock, delay: Callable[[str], timedelta]) -> None:
        super().__init__(moves=False)
        self._clock, self._delay = clock, delay
        self._written: dict[str, datetime] = {}
        self._shown: dict[str, datetime] = {}

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Stores an object."""
        super().put(key, data, if_absent=if_absent)
        self._note(key)

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        """Begins an object."""
        super().writer(key, hidden=hidden)
        return _LateWriter(self._objects, key, self._note)

    def _note(self, key: str) -> None:
        now = self._clock.now()
        self._written[key] = now
        self._shown.setdefault(key, now + self._delay(key))

    def list(self, prefix: str = "") -> Iterator[Object]:
        """The objects below a prefix that it shows by now."""
        return (found for found in self.everything(prefix) if self._shown[found.key] <= self._clock.now())

    def everything(self, prefix: str = "") -> Sequence[Object]:
        """All objects below a prefix, also those that a listing does not show yet."""
        return [replace(found, modified=self._written[found.key]) for found in super().list(prefix)]

    def folders(self, prefix: str = "") -> Iterator[str]:
        """First components below a prefix that have objects below them, by what it shows."""
        base = f"{prefix}/" if prefix else ""
        below = (found.key.removeprefix(base) for found in self.list(prefix))
        yield from sorted({rest.split("/", 1)[0] for rest in below if "/" in rest})

    def delete(self, key: str) -> None:
        """Forgets an object."""
        super().delete(key)
        self._shown.pop(key, None)

    def delete_all(self, prefix: str) -> None:
        """Forgets all objects below a prefix, also those that it does not show yet."""
        for found in self.everything(prefix):
            self.delete(found.key)


class _LateWriter(MemoryWriter):
    def __init__(self, objects: dict[str, bytes], key: str, note: Callable[[str], None]) -> None:
        super().__init__(objects, key)
        self._note = note

    def commit(self) -> None:
        """Makes it appear."""
        super().commit()
        self._note(self._key)
