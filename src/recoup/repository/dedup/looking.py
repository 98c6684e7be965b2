"""One look at a storage far away: a single listing answers what a command asks at its begin, a dozen questions otherwise.

What a look has was there a moment ago, all of it at the same moment. Whoever decides what goes, or whether a set may appear, asks
the storage itself.
"""

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from recoup.model.names import SetName
from recoup.repository.dedup.keeping import LARGEST, Keeping
from recoup.repository.dedup.names import INDEX
from recoup.repository.plain import layout
from recoup.repository.plain.claiming import markers
from recoup.storage._base import ByteReader, Object, Storage

_PAGE = 1000  # objects that every store lists by one request
_CHANGING = (
    layout.PARTIAL,
    layout.TRASH,
)  # folders that are listed behind the sets, in this order (`plain/claiming.py`)


class Look:
    """A storage as one listing showed it; what is no question of names goes to the storage itself.

    Where one request does not list everything, the listing of the first folders says at least which folders there are: what is in
    the others is listed when it is asked for.

    Args:
        storage: that is looked at.
        keeping: has what was read before of objects that never change.
    """

    def __init__(self, storage: Storage, keeping: Keeping) -> None:
        self._storage, self._keeping = storage, keeping
        found = list(itertools.islice(storage.list(), _PAGE))
        self._all = {one.key: one for one in found} if len(found) < _PAGE else None
        self._top = list(storage.folders()) if self._all is None else _tops(self._all)

    def get(self, key: str) -> bytes:
        """As a storage does. What is gone shows that the listing is too old for whoever reads what it has."""
        try:
            if self._is_kept(key):
                return self._keeping.get((self._all or {})[key], lambda: self._storage.get(key))
            if key.startswith(f"{INDEX}/") and (own := self._keeping.take(key)) is not None:
                return own
            return self._storage.get(key)
        except FileNotFoundError:
            self._all, self._top = None, list(self._storage.folders())
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def list(self, prefix: str = "") -> Iterator[Object]:
        """As a storage does."""
        top = prefix.partition("/")[0]
        if self._all is not None:
            return (one for key, one in self._all.items() if not prefix or key.startswith(f"{prefix}/"))
        if top and top not in _CHANGING and top not in self._top:
            return iter(())
        return self._storage.list(prefix)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """As a storage does."""
        if prefix and self._all is None:
            return self._storage.folders(prefix)
        below = (key[len(prefix) + 1 :] for key in self._all or () if key.startswith(f"{prefix}/"))
        return iter(_tops(below) if prefix else self._top)

    def size(self, key: str) -> int:
        """As a storage does: a listing may be late, so what it lacks is asked for by itself."""
        known = (self._all or {}).get(key)
        return self._storage.size(key) if known is None else known.size

    @contextlib.contextmanager
    def reader(self, key: str, start: int = 0, length: int | None = None) -> Iterator[ByteReader]:
        """As a storage does."""
        if self._is_kept(key):
            data = self.get(key)
            yield io.BytesIO(data[start : None if length is None else start + length])
        else:
            with self._storage.reader(key, start, length) as reader:
                yield reader

    def _is_kept(self, key: str) -> bool:
        one = (self._all or {}).get(key)
        return one is not None and _never_changes(key) and 0 < one.size <= LARGEST

    def keep_only(self) -> None:
        """Throws away what was kept of objects that are gone."""
        if self._all is not None:
            kept = [one for key, one in self._all.items() if _never_changes(key) or key.startswith(f"{INDEX}/")]
            self._keeping.keep_only(kept)

    def sets(self) -> tuple[Sequence[SetName], Sequence[SetName]] | None:
        """Names of the sets, and of those in the trash, oldest first.

        None where the listing alone does not tell: a folder without a manifest may be a set that is being written or
        removed, or has lost it.
        """
        deleted = markers(cast("Storage", self))
        hidden = {one.name for one in deleted}
        visible = {name for folder in self._top if (name := SetName.parse(folder))} - hidden
        if self._all is None or any(f"{name}/{layout.MANIFEST}" not in self._all for name in visible):
            return None
        return sorted(visible), sorted({one.name for one in deleted if one.state == "kept"})


def _never_changes(key: str) -> bool:
    """Whether an object is a set's or a mark."""
    top = key.partition("/")[0]
    return top == layout.MARKS or SetName.parse(top) is not None


def _tops(keys: Iterable[str]) -> list[str]:
    return sorted({key.partition("/")[0] for key in keys if "/" in key})
