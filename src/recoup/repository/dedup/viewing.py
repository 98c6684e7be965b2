"""What a repository has of chunks at a moment, and which sets use them."""

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import blake3
import numpy as np

from recoup.errors import DamagedError, RefusedError
from recoup.model.names import SetName
from recoup.model.sharing import Reclaim
from recoup.model.structs import Struct
from recoup.repository.dedup import recipes, sets
from recoup.repository.dedup.columns import id_words
from recoup.repository.dedup.history import condemned_since
from recoup.repository.dedup.index import Index
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import FOLDER, PackRef
from recoup.repository.dedup.reindexing import unread
from recoup.repository.dedup.rows import join_ids
from recoup.repository.dedup.stock import Places, Stock
from recoup.repository.dedup.sweeping import PackState, Sweep, planned
from recoup.repository.dedup.usage import Needs, Ranges, Usage, needs
from recoup.repository.plain import layout
from recoup.storage._base import Object, Storage

RECIPES = "recipes"
_THREADS = 8  # requests at once


class Kept(Struct):
    """A set that may use chunks.

    Attributes:
        name: of the set.
        prefix: of its files.
        trashed: whether it lies in the trash.
    """

    name: SetName
    prefix: str
    trashed: bool = False


class Rules(Struct):
    """By what a prune decides.

    Attributes:
        grace: how long condemned packs stay.
        max_unused: percent of the chunks' bytes that may be unused in packs that are needed.
    """

    grace: timedelta
    max_unused: float

    @property
    def without_grace(self) -> "Rules":
        """The same for somebody who needs the space now."""
        return Rules(timedelta(), self.max_unused)


class View:
    """What a repository had of chunks at a moment, and which sets use them.

    Args:
        storage: where.
        keys: the owner's.
        cache: the user's cache folder; None keeps nothing.
        now: the present moment.
        kept: lists the sets, those in the trash, too.
        rules: by which a prune decides.

    Raises:
        RefusedError: a set or an index file cannot be read, so nobody knows what is in use.

    Attributes:
        now: the moment before the sets were listed.
    """

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        cache: Path | None,
        now: datetime,
        kept: Callable[[], Sequence[Kept]],
        rules: Rules,
    ) -> None:
        self._rules = rules
        # the sets first: what one of them uses was in the index before it was there
        self.now, found = now, kept()
        self.found: Mapping[PackRef, Object] = {
            ref: one for one in storage.list(FOLDER) if (ref := PackRef.at(one.key))
        }
        self.index = Index.load(storage, keys, cache)
        self._require_whole_index(keys)
        self.stock = Stock(self.index.tables)
        self.usage = Usage(self.stock)
        self._ranges: dict[Kept, Ranges] = {}
        for one, used in _recipes(storage, keys, found):
            self._ranges[one] = self.usage.ranges(used)
            self.usage.add(self._ranges[one])
        self.since = condemned_since(self.index.records)
        self.bad = _rows_of(self.stock, self.index)
        self._require_all_rows(self.usage.missing, "chunks are in use that no index names")

    def _require_whole_index(self, keys: Keys) -> None:
        if names := unread(self.index, keys):
            reason = next((problem.message for problem in self.index.problems), "they went away meanwhile")
            raise RefusedError(
                f"no chunk is removed: {len(names)} index files cannot be read ({reason})",
                "What they name may be in use. `recoup repair` makes them anew; then prune again.",
            )

    def _require_all_rows(self, missing: int, what: str) -> None:
        """Chunks that no index names may lie in packs that no index names."""
        if missing and (strange := self.found.keys() - set(self.stock.packs)):
            raise RefusedError(
                f"no chunk is removed: {missing:,} {what}, and {len(strange)} packs are there that no index names, either",
                "They may be the same. `recoup repair` makes an index of these packs; then prune again.",
            )

    def needs(self, rank: Sequence[int] | None = None) -> Needs:
        """Which rows have to stay."""
        ranks = np.zeros(len(self.stock.packs), np.int64) if rank is None else np.array(rank, np.int64)
        return needs(self.stock, self.usage, ranks, self.bad)

    def alone(self, names: Collection[SetName], *, trashed: bool = False) -> int:
        """Bytes of chunks that only these sets use.

        Args:
            names: of the sets.
            trashed: whether those of that name in the trash are meant.
        """
        before = sum(self.stock.sums("stored", self.needs().kept))
        with self._without(names, trashed=trashed):
            return before - sum(self.stock.sums("stored", self.needs().kept))

    def reclaim(self, names: Collection[SetName], *, at_once: bool = False) -> Reclaim:
        """What a prune would free, if these sets were gone for good.

        Args:
            names: of the sets.
            at_once: whether it does without the grace time, and empties the trash.
        """
        rules = self._rules.without_grace if at_once else self._rules
        trash = [kept.name for kept in self._ranges if at_once and kept.trashed]
        with self._without(names, trashed=False), self._without(trash, trashed=True):
            sweep, wanted = self.planned(rules)
        seconds = rules.grace.total_seconds()
        return Reclaim(sweep.freed_now, sweep.freed_later, sweep.copied, seconds, self.lost(wanted))

    @contextlib.contextmanager
    def _without(self, names: Collection[SetName], *, trashed: bool) -> Iterator[None]:
        """Counts some sets no more, meanwhile."""
        wanted = set(names)
        chosen = [found for kept, found in self._ranges.items() if kept.trashed == trashed and kept.name in wanted]
        for one in chosen:
            self.usage.remove(one)
        yield
        for one in chosen:
            self.usage.add(one)

    def lost(self, wanted: Needs) -> int:
        """How many chunks are in use that cannot be read, because no row, or none of a base, is there."""
        return self.usage.missing + len(wanted.orphaned)

    def planned(self, rules: Rules, most_copied: int | None = None) -> tuple[Sweep, Needs]:
        """What a prune by these rules is to do.

        Raises:
            RefusedError: packs are there that no index names, and may have what is missing.
        """
        wanted = self.needs(self._ranks())
        self._require_all_rows(len(wanted.orphaned), "chunks are in use whose bases no index names")
        states = list(self._states(wanted))
        return planned(states, self.now, rules.grace, rules.max_unused, most_copied=most_copied), wanted

    def _ranks(self) -> Sequence[int]:
        """Of several packs that have a chunk, it stays in one that is there, is not condemned, and is in use most."""
        named = self.usage.named()
        used, total = self.stock.sums("stored", named), self.stock.sums("stored")
        order = sorted(
            range(len(self.stock.packs)),
            key=lambda i: (
                self.stock.packs[i] not in self.found,
                self.stock.packs[i] in self.since,
                -used[i] / total[i],
                self.stock.packs[i],
            ),
        )
        ranks = [0] * len(order)
        for rank, i in enumerate(order):
            ranks[i] = rank
        return ranks

    def _states(self, wanted: Needs) -> Iterator[PackState]:
        used, total = self.stock.sums("stored", wanted.kept), self.stock.sums("stored")
        harmed = set(self.stock.pack[self.bad[wanted.kept[self.bad]]].tolist())
        for i, ref in enumerate(self.stock.packs):
            there = self.found.get(ref)
            yield PackState(
                ref,
                there.size if there else 0,
                used[i],
                max(0, min(total[i], int(self.stock.sizes[i])) - used[i]),  # two index files may name a pack
                there.modified if there else None,
                self.since.get(ref),
                needed=used[i] > 0,
                harmed=i in harmed,
            )
        for ref in self.found.keys() - set(self.stock.packs):  # what a killed run left without an index
            found = self.found[ref]
            yield PackState(ref, found.size, 0, found.size, found.modified, self.since.get(ref))


def _recipes(storage: Storage, keys: Keys, kept: Sequence[Kept]) -> Iterator[tuple[Kept, Mapping[str, recipes.Recipe]]]:
    """The recipes of sets, some requests ahead. Those of a set in the trash that is partly removed are nobody's any more."""
    pool = ThreadPoolExecutor(_THREADS, "recipes")
    try:
        waiting: deque[tuple[Kept, Future[Mapping[str, recipes.Recipe] | None]]] = deque()
        for one in kept:
            waiting.append((one, pool.submit(_read, storage, keys, one)))
            if len(waiting) > _THREADS:
                yield from _read_now(*waiting.popleft())
        for first, task in waiting:
            yield from _read_now(first, task)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read_now(
    one: Kept, task: "Future[Mapping[str, recipes.Recipe] | None]"
) -> Iterator[tuple[Kept, Mapping[str, recipes.Recipe]]]:
    used = task.result()
    if used is not None:
        yield one, used


def _read(storage: Storage, keys: Keys, one: Kept) -> Mapping[str, recipes.Recipe] | None:
    try:
        return stored_recipes(storage, keys, one.prefix)
    except FileNotFoundError as error:
        if one.trashed:
            return None
        raise _unknown(one, f"{error.args[0]} is missing") from None
    except (RefusedError, DamagedError) as error:
        raise _unknown(one, error.message) from None


def _unknown(one: Kept, reason: str) -> RefusedError:
    where = " in the trash" if one.trashed else ""
    return RefusedError(
        f"no chunk is removed: which ones {one.name}{where} uses cannot be read ({reason})",
        f"`recoup repair` may mend it from another repository; `recoup delete {one.name}` gives it up.",
    )


def stored_recipes(storage: Storage, keys: Keys, prefix: str) -> dict[str, recipes.Recipe]:
    """The recipes of a set.

    Args:
        storage: where.
        keys: with the private key.
        prefix: of the set's files.

    Raises:
        FileNotFoundError: a file of it is missing; its name is the argument.
        RefusedError, DamagedError: it is of an unknown version, or not what was stored.
        WrongKeyError: this host can only add sets.
    """
    manifest, item = f"{prefix}/{layout.MANIFEST}", f"{prefix}/{RECIPES}"
    header = sets.decode_header(_get(storage, manifest), keys.repository, manifest)
    data = _get(storage, item)
    if blake3.blake3(data).hexdigest() != header.recipes:
        raise DamagedError(f"{item} is not what was stored", "Restore from another set.")
    return recipes.unseal(data, keys.open_run(header.key, item), sets.identity(header.run, keys.repository), item)


def _get(storage: Storage, key: str) -> bytes:
    try:
        return sets.fetched(storage, key, DamagedError)
    except FileNotFoundError:
        raise FileNotFoundError(key) from None


def _rows_of(stock: Stock, index: Index) -> Places:
    """The rows of chunks that are known to be damaged where they lie."""
    if not index.damaged:
        return np.zeros(0, np.int64)
    ids = sorted({identity for _, identity in index.damaged})
    which, rows = stock.with_ids(id_words(join_ids(ids)))
    known = [(stock.packs[pack], ids[i]) in index.damaged for i, pack in zip(which, stock.pack[rows], strict=True)]
    return rows[np.array(known, np.bool_)]
