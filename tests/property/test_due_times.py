"""When a job is due, for any expression, zone and moment."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import ConfigError
from recoup.scheduler.cron import Cron, Interval, Later, Times, checked, jitter, passed

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu")
MINUTE = timedelta(minutes=1)

moments = st.datetimes(datetime(2023, 1, 1), datetime(2030, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))  # noqa: DTZ001
zones = st.sampled_from(ZONES).map(ZoneInfo)
minutes = st.one_of(st.integers(0, 59).map(str), st.sampled_from(("*", "*/15", "5,50", "10-12")))
hours = st.one_of(st.integers(0, 23).map(str), st.sampled_from(("*", "*/6", "2,3", "1-4")))
days = st.one_of(st.just("*"), st.integers(1, 31).map(str))
weekdays = st.one_of(st.just("*"), st.integers(0, 7).map(str), st.just("1-5"))
expressions = st.tuples(minutes, hours, days, st.just("*"), weekdays).map(" ".join)
intervals = st.builds(Interval, st.timedeltas(MINUTE, timedelta(days=400)), moments)


def fits(expression: str, moment: datetime) -> bool:
    """Whether an expression of `expressions` names a minute of UTC, worked out in another way."""
    minute, hour, day, _, weekday = expression.split()
    by_day, by_weekday = (
        _names(day, moment.day),
        _names(weekday, moment.isoweekday() % 7) or _names(weekday, moment.isoweekday()),
    )
    both = day == "*" or weekday == "*"
    return (
        _names(minute, moment.minute)
        and _names(hour, moment.hour)
        and (by_day and by_weekday if both else by_day or by_weekday)
    )


def _names(field: str, number: int) -> bool:
    if field.startswith("*/"):
        return number % int(field[2:]) == 0
    if "-" in field:
        low, high = map(int, field.split("-"))
        return low <= number <= high
    return field == "*" or number in map(int, field.split(","))


@given(expressions, moments)
def test_a_job_is_due_at_the_first_minute_that_its_expression_names(expression: str, moment: datetime) -> None:
    found = Cron(expression, UTC).after(moment)
    minute = moment.replace(second=0, microsecond=0) + MINUTE
    for _ in range(2 * 24 * 60):
        if fits(expression, minute):
            assert found == minute
            return
        minute += MINUTE
    assert found is not None
    assert found >= minute
    assert fits(expression, found)


@given(expressions, zones, moments)
def test_times_of_any_zone_only_go_forward(expression: str, zone: ZoneInfo, moment: datetime) -> None:
    times = Cron(expression, zone)
    for _ in range(6):
        later = times.after(moment)
        assert later is not None
        assert later > moment
        moment = later


@pytest.mark.parametrize("zone", ZONES)
@given(hour=st.integers(0, 23), minute=st.integers(0, 59), year=st.sampled_from((2026, 2028)))
@settings(max_examples=8)
def test_a_daily_job_runs_once_on_every_day_of_a_year_also_when_clocks_change(
    zone: str, hour: int, minute: int, year: int
) -> None:
    here = ZoneInfo(zone)
    times = Cron(f"{minute} {hour} * * *", here)
    due = datetime(year, 1, 1, tzinfo=here).astimezone(UTC) - timedelta(seconds=1)
    seen: list[date] = []
    while (due := times.after(due) or due).astimezone(here).year == year:
        seen.append(due.astimezone(here).date())
    first = date(year, 1, 1)
    assert seen == [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]


times_of_all_kinds = st.one_of(
    intervals,
    st.builds(Cron, expressions, zones),
    st.builds(Later, st.builds(Cron, expressions, zones), st.timedeltas(MINUTE, timedelta(hours=30))),
)


@given(times_of_all_kinds, moments)
def test_the_last_time_is_the_one_behind_which_none_is_passed(times: Times, moment: datetime) -> None:
    last = times.until(moment)
    if last is not None:
        assert last <= moment
        following = times.after(last)
        assert following is not None
        assert following > moment


@given(times_of_all_kinds, moments, st.timedeltas(timedelta(0), timedelta(hours=5)))
def test_the_times_that_passed_are_those_between_two_moments(times: Times, since: datetime, span: timedelta) -> None:
    newest, count = passed(times, since, since + span)
    found = []
    due = times.after(since)
    while due is not None and due <= since + span:
        found.append(due)
        due = times.after(due)
    assert (newest, count) == (found[-1] if found else None, len(found))


@given(intervals, moments)
def test_a_job_with_an_interval_does_not_drift(times: Interval, moment: datetime) -> None:
    due = times.after(moment)
    assert due is not None
    assert (due - times.anchor) % times.every == timedelta(0)
    assert due == times.anchor or moment < due <= moment + times.every


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.text(), st.text())
def test_jitter_stays_within_its_limit_and_is_the_same_each_time(longest: timedelta, host: str, job: str) -> None:
    found = jitter(longest, host, "shop", job)
    assert timedelta(0) <= found <= longest
    assert found == jitter(longest, host, "shop", job)


def test_jitter_spreads_machines() -> None:
    longest = timedelta(minutes=10)
    assert len({jitter(longest, f"host-{n}", "shop", "backup") for n in range(100)}) > 60


def test_very_many_missed_times_are_not_counted_to_the_end() -> None:
    every_minute = Cron("* * * * *", ZoneInfo("Europe/Berlin"))
    now = datetime(2026, 11, 21, 17, 30, 20, tzinfo=UTC)
    assert passed(every_minute, now - timedelta(days=3650), now) == (now.replace(second=0), 1000)


@given(st.text(alphabet="0123456789*/-,@ LMON", max_size=20))
def test_what_is_taken_for_an_expression_has_a_next_time(text: str) -> None:
    try:
        expression = checked(text)
    except ConfigError:
        return
    assert Cron(expression, UTC).after(datetime(2026, 1, 1, tzinfo=UTC)) is not None
