"""Which rows are kept, compared with what sets of Python say."""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.repository.dedup import stock as stock_module
from recoup.repository.dedup.columns import Table, columns_of, joined
from recoup.repository.dedup.index_files import FileFacts, IndexFile, pack_table
from recoup.repository.dedup.packs import Packed, PackRef
from recoup.repository.dedup.recipes import Recipe, Span
from recoup.repository.dedup.rows import DELTA, Row, Rows
from recoup.repository.dedup.stock import Stock
from recoup.repository.dedup.usage import Usage, needs

RUNS = [bytes([n]) * 12 for n in range(1, 4)]
IDS = [bytes([n]) + bytes(31) for n in range(6)] + [bytes(8) + bytes([n]) * 24 for n in (1, 2)]

full = st.builds(
    Row,
    st.sampled_from(RUNS),
    st.integers(0, 5),
    st.sampled_from(IDS),
    st.just(9),
    st.integers(17, 60),
    st.just(0),
    st.just(()),
    st.just(()),
)
delta = st.builds(
    lambda row, bases: Row(row.run, row.number, row.id, row.length, row.stored, DELTA, tuple(bases)),
    full,
    st.lists(st.sampled_from(IDS), min_size=1, max_size=3),
)
pack = st.lists(st.one_of(full, delta), min_size=1, max_size=6)
span = st.builds(Span, st.sampled_from([b"", *RUNS, b"?" * 12]), st.integers(0, 4), st.integers(1, 5))
recipe = st.builds(lambda spans: {"s": Recipe(0, bytes(32), tuple(spans))}, st.lists(span, max_size=4))


@dataclass(frozen=True)
class Naive:
    """A row, where it lies."""

    number: int
    row: Row
    pack: int


def stock_of(files: list[list[list[Row]]]) -> tuple[Stock, list[Naive]]:
    tables: list[Table] = []
    count = 0
    for n, packs in enumerate(files):
        packed = [Packed(PackRef(b"p" * 12, count + i), 0, bytes(32), Rows.of(rows)) for i, rows in enumerate(packs)]
        count += len(packs)
        facts = FileFacts(f"{n}", bytes(32), bytes(32))
        tables.append(
            joined([columns_of(IndexFile(facts, pack_table(packed), Rows.joined([one.rows for one in packed])))])
        )
    if len(tables) > 2:
        tables = [joined(tables[:2]), *tables[2:]]
    stock = Stock(tables)
    rows = np.arange(len(stock))
    return stock, [Naive(i, place.row, int(stock.pack[i])) for i, place in enumerate(stock.places(rows))]


def _same(one: Naive) -> tuple[bytes, int, bytes]:
    return one.row.run, one.row.number, one.row.id


files_of = st.lists(st.lists(pack, min_size=1, max_size=3), max_size=4)


@settings(max_examples=60, deadline=None)
@given(files_of, st.lists(recipe, max_size=3), st.data())
def test_every_chunk_in_use_keeps_a_row_and_a_base_and_nothing_else_is_kept(
    files: list[list[list[Row]]], recipes: list[dict[str, Recipe]], data: st.DataObject
) -> None:
    stock, rows = stock_of(files)
    usage = Usage(stock)
    for one in recipes:
        usage.add(usage.ranges(one))
    rank = np.array(data.draw(st.permutations(range(len(stock.packs)))), np.int64)
    bad = np.array(sorted(data.draw(st.sets(st.sampled_from(range(len(rows)))))) if rows else [], np.int64)
    found = needs(stock, usage, rank, bad)

    wanted = {
        (span.run, number)
        for mapping in recipes
        for span in mapping["s"].spans
        if span.run
        for number in range(span.first, span.first + span.count)
    }
    there = {(a.row.run, a.row.number) for a in rows}
    named = {a.number for a in rows if (a.row.run, a.row.number) in wanted}
    assert set(np.flatnonzero(usage.named()).tolist()) == named
    assert (usage.missing > 0) == bool(wanted - there)

    kept, harmed = set(np.flatnonzero(found.kept).tolist()), set(bad.tolist())
    instead = dict(zip(found.given_up.tolist(), found.instead.tolist(), strict=True))
    assert not kept & instead.keys()
    assert set(instead.values()) <= kept - harmed
    for _, group in groupby(sorted((a for a in rows if a.number in named), key=_same), _same):
        numbers = {a.number for a in group}
        assert kept & numbers, "a chunk in use has no row"
        assert numbers - kept <= instead.keys(), "a row is given up, and none stands for it"
        if numbers - harmed:
            assert kept & (numbers - harmed), "of a chunk that is in order only damaged rows are kept"
    orphaned = set(found.orphaned.tolist())
    for a in rows:
        if a.number in kept and a.row.bases:
            bases = [{b.number for b in rows if b.row.id == base and not b.row.bases} for base in a.row.bases]
            assert all(kept & base for base in bases if base)
            assert (a.number in orphaned) == (not all(bases))
    used_ids = {rows[n].row.id for n in kept & named}
    used_bases = {base for n in kept for base in rows[n].row.bases}
    for n in kept - named:
        row = rows[n].row
        assert row.id in used_ids or (row.id in used_bases and not row.bases), "it is kept for nothing"


@settings(max_examples=25, deadline=None)
@given(files_of, st.lists(recipe, min_size=1, max_size=4))
def test_a_set_that_is_counted_no_more_leaves_the_count_of_the_others(
    files: list[list[list[Row]]], recipes: list[dict[str, Recipe]]
) -> None:
    stock, _ = stock_of(files)
    usage, others = Usage(stock), Usage(stock)
    for one in recipes:
        usage.add(usage.ranges(one))
    usage.remove(usage.ranges(recipes[0]))
    for one in recipes[1:]:
        others.add(others.ranges(one))
    assert (usage.named() == others.named()).all()
    assert usage.missing == others.missing


@pytest.mark.parametrize("missing", [0, 3])
def test_a_million_chunks_take_little_more_than_their_index(missing: int) -> None:
    import tracemalloc

    runs, count = 20, 50_000
    tables = []
    for n in range(runs):
        rows = Rows(
            (bytes([n]) * 12,),
            np.zeros(count, np.uint16),
            np.arange(count, dtype=np.uint32),
            np.random.default_rng(n).integers(0, 256, (count, 32), np.uint8),
            np.full(count, 9, np.uint32),
            np.full(count, 30, np.uint32),
            np.zeros(count, np.uint8),
            np.zeros(count + 1, np.uint32),
            np.zeros((0, 32), np.uint8),
            np.zeros(count + 1, np.uint32),
            np.zeros(0, np.uint32),
        )
        packed = [
            Packed(PackRef(bytes([n]) * 12, i), 0, bytes(32), rows[i * 1000 : i * 1000 + 1000]) for i in range(50)
        ]
        facts = FileFacts(f"{n}", bytes(32), bytes(32))
        tables.append(joined([columns_of(IndexFile(facts, pack_table(packed), rows))]))
    tracemalloc.start()
    stock = Stock(tables)
    usage = Usage(stock)
    used = usage.ranges(
        {"s": Recipe(0, bytes(32), tuple(Span(bytes([n]) * 12, 0, count - missing) for n in range(runs)))}
    )
    usage.add(used)
    found = needs(stock, usage, np.zeros(len(stock.packs), np.int64), np.zeros(0, np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert int(found.kept.sum()) == runs * (count - missing)
    assert peak < 60_000_000


def test_the_bases_of_many_chunks_are_looked_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(stock_module, "_AT_ONCE", 4096)
    half, rng, bases = 20_000, np.random.default_rng(7), 8
    ids = rng.integers(0, 256, (2 * half, 32), np.uint8)
    counts = np.repeat(np.array([0, bases]), half)
    starts = np.concatenate([np.zeros(1, np.uint32), np.cumsum(counts, dtype=np.uint32)])
    used = rng.integers(0, half // 2, half * bases)
    rows = Rows(
        (bytes(12),),
        np.zeros(2 * half, np.uint16),
        np.arange(2 * half, dtype=np.uint32),
        ids,
        np.full(2 * half, 9, np.uint32),
        np.full(2 * half, 30, np.uint32),
        np.repeat(np.array([0, 17], np.uint8), half),
        starts,
        ids[used],
        np.zeros(2 * half + 1, np.uint32),
        np.zeros(0, np.uint32),
    )
    packed = [
        Packed(PackRef(bytes(12), i), 0, bytes(32), rows[i * 1000 : i * 1000 + 1000]) for i in range(2 * half // 1000)
    ]
    table = joined([columns_of(IndexFile(FileFacts("f", bytes(32), bytes(32)), pack_table(packed), rows))])
    tracemalloc.start()
    stock = Stock([table])
    usage = Usage(stock)
    usage.add(usage.ranges({"s": Recipe(0, bytes(32), (Span(bytes(12), half, half),))}))
    found = needs(stock, usage, np.zeros(len(stock.packs), np.int64), np.zeros(0, np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(np.flatnonzero(found.kept).tolist()) == {*range(half, 2 * half), *np.unique(used).tolist()}
    assert peak < half * bases * 32  # the ids of their bases alone take that
