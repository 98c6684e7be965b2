"""The shrink gate: what is suspiciously small, and what is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.events import Event
from recoup.model.facts import Facts, Value
from recoup.model.manifest import SourceOutcome
from recoup.model.marks import Standing
from recoup.model.names import SetName
from recoup.operations import marks
from recoup.operations._shrinking import LOOKED_AT, Measure, judged, measured, usual
from recoup.operations.prune import plan as plan_prune
from recoup.operations.selection import listing
from recoup.repository.plain.repository import PlainRepository
from recoup.retention import Rules
from recoup.sources._base import SourceOptions
from recoup.system.clock import SystemClock
from unit.operations.scripted import ScriptedCapture, ScriptedSource, back_up, good, made_repository, stream
from unit.operations.watched import DAY, HOUR, a_set, daily, record

BEFORE = [Measure(100, {"rows": 50})] * 10


@pytest.mark.parametrize(
    ("size", "counts", "outcome"),
    [
        (100, {"rows": 50}, "complete"),
        (50, {"rows": 25}, "complete"),
        (49, {"rows": 50}, "suspicious"),
        (100, {"rows": 24}, "suspicious"),
        (100, {"rows": 0}, "suspicious"),
        (0, {}, "suspicious"),
        (5000, {"rows": 5000}, "complete"),
        (100, {"points": 0}, "complete"),  # nothing is known of points
    ],
)
def test_less_than_half_of_the_usual_is_suspicious(size: int, counts: dict[str, int], outcome: str) -> None:
    found = judged(record(size, counts=counts), BEFORE, 0.5)
    assert found.outcome == outcome
    assert bool(found.error) == (outcome == "suspicious")
    assert found.finding_count == (outcome == "suspicious")


def test_with_a_share_of_0_only_nothing_at_all_is_suspicious() -> None:
    assert judged(record(1, counts={"rows": 1}), BEFORE, 0.0).outcome == "complete"
    assert judged(record(1, counts={"rows": 0}), BEFORE, 0.0).outcome == "suspicious"


def test_a_first_backup_has_nothing_to_be_compared_with() -> None:
    assert judged(record(0), [], 0.5).outcome == "complete"


@pytest.mark.parametrize("outcome", ["incomplete", "failed", "absent"])
def test_what_is_not_whole_stays_as_it_is(outcome: SourceOutcome) -> None:
    one = record(1, outcome)
    assert judged(one, BEFORE, 0.5) is one


def test_what_is_suspicious_already_keeps_its_first_reason_and_gets_a_finding() -> None:
    found = judged(record(1, "suspicious"), BEFORE, 0.5)
    assert found.outcome == "suspicious"
    assert [finding.what for finding in found.findings] == ["suspicious"]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=10), st.integers(0, 10**12), st.floats(0, 1))
def test_more_than_the_largest_is_never_suspicious_and_nothing_always_is(
    sizes: list[int], more: int, share: float
) -> None:
    before = [Measure(size) for size in sizes]
    assert judged(record(max(sizes) + more), before, share).outcome == "complete"
    assert judged(record(0), [Measure(size + 1) for size in sizes], share).outcome == "suspicious"


def test_points_rows_and_files_are_counted_over_all_subjects() -> None:
    values: dict[str, dict[str, Value]] = {
        "collection docs": {"points": 3, "schema": "x"},
        "collection chat": {"points": 4},
        "folder": {"files": 2},
    }
    assert measured(replace(record(10), facts=Facts(values))).counts == {"points": 7, "files": 2}


def test_the_last_ten_good_copies_are_usual_whatever_other_sources_the_sets_had() -> None:
    infos = [a_set(DAY * n, {"chat": record(n)}) for n in range(1, 15)]
    infos.insert(0, a_set(HOUR, {"logs": record(7)}))
    infos.insert(1, a_set(2 * HOUR, {"chat": record(1, "suspicious"), "logs": record(8, "failed")}))
    found = usual(infos, ["chat", "logs", "new"])
    assert [one.bytes for one in found["chat"]] == list(range(1, 11))
    assert [one.bytes for one in found["logs"]] == [7]
    assert found["new"] == []


def test_an_accepted_copy_is_the_beginning_of_what_is_usual() -> None:
    accepted = a_set(2 * DAY, {"chat": record(10, "suspicious")}, standing=Standing(accepted=True))
    found = usual([*reversed(daily(11)), accepted, a_set(9 * DAY, {"chat": record(1000)})], ["chat"])
    assert [one.bytes for one in found["chat"]] == [11, 10]


def test_the_gate_stays_closed_however_many_suspicious_copies_there_are() -> None:
    """An hourly backup of an application that lost its data makes a hundred of them in four days."""
    lost = [a_set(HOUR * n, {"chat": record(1, "suspicious")}) for n in range(1, LOOKED_AT + 2)]
    before = a_set(HOUR * (LOOKED_AT + 2), {"chat": record(100)})
    assert [one.bytes for one in usual([*lost, before, a_set(100 * DAY)], ["chat", "new"])["chat"]] == [100]


def test_a_source_that_is_backed_up_once_a_week_has_a_history_beside_one_of_each_hour() -> None:
    often = [a_set(HOUR * n, {"logs": record(5)}) for n in range(1, 7 * 24)]
    assert [one.bytes for one in usual([*often, a_set(DAY * 8)], ["chat"])["chat"]] == [100]


def test_for_a_new_source_not_all_sets_of_all_times_are_read() -> None:
    infos = iter([a_set(HOUR * n, {"logs": record(5)}) for n in range(1, LOOKED_AT + 12)])
    usual(infos, ["new"])
    assert len(list(infos)) == 11


# --- in a backup ----------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> PlainRepository:
    return made_repository(tmp_path / "repository")


def newest(repository: PlainRepository) -> SetName:
    return max(repository.names())


def test_a_source_that_lost_its_data_is_stored_and_does_not_count_until_a_person_accepts_it(
    repository: PlainRepository,
) -> None:
    news: list[Any] = []
    for _ in range(3):
        assert back_up(repository, {"chat": good(b"x" * 100)}).exit_code == 0
    report = back_up(repository, {"chat": good(b"x")}, news.append)
    assert report.exit_code == 3
    assert report.manifest is not None
    assert report.manifest.outcome == "suspicious"
    told = [event for event in news if isinstance(event, Event) and event.name == "item_suspicious"]
    assert [event.fields["repository"] for event in told] == ["local"]
    assert "usually 100" in told[0].message

    now = SystemClock().now()
    kept = {row.set: row.reasons for row in plan_prune(repository, Rules(last=1), now).rows if row.keep}
    good_one = sorted(map(str, repository.names()))[2]
    assert "newest complete" in kept[good_one]

    marks.accept(repository, newest(repository), now, "host")
    assert back_up(repository, {"chat": good(b"y")}).exit_code == 0


def test_a_source_that_is_empty_by_permission_is_suspicious_when_it_was_not_empty_before(
    repository: PlainRepository,
) -> None:
    options = SourceOptions(kind="scripted", allow_empty=True)

    def emptied() -> ScriptedSource:
        return ScriptedSource([ScriptedCapture(lambda: iter(()))], options=options)

    assert back_up(repository, {"chat": emptied()}).exit_code == 0
    back_up(repository, {"chat": ScriptedSource([ScriptedCapture(stream(b"data"))], options=options)})
    report = back_up(repository, {"chat": emptied()})
    assert report.manifest is not None
    assert report.manifest.sources["chat"].outcome == "suspicious"


def test_other_sources_of_the_set_and_other_stacks_have_no_say(repository: PlainRepository) -> None:
    back_up(repository, {"chat": good(b"x" * 100), "logs": good(b"x" * 100)})
    report = back_up(repository, {"chat": good(b"x"), "new": good(b"x")})
    assert report.manifest is not None
    assert {name: one.outcome for name, one in report.manifest.sources.items()} == {
        "chat": "suspicious",
        "new": "complete",
    }


def test_sets_that_cannot_be_read_are_said_not_to_be_compared_with(repository: PlainRepository, tmp_path: Path) -> None:
    back_up(repository, {"chat": good(b"x" * 100)})
    (tmp_path / "repository" / str(newest(repository)) / "manifest.json").write_text("{")
    news: list[Any] = []
    assert back_up(repository, {"chat": good(b"x")}, news.append).exit_code == 0
    assert [event.level.name for event in news if isinstance(event, Event) and event.name == "history_unread"] == [
        "WARNING"
    ]


def test_only_as_many_sets_are_read_as_are_needed(repository: PlainRepository) -> None:
    for _ in range(12):
        back_up(repository, {"chat": good(b"x")})
    infos = sorted(listing(repository, SystemClock().now()), key=lambda info: info.name_key, reverse=True)
    left = iter(infos)
    usual(left, ["chat"])
    assert len(list(left)) == 2
