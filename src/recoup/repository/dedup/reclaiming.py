"""Looking which chunks a repository's sets use, and pruning the others."""

from collections.abc import Callable, Sequence
from pathlib import Path

from recoup.model.names import SetName
from recoup.model.sharing import Reclaim
from recoup.repository.dedup.history import Record, write_record
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.looking import Look
from recoup.repository.dedup.options import DedupOptions
from recoup.repository.dedup.pruning import Pruning
from recoup.repository.dedup.viewing import Kept, Rules, View
from recoup.repository.plain.sets import Sets
from recoup.storage._base import Storage
from recoup.system.clock import Clock


class Reclaiming:
    """What a repository's owner asks of pruning.

    Args:
        storage: where.
        keys: the owner's.
        clock: time.
        options: of the repository.
        cache: the user's cache folder; None keeps nothing.
        look: looks at the storage anew.
        sets: knows the trash.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        clock: Clock,
        options: DedupOptions,
        cache: Path | None,
        look: Callable[[], Storage],
        sets: Sets,
    ) -> None:
        self._storage, self._keys, self._clock, self._cache = storage, keys, clock, cache
        self._rules = Rules(options.grace, options.max_unused)
        self._look, self._sets = look, sets

    def view(self) -> View:
        """Which sets use which chunks, now.

        Raises:
            RefusedError: a set or an index file cannot be read, so nobody knows.
        """
        now, look = self._clock.now(), self._look()
        seen = look.sets() if isinstance(look, Look) else None
        if seen is None:
            return View(self._storage, self._keys, self._cache, now, self._kept, self._rules)
        # sets, packs and index by one listing: what a set uses was in the index before it was there
        kept = [Kept(name, str(name), trashed=trashed) for trashed in (False, True) for name in seen[trashed]]
        return View(look, self._keys, self._cache, now, lambda: kept, self._rules)

    def tell_removed(self, names: Sequence[SetName]) -> None:
        """Writes down that sets go, so that nobody takes it for a step back of the storage."""
        if names:
            write_record(self._storage, self._keys, Record(self._clock.now(), removed_sets=tuple(map(str, names))))

    def prune(self, *, at_once: bool) -> Reclaim:
        """Prunes chunks. Raises as `view` does; then nothing was removed."""
        rules = self._rules.without_grace if at_once else self._rules
        return Pruning(self._storage, self._keys, self._clock, self.view).run(rules)

    def _kept(self) -> Sequence[Kept]:
        """All sets; one that is moved to the trash or back meanwhile is found in one of these places."""
        found = {str(name): Kept(name, str(name)) for name in self._sets.names()}
        for one in self._sets.trashed():
            if one.state == "kept":
                place = self._sets.place(one)
                found.setdefault(place, Kept(one.name, place, trashed=True))
        return [*found.values(), *(Kept(name, str(name)) for name in self._sets.names() if str(name) not in found)]
