"""`stats` for people, with a chart of the growth. Pure, fit for 80 columns."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from recoup.model.figures import counted, size
from recoup.model.names import shown
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from recoup.operations.stats import RepositoryStats, SetStats

_ROWS = 20  # bars of the chart, unless every set is wanted
_WIDTH = 80


def lines(stats: "RepositoryStats", *, every: bool = False, plain: bool = False) -> Iterator[str]:
    """Sums, and the chart.

    Args:
        stats: what was found.
        every: a bar for each set.
        plain: draw with characters that every terminal has.
    """
    yield f"{shown(stats.repository)} ({shown(stats.location)}): {counted(len(stats.sets), 'set')}"
    yield f"  the sets hold          {size(stats.logical_bytes):>10}"
    if stats.unique_bytes is not None:
        yield f"  different chunks hold  {size(stats.unique_bytes):>10}  in {counted(stats.chunks or 0, 'chunk')}"
        yield f"  and take               {size(stats.unique_stored_bytes):>10}"
    ratio = f"  the sets hold {stats.ratio:,.1f} times as much" if stats.ratio else ""
    yield f"  in the repository lie  {size(stats.stored_bytes):>10}{ratio}"
    yield from (f"  ! {shown(one)}" for one in stats.unread)
    if stats.problem:
        yield f"  ! {shown(stats.problem)}"
    if stats.sets:
        yield ""
        yield from chart(stats.sets, len(stats.sets) if every else _ROWS, plain=plain)


class _Bar(Struct):
    label: str
    before: int
    added: int


def chart(sets: "Sequence[SetStats]", rows: int, *, plain: bool = False) -> Iterator[str]:
    """How what sets added grew: a bar for each set, or for each few; its end is what was added last.

    Args:
        sets: oldest first.
        rows: bars at most.
        plain: draw with characters that every terminal has.
    """
    solid, fresh = ("#", "+") if plain else ("█", "▓")
    bars = _bars(sets, rows)
    total = bars[-1].before + bars[-1].added
    each = "" if len(bars) == len(sets) else f", {counted(-(-len(sets) // len(bars)), 'set')} a line"
    yield f"  What sets added, one upon the other{each}:"
    labels = max(len(bar.label) for bar in bars)
    room = _WIDTH - labels - 18
    for bar in bars:
        end = _scaled(bar.before + bar.added, total, room)
        begin = min(_scaled(bar.before, total, room), end - 1 if bar.added and end else end)
        drawn = solid * begin + fresh * (end - begin)
        yield f"  {bar.label:{labels}}  {'+' + size(bar.added):>11}  {drawn}".rstrip()


def _bars(sets: "Sequence[SetStats]", rows: int) -> list[_Bar]:
    several = -(-len(sets) // rows)
    bars, before = list[_Bar](), 0
    for begin in range(0, len(sets), several):
        group = sets[begin : begin + several]
        added = sum(one.added_bytes for one in group)
        bars.append(_Bar(f"{group[-1].started:%Y-%m-%d %H:%M}", before, added))
        before += added
    return bars


def _scaled(count: int, total: int, room: int) -> int:
    """How long a bar is: at least one for anything."""
    return 0 if not count else max(1, round(count / total * room))
