"""Which chunks are in use: what the recipes of sets name, and the bases of that. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recoup.repository.dedup.columns import id_words
from recoup.repository.dedup.recipes import Recipe, Span
from recoup.repository.dedup.rows import DELTA, U32
from recoup.repository.dedup.stock import Places, Stock

Flags = NDArray[np.bool_]

_AT_ONCE = 65_536  # rows of which ids are compared at once, about


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """What a set names of a stock that is sorted by address: from `begins[i]` up to, not with, `ends[i]`; no two of them meet.

    Attributes:
        begins: ascending.
        ends: ascending.
        missing: how many chunks the stock lacks.
    """

    begins: Places
    ends: Places
    missing: int


class Usage:
    """How many sets name each row of a stock.

    Args:
        stock: all chunks.

    Attributes:
        missing: how many chunks the sets name that the stock lacks.
    """

    def __init__(self, stock: Stock) -> None:
        self.missing = 0
        self._stock = stock
        address = stock.addresses()
        self._order = np.argsort(address, kind="stable").astype(np.uint32)
        self._address = address[self._order]
        self._before = np.zeros(len(stock) + 1, np.uint32)  # how many addresses there are before each row
        self._before[1:] = np.cumsum(~self._repeats(), dtype=np.uint32)
        self._steps = np.zeros(len(stock) + 1, np.int32)

    def _repeats(self) -> Flags:
        """Whether a row, in the order of addresses, has the address of the one before."""
        same = np.zeros(len(self._address), np.bool_)
        same[1:] = self._address[1:] == self._address[:-1]
        return same

    def ranges(self, recipes: Mapping[str, Recipe]) -> Ranges:
        """What a set names."""
        spans = _spans(recipes.values())
        runs = self._stock.runs
        run, first, count = (
            np.array([(runs.get(span.run, -1), span.first, span.count) for span in spans], np.int64).reshape(-1, 3).T
        )
        known = run >= 0
        missing = int(count[~known].sum())
        lowest = run[known].astype(np.uint64) << np.uint64(32) | first[known].astype(np.uint64)
        begins = np.searchsorted(self._address, lowest, "left")
        ends = np.searchsorted(self._address, lowest + (count[known] - 1).astype(np.uint64), "right")
        found = self._before[ends].astype(np.int64) - self._before[begins]
        return Ranges(*_merged(begins, ends), missing + int((count[known] - found).sum()))

    def add(self, ranges: Ranges) -> None:
        """Counts a set."""
        self.missing += ranges.missing
        self._steps[ranges.begins] += 1
        self._steps[ranges.ends] -= 1

    def remove(self, ranges: Ranges) -> None:
        """Counts a set no more."""
        self.missing -= ranges.missing
        self._steps[ranges.begins] -= 1
        self._steps[ranges.ends] += 1

    def named(self) -> Flags:
        """Whether a set names each row."""
        named = np.zeros(len(self._stock), np.bool_)
        named[self._order[np.cumsum(self._steps[:-1], dtype=np.int32) > 0]] = True
        return named

    def twins(self, named: Flags) -> tuple[Places, U32]:
        """The rows in use whose address others have, too; and groups of one address, numbered."""
        same = self._repeats()
        same[:-1] |= same[1:]
        places = np.flatnonzero(same)
        rows = self._order[places].astype(np.int64)
        used = named[rows]
        return rows[used], self._before[places[used] + 1]


def _spans(recipes: Iterable[Recipe]) -> set[Span]:
    return {span for recipe in recipes for span in recipe.spans if span.run}


def _merged(begins: Places, ends: Places) -> tuple[Places, Places]:
    """Ranges that overlap as one, so that a set that has a chunk twice counts once."""
    held = ends > begins
    order = np.argsort(begins[held], kind="stable")
    begins, ends = begins[held][order], np.maximum.accumulate(ends[held][order])
    if not len(begins):
        return begins, ends
    fresh = np.flatnonzero(np.append(True, begins[1:] > ends[:-1]))
    return begins[fresh], ends[np.append(fresh[1:] - 1, len(ends) - 1)]


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """Which rows have to stay.

    Attributes:
        kept: for each row, whether it has to.
        given_up: rows of chunks in use for which another row stands.
        instead: for each of these, that row.
        orphaned: rows in use that are stored against a chunk which no row has.
    """

    kept: Flags
    given_up: Places
    instead: Places
    orphaned: Places


def needs(stock: Stock, usage: Usage, rank: NDArray[np.integer[Any]], bad: Places) -> Needs:
    """Chooses a row for each chunk in use, and for each base of one.

    Whoever wrote an index may have lied: rows are taken for the same chunk only when address and id agree, bases when the id
    does; and whoever removes a row that was given up reads the one that stands for it first.

    Args:
        stock: all chunks.
        usage: what sets name of them.
        rank: for each pack of the stock: of several rows the one stays whose pack has the lowest.
        bad: rows that are known to be damaged. Where no other is, they stay, and so do all rows of the same id.
    """
    kept = usage.named()
    worst = np.zeros(len(stock), np.bool_)
    worst[bad] = True
    twins = [
        _but_best(rows, (address, *id_words(stock.ids(rows)).T), _ranked(stock, rows, rank, worst), worst)
        for rows, address in _divided(*usage.twins(kept))
    ]
    for others, _ in twins:
        kept[others] = False
    _keep_healthy(stock, kept, bad)
    bases, orphaned = _bases(stock, kept, rank, worst)
    given_up, instead = (np.concatenate(several) for several in zip(*twins, bases, strict=True))
    matters = ~kept[given_up] & ~_same_place(stock, given_up, instead)
    return Needs(kept, given_up[matters], instead[matters], orphaned)


def _divided(rows: Places, group: U32) -> Iterator[tuple[Places, U32]]:
    """Pieces of rows, and of their groups, of which none is cut."""
    begin = 0
    while begin < len(rows):
        end = int(np.searchsorted(group, group[min(begin + _AT_ONCE, len(rows)) - 1], "right"))
        yield rows[begin:end], group[begin:end]
        begin = end


def _ranked(stock: Stock, rows: Places, rank: NDArray[Any], worst: Flags) -> NDArray[np.int64]:
    return rank[stock.pack[rows]].astype(np.int64) + np.where(worst[rows], len(stock.packs), 0)


def _but_best(
    rows: Places, keys: Sequence[NDArray[Any]], rank: NDArray[np.int64], worst: Flags
) -> tuple[Places, Places]:
    """Groups rows whose keys are equal. All but the one of the lowest rank, and for each that one; none where that one is bad."""
    order = np.lexsort((rank, *reversed(keys)))
    if not len(rows):
        return rows, rows
    differs = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    fresh = np.append(True, differs)
    best = order[np.maximum.accumulate(np.where(fresh, np.arange(len(rows)), 0))]
    others, instead = rows[order[~fresh]], rows[best[~fresh]]
    return others[~worst[instead]], instead[~worst[instead]]


def _keep_healthy(stock: Stock, kept: Flags, bad: Places) -> None:
    """Keeps other rows of the chunks whose row in use is damaged: whoever reads looks for them by the id."""
    harmed = bad[kept[bad]]
    _, rows = stock.with_ids(id_words(stock.ids(harmed)))
    kept[rows] = True


def _same_place(stock: Stock, one: Places, other: Places) -> Flags:
    """Whether two rows are one place, which two index files name."""
    same: Flags = (stock.pack[one] == stock.pack[other]) & (stock.take("offset", one) == stock.take("offset", other))
    return same


def _bases(stock: Stock, kept: Flags, rank: NDArray[Any], worst: Flags) -> tuple[tuple[Places, Places], Places]:
    """Keeps the bases of what is kept. What `_but_best` says of them, and the rows whose base is gone."""
    full = stock.column("encoding") != DELTA
    wanted, orphaned = np.zeros(len(stock), np.bool_), [np.zeros(0, np.int64)]
    for owners, ids in stock.bases(np.flatnonzero(kept & ~full)):
        base, rows = stock.with_ids(id_words(ids))
        there = np.zeros(len(ids), np.bool_)
        there[base[full[rows]]] = True
        wanted[rows[full[rows]]] = True
        orphaned.append(np.unique(owners[~there]))
    rows = stock.alike(np.flatnonzero(wanted))
    fresh = np.where(kept[rows] & ~worst[rows], 0, 2 * len(stock.packs))  # a row that stays anyway is best
    ranks = _ranked(stock, rows, rank, worst) + fresh
    others, best = _but_best(rows, tuple(id_words(stock.ids(rows)).T), ranks, worst)
    wanted[others] = False
    kept |= wanted
    return (others, best), np.unique(np.concatenate(orphaned))
