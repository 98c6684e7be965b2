"""Which set a person means."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import NoSuchSetError, UsageError
from recoup.model.manifest import Host, Manifest, Outcome, SourceOutcome, SourceRecord, outcome_of
from recoup.model.marks import Standing
from recoup.model.names import SetName
from recoup.model.reports import SetInfo
from recoup.operations.selection import (
    Filter,
    begin_of,
    end_of,
    holdings,
    is_good,
    matching,
    named,
    resolve,
    sources_of,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def info(
    name: str,
    sources: Mapping[str, SourceOutcome] | None = None,
    *,
    accepted: bool = False,
    stack: str = "docmind",
    tags: Mapping[str, str] | None = None,
) -> SetInfo:
    parsed = SetName.parse(f"backup_{name}")
    assert parsed is not None
    records = {s: SourceRecord("files", outcome) for s, outcome in (sources or {"cache": "complete"}).items()}
    outcome: Outcome = outcome_of(records)
    manifest = Manifest(
        id="0" * 32,
        name=str(parsed),
        stack=stack,
        host=Host("host", "system"),
        recoup="0",
        python="3",
        started=parsed.time,
        finished=parsed.time,
        outcome=outcome,
        requested=tuple(sorted(records)),
        sources=records,
        tags=tags or {},
    )
    return SetInfo("local", str(parsed), manifest, Standing(accepted=accepted))


def damaged(name: str) -> SetInfo:
    return SetInfo("local", f"backup_{name}", None, problem="it is cut short")


SETS = [
    info("20261031_020000"),
    info("20261101_020003"),
    info("20261101_020003_2"),
    info("20261119_140000", {"cache": "complete", "chat": "failed"}),
    info("20261120_020004", {"cache": "suspicious"}),
]


def chosen(text: str, sets: list[SetInfo] | None = None, zone: str = "UTC", sources: tuple[str, ...] = ()) -> str:
    return resolve(text, SETS if sets is None else sets, NOW, sources, zone).name.removeprefix("backup_")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("latest", "20261120_020004"),
        ("LATEST", "20261120_020004"),
        ("latest-complete", "20261101_020003_2"),
        ("oldest", "20261031_020000"),
        ("backup_20261101_020003", "20261101_020003"),
        ("backup_20261101_020003_2", "20261101_020003_2"),
        ("backup_20261119", "20261119_140000"),
        ("20261119_", "20261119_140000"),
        ("backup_202610", "20261031_020000"),
        (" latest ", "20261120_020004"),
        ("2026-11-01", "20261101_020003_2"),
        ("2026-11-10", "20261101_020003_2"),
        ("2026-11-01 02:00", "20261101_020003_2"),
        ("2026-11-01 02:00:02", "20261031_020000"),
        ("2026-11-01T02:00:03Z", "20261101_020003_2"),
        ("2026-11-01 01:59", "20261031_020000"),
        ("2026-11-01 02:59+01:00", "20261031_020000"),
        ("2026-11-01 03:00 +0100", "20261101_020003_2"),
        ("yesterday 02:00", "20261120_020004"),
        ("yesterday 1:59", "20261119_140000"),
        ("yesterday", "20261120_020004"),
        ("today", "20261120_020004"),
        ("now", "20261120_020004"),
    ],
)
def test_a_set_is_named_by_name_prefix_word_or_time(text: str, name: str) -> None:
    assert chosen(text) == name


def test_the_order_of_the_sets_does_not_matter() -> None:
    assert chosen("latest", list(reversed(SETS))) == "20261120_020004"


def test_the_tenth_set_of_a_second_is_newer_than_the_ninth() -> None:
    sets = [info(f"20261101_000000{suffix}") for suffix in ("", "_2", "_9", "_10")]
    assert chosen("latest", sets) == "20261101_000000_10"


def test_a_time_without_a_zone_is_the_persons_own() -> None:
    assert chosen("2026-11-01 03:00", zone="Europe/Berlin") == "20261101_020003_2"
    assert chosen("2026-11-01 02:59", zone="Europe/Berlin") == "20261031_020000"
    assert chosen("2026-10-31", zone="America/New_York") == "20261101_020003_2"  # there it is 22:00 of that day


def test_yesterday_is_a_day_of_the_persons_own_zone() -> None:
    sets = [info("20261119_130000"), info("20261120_130000")]
    assert chosen("yesterday", sets, zone="UTC") == "20261120_130000"
    assert chosen("yesterday", sets, zone="Pacific/Auckland") == "20261120_130000"
    assert chosen("yesterday 02:00", sets, zone="Pacific/Auckland") == "20261120_130000"
    assert chosen("yesterday 01:59", sets, zone="Pacific/Auckland") == "20261119_130000"


def test_an_hour_that_comes_twice_is_meant_both_times() -> None:
    assert begin_of("2026-10-25 02:30", NOW, "Europe/Berlin") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert end_of("2026-10-25 02:30", NOW, "Europe/Berlin") == datetime(2026, 10, 25, 1, 30, 59, 999_999, tzinfo=UTC)


def test_a_day_is_as_long_as_it_is() -> None:
    day = end_of("2026-10-25", NOW, "Europe/Berlin") - begin_of("2026-10-25", NOW, "Europe/Berlin")
    assert day == timedelta(hours=25, microseconds=-1)


def test_an_ambiguous_prefix_is_refused_with_what_it_could_be() -> None:
    with pytest.raises(UsageError) as raised:
        chosen("backup_202611")
    assert "could be 4 sets" in raised.value.message
    assert "backup_20261119_140000" in raised.value.message
    assert not isinstance(raised.value, NoSuchSetError)


@pytest.mark.parametrize("text", ["backup_2025", "newest", "", "2026-10-30", "2026-11", "20261101", "%"])
def test_what_no_set_answers_to_is_said_with_what_there_is(text: str) -> None:
    with pytest.raises(NoSuchSetError) as raised:
        chosen(text)
    assert "There are 5, from backup_20261031_020000 to backup_20261120_020004" in raised.value.hint


@pytest.mark.parametrize("text", ["2026-02-30", "2026-11-01 25:00", "yesterday 10:61"])
def test_a_time_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        chosen(text)


def test_an_empty_repository_is_said_to_be_empty() -> None:
    for text in ("latest", "oldest", "backup_2026", "yesterday"):
        with pytest.raises(NoSuchSetError, match="the repository has no sets"):
            chosen(text, [])


def test_no_complete_set_is_said_so() -> None:
    with pytest.raises(NoSuchSetError, match="there is no complete set"):
        chosen("latest-complete", [info("20261101_000000", {"cache": "failed"}), damaged("20261102_000000")])


def test_a_damaged_set_is_not_passed_over_silently() -> None:
    sets = [info("20261101_000000"), damaged("20261102_000000")]
    assert chosen("latest", sets) == "20261102_000000"
    assert chosen("latest-complete", sets) == "20261101_000000"


def test_of_some_sources_only_sets_that_hold_good_copies_count() -> None:
    sets = [
        info("20261101_000000", {"cache": "complete", "chat": "complete"}),
        info("20261102_000000", {"cache": "complete", "chat": "incomplete"}),
        info("20261103_000000", {"chat": "suspicious"}),
    ]
    assert chosen("latest", sets, sources=("cache",)) == "20261102_000000"
    assert chosen("latest", sets, sources=("chat",)) == "20261101_000000"
    assert chosen("2026-11-02", sets, sources=("cache", "chat")) == "20261101_000000"
    with pytest.raises(NoSuchSetError, match="with a good copy of vectors"):
        chosen("latest", sets, sources=("vectors",))


def test_each_source_is_held_by_its_newest_good_set() -> None:
    sets = [
        info("20261101_000000", {"cache": "complete", "chat": "complete", "env": "complete", "gone": "failed"}),
        info("20261102_000000", {"cache": "complete", "chat": "suspicious", "env": "absent"}),
        info("20261103_000000", {"cache": "incomplete", "chat": "suspicious"}, accepted=True),
        damaged("20261104_000000"),
    ]
    held = holdings(sets, ["cache", "chat", "env", "gone", "never"])
    assert {source: found.name for source, found in held.items()} == {
        "cache": "backup_20261102_000000",
        "chat": "backup_20261103_000000",
        "env": "backup_20261101_000000",
    }


def test_a_suspicious_set_is_good_once_accepted() -> None:
    assert not is_good(info("20261101_000000", {"cache": "suspicious"}))
    assert is_good(info("20261101_000000", {"cache": "suspicious"}, accepted=True))
    assert not is_good(info("20261101_000000", {"cache": "failed"}, accepted=True))
    assert not is_good(damaged("20261101_000000"))


def test_without_configuration_all_sources_of_all_sets_are_known() -> None:
    sets = [info("20261101_000000", {"chat": "complete"}), info("20261102_000000", {"vectors": "complete"})]
    assert sources_of(sets, []) == ["chat", "vectors"]
    assert sources_of(sets, ["new", "chat"]) == ["chat", "new"]


def test_filters_have_to_be_met_together() -> None:
    sets = [
        info("20261101_000000", {"chat": "complete"}, tags={"kind": "release"}),
        info("20261102_000000", {"chat": "complete", "cache": "failed"}, tags={"kind": "release", "by": "ann"}),
        info("20261103_000000", {"cache": "complete"}, stack="other"),
        damaged("20261104_000000"),
    ]

    def passed(filters: Filter) -> str:
        return "".join(found.name[14] for found in matching(sets, filters))

    assert passed(Filter()) == "1234"
    assert passed(Filter(tags={"kind": "release"})) == "124"
    assert passed(Filter(tags={"kind": "release", "by": "ann"})) == "24"
    assert passed(Filter(sources=("chat", "cache"))) == "24"
    assert passed(Filter(stack="other")) == "34"
    assert passed(Filter(since=datetime(2026, 11, 2, tzinfo=UTC))) == "234"
    assert passed(Filter(until=datetime(2026, 11, 2, tzinfo=UTC))) == "12"


def test_names_alone_can_be_resolved() -> None:
    names = [n for text in ("backup_20261101_000000", "backup_20261102_000000") if (n := SetName.parse(text))]
    assert named("backup_20261102", names) == names[1]
    with pytest.raises(NoSuchSetError, match="there is no set 'x'") as raised:
        named("x", [])
    assert "There are none" in raised.value.hint


@given(st.text(max_size=30))
def test_any_text_gives_a_set_or_says_why_not(text: str) -> None:
    try:
        assert resolve(text, SETS, NOW, zone="Europe/Berlin") in SETS
    except UsageError as error:
        assert error.message


@given(st.integers(0, 60 * 86400))
def test_a_time_gives_the_newest_set_not_after_it(seconds: int) -> None:
    moment = datetime(2026, 10, 31, 2, tzinfo=UTC) + timedelta(seconds=seconds)
    found = chosen(moment.isoformat())
    stamps = {i.name.removeprefix("backup_"): SetName.parse(i.name) for i in SETS}
    times = {name: parsed.time for name, parsed in stamps.items() if parsed}
    assert times[found] <= moment
    assert not any(times[found] < time <= moment for time in times.values())
