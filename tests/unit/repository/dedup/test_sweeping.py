from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.repository.dedup.history import Condemned
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.sweeping import PackState, Sweep, planned

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAY, NONE = timedelta(days=1), timedelta()
OLD = NOW - 9 * DAY


def pack(
    number: int, used: int, unused: int, stored: datetime | None = OLD, condemned: timedelta | None = None
) -> PackState:
    since = None if condemned is None else Condemned(NOW - condemned, DAY)
    return PackState(PackRef(bytes(12), number), used + unused, used, unused, stored, since, needed=used > 0)


def numbers(packs: tuple[PackState, ...]) -> list[int]:
    return [one.ref.number for one in packs]


def swept(*packs: PackState, grace: timedelta = DAY, max_unused: float = 100.0) -> Sweep:
    return planned(packs, NOW, grace, max_unused)


@pytest.mark.parametrize(
    ("ago", "grace", "goes"),
    [(DAY, DAY, True), (DAY / 2, DAY, False), (2 * DAY, 3 * DAY, False), (DAY / 2, DAY / 4, False), (NONE, NONE, True)],
    ids=["after it", "before it", "this prune waits longer", "the record waits longer", "at once"],
)
def test_a_condemned_pack_goes_after_the_longer_grace_time(ago: timedelta, grace: timedelta, goes: bool) -> None:
    plan = swept(pack(1, 0, 50, condemned=ago), grace=grace)
    assert (numbers(plan.removed), numbers(plan.waiting)) == (([1], []) if goes else ([], [1]))


def test_what_is_needed_is_rescued_and_what_is_not_is_condemned_when_it_is_old() -> None:
    plan = swept(pack(1, 5, 5, condemned=2 * DAY), pack(2, 0, 9), pack(3, 0, 9, NOW - DAY / 2), pack(4, 0, 9, None))
    assert numbers(plan.rescued) == [1]
    assert numbers(plan.condemned) == [2, 4]
    assert numbers(plan.waiting) == [3]
    assert (plan.freed_now, plan.freed_later) == (0, 27)


def test_a_clock_that_went_back_removes_and_condemns_nothing() -> None:
    plan = swept(pack(1, 0, 5, condemned=-DAY), pack(2, 0, 9, NOW + DAY))
    assert numbers(plan.waiting) == [1, 2]


def test_a_rewritten_pack_is_not_rescued() -> None:
    plan = swept(pack(1, 1, 99, condemned=2 * DAY), pack(2, 50, 0), max_unused=10.0)
    assert (numbers(plan.rewritten), plan.rescued, plan.copied) == ([1], (), 1)


@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(0, 99), st.booleans()), max_size=12),
    st.floats(0, 100),
)
def test_packs_are_rewritten_only_while_too_much_is_unused(
    sizes: list[tuple[int, int, bool]], max_unused: float
) -> None:
    packs = [pack(n, used, unused, OLD if old else NOW) for n, (used, unused, old) in enumerate(sizes)]
    plan = swept(*packs, max_unused=max_unused)
    rest = [one for one in packs if one not in plan.rewritten]
    unused, total = sum(one.unused for one in rest), sum(one.used + one.unused for one in packs) or 1
    movable = [one for one in rest if one.unused and one.stored == OLD]
    left = total - sum(one.unused for one in plan.rewritten)
    assert unused <= left * max_unused / 100 or not movable
    assert all(one.stored == OLD for one in plan.rewritten), "an interrupted set goes on with the younger ones"
    if plan.rewritten:
        last = plan.rewritten[-1]
        assert unused + last.unused > (left + last.unused) * max_unused / 100, "one fewer would have done"
        assert all(one.used / one.size >= last.used / last.size for one in movable), "the emptiest come first"


def test_a_pack_with_a_damaged_chunk_in_use_is_not_rewritten() -> None:
    harmed = PackState(PackRef(bytes(12), 1), 100, 1, 99, OLD, needed=True, harmed=True)
    assert swept(harmed, max_unused=0.0).rewritten == ()


def test_where_room_is_needed_at_once_no_more_is_copied_than_fits() -> None:
    packs = [pack(n, 10, 90) for n in range(5)]
    assert [len(planned(packs, NOW, NONE, 0.0, most_copied=n).rewritten) for n in (0, 9, 10, 25)] == [0, 0, 1, 2]
