"""What stays, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoup.errors import UsageError
from recoup.model.names import SetName
from recoup.retention import NO_RULES, Candidate, Duration, Group, Rules, Verdict, judge, rules

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ALL = Group("docmind", ("cache", "vectors"))
VECTORS = Group("docmind", ("vectors",))
OTHER = Group("citadel", ("vectors",))
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
SPANS = ("within", *(f"within_{name}" for name in COUNTS[1:]))


def candidate(days: float, group: Group = ALL, flaw: str = "", **more: Any) -> Candidate:
    """A set of some days ago that holds what it was asked for, unless it is flawed."""
    held = frozenset() if flaw else frozenset(group.sources)
    return Candidate(SetName.at(NOW - timedelta(days=days)), group, flaw, **{"holdings": held, **more})


def removed(verdicts: tuple[Verdict, ...]) -> set[SetName]:
    return {verdict.candidate.name for verdict in verdicts if not verdict.keep}


def kept_days(verdicts: tuple[Verdict, ...]) -> list[float]:
    return sorted((NOW - v.candidate.name.time) / timedelta(days=1) for v in verdicts if v.keep)


def reasons_of(verdicts: tuple[Verdict, ...], days: float) -> tuple[str, ...]:
    (found,) = (v.reasons for v in verdicts if v.candidate.name.time == NOW - timedelta(days=days))
    return found


def changed(keep: Rules, **values: Any) -> Rules:
    return replace(keep, **values)


# --- any sets, any rules --------------------------------------------------------------------------------------------

counts = st.none() | st.integers(-1, 12)
durations = st.none() | st.builds(
    Duration, st.integers(0, 3), st.integers(0, 30), st.integers(0, 90), st.integers(0, 90)
)
any_rules = st.builds(
    Rules,
    **dict.fromkeys(COUNTS, counts),
    **dict.fromkeys(SPANS, durations),
    tags=st.sampled_from([(), ("kind=release",), ("kind",), ("kind=release,by=ann", "by=bob")]),
    min=st.integers(1, 4),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Auckland", "+05:30"]),
)


fewer = settings(max_examples=50, deadline=None)
"""Whole repositories take long to draw."""


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    seconds = draw(st.sets(st.integers(0, 5 * 365 * 86400), max_size=15))
    near = draw(st.sets(st.integers(0, 3 * 86400), max_size=10))
    found = []
    for age in sorted(seconds | near):
        group = draw(st.sampled_from([ALL, VECTORS, OTHER]))
        flaw = draw(st.sampled_from(["", "", "incomplete", "suspicious"]))
        held = group.sources if not flaw else draw(st.sets(st.sampled_from(group.sources)))
        found.append(
            Candidate(
                SetName(NOW - timedelta(seconds=age), draw(st.integers(1, 2))),
                group,
                flaw,
                frozenset(held),
                pinned=draw(st.integers(0, 9)) == 0,
                tags=draw(
                    st.sampled_from([{}, {}, {"kind": "release"}, {"kind": "release", "by": "ann"}, {"by": "bob"}])
                ),
                spared=draw(st.sampled_from(["", "", "", "outside the filter"])),
            )
        )
    return found


@fewer
@given(candidates(), any_rules, st.randoms())
def test_the_order_of_the_sets_does_not_matter(sets: list[Candidate], keep: Rules, random: Any) -> None:
    shuffled = random.sample(sets, len(sets))
    assert judge(shuffled, keep, NOW) == judge(sets, keep, NOW)


@fewer
@given(candidates(), any_rules)
def test_every_set_gets_one_verdict_with_a_reason_oldest_first(sets: list[Candidate], keep: Rules) -> None:
    verdicts = judge(sets, keep, NOW)
    assert [v.candidate.name for v in verdicts] == sorted(c.name for c in sets)
    assert all(v.reasons and all(v.reasons) for v in verdicts)


@fewer
@given(candidates(), any_rules)
def test_pruning_twice_changes_nothing(sets: list[Candidate], keep: Rules) -> None:
    survivors = [v.candidate for v in judge(sets, keep, NOW) if v.keep]
    assert not removed(judge(survivors, keep, NOW + timedelta(hours=1)))


@fewer
@given(candidates(), any_rules, st.sampled_from(COUNTS), st.integers(1, 5))
def test_a_higher_count_never_removes_more(sets: list[Candidate], keep: Rules, name: str, more: int) -> None:
    count = getattr(keep, name)
    if not keep or count == -1:
        return
    gone = removed(judge(sets, keep, NOW))
    assert removed(judge(sets, changed(keep, **{name: (count or 0) + more}), NOW)) <= gone
    assert removed(judge(sets, changed(keep, **{name: -1}), NOW)) <= gone


@fewer
@given(candidates(), any_rules, st.sampled_from(SPANS), st.integers(1, 400), st.integers(0, 50))
def test_a_longer_time_never_removes_more(sets: list[Candidate], keep: Rules, name: str, days: int, hours: int) -> None:
    if not keep:
        return
    length = getattr(keep, name) or Duration()
    longer = replace(length, days=length.days + days, hours=length.hours + hours)
    assert removed(judge(sets, changed(keep, **{name: longer}), NOW)) <= removed(judge(sets, keep, NOW))


@fewer
@given(candidates(), any_rules, st.integers(1, 9))
def test_a_higher_floor_never_removes_more(sets: list[Candidate], keep: Rules, more: int) -> None:
    assert removed(judge(sets, replace(keep, min=keep.min + more), NOW)) <= removed(judge(sets, keep, NOW))


@pytest.mark.requirement("DM-8")
@fewer
@given(candidates(), any_rules)
def test_what_has_to_stay_stays_whatever_the_rules_say(sets: list[Candidate], keep: Rules) -> None:
    gone = removed(judge(sets, keep, NOW))
    good = [c for c in sets if not c.flaw]
    for group in (ALL, VECTORS, OTHER):
        judged = sorted(c.name for c in good if c.group == group and not c.spared)
        assert not gone & set(judged[-keep.min :])
    for stack in ("docmind", "citadel"):
        for source in ("cache", "vectors"):
            held = [c.name for c in sets if c.group.stack == stack and source in c.holdings]
            assert not held or max(held) not in gone
    assert not gone & {c.name for c in sets if c.pinned or c.spared}


@fewer
@given(candidates(), any_rules, st.integers(0, 59))
def test_sets_that_are_not_good_change_nothing_for_good_ones(sets: list[Candidate], keep: Rules, place: int) -> None:
    if not sets:
        return
    flawed = sets[place % len(sets)]
    plain = replace(flawed, flaw="incomplete", holdings=frozenset(), pinned=False, tags={}, spared="")
    others = [c for c in sets if c is not flawed]
    assert removed(judge([*others, plain], keep, NOW)) - {plain.name} == removed(judge(others, keep, NOW))


@fewer
@given(candidates(), any_rules, st.integers(1, 10**6))
def test_a_set_from_the_future_stops_everything(sets: list[Candidate], keep: Rules, seconds: int) -> None:
    future = Candidate(SetName(NOW + timedelta(seconds=seconds)), OTHER, "incomplete")
    verdicts = judge([*sets, future], keep, NOW)
    assert not removed(verdicts)
    assert all("from the future" in reason for verdict in verdicts for reason in verdict.reasons)


@fewer
@given(candidates())
def test_without_rules_everything_is_kept(sets: list[Candidate]) -> None:
    for empty in (Rules(), Rules(min=3), Rules(last=0, within=Duration())):
        verdicts = judge(sets, empty, NOW)
        assert all(v.keep and v.reasons == (NO_RULES,) for v in verdicts)


# --- single cases ---------------------------------------------------------------------------------------------------


def test_last_keeps_the_newest_ones_and_says_so() -> None:
    verdicts = judge([candidate(days) for days in (0, 1, 2, 3)], Rules(last=2), NOW)
    assert kept_days(verdicts) == [0, 1]
    assert reasons_of(verdicts, 1) == ("last",)
    assert reasons_of(verdicts, 2) == ("no rule keeps it",)
    assert "newest complete" in reasons_of(verdicts, 0)


def test_groups_are_counted_apart() -> None:
    hourly = [candidate(hours / 24, VECTORS) for hours in range(0, 48, 6)]
    daily = [candidate(days + 0.01) for days in range(5)]
    verdicts = judge([*hourly, *daily, candidate(100, OTHER)], Rules(last=3), NOW)
    kept = [v.candidate.group for v in verdicts if v.keep]
    assert (kept.count(VECTORS), kept.count(ALL), kept.count(OTHER)) == (3, 3, 1)


def test_incomplete_sets_are_not_counted_and_go_once_a_complete_one_is_newer() -> None:
    sets = [candidate(0, flaw="incomplete"), candidate(1), candidate(2, flaw="incomplete"), candidate(3), candidate(4)]
    verdicts = judge(sets, Rules(last=2), NOW)
    assert kept_days(verdicts) == [0, 1, 3]
    assert reasons_of(verdicts, 0) == ("incomplete, but nothing newer is complete",)
    assert reasons_of(verdicts, 2) == ("incomplete, and backup_20261120_120000 after it is complete",)


def test_a_complete_set_of_another_group_does_not_replace_an_incomplete_one() -> None:
    verdicts = judge([candidate(0, VECTORS), candidate(1, flaw="incomplete")], Rules(last=1), NOW)
    assert kept_days(verdicts) == [0, 1]


def test_the_newest_copy_of_a_source_stays_even_in_an_incomplete_set() -> None:
    half = candidate(5, flaw="incomplete", holdings=frozenset({"cache"}))
    chat = candidate(6, flaw="incomplete", holdings=frozenset({"chat"}))
    older = candidate(9, flaw="incomplete", holdings=frozenset({"chat"}))
    verdicts = judge([candidate(0), half, chat, older], Rules(last=1), NOW)
    assert kept_days(verdicts) == [0, 6]
    assert reasons_of(verdicts, 6) == ("newest copy of chat",)


def test_a_pinned_set_stays() -> None:
    verdicts = judge([candidate(0), candidate(1, flaw="incomplete", pinned=True), candidate(2)], Rules(last=1), NOW)
    assert kept_days(verdicts) == [0, 1]
    assert reasons_of(verdicts, 1) == ("pinned",)


def test_a_spared_set_stays_and_takes_no_count() -> None:
    verdicts = judge([candidate(0), candidate(1, spared="outside the filter"), candidate(2)], Rules(last=2), NOW)
    assert kept_days(verdicts) == [0, 1, 2]
    assert reasons_of(verdicts, 2) == ("last",)


def test_the_floor_holds_when_the_rules_keep_less() -> None:
    verdicts = judge([candidate(days) for days in (0, 1, 2, 3)], Rules(last=1, min=3), NOW)
    assert kept_days(verdicts) == [0, 1, 2]
    assert reasons_of(verdicts, 2) == ("one of the newest 3 (min)",)


def test_within_reaches_back_from_the_newest_set_not_from_now() -> None:
    verdicts = judge([candidate(days) for days in (200, 203, 207, 208)], Rules(within=Duration(days=7)), NOW)
    assert kept_days(verdicts) == [200, 203]
    assert reasons_of(verdicts, 203) == ("within 7d",)


def test_days_begin_in_the_rules_time_zone() -> None:
    times = ("2026-11-20T22:30", "2026-11-20T23:30", "2026-11-21T09:00")
    sets = [Candidate(SetName.at(datetime.fromisoformat(f"{time}+00:00")), ALL) for time in times]
    assert removed(judge(sets, Rules(daily=2, time_zone="UTC"), NOW)) == {sets[0].name}
    assert removed(judge(sets, Rules(daily=2, time_zone="Europe/Berlin"), NOW)) == {sets[1].name}
    assert removed(judge(sets, Rules(daily=2, time_zone="+01:00"), NOW)) == {sets[1].name}


def test_tags_keep_sets_that_have_them() -> None:
    tagged = {1: {"kind": "release"}, 2: {"kind": "test", "by": "ann"}, 3: {"kind": "release", "by": "ann"}}
    sets = [candidate(0), *(candidate(days, tags=tags) for days, tags in tagged.items())]
    assert kept_days(judge(sets, Rules(tags=("kind=release",)), NOW)) == [0, 1, 3]
    assert kept_days(judge(sets, Rules(tags=("kind=release, by=ann",)), NOW)) == [0, 3]
    assert kept_days(judge(sets, Rules(tags=("by",)), NOW)) == [0, 2, 3]
    assert reasons_of(judge(sets, Rules(tags=("by",)), NOW), 2) == ("tag by",)


def test_names_from_the_ends_of_time_do_no_harm() -> None:
    first = Candidate(SetName(datetime(1, 1, 1, tzinfo=UTC)), ALL)
    keep = rules({"daily": 1, "within": "2025y"}, "America/New_York")
    assert removed(judge([first, candidate(0)], keep, NOW)) == {first.name}
    last = Candidate(SetName(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)), ALL)
    assert not removed(judge([first, candidate(0), last], keep, NOW))


# --- durations and rules --------------------------------------------------------------------------------------------


@given(st.builds(Duration, *[st.integers(0, 9999)] * 4))
def test_a_duration_reads_back_as_it_is_written(length: Duration) -> None:
    assert Duration.parse(str(length)) == length


@pytest.mark.parametrize("text", ["", "7", "d", "2w", "3h2d", "1y1y", "-1d", "1.5d", "2y 3m"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a length of time"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "moment", "before"),
    [
        ("1m", "2025-03-31T12:00", "2025-03-03T12:00"),
        ("1m", "2024-03-31T12:00", "2024-03-02T12:00"),
        ("1y", "2024-02-29T12:00", "2023-03-01T12:00"),
        ("13m1d", "2025-01-01T00:00", "2023-11-30T00:00"),
        ("36h", "2025-01-01T00:00", "2024-12-30T12:00"),
        ("9999y", "2025-01-01T00:00", "0001-01-01T00:00"),
    ],
)
def test_a_duration_before_a_moment(text: str, moment: str, before: str) -> None:
    found = Duration.parse(text).before(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(before).replace(tzinfo=UTC)


def test_days_are_days_of_the_calendar_and_hours_are_hours_of_the_clock() -> None:
    after_the_change = datetime(2026, 3, 29, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    assert Duration.parse("1d").before(after_the_change) == datetime(2026, 3, 28, 11, 0, tzinfo=UTC)
    assert Duration.parse("24h").before(after_the_change) == datetime(2026, 3, 28, 10, 0, tzinfo=UTC)


def test_rules_come_from_plain_settings() -> None:
    found = rules({"last": "unlimited", "daily": 7, "within_weekly": "1m", "tags": ["a=b"], "hourly": None, "min": 2})
    assert found == Rules(last=-1, daily=7, within_weekly=Duration(months=1), tags=("a=b",), min=2)


@pytest.mark.parametrize("wrong", [{"last": -2}, {"min": 0}, {"within": "soon"}])
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        rules(wrong)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "+99:00", "/etc/localtime"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match="is not a time zone"):
        Rules(time_zone=zone)
