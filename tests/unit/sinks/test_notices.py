"""When a condition is told: once at the change to bad, again after a while, once when it is good again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.model.reports import Problem
from recoup.sinks._notices import Notice, Told, due, failing, known_to, note, note_reached
from recoup.system.statefile import state_path

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def problem(key: str = "k", level: str = "critical") -> Problem:
    return Problem(key, "critical" if level == "critical" else "warning", "main", "db", f"{key} is wrong", "look")


def told(one: Problem, ago: timedelta = HOUR) -> dict[str, Told]:
    return {one.key: Told(one, NOON - 2 * DAY, NOON - ago)}


def everything(_problem: Problem) -> bool:
    return True


def nothing(_problem: Problem) -> bool:
    return False


@pytest.mark.requirement("CI-8", "CI-9", "SR-12")
def test_a_condition_is_told_when_it_begins_and_when_it_is_over_and_not_between() -> None:
    began = due({}, [problem()], everything, NOON, DAY)
    assert began == [Notice("began", problem(), NOON)]
    assert due(told(problem()), [problem()], everything, NOON, DAY) == []
    assert due(told(problem()), [], everything, NOON, DAY) == [Notice("ended", problem(), NOON - 2 * DAY)]


def test_a_condition_that_lasts_is_told_again_after_a_while() -> None:
    assert due(told(problem(), DAY - HOUR), [problem()], everything, NOON, DAY) == []
    assert [one.what for one in due(told(problem(), DAY), [problem()], everything, NOON, DAY)] == ["lasts"]


def test_what_was_not_looked_at_is_not_over() -> None:
    assert due(told(problem()), [], nothing, NOON, DAY) == []


def test_a_condition_that_becomes_graver_is_told_anew_and_one_that_becomes_milder_is_not() -> None:
    mild, grave = problem(level="warning"), problem()
    assert [one.what for one in due(told(mild), [grave], everything, NOON, DAY)] == ["began"]
    assert due(told(grave), [mild], everything, NOON, DAY) == []


def test_a_clock_that_was_set_back_does_not_silence_a_condition() -> None:
    assert [one.what for one in due(told(problem(), -30 * DAY), [problem()], everything, NOON, DAY)] == ["lasts"]


@given(
    days=st.lists(st.sets(st.sampled_from("abc")), max_size=40),
    remind=st.integers(1, 5),
)
def test_each_spell_of_a_condition_begins_once_and_ends_once(days: list[set[str]], remind: int) -> None:
    known: dict[str, Told] = {}
    wrong: set[str] = set()
    for number, keys in enumerate(days):
        now = NOON + number * DAY
        for one in due(known, [problem(key) for key in sorted(keys)], everything, now, remind * DAY):
            key = one.problem.key
            if one.what == "began":
                assert key in keys - wrong
            elif one.what == "ended":
                assert key in wrong - keys
                del known[key]
                continue
            else:
                assert now - known[key].told >= remind * DAY
            known[key] = Told(one.problem, one.since, now)
        wrong = set(keys)
        assert set(known) == wrong


def test_what_arrived_is_known_to_the_next_run_and_to_no_other_receiver() -> None:
    note("shop", {"mail": [Notice("began", problem(), NOON)]}, NOON)
    assert known_to("shop", "mail") == {"k": Told(problem(), NOON, NOON)}
    assert known_to("shop", "hook") == {}
    note("shop", {"mail": [Notice("ended", problem(), NOON)]}, NOON)
    assert known_to("shop", "mail") == {}


def test_a_reminder_keeps_since_when_it_is() -> None:
    note("shop", {"mail": [Notice("began", problem(), NOON)]}, NOON)
    note("shop", {"mail": [Notice("lasts", problem(), NOON)]}, NOON + DAY)
    assert known_to("shop", "mail")["k"] == Told(problem(), NOON, NOON + DAY)


def test_who_cannot_be_reached_is_a_problem_until_something_arrives() -> None:
    note_reached("shop", [], {"mail": "no answer"}, NOON)
    note_reached("shop", ["hook"], {"mail": "it answers 500"}, NOON + HOUR)
    (found,) = failing("shop", ["mail"])
    assert found.key == "notify:mail"
    assert "since 2026-11-21 12:00 UTC: it answers 500" in found.sentence
    assert failing("shop", ["another"]) == ()
    note_reached("shop", ["mail"], {}, NOON + DAY)
    assert failing("shop", ["mail"]) == ()


def test_asking_who_is_unreachable_makes_no_file() -> None:
    assert failing("never-used", ["mail"]) == ()
    assert not state_path("never-used").exists()
