"""What `status` calls a problem: pure functions of sets, of what the machine remembers, and of the moment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from recoup.errors import ExitCode, StorageError
from recoup.model.marks import Standing
from recoup.model.reports import SetInfo, StatusReport, VerbRun
from recoup.model.schedule import JobState
from recoup.operations._remembering import A_PART
from recoup.operations.status import Known, Limits, RepositoryState, report
from unit.operations.watched import DAY, HOUR, NOW, a_set, daily, record

MINUTE = timedelta(minutes=1)


def seen(
    infos: Sequence[SetInfo] = (),
    *,
    known: Known | None = None,
    limits: Limits | None = None,
    free: int | None = 10**12,
    running: bool = False,
    configured: Sequence[str] = ("chat",),
    now: datetime = NOW,
) -> StatusReport:
    state = RepositoryState("local", tuple(infos), free, running=running)
    return report([state], configured, now, limits, known)


def keys(found: StatusReport) -> dict[str, str]:
    return {problem.key: problem.level for problem in found.problems}


# --- sources ----------------------------------------------------------------------------------------------------------


def test_good_copies_that_are_not_too_old_are_counted() -> None:
    suspicious = a_set(2 * HOUR, {"chat": record(outcome="suspicious")})
    found = seen([a_set(HOUR), suspicious, a_set(23 * HOUR), a_set(25 * HOUR)])
    assert [row.recent_copies for row in found.rows] == [2]
    assert [row.recent_copies for row in seen().rows] == [0]


def test_a_stack_with_a_fresh_good_set_has_no_problem() -> None:
    found = seen(daily(100, 100, 110))
    assert keys(found) == {}
    assert found.exit_code == ExitCode.OK
    [row] = found.rows
    assert (row.bytes, row.median_bytes) == (110, 100)
    assert row.change == pytest.approx(0.1)
    assert (row.age_seconds, row.max_age_seconds) == (3600, 86400)


@pytest.mark.requirement("SR-12", "CI-8", "CO-16")
@pytest.mark.parametrize(
    ("age", "limit", "running", "level"),
    [
        (24 * HOUR, 24 * HOUR, False, None),
        (24 * HOUR + MINUTE, 24 * HOUR, False, "warning"),
        (24 * HOUR + MINUTE, 24 * HOUR, True, None),
        (31 * HOUR, 24 * HOUR, True, "warning"),
        (49 * HOUR, 24 * HOUR, False, "critical"),
        (47 * HOUR, 48 * HOUR, False, None),
        (49 * HOUR, 48 * HOUR, False, "warning"),
    ],
)
def test_a_set_that_is_older_than_allowed_is_a_problem(
    age: timedelta, limit: timedelta, running: bool, level: str | None
) -> None:
    found = seen([a_set(age)], limits=Limits(of_source={"chat": limit}), running=running)
    assert keys(found) == ({} if level is None else {"too-old:local:chat": level})
    if level is not None:
        assert found.exit_code == ExitCode.INCOMPLETE
        assert found.problems[0].text.startswith("chat in local: no recent backup: ")


@pytest.mark.requirement("CO-16")
def test_a_source_that_was_never_backed_up_is_critical_and_alone_exit_code_1() -> None:
    found = seen()
    assert keys(found) == {"never:local:chat": "critical"}
    assert found.exit_code == ExitCode.FAILED


def test_the_reason_of_a_failed_try_ends_with_one_full_stop() -> None:
    failed = replace(record(outcome="failed"), error="it is empty. Look into the folder.")
    [problem] = seen([a_set(HOUR, {"chat": failed})]).problems
    assert problem.hint == "Its newest try is failed, it is empty. Look into the folder."


def test_sets_of_another_stack_with_a_source_of_the_same_name_say_nothing() -> None:
    state = RepositoryState("local", (a_set(HOUR, stack="other"), *daily(1)), 10**12, stack="shop")
    [row] = report([state], ("chat",), NOW).rows
    assert row.set == daily(1)[0].name
    alone = RepositoryState("local", (a_set(HOUR, stack="other"),), 10**12, stack="shop")
    assert keys(report([alone], ("chat",), NOW)) == {"never:local:chat": "critical"}


def test_an_optional_source_that_was_absent_is_no_problem() -> None:
    assert keys(seen([a_set(HOUR, {"chat": record(0, "absent"), "logs": record()})])) == {}


def test_a_newer_try_that_is_not_good_is_told_with_its_reason() -> None:
    lost = replace(record(1, "suspicious"), error="size: it holds 1 bytes, and usually 100")
    found = seen([*daily(100, 100), a_set(MINUTE, {"chat": lost})])
    assert keys(found) == {"doubtful:local:chat": "warning"}
    assert "usually 100" in found.problems[0].hint
    assert found.rows[0].problem == found.problems[0].sentence


def test_a_small_set_that_nobody_looked_at_is_told_and_an_accepted_one_is_not() -> None:
    limits = Limits(shrink={"chat": 0.5})
    assert keys(seen(daily(100, 100, 40), limits=limits)) == {"small:local:chat": "warning"}
    assert keys(seen(daily(100, 100, 0), limits=Limits(shrink={"chat": 0.0}))) == {"small:local:chat": "warning"}
    accepted = a_set(MINUTE, {"chat": record(40, "suspicious")}, standing=Standing(accepted=True))
    assert keys(seen([*daily(100, 100), accepted], limits=limits)) == {}


def test_a_set_whose_drill_failed_is_critical() -> None:
    assert keys(seen([a_set(HOUR, standing=Standing(failed_proof=NOW))])) == {"failed-drill:local:chat": "critical"}


def test_damage_that_a_verify_found_on_whatever_machine_is_critical_and_told_once() -> None:
    infos = [*daily(1, 1), a_set(MINUTE, {"chat": record(1)}, standing=Standing(damaged=NOW))]
    found = seen(infos, known=Known((a_run(MINUTE, 4, "verify"),)))
    assert keys(found) == keys(seen(infos)) == {"failed-verify:local:": "critical"}
    assert infos[-1].name in found.problems[0].sentence


def test_the_gravest_problem_comes_first() -> None:
    infos = [a_set(30 * HOUR, {"chat": record(), "logs": record()}, standing=Standing(failed_proof=NOW))]
    levels = [problem.level for problem in seen(infos, configured=("chat", "logs")).problems]
    assert levels == sorted(levels)
    assert levels[0] == "critical"


# --- repositories -----------------------------------------------------------------------------------------------------


def test_a_repository_that_cannot_be_read_is_one_critical_problem() -> None:
    states = [
        RepositoryState("local", tuple(daily(1))),
        RepositoryState("usb", failure=StorageError("gone", "Mount it.")),
    ]
    found = report(states, ("chat", "logs"), NOW)
    assert keys(found)["unreadable:usb"] == "critical"
    assert len([key for key in keys(found) if "usb" in key]) == 1
    assert [row.repository for row in found.rows if row.problem] == ["local", "usb", "usb"]


def test_sets_that_cannot_be_read_are_told() -> None:
    damaged = SetInfo("local", "backup_20261120_000000", None, problem="it is cut short")
    assert keys(seen([*daily(1), damaged])) == {"unread-sets:local": "warning"}
    only = seen([damaged])
    assert keys(only) == {"never:local:chat": "critical", "unread-sets:local": "warning"}
    assert only.problems[0].sentence == "no copy of it can be seen", "nobody knows whether there is one"
    assert "cannot be read" in only.problems[0].hint


@pytest.mark.requirement("CI-9")
def test_a_repository_without_room_for_the_next_set_is_critical_and_one_below_its_limit_a_warning() -> None:
    assert keys(seen(daily(100), free=99)) == {"full:local": "critical"}
    assert keys(seen(daily(100), free=150, limits=Limits(min_free=200))) == {"full:local": "warning"}
    assert keys(seen(daily(100), free=200, limits=Limits(min_free=200))) == {}
    assert keys(seen(daily(100), free=None, limits=Limits(min_free=200))) == {}


@pytest.mark.requirement("CI-9")
def test_a_repository_that_is_soon_full_is_told() -> None:
    assert keys(seen(daily(100, 100, 100), free=550)) == {"full-soon:local": "warning"}
    assert keys(seen(daily(100, 100, 100), free=550, limits=Limits(days_until_full=5))) == {}
    assert keys(seen(daily(100, 100), free=550)) == {}  # two sets are no rhythm
    assert seen(daily(100, 100), free=550).repositories[0].growth_bytes is None


def test_a_set_from_the_future_says_that_a_clock_is_wrong() -> None:
    assert keys(seen([*daily(1), a_set(-HOUR)])) == {"future:local": "critical"}
    assert keys(seen([*daily(1), a_set(-MINUTE)])) == {}


# --- what the machine remembers ---------------------------------------------------------------------------------------


def a_run(
    ago: timedelta, code: int = 0, verb: str = "backup", sources: tuple[str, ...] = (), repository: str = "local"
) -> VerbRun:
    return VerbRun(verb, sources, repository, NOW - ago - MINUTE, NOW - ago, code, "it broke" if code else "")


@pytest.mark.requirement("CI-8", "CI-9")
@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([a_run(HOUR, 1)], {"failed-backup:local:": "warning"}),
        ([a_run(HOUR), a_run(2 * HOUR, 1)], {}),
        ([a_run(HOUR, 75), a_run(2 * HOUR, 130)], {}),
        ([a_run(HOUR, 0, sources=("logs",)), a_run(2 * HOUR, 1)], {"failed-backup:local:": "warning"}),
        ([a_run(HOUR), a_run(2 * HOUR, 1, sources=("chat",))], {}),
        ([a_run(HOUR, 0, "prune"), a_run(2 * HOUR, 1)], {"failed-backup:local:": "warning"}),
        ([a_run(HOUR, repository="local, usb"), a_run(2 * HOUR, 1)], {}),
        ([a_run(HOUR), a_run(2 * HOUR, 1, repository="local, usb")], {"failed-backup:local, usb:": "warning"}),
        ([a_run(HOUR, 4, "verify")], {"failed-verify:local:": "critical"}),
        (
            [replace(a_run(HOUR, 0, "verify"), sentence=A_PART), a_run(2 * HOUR, 4, "verify")],
            {"failed-verify:local:": "critical"},
        ),
        ([replace(a_run(HOUR, 0, "verify"), sentence=A_PART), a_run(2 * HOUR, 1, "verify")], {}),
        ([a_run(HOUR, 1, "verify", repository="gone")], {}),
        ([a_run(HOUR, 1, sources=("gone",))], {}),
        ([a_run(HOUR, 3), a_run(2 * HOUR, 1)], {"failed-backup:local:": "warning"}),
    ],
)
def test_a_failed_run_is_told_until_one_that_did_as_much_went_well(
    runs: list[VerbRun], found: Mapping[str, str]
) -> None:
    infos = [a_set(HOUR, {"chat": record(), "logs": record()})]
    assert keys(seen(infos, known=Known(tuple(runs)), configured=("chat", "logs"))) == found


def test_an_incomplete_backup_is_not_told_twice() -> None:
    infos = [*daily(1, 1), a_set(MINUTE, {"chat": record(1, "incomplete")})]
    said_by_its_set = replace(a_run(MINUTE, 3), sentence="")
    assert keys(seen(infos, known=Known((said_by_its_set,)))) == {"doubtful:local:chat": "warning"}
    assert keys(seen(daily(1, 1), known=Known((said_by_its_set,)))) == {}
    assert keys(seen(daily(1, 1), known=Known((a_run(MINUTE, 3),)))) == {"failed-backup:local:": "warning"}


@pytest.mark.requirement("SR-12", "SR-17")
def test_a_verb_that_went_well_too_long_ago_or_never_is_told() -> None:
    limits = Limits(ages={"verify": 2 * DAY, "drill": 7 * DAY})
    old = [a_set(9 * DAY), *daily(1)]
    assert keys(seen(old, limits=limits)) == {"old-verify": "warning", "old-drill": "warning"}
    known = Known((a_run(HOUR, 0, "verify"), a_run(8 * DAY, 0, "drill")))
    assert keys(seen(old, limits=limits, known=known)) == {"old-drill": "warning"}
    proven = [a_set(9 * DAY, standing=Standing(proven=NOW - DAY)), *daily(1)]
    assert keys(seen(proven, limits=limits, known=known)) == {}
    assert keys(seen(daily(1), limits=limits)) == {}  # before the first set there was nothing to verify


JOB = JobState("backup", "backup", next_due=NOW + HOUR)


@pytest.mark.requirement("CI-8")
@pytest.mark.parametrize(
    ("job", "alive", "found"),
    [
        (JOB, NOW - MINUTE, {}),
        (JOB, None, {"schedule-stopped": "warning"}),
        (JOB, NOW - HOUR, {"schedule-stopped": "critical"}),
        (replace(JOB, next_due=NOW - HOUR), NOW, {"late:backup": "critical"}),
        (replace(JOB, next_due=NOW - MINUTE), NOW, {}),
        (replace(JOB, next_due=NOW - HOUR, running=True), NOW, {}),
        (replace(JOB, run="status", next_due=NOW - HOUR, running=True), NOW, {"late:backup": "critical"}),
        (replace(JOB, started=NOW - HOUR, finished=NOW, exit_code=2), NOW, {"job:backup": "warning"}),
        (replace(JOB, started=NOW - HOUR, finished=NOW, exit_code=-9), NOW, {"job:backup": "warning"}),
        (replace(JOB, started=NOW - HOUR, finished=NOW), NOW, {"job:backup": "warning"}),
        (replace(JOB, started=NOW - HOUR, finished=NOW, exit_code=0), NOW, {}),
        (replace(JOB, run="status", started=NOW - HOUR, finished=NOW, exit_code=3), NOW, {}),
    ],
)
def test_a_schedule_that_does_not_run_and_jobs_that_fail_are_told(
    job: JobState, alive: datetime | None, found: Mapping[str, str]
) -> None:
    assert keys(seen(daily(1), known=Known(jobs=(job,), alive=alive))) == found


def test_a_job_whose_verb_told_its_failure_is_not_told_twice() -> None:
    job = replace(JOB, started=NOW - 2 * HOUR, finished=NOW - HOUR, exit_code=1)
    known = Known((a_run(HOUR, 1),), (job,), NOW)
    assert keys(seen(daily(1), known=known)) == {"failed-backup:local:": "warning"}


def test_a_row_says_when_the_schedule_makes_the_next_backup() -> None:
    jobs = (
        JobState("a", "backup", ("logs",), NOW + HOUR),
        JobState("b", "backup", (), NOW + 3 * HOUR),
        JobState("c", "prune", (), NOW),
        JobState("d", "backup", ("chat",), NOW + 2 * HOUR),
    )
    assert seen(daily(1), known=Known(jobs=jobs, alive=NOW)).rows[0].next_due == NOW + 2 * HOUR


def test_a_clock_that_was_set_back_is_told() -> None:
    assert keys(seen(daily(1), known=Known((a_run(-HOUR),)))) == {"clock": "critical"}
    assert keys(seen(daily(1), known=Known(alive=NOW + DAY))) == {"clock": "critical"}


def test_a_memory_that_cannot_be_read_is_told() -> None:
    assert keys(seen(daily(1), known=Known(failure="it is damaged"))) == {"memory": "warning"}


def test_the_report_has_the_last_run_of_each_verb() -> None:
    runs = (a_run(HOUR), a_run(2 * HOUR, verb="prune"), a_run(3 * HOUR, 1))
    assert [(run.verb, run.exit_code) for run in seen(daily(1), known=Known(runs)).runs] == [
        ("backup", 0),
        ("prune", 0),
    ]


def test_a_thousand_sets_in_each_of_five_repositories_are_looked_at_with_little_work() -> None:
    infos = [a_set(HOUR * n, {name: record(100 + n) for name in ("chat", "logs")}) for n in range(1, 1001)]
    states = [RepositoryState(f"r{n}", tuple(infos), 10**12) for n in range(5)]
    found = report(states, ("chat", "logs"), NOW)
    assert (found.sets, len(found.rows), len(found.problems)) == (5000, 10, 0)
