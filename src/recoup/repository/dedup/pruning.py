"""Pruning: chunks that no set uses go, in two phases, so that a backup which began before is safe without a lock.

What this promises is in `docs/format.md`, Damage and removal; what it decides by is in `sweeping` and `usage`, which are pure.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from recoup.model.sharing import Reclaim
from recoup.repository.dedup.condensing import condensed
from recoup.repository.dedup.copying import Checking, Copying
from recoup.repository.dedup.damaged import FOLDER as DAMAGED
from recoup.repository.dedup.damaged import read_damaged, write_damaged
from recoup.repository.dedup.history import FOLDER as HISTORY
from recoup.repository.dedup.history import Record, write_record
from recoup.repository.dedup.index_files import FOLDER as INDEX
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.reading import Chunks
from recoup.repository.dedup.reindexing import Reindexing, replaced
from recoup.repository.dedup.rows import RUN_BYTES
from recoup.repository.dedup.sweeping import PackState, Sweep
from recoup.repository.dedup.usage import Needs
from recoup.repository.dedup.viewing import Rules, View
from recoup.storage._base import Storage
from recoup.system.clock import Clock

_AT_ONCE = 1024 * 1024 * 1024  # bytes that are copied before their old packs go, where these need not wait


class Pruning:
    """One prune of chunks.

    Args:
        storage: where.
        keys: the owner's.
        clock: time.
        look: makes a view of the repository.
    """

    def __init__(self, storage: Storage, keys: Keys, clock: Clock, look: Callable[[], View]) -> None:
        self._storage, self._keys, self._clock, self._look = storage, keys, clock, look
        self._freed = self._copied = self._later = self._lost = self._harmed = 0
        self._last = datetime.min.replace(tzinfo=UTC)  # time of the last history record

    def run(self, rules: Rules) -> Reclaim:
        """Does it.

        Raises:
            RefusedError: nobody can tell what is in use; nothing was removed.
        """
        if rules.grace:
            self._pass(rules, self._room())
        else:
            while self._pass(rules, 0):  # copying takes room: first goes what makes some
                pass
            while self._pass(rules, _AT_ONCE if (room := self._room()) is None else min(room, _AT_ONCE)):
                pass
        seconds = rules.grace.total_seconds()
        return Reclaim(self._freed, self._later, self._copied, seconds, self._lost, self._harmed)

    def _room(self) -> int | None:
        """Bytes that may be copied before what they were copied from goes; None where the storage does not tell."""
        free = self._storage.free_bytes()
        return None if free is None else free // 2

    def _pass(self, rules: Rules, most_copied: int | None) -> bool:
        """Goes through all packs once, and returns whether it condemned some that can go now."""
        view = self._look()
        self._last = max([self._last, *(record.time for record in view.index.records)])
        sweep, wanted = view.planned(rules, most_copied)
        run = secrets.token_bytes(RUN_BYTES)
        checking = Checking(Chunks(self._storage, self._keys, view.index))
        reindexing = Reindexing(self._storage, self._keys, self._clock, run)
        needed = self._refuted(view, sweep, wanted, checking)
        rescued = [pack.ref for pack in sweep.rescued] + [pack.ref for pack in sweep.removed if pack.ref in needed]
        if rescued:
            self._tell(Record(self._moment(), rescued=tuple(rescued)))
        removed = [pack for pack in sweep.removed if pack.ref not in needed and not self._is_locked(pack.ref.key)]
        self._remove(view, removed, reindexing)
        self._condemn(sweep.condemned, rules)
        copying = Copying(self._storage, self._keys, view.stock, checking, reindexing, run)
        moved = self._move(view, sweep.rewritten, wanted, copying)
        self._condemn([pack for pack in moved if pack.condemned is None], rules)
        if checking.harmed:
            write_damaged(self._storage, self._keys, self._clock.now(), checking.harmed - checking.unread)
            self._harmed += len(checking.harmed)
        self._condense(view)
        self._forget_damage(view)
        self._lost = view.lost(wanted)
        locked = [pack for pack in sweep.removed if pack not in removed]
        self._later = sum(pack.size for pack in (*sweep.condemned, *moved, *sweep.waiting, *locked))
        return bool(sweep.condemned or moved) and not rules.grace

    def _condense(self, view: View) -> None:
        """Puts one history record in the place of many. Where records are locked, they stay: nothing would be saved."""
        found = condensed(view.index.records, {*view.found, *view.stock.packs})
        if found is None or self._storage.properties.locks:
            return
        record, settled = found
        self._tell(record)
        for old in settled:
            self._storage.delete(f"{HISTORY}/{old.name}")

    def _forget_damage(self, view: View) -> None:
        """Removes the damage records of which no pack is left. As with history records: where they are locked, they stay."""
        if not view.index.damaged or self._storage.properties.locks:
            return
        there = {*view.found, *view.stock.packs}
        for record in read_damaged(self._storage, self._keys, []):
            if there.isdisjoint(ref for ref, _ in record.chunks):
                self._storage.delete(f"{DAMAGED}/{record.name}")

    def _condemn(self, packs: Sequence[PackState], rules: Rules) -> None:
        if packs:
            self._tell(Record(self._moment(), condemned=tuple(pack.ref for pack in packs), grace=rules.grace))

    def _is_locked(self, key: str) -> bool:
        """Whether the storage keeps an object by force."""
        try:
            return self._storage.locked_until(key) is not None
        except FileNotFoundError:
            return False

    def _moment(self) -> datetime:
        """Now, but never before a record that is there: the order of their times counts, and clocks go back."""
        now = self._clock.now()
        self._last = now if now >= self._last else self._last + timedelta(microseconds=1)
        return self._last

    def _tell(self, record: Record) -> None:
        write_record(self._storage, self._keys, record)

    def _refuted(self, view: View, sweep: Sweep, wanted: Needs, checking: Checking) -> set[PackRef]:
        """The packs that cannot go after all: what was to stand for their chunks is damaged, or a lie."""
        going = {pack.ref for pack in sweep.removed}
        here = np.array([ref in going for ref in view.stock.packs], np.bool_)
        concerned = here[view.stock.pack[wanted.given_up]]
        given_up, instead = wanted.given_up[concerned], wanted.instead[concerned]
        order = np.lexsort((view.stock.take("offset", instead), view.stock.pack[instead]))
        for _ in checking.sound(view.stock.places(instead[order])):
            pass
        lost = checking.harmed
        pairs = zip(view.stock.places(given_up), view.stock.places(instead), strict=True)
        return {old.pack for old, new in pairs if (new.pack, new.row.id) in lost} if lost else set()

    def _remove(self, view: View, removed: Sequence[PackState], reindexing: Reindexing) -> None:
        """Removes packs: first the index that does without them, then the word about it, then the old index, then they."""
        refs = [pack.ref for pack in removed]
        left = replaced(view.index, self._keys)
        old = [*left, *reindexing.replace(view.stock, set(refs), left)]
        if refs or old:
            record = Record(self._moment(), removed_packs=tuple(refs), removed_index=tuple(old))
            self._tell(record)
        reindexing.remove(name for name in old if not self._is_locked(f"{INDEX}/{name}"))
        for ref in refs:
            self._storage.delete(ref.key)
        self._freed += sum(pack.size for pack in removed)

    def _move(self, view: View, rewritten: Iterable[PackState], wanted: Needs, copying: Copying) -> Sequence[PackState]:
        """Copies what is in use in some packs; returns those that nothing needs any more."""
        chosen = {pack.ref: pack for pack in rewritten}
        here = np.array([ref in chosen for ref in view.stock.packs], np.bool_)
        rows = np.flatnonzero(wanted.kept & here[view.stock.pack]) if chosen else np.zeros(0, np.int64)
        copying.copy(rows)
        moved = [pack for ref, pack in chosen.items() if ref not in copying.harmed]
        self._copied += sum(pack.used for pack in moved)
        return moved
