"""One look at a storage far away: a single listing answers what a command asks at its begin, a dozen questions otherwise.

What a look has was there a moment ago, all of it at the same moment. Whoever decides what goes, or whether a set may appear, asks
the storage itself.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recoup.model.names import SetName
from recoup.repository.plain import layout
from recoup.storage._base import Object, Storage

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
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        found = list(itertools.islice(storage.list(), _PAGE))
        self._all = {one.key: one for one in found} if len(found) < _PAGE else None
        self._top = list(storage.folders()) if self._all is None else _tops(self._all)

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

    def object(self, key: str) -> Object | None:
        """What the listing had of an object; None where it lacked it, or did not get so far."""
        return (self._all or {}).get(key)

    def sets(self) -> tuple[Sequence[SetName], Sequence[SetName]] | None:
        """Names of the sets, and of those in the trash, oldest first.

        None where the listing alone does not tell: a folder without a manifest may be a set that is being written or
        removed, or has lost it.
        """
        folders = {name for folder in self._top if (name := SetName.parse(folder))}
        if self._all is None or any(f"{name}/{layout.MANIFEST}" not in self._all for name in folders):
            return None
        markers = {found[0]: one for one in self.list(layout.TRASH) if (found := layout.trashed_in(one.key))}
        if any(one.size for one in markers.values()):  # of some the removal has begun
            return None
        return sorted(folders - markers.keys()), sorted(markers)


def _tops(keys: Iterable[str]) -> list[str]:
    return sorted({key.partition("/")[0] for key in keys if "/" in key})
