"""What becomes of packs in a prune (`docs/format.md`, Damage and removal). Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recoup.model.structs import Struct
from recoup.repository.dedup.history import Condemned
from recoup.repository.dedup.packs import PackRef


@dataclass(frozen=True, slots=True)
class PackState:
    """What is known of a pack.

    Attributes:
        ref: which.
        size: bytes of its file; 0 when it is not there.
        used: bytes of chunks that have to stay in it.
        unused: bytes of its other chunks.
        stored: when (UTC) the storage got it; None when it is not there.
        condemned: since when it is condemned; None when it is not.
        needed: whether a chunk has to stay in it.
        harmed: whether such a chunk is known to be damaged: it cannot be copied.
    """

    ref: PackRef
    size: int
    used: int
    unused: int
    stored: datetime | None
    condemned: Condemned | None = None
    needed: bool = False
    harmed: bool = False


class Sweep(Struct):
    """What a prune is to do.

    Attributes:
        grace: how long condemned packs stay.
        removed: packs that go now.
        rescued: packs that were condemned, are in use after all, and stay.
        rewritten: packs whose used chunks are copied, and which are condemned then, where they are not yet.
        condemned: packs that nothing uses any more.
        waiting: packs that nothing uses, and which are too young, or condemned too lately, to do anything about.
    """

    grace: timedelta
    removed: tuple[PackState, ...] = ()
    rescued: tuple[PackState, ...] = ()
    rewritten: tuple[PackState, ...] = ()
    condemned: tuple[PackState, ...] = ()
    waiting: tuple[PackState, ...] = ()

    @property
    def freed_now(self) -> int:
        """Bytes that the storage gets back at once."""
        return _bytes(self.removed) + (0 if self.grace else self._behind)

    @property
    def freed_later(self) -> int:
        """Bytes that it gets back by a prune after the grace time."""
        return self._behind if self.grace else 0

    @property
    def copied(self) -> int:
        """Bytes of chunks that are written anew."""
        return sum(pack.used for pack in self.rewritten)

    @property
    def _behind(self) -> int:
        return _bytes((*self.condemned, *self.waiting, *self.rewritten))


def planned(
    packs: Iterable[PackState], now: datetime, grace: timedelta, max_unused: float, *, most_copied: int | None = None
) -> Sweep:
    """Decides about all packs.

    Args:
        packs: all that an index names, or that are there.
        now: the moment before the sets were listed that use them.
        grace: how long a condemned pack stays, so that whoever began to use it before is done, where its record does not say
            longer; also how old a pack has to be, so that a set that was interrupted while it was stored can be continued.
            None at all (0) removes at once.
        max_unused: percent of all chunks' bytes that may be unused in packs that are needed.
        most_copied: bytes of chunks to copy at most; None for as many as it takes.
    """
    removed, condemned, waiting, needed = [], [], [], []
    for pack in sorted(packs, key=lambda pack: pack.ref):
        if pack.needed:
            needed.append(pack)
        elif pack.condemned is not None and _may_go(pack.condemned, now, grace):
            removed.append(pack)
        elif pack.condemned is None and _is_old(pack, now, grace):
            condemned.append(pack)
        else:
            waiting.append(pack)
    movable = [pack for pack in needed if pack.stored is not None and not pack.harmed and _is_old(pack, now, grace)]
    rewritten = _emptiest(needed, movable, max_unused, most_copied)
    moved = {pack.ref for pack in rewritten}
    rescued = tuple(pack for pack in needed if pack.condemned is not None and pack.ref not in moved)
    return Sweep(grace, tuple(removed), rescued, tuple(rewritten), tuple(condemned), tuple(waiting))


def _may_go(condemned: Condemned, now: datetime, grace: timedelta) -> bool:
    """Without a grace time at once, whatever time it is: clocks go back, too."""
    return not grace or now - condemned.since >= max(grace, condemned.grace)


def _is_old(pack: PackState, now: datetime, grace: timedelta) -> bool:
    return pack.stored is None or not grace or now - pack.stored >= grace


def _emptiest(
    needed: Sequence[PackState], movable: Sequence[PackState], max_unused: float, most_copied: int | None
) -> list[PackState]:
    """The packs to rewrite until what is unused in the others is within the limit, those first that copy least for it."""
    unused = sum(pack.unused for pack in needed)
    total = unused + sum(pack.used for pack in needed)
    chosen, copied = list[PackState](), 0
    for pack in sorted(movable, key=lambda pack: (pack.used / (pack.used + pack.unused), pack.ref)):
        if not pack.unused or unused <= total * max_unused / 100:
            break
        if most_copied is not None and copied + pack.used > most_copied:
            break
        chosen.append(pack)
        copied += pack.used
        unused -= pack.unused
        total -= pack.unused
    return chosen


def _bytes(packs: Iterable[PackState]) -> int:
    return sum(pack.size for pack in packs)
