"""Which sets go when space is needed at once: first those that no rule keeps, then the oldest that only rules keep.

What stays whatever happens: each group's newest good sets, each source's newest good copy, pinned and damaged sets, and sets that
are not good while nothing newer is.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime

from recoup.model.names import SetName
from recoup.retention import Candidate, Rules, Verdict, judge

_NOT_NEEDED = "not needed for the space"


def freeing(
    candidates: Sequence[Candidate],
    rules: Rules,
    now: datetime,
    wanted: int,
    is_locked: Callable[[SetName], bool],
    alone: Callable[[Sequence[SetName]], int] | None = None,
) -> list[Verdict]:
    """Verdicts by which sets go until they take as many bytes as are wanted, and no more of them; oldest set first.

    Args:
        candidates: all sets.
        rules: what to keep.
        now: the present moment.
        wanted: bytes.
        is_locked: whether the storage refuses to give a set up.
        alone: what some sets use that no others do, in bytes; None where each takes what its manifest says.
    """
    verdicts = judge(candidates, rules, now)
    harshest = Rules(last=1, min=rules.min, time_zone=rules.time_zone)
    spared = {verdict.candidate.name for verdict in judge(candidates, harshest, now) if verdict.keep}
    order = sorted((v for v in verdicts if v.candidate.name not in spared), key=lambda v: (v.keep, v.candidate.name))
    names = [verdict.candidate for verdict in order]
    going = _by_size(names, wanted, is_locked) if alone is None else _shared(names, wanted, is_locked, alone)
    return [_final(verdict, goes=verdict.candidate.name in going) for verdict in verdicts]


def _by_size(order: Sequence[Candidate], wanted: int, is_locked: Callable[[SetName], bool]) -> set[SetName]:
    going, freed = set[SetName](), 0
    for candidate in order:
        if freed >= wanted:
            break
        if candidate.stored_bytes and not is_locked(candidate.name):
            going.add(candidate.name)
            freed += candidate.stored_bytes
    return going


def _shared(
    order: Sequence[Candidate],
    wanted: int,
    is_locked: Callable[[SetName], bool],
    alone: Callable[[Sequence[SetName]], int],
) -> set[SetName]:
    """The fewest of the first ones; what they use alone only grows with their number."""
    names = [candidate.name for candidate in order if not is_locked(candidate.name)] if wanted > 0 else []
    count = bisect_left(range(len(names)), wanted, key=lambda n: alone(names[:n]))
    return set(names[:count])


def _final(verdict: Verdict, *, goes: bool) -> Verdict:
    if goes:
        return Verdict(verdict.candidate, keep=False, reasons=("space is needed",) if verdict.keep else verdict.reasons)
    return verdict if verdict.keep else Verdict(verdict.candidate, keep=True, reasons=(_NOT_NEEDED,))
