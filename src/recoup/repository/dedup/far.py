"""What a dedup repository asks of a storage far away, with as few requests as its promises allow.

A look (`looking`) is taken when a verb takes its lock, and stands for what is there for a moment; a set's manifest never changes,
and is read once while a lock is held. What decides about a set that is to appear or to go is asked anew.
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, cast

from recoup.errors import RefusedError
from recoup.model.manifest import Manifest
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.repository._base import LockMode, Overview
from recoup.repository.dedup.keeping import Keeping, Noting
from recoup.repository.dedup.looking import Look
from recoup.repository.dedup.sets import fetched
from recoup.repository.plain import layout
from recoup.repository.plain.claiming import ClaimedSets
from recoup.repository.plain.repository import MOMENT, PlainRepository
from recoup.storage._base import Storage

if TYPE_CHECKING:
    from recoup.repository.dedup.caching import Kept

_FILES = 4  # manifests that are kept: verbs go from set to set
_LARGE = 1024 * 1024  # bytes of a manifest that is not kept


class FarRepository(PlainRepository):
    """Sets under their own names on a storage where each request takes its time; others are asked as often as is convenient."""

    _look: Look | None = None
    _looked_at = 0.0
    _is_locked = False
    _at_lock: Look | None = None
    _visible: set[SetName]  # sets that are there as long as the lock is held: who removes one needs it alone
    _files: dict[SetName, bytes]  # manifests, as they were read since the lock was taken

    @cached_property
    def _keeping(self) -> Keeping:
        return Keeping(lambda: kept.cache if (kept := self.kept()) is not None else None)

    def kept(self) -> "Kept | None":
        """What this host keeps of it; None where it keeps nothing."""
        return None

    @property
    def _is_far(self) -> bool:
        return isinstance(self._sets, ClaimedSets)

    def _look_anew(self) -> Storage:
        if not self._is_far:
            return self._storage
        self._looked_at = self._clock.monotonic()  # the time before it was asked
        self._look = Look(self._storage, self._keeping)
        return cast("Storage", self._look)

    def there(self) -> Storage:
        """The storage; while a lock is held, as it was a moment ago. For whoever reads names, and then what has them."""
        if self._look is None or not self._is_locked or self._clock.monotonic() - self._looked_at > MOMENT:
            return self._look_anew()
        return cast("Storage", self._look)

    def forget(self) -> None:
        """Reads all anew from now on: sets and packs have changed."""
        self._look, self._at_lock, self._visible, self._files = None, None, set(), {}

    @contextlib.contextmanager
    def _holding(self, lock: AbstractContextManager[None]) -> Iterator[None]:
        self.forget()
        with lock:
            self._is_locked, self._at_lock = True, self._look
            self._visible.update(found[0] if self._look is not None and (found := self._look.sets()) else ())
            try:
                yield
            finally:
                self._is_locked = False
                self.forget()

    def lock(self, mode: LockMode, verb: str, stack: str, wait: float = 0.0) -> AbstractContextManager[None]:
        """Holds a lock. What was learned before it is forgotten: others may have changed it since."""
        return self._holding(super().lock(mode, verb, stack, wait))

    def at_lock(self) -> Storage:
        """The storage as it was when the lock was taken that is held; without a lock, as it is.

        For what nobody removes meanwhile: the files of sets, and the packs that they need.
        """
        return self._storage if self._at_lock is None else cast("Storage", self._at_lock)

    def names(self) -> Sequence[SetName]:
        """Names of all sets, oldest first: as they are now."""
        self._look_anew()
        return self._names_seen()[0]

    def _names_seen(self) -> tuple[Sequence[SetName], Sequence[SetName]]:
        """Names of the sets and of those in the trash, by the last look, or by the storage where that does not tell."""
        found = self._look.sets() if self._look is not None else None
        return found or (super().names(), super().trashed())

    def seen_with(self, name: SetName) -> tuple[Sequence[SetName], Storage]:
        """Names of the sets, and a storage that shows no index older than these names: a moment ago, or now.

        Args:
            name: of a set that is there; a look that lacks it is too old.
        """
        for look in (self.there, self._look_anew):
            there = look()
            found = self._look.sets() if self._look is not None else None
            if found is not None and name in found[0]:
                return found[0], there
        return super().names(), self._storage

    def all_names(self) -> list[str]:
        """Names of the sets, those in the trash, too."""
        self.there()
        return [str(name) for names in self._names_seen() for name in names]

    def overview(self, *, copies: bool = True) -> Overview:
        """All sets at once."""
        if not self._is_far:
            return super().overview(copies=copies)
        there = self.there()
        if self._look is not None and not self._is_locked:  # while nobody waits
            self._look.keep_only()
        return self._copied(there, lambda: self._names_seen()[0], copies=copies)

    def manifest(self, name: SetName) -> Manifest:
        """What a set claims."""
        if name in self._visible:
            return self._read(name, {})
        manifest = super().manifest(name)
        if self._is_locked:
            self._visible.add(name)
        return manifest

    def manifest_file(self, name: SetName) -> bytes:
        """The file of a set; while a lock is held, it is read once.

        Raises:
            FileNotFoundError: there is none.
            RefusedError: it is longer than any.
        """
        if name in self._files:
            return self._files[name]
        data = fetched(self._storage, f"{name}/{layout.MANIFEST}", RefusedError)
        if self._is_locked and len(data) <= _LARGE:
            self._files[name] = data
            if len(self._files) > _FILES:
                del self._files[next(iter(self._files))]
        return data

    def writing(self) -> Storage:
        """The storage for a run, which keeps near what this host will want to read next."""
        return cast("Storage", Noting(self._storage, self._keeping)) if self._is_far else self._storage

    def tidy(self) -> None:
        """Removes what writers left that were killed, a few times a day."""
        if not self._is_far or not self._keeping.tidied(self._clock.now().timestamp()):
            self._storage.tidy()

    def remove_abandoned(self) -> None:
        """Removes what killed runs left of sets, where there are any unfinished ones."""
        if not self._is_far or next(iter(self.there().list(layout.PARTIAL)), None) is not None:
            self._sets.remove_abandoned()

    def mark(self, name: SetName, mark: Mark) -> None:
        """Adds a mark, durably."""
        super().mark(name, mark)
        self._look = None
