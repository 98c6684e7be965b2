"""Is my stack safe? What was not looked at, or not proven, is never good."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import ExitCode, NoRepositoryError, RecoupError, StorageError
from recoup.model.marks import Standing
from recoup.model.reports import Problem, SetInfo, VerbRun
from recoup.operations import status
from recoup.operations.status import Known, Limits, Look, RepositoryState
from recoup.web._verdict import PROOF, proven, verdict
from recoup.web.jobs import Job
from unit.web.set_infos import NOW, info, unreadable

PROVEN = Standing(proven=NOW - timedelta(hours=1))
A_BACKUP = VerbRun("backup", (), "local", NOW - timedelta(days=2), NOW - timedelta(days=2), ExitCode.OK)


def looked(
    *states: RepositoryState, sources: tuple[str, ...] = ("notes",), known: Known | None = None, **limits: object
) -> Look:
    """What a look finds."""
    report = status.report(states, sources, NOW, Limits(**limits), known)  # type: ignore[arg-type]
    return Look(report, states, known or Known(), Limits(**limits))  # type: ignore[arg-type]


def local(*infos: SetInfo, failure: RecoupError | None = None) -> RepositoryState:
    return RepositoryState("local", infos, failure=failure, stack="shop")


def test_a_recent_copy_that_was_proven_is_safe() -> None:
    found = verdict(looked(local(info(0.1, standing=PROVEN))), ["notes"], NOW)
    assert (found.level, found.sentence) == (
        "good",
        "Safe: its source has a recent good copy, and a drill proved it 1 h ago.",
    )


def test_a_proof_of_an_older_copy_is_not_taken_for_one_of_the_newest() -> None:
    older = info(0.2, standing=PROVEN)
    found = verdict(looked(local(older, info(0.1))), ["notes"], NOW)
    sentence = "Safe: its source has a recent good copy; a drill proved an older one 1 h ago."
    assert (found.level, found.sentence) == ("good", sentence)


def test_a_repository_from_which_nothing_was_ever_proven_is_named() -> None:
    away = RepositoryState("away", (info(0.1),), stack="shop")
    found = verdict(looked(local(info(0.1, standing=PROVEN)), away), ["notes"], NOW)
    assert (found.level, found.more) == ("good", ("No drill has ever proven a set in away.",))
    proven_there = replace(away, infos=(info(0.1, standing=PROVEN),))
    assert verdict(looked(local(info(0.1, standing=PROVEN)), proven_there), ["notes"], NOW).more == ()


def test_without_any_proof_it_is_not_called_safe() -> None:
    found = verdict(looked(local(info(0.1))), ["notes"], NOW)
    assert (found.level, found.sentence) == ("warning", "Backed up, with a doubt: no drill has ever proven any source.")


def test_a_source_that_was_never_proven_is_named() -> None:
    proved, newest = info(0.2, standing=PROVEN), info(0.1, {"notes": 1, "chat": 1})
    found = verdict(looked(local(proved, newest), sources=("notes", "chat")), ["notes", "chat"], NOW)
    assert (found.level, found.sentence) == ("warning", "Backed up, with a doubt: no drill has ever proven chat.")


def test_an_old_proof_is_a_doubt_unless_somebody_allows_it() -> None:
    old = info(0.1), info(40, standing=Standing(proven=NOW - PROOF - timedelta(days=1)))
    assert verdict(looked(local(*old)), ["notes"], NOW).sentence.endswith("the newest proof of notes was 32 d ago.")
    allowed = looked(local(*old), ages={"drill": timedelta(days=90)})
    assert verdict(allowed, ["notes"], NOW).level == "good"


def test_before_the_first_backup_it_is_neither_good_nor_bad() -> None:
    assert verdict(looked(local()), ["notes"], NOW).sentence == "There is no backup yet."
    none = looked(local(failure=NoRepositoryError("it is not there", "Make it.")))
    found = verdict(none, ["notes"], NOW)
    assert (found.level, found.sentence) == ("neutral", "There is no backup yet: no repository has been created.")
    nothing = verdict(looked(local(), sources=()), [], NOW)
    assert (nothing.level, nothing.sentence) == ("neutral", "Nothing is backed up: no source is configured.")


@pytest.mark.parametrize("failure", [None, NoRepositoryError("it is not there", "")])
def test_sets_that_have_gone_are_no_first_visit(failure: RecoupError | None) -> None:
    found = verdict(looked(local(failure=failure), known=Known((A_BACKUP,))), ["notes"], NOW)
    assert found.level == "bad"
    assert "although a backup went well 2 d ago" in found.sentence or "no repository is where it was" in found.sentence


def test_what_cannot_be_read_is_bad() -> None:
    broken = local(failure=StorageError("the disk is broken", ""))
    assert verdict(looked(broken), ["notes"], NOW).sentence == (
        "Nobody can tell whether it is safe: no repository can be read."
    )
    other = RepositoryState("other", (info(0.1, standing=PROVEN, repository="other"),), stack="shop")
    found = verdict(looked(broken, other), ["notes"], NOW)
    assert found.level == "bad"
    assert "the disk is broken" in found.sentence
    empty = verdict(looked(broken, RepositoryState("other", stack="shop")), ["notes"], NOW)
    assert empty.level == "bad"


def test_sets_without_a_good_copy_are_bad() -> None:
    assert verdict(looked(local(unreadable(1))), ["notes"], NOW).level == "bad"
    failed = info(0.1, outcomes={"notes": "failed"})
    assert "none of them holds a good copy" in verdict(looked(local(failed)), ["notes"], NOW).sentence


def test_the_gravest_problem_is_the_answer_and_the_others_are_counted() -> None:
    old = info(3, {"notes": 1, "chat": 1}, PROVEN)
    found = verdict(looked(local(old), sources=("notes", "chat")), ["notes", "chat"], NOW)
    assert found.level == "bad"
    assert found.sentence.startswith("Not safe: notes in local: no recent backup")
    assert found.more == ("1 more grave problem.",)


def test_several_doubts_are_counted() -> None:
    found = verdict(looked(local(info(1.5))), ["notes"], NOW, further=("a doubt of others",))
    assert found.sentence == "Backed up, with 3 doubts. The first one: a doubt of others."


def test_a_backup_that_was_killed_is_a_doubt_until_another_one_was_made() -> None:
    began = NOW - timedelta(days=3)
    job = Job("id", ("backup",), "recoup backup", began, "", "lost", None, None)
    look = looked(local(info(0.1, standing=PROVEN)))
    assert "was killed before it had ended" in verdict(look, ["notes"], NOW, job).sentence
    assert verdict(replace(look, known=Known((A_BACKUP,))), ["notes"], NOW, job).level == "good"
    assert verdict(look, ["notes"], NOW, replace(job, arguments=("drill",))).level == "good"


def test_an_optional_source_that_was_not_there_is_said() -> None:
    newest = info(0.1, {"notes": 1, "cache": 0}, PROVEN, {"cache": "absent"})
    found = verdict(looked(local(newest), sources=("notes", "cache")), ["notes", "cache"], NOW)
    assert (found.level, found.more) == ("good", ("Not there at the newest backup, and optional: cache.",))


def test_a_proof_counts_for_the_sources_of_which_the_set_has_a_good_copy() -> None:
    both = info(1, {"notes": 1, "chat": 1}, PROVEN, {"chat": "failed"})
    assert proven([both], ["notes", "chat"]) == {"notes": PROVEN.proven}


_LEVELS = st.sampled_from(["warning", "critical"])
_STANDINGS = st.builds(
    Standing,
    proven=st.none() | st.just(NOW - timedelta(hours=1)) | st.just(NOW - timedelta(days=100)),
    failed_proof=st.none() | st.just(NOW),
    damaged=st.none() | st.just(NOW),
)
_OUTCOMES = st.sampled_from(["complete", "suspicious", "incomplete", "failed", "absent"])
_INFOS = st.one_of(
    st.builds(unreadable, st.floats(0, 5)),
    st.builds(
        lambda days, standing, outcome: info(days, {"notes": 1}, standing, {"notes": outcome}),
        st.floats(0, 5),
        _STANDINGS,
        _OUTCOMES,
    ),
)
_STATES = st.builds(
    lambda infos, fails: local(*infos, failure=StorageError("broken", "") if fails else None),
    st.lists(_INFOS, max_size=4, unique_by=lambda one: one.name),
    st.booleans(),
)


@given(
    states=st.lists(_STATES, min_size=1, max_size=2),
    problems=st.lists(st.builds(Problem, st.text(), _LEVELS, st.just(""), st.just(""), st.text()), max_size=2),
)
def test_good_is_only_what_was_looked_at_whole_and_proven(
    states: list[RepositoryState], problems: list[Problem]
) -> None:
    named = tuple(replace(state, repository=f"r{n}") for n, state in enumerate(states))
    look = looked(*named)
    look = replace(look, report=replace(look.report, problems=(*look.report.problems, *problems)))
    found = verdict(look, ["notes"], NOW)
    assert found.sentence
    if found.level == "good":
        assert not look.report.problems
        assert all(state.failure is None for state in named)
        assert any(row.set and not row.problem for row in look.report.rows)
        moment = proven(look.own, ["notes"])["notes"]
        assert NOW - moment <= PROOF
