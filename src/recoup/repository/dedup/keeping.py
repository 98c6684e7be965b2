"""Small objects that never change, as they were read or written once: files of sets, marks, and this host's own index files.

What is kept is used where a listing shows the same key with the same size and time; a verification and a restore do without.
An index file's name is never given twice, and what is in it is signed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import blake3

from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.names import INDEX
from recoup.storage._base import Object, Storage

LARGEST = 256 * 1024
"""Bytes of an object that is kept."""

_MEMORY = 16 * 1024 * 1024  # bytes that are kept in memory
_PREFIX, _OWN = "object-", "own-"
_LARGEST_OWN = 4 * 1024 * 1024  # bytes of an index file that is kept: of a larger one the request is the least
_TIDIED, _TIDY = "tidied", 6 * 3600.0  # seconds: what is unfinished waits for a day


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

    def put(self, key: str, data: bytes) -> None:
        """Keeps what this host wrote, until it is read once."""
        cache = self._cache()
        if cache is not None and len(data) <= _LARGEST_OWN:
            cache.write(_own(key), data)

    def take(self, key: str) -> bytes | None:
        """What this host wrote; None where it is not kept, or was read."""
        cache = self._cache()
        data = cache.read(_own(key)) if cache is not None else None
        if data is not None and cache is not None:
            cache.forget(_own(key))
        return data

    def tidied(self, now: float) -> bool:
        """Whether this host has tidied the storage a few hours ago; else it is about to.

        Args:
            now: seconds since the epoch.
        """
        cache = self._cache()
        if cache is None:
            return False
        before = cache.read(_TIDIED)
        if before is not None and 0 <= now - float(before) < _TIDY:
            return True
        cache.write(_TIDIED, str(now).encode())
        return False

    def keep_only(self, objects: Sequence[Object]) -> None:
        """Throws away what is kept of others.

        Args:
            objects: all that may be kept.
        """
        cache = self._cache()
        kept = [name for name in cache.names() if name.startswith((_PREFIX, _OWN))] if cache is not None else []
        wanted = {called for one in objects for called in (_name(one), _own(one.key))} if kept else set[str]()
        for name in kept:
            if name not in wanted and cache is not None:
                cache.forget(name)


def _own(key: str) -> str:
    return _OWN + blake3.blake3(key.encode("utf-8", "surrogateescape")).hexdigest(16)


def _name(one: Object) -> str:
    told = f"{one.key}\0{one.size}\0{one.modified.isoformat()}"
    return _PREFIX + blake3.blake3(told.encode("utf-8", "surrogateescape")).hexdigest(16)


class Noting:
    """A storage that keeps the index files which this host writes.

    Args:
        storage: that takes them.
        keeping: that keeps them.
    """

    def __init__(self, storage: Storage, keeping: Keeping) -> None:
        self._storage, self._keeping = storage, keeping

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """As a storage does."""
        self._storage.put(key, data, if_absent=if_absent)
        if key.startswith(f"{INDEX}/"):
            self._keeping.put(key, data)
