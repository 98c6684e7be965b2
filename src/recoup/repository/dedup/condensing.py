"""Fewer history records: those whose packs are long gone become one (`docs/format.md`, Damage and removal). Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from recoup.repository.dedup.history import Record, condemned_since
from recoup.repository.dedup.packs import PackRef

MANY = 64
"""Records that are left as they are: without a cache each costs a request."""

_FULL = (
    50_000  # names that a record has at most which another one may stand for: it would become longer than any may be
)
_MOST = 100_000  # names of all of these


def condensed(records: Sequence[Record], present: Collection[PackRef]) -> tuple[Record, Sequence[Record]] | None:
    """One record, and those that it stands for; None where there are few of them.

    What is condemned stays in the record that says since when, as long as the pack is there or an index names it.

    Args:
        records: all, the oldest first.
        present: packs that are there, or that an index names.
    """
    condemned = condemned_since(records)
    waiting = {ref for ref in condemned if ref in present}
    settled = list(_together(record for record in records if waiting.isdisjoint(record.condemned)))
    if len(settled) <= MANY:
        return None
    rescued = {ref for record in settled for ref in record.rescued}
    removed = {ref for record in settled for ref in record.removed_packs}
    record = Record(
        settled[-1].time,
        rescued=tuple(sorted(ref for ref in rescued if ref in present and ref not in condemned)),
        removed_packs=tuple(sorted(ref for ref in removed if ref in present)),
        removed_index=_names(record.removed_index for record in settled),
        removed_sets=_names(record.removed_sets for record in settled),
        removed_history=_names((record.name, *record.removed_history) for record in settled),
    )
    return record, settled


def _together(records: Iterable[Record]) -> Iterator[Record]:
    """Those of which one record can tell."""
    total = 0
    for record in records:
        lists = (
            record.rescued,
            record.removed_packs,
            record.removed_index,
            record.removed_sets,
            record.removed_history,
        )
        count = sum(map(len, lists))
        if count < _FULL and total + count < _MOST:
            total += count
            yield record


def _names(several: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({name for names in several for name in names}))
