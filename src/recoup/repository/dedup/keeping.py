"""Small objects that never change, as they were read once: files of sets, and marks.

What is kept is used where a listing shows the same key with the same size and time; a verification and a restore do without.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import blake3

from recoup.repository.dedup.cache import Cache
from recoup.storage._base import Object

LARGEST = 256 * 1024
"""Bytes of an object that is kept."""

_MEMORY = 16 * 1024 * 1024  # bytes that are kept in memory
_PREFIX = "object-"


class Keeping:
    """Objects of a repository, kept in memory and, where there is one, in the host's cache.

    Args:
        cache: gives the cache; None where nothing is kept on this host.
    """

    def __init__(self, cache: Callable[[], Cache | None]) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, one: Object, read: Callable[[], bytes]) -> bytes:
        """The bytes of an object.

        Args:
            one: as a listing has it.
            read: reads it from the storage. Raises what that raises.
        """
        name = _name(one)
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name]
        cache = self._cache()
        data = cache.read(name) if cache is not None else None
        if data is None:
            data = read()
            if cache is not None and len(data) == one.size:
                cache.write(name, data)
        if len(data) == one.size:
            self._hold(name, data)
        return data

    def _hold(self, name: str, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._held.pop(name, b""))
            self._held[name] = data
            while self._bytes > _MEMORY:
                self._bytes -= len(self._held.popitem(last=False)[1])

    def keep_only(self, objects: Iterable[Object]) -> None:
        """Throws away what is kept of others.

        Args:
            objects: all that may be kept.
        """
        cache = self._cache()
        kept = [name for name in cache.names() if name.startswith(_PREFIX)] if cache is not None else []
        wanted = {_name(one) for one in objects} if kept else set[str]()
        for name in kept:
            if name not in wanted and cache is not None:
                cache.forget(name)


def _name(one: Object) -> str:
    told = f"{one.key}\0{one.size}\0{one.modified.isoformat()}"
    return _PREFIX + blake3.blake3(told.encode("utf-8", "surrogateescape")).hexdigest(16)
