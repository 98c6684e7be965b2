"""A writer's last look, before and after its set appears: do the packs stay that it refers to?

What it promises is in `docs/format.md`, Damage and removal.
"""

import contextlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from recoup.errors import StorageError
from recoup.repository.dedup.history import Condemned, condemned_since, newer_records
from recoup.repository.dedup.packs import FOLDER, PackRef
from recoup.repository.dedup.storing import Run
from recoup.storage._base import Storage
from recoup.system.clock import Clock

_HINT = "A prune went on while this set was stored. Nothing is listed of it; back up again."
_THREADS = 8  # requests at once
_FEW = 8  # packs that are asked for one by one; more are listed


class Guard:
    """Watches over the packs that a set refers to.

    Args:
        run: what stores the set.
        clock: time.
        grace: how long this host lets condemned packs stay.
    """

    def __init__(self, run: Run, clock: Clock, grace: timedelta) -> None:
        self._run, self._clock, self._grace = run, clock, grace
        self._began, self._tick = clock.now(), clock.monotonic()
        self._looked: datetime | None = None

    def look(self) -> None:
        """Looks before the set appears. What was stored is durable and has an index by now.

        Raises:
            StorageError: a pack was condemned too long ago, is gone, or the storage does not lock it as long as the set.
        """
        run, self._looked = self._run, self._now()
        _keep(run.storage, run.used)
        fresh = newer_records(run.storage, run.keys, run.index.records)
        if not fresh:  # a pack goes only after a record about it
            return
        since = condemned_since([*run.index.records, *fresh])
        self._require_to_stay(since, {ref for record in fresh for ref in record.removed_packs}, self._looked)
        _require_there(run.storage, run.used | run.own)

    def look_again(self) -> None:
        """Looks after the set has appeared, when that took long: the machine may have slept.

        Raises:
            StorageError: as `look` does; then the set has to be taken back.
        """
        shortest = min([self._grace, *(record.grace for record in self._run.index.records)])
        if self._looked is not None and self._now() - self._looked >= shortest / 4:
            self.look()

    def _now(self) -> datetime:
        """The time; where the clock was set back meanwhile, that which it would show otherwise."""
        return max(self._clock.now(), self._began + timedelta(seconds=self._clock.monotonic() - self._tick))

    def _require_to_stay(self, since: Mapping[PackRef, Condemned], removed: Collection[PackRef], now: datetime) -> None:
        used = self._run.used | self._run.own
        for ref, condemned in since.items():
            if ref in used:
                if ref in removed:
                    raise StorageError(f"{ref.key} was removed, and the set refers to it", _HINT)
                if now - condemned.since > condemned.grace / 2:
                    raise StorageError(f"{ref.key} is about to be removed, and the set refers to it", _HINT)


def _keep(storage: Storage, packs: Collection[PackRef]) -> None:
    """Has the storage keep packs as long as the set, where it keeps anything by force. One that is gone is told of later."""
    if not packs or not storage.properties.locks:
        return

    def extend(ref: PackRef) -> None:
        with contextlib.suppress(FileNotFoundError):
            storage.extend_lock(ref.key)

    pool = ThreadPoolExecutor(_THREADS, "locks")
    try:
        for _ in pool.map(extend, sorted(packs)):
            pass
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _require_there(storage: Storage, packs: Collection[PackRef]) -> None:
    listed = {found.key for found in storage.list(FOLDER)} if len(packs) > _FEW else set[str]()
    for ref in sorted(packs):
        if ref.key not in listed:  # a listing may be late
            try:
                storage.size(ref.key)
            except FileNotFoundError:
                raise StorageError(f"{ref.key} is gone, and the set refers to it", _HINT) from None
