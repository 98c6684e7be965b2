"""By how much a repository grows: pure arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.names import SetName
from recoup.operations._growth import Stored, growth
from recoup.retention import Group, Rules

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WHOLE = Group("shop", ("chat",))


def daily(*sizes: int, group: Group = WHOLE) -> list[Stored]:
    return [Stored(SetName(NOW - DAY * (len(sizes) - n)), group, size) for n, size in enumerate(sizes, 1)]


def test_without_prune_a_repository_grows_by_what_comes() -> None:
    assert growth(daily(100, 100, 100), None, NOW) == pytest.approx(100)
    assert growth(daily(100, 100, 100), Rules(), NOW) == pytest.approx(100)


def test_sets_that_grow_are_taken_to_go_on_growing() -> None:
    found = growth(daily(*range(100, 200, 10)), None, NOW)
    assert found is not None
    assert found > 190


def test_where_rules_let_as_much_go_as_comes_nothing_grows() -> None:
    assert growth(daily(*[100] * 7), Rules(last=7), NOW) == pytest.approx(0)
    assert growth(daily(*[100] * 7), Rules(daily=7), NOW) == pytest.approx(0)


def test_until_the_rules_are_full_it_grows_up_to_them() -> None:
    found = growth(daily(*[100] * 5), Rules(daily=20), NOW)
    assert found == pytest.approx(1500 / 30)


def test_with_old_sets_that_prune_will_remove_it_shrinks() -> None:
    found = growth(daily(*[100] * 20), Rules(last=5), NOW)
    assert found is not None
    assert found < 0


def test_groups_come_in_their_own_rhythms() -> None:
    other = [Stored(SetName(NOW - 2 * DAY * n, 2), Group("shop", ("logs",)), 50) for n in range(1, 5)]
    assert growth([*daily(100, 100, 100), *other], None, NOW) == pytest.approx(125)


@pytest.mark.parametrize("sets", [[], daily(100), daily(100, 100)])
def test_one_or_two_sets_are_no_rhythm(sets: list[Stored]) -> None:
    assert growth(sets, None, NOW) is None


def test_tries_within_hours_and_sets_of_the_future_are_no_rhythm() -> None:
    assert growth([Stored(SetName(NOW, n), WHOLE, 1) for n in range(1, 5)], None, NOW) is None
    assert growth([Stored(SetName(NOW - HOUR * n), WHOLE, 1) for n in range(1, 15)], None, NOW) is None
    assert growth([Stored(SetName(NOW + DAY * n), WHOLE, 1) for n in range(1, 5)], None, NOW) is None


def test_sets_of_each_hour_are_looked_at_for_a_day_and_bursts_do_not_look_like_a_pace() -> None:
    hourly = [Stored(SetName(NOW - HOUR * n), WHOLE, 100) for n in range(30)]
    assert growth(hourly, None, NOW) == pytest.approx(2400)
    burst = [Stored(SetName(NOW - DAY * day, n), WHOLE, 100) for day in range(3) for n in range(1, 4)]
    found = growth(burst, None, NOW)
    assert found is not None
    assert found < 500


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=30), st.integers(1, 10), st.integers(1, 10**6))
def test_a_pace_of_any_speed_is_answered_with_bounded_work(sizes: list[int], last: int, seconds: int) -> None:
    sets = [Stored(SetName(NOW - timedelta(seconds=seconds) * n), WHOLE, size) for n, size in enumerate(sizes)]
    found = growth(sets, Rules(last=last), NOW)
    assert (found is None) == (seconds * (len(sizes) - 1) < 20 * 3600)
