"""How much sets take by their chunks. Pure."""

from collections.abc import Iterable, Mapping

import numpy as np

from recoup.repository._base import ChunkSum
from recoup.repository.dedup.recipes import Recipe
from recoup.repository.dedup.stock import Stock
from recoup.repository.dedup.usage import Flags, Usage

Recipes = Iterable[Mapping[str, Recipe]]


def measured(stock: Stock, wanted: Recipes, without: Recipes = ()) -> ChunkSum:
    """The chunks that some sets use and others do not, each counted once wherever it lies.

    Args:
        stock: all chunks.
        wanted: recipes of the sets that use them.
        without: recipes of the others.
    """
    usage = Usage(stock)
    excluded = _named(usage, without)
    before = usage.missing
    named = _named(usage, wanted) & ~excluded
    rows = np.flatnonzero(named)
    _, first = np.unique(stock.addresses()[rows], return_index=True)
    rows = rows[first]
    size, stored = (int(stock.take(column, rows).astype(np.uint64).sum()) for column in ("length", "stored"))
    return ChunkSum(len(rows), size, stored, usage.missing - before)


def _named(usage: Usage, recipes: Recipes) -> Flags:
    """What sets name; what was added before does not count."""
    held = [usage.ranges(one) for one in recipes]
    for ranges in held:
        usage.add(ranges)
    named = usage.named()
    missing = usage.missing
    for ranges in held:
        usage.remove(ranges)
    usage.missing = missing
    return named
