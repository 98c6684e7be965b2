"""A schedule in simulated time: years, clock changes, sleep, downtime, jobs that take too long."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from recoup.errors import ExitCode, LockedError
from recoup.model.events import Level
from recoup.scheduler._jobs import Job
from recoup.scheduler.loop import BEAT
from recoup.system.statefile import StateError
from recoup.system.subprocesses import ChildFailedError
from unit.scheduler.simulating import START, Hands, Sheet, Simulation

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def daily(name: str = "backup", cron: str = "30 2 * * *", **more: Any) -> Job:
    return replace(Job(name, (name,), cron, BERLIN), **more)


def hourly(name: str = "backup", every: timedelta = HOUR, **more: Any) -> Job:
    return replace(Job(name, (name,), "", UTC, every), **more)


# --- a year -----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SR-6")
@pytest.mark.requirement("CO-17")
def test_a_year_of_an_ordinary_schedule_has_every_run_once() -> None:
    jobs = [
        daily("backup-db"),
        hourly("backup-vectors", 6 * HOUR),
        daily("prune", "30 4 * * *"),
        daily("drill", "0 5 * * 0"),
        daily("verify", "0 6 1 * *"),
        daily("leap", "0 12 29 2 *"),
    ]
    year = Simulation(jobs)
    year.days(366)
    nights = [moment.astimezone(BERLIN) for moment in year.began("backup-db")]
    assert [night.date() for night in nights] == [(START + n * DAY).date() for n in range(366)]
    assert sorted({(night.hour, night.minute) for night in nights}) == [
        (2, 30),
        (3, 0),
    ]  # 03:00 on the day without 02:30
    assert year.began("backup-vectors") == [START + n * 6 * HOUR for n in range(4 * 366 + 1)]
    assert [len(year.began(name)) for name in ("prune", "drill", "verify", "leap")] == [366, 53, 12, 1]
    assert not year.told("job_missed")
    assert {event.fields["exit_code"] for event in year.told("job_finished")} == {0}


# --- one at a time ----------------------------------------------------------------------------------------------------


def test_a_job_that_is_due_waits_while_another_one_runs() -> None:
    jobs = [daily("long", "0 2 * * *"), daily("late", "10 2 * * *"), daily("later", "20 2 * * *")]
    night = Simulation(jobs, takes=lambda _job: HOUR)
    night.days(1)
    first = night.began("long")[0]
    assert night.began("late") == [first + HOUR]
    assert night.began("later") == [first + 2 * HOUR]


def test_jobs_that_became_due_together_run_in_the_order_of_their_lines() -> None:
    night = Simulation([daily("b", "0 2 * * *"), daily("a", "0 2 * * *"), hourly("first", DAY)])
    night.days(1)
    assert [work.job.name for work in night.works][:3] == ["first", "b", "a"]


def test_the_repetition_of_a_job_that_still_runs_is_left_out_and_said() -> None:
    slow = Simulation([hourly()], takes=lambda _job: timedelta(minutes=150))
    slow.until(START + 6 * HOUR)
    assert slow.began("backup") == [START, START + 3 * HOUR, START + 6 * HOUR]
    assert [event.fields["reason"] for event in slow.told("job_missed")] == ["running"] * 4
    assert slow.sheet.rows["backup"].missed == 4


def test_the_repetition_of_a_job_that_still_waits_is_left_out_and_said() -> None:
    jobs = [hourly("long", DAY), hourly("short")]
    waiting = Simulation(
        jobs, takes=lambda job: 3 * HOUR + timedelta(minutes=1) if job.name == "long" else timedelta(minutes=1)
    )
    waiting.until(START + 4 * HOUR)
    assert waiting.began("short") == [START + 3 * HOUR + timedelta(minutes=1), START + 4 * HOUR]
    assert [event.fields["reason"] for event in waiting.told("job_missed")] == ["waiting"] * 3


def test_a_job_that_fails_is_said_and_the_next_one_runs() -> None:
    failing = Simulation([daily("a", "0 2 * * *"), daily("b", "0 2 * * *")])
    failing.code = 3
    failing.days(1)
    assert [event.fields["exit_code"] for event in failing.told("job_finished")] == [3, 3]


def test_a_job_that_cannot_be_started_is_tried_again() -> None:
    stuck = Simulation([hourly("backup", DAY)])
    stuck.refuses = ChildFailedError("python cannot be started")
    stuck.until(START + timedelta(minutes=5))
    assert not stuck.works
    assert len(stuck.told("job_not_started")) == 1
    stuck.refuses = None
    stuck.until(START + timedelta(minutes=10))
    assert len(stuck.works) == 1


def test_a_job_waits_for_one_that_somebody_began_and_is_neither_lost_nor_a_failure() -> None:
    waiting = Simulation([hourly("backup", 6 * HOUR)])
    waiting.until(START + 5 * HOUR)
    waiting.refuses = LockedError("another job of this stack runs: drill, begun by hand")
    waiting.until(START + 7 * HOUR)
    assert len(waiting.works) == 1
    (told,) = waiting.told("job_waits")
    assert told.message == "backup waits: another job of this stack runs: drill, begun by hand"
    assert told.level < Level.WARNING
    assert waiting.loop.waiting
    waiting.refuses = None
    waiting.until(START + 8 * HOUR)
    assert waiting.began("backup")[1] - (START + 7 * HOUR) <= timedelta(seconds=30)
    assert not waiting.told("job_not_started")
    assert waiting.loop.exit_code == ExitCode.OK
    waiting.until(START + 13 * HOUR)
    assert waiting.began("backup")[2] == START + 12 * HOUR, "its next time is its own again"


def test_a_job_that_could_not_be_started_does_not_wait_for_a_clock_that_was_set_back() -> None:
    stuck = Simulation([hourly("backup", DAY)])
    stuck.refuses = ChildFailedError("python cannot be started")
    stuck.loop.step()
    stuck.refuses = None
    stuck.clock.moment -= 2 * DAY
    stuck.loop.step()
    assert len(stuck.works) == 1


# --- what was missed --------------------------------------------------------------------------------------------------


def test_after_a_sleep_of_two_days_a_job_runs_once() -> None:
    asleep = Simulation([hourly("backup", 6 * HOUR), daily("prune")])
    asleep.days(1.1)
    before = len(asleep.began("backup"))
    asleep.clock.moment += 2 * DAY + HOUR
    asleep.loop.step()
    asleep.until(asleep.clock.moment + timedelta(minutes=10))
    assert len(asleep.began("backup")) == before + 1
    assert {event.fields["job"]: event.fields["count"] for event in asleep.told("job_missed")} == {
        "backup": 8,
        "prune": 2,
    }
    assert all(event.fields["made_up"] for event in asleep.told("job_missed"))
    asleep.days(1)
    assert len(asleep.began("backup")) == before + 1 + 4  # and on its old times again


def test_after_a_restart_what_was_due_meanwhile_runs_once() -> None:
    before = Simulation([daily()])
    before.days(3.5)
    after = Simulation([daily()], sheet=before.sheet, clock=Hands(START + 10 * DAY))
    after.until(after.clock.moment + HOUR)
    assert len(after.works) == 1
    assert after.sheet.rows["backup"].missed == 5  # of six nights, one is made up for
    again = Simulation([daily()], sheet=after.sheet, clock=after.clock)
    again.until(again.clock.moment + timedelta(minutes=20))
    assert not again.works


def test_what_shall_not_be_made_up_for_is_said_and_skipped() -> None:
    before = Simulation([daily(catch_up=False)])
    before.days(1.5)
    after = Simulation([daily(catch_up=False)], sheet=before.sheet, clock=Hands(START + 10 * DAY))
    after.until(after.clock.moment + HOUR)
    assert not after.works
    (missed,) = after.told("job_missed")
    assert (missed.fields["count"], missed.fields["made_up"]) == (8, False)


def test_what_waits_for_its_turn_is_not_missed_though_it_shall_not_be_made_up_for() -> None:
    jobs = [hourly("long", DAY), daily(catch_up=False)]
    busy = Simulation(jobs, takes=lambda job: 12 * HOUR if job.name == "long" else HOUR)
    busy.until(START + 13 * HOUR)
    assert busy.began("backup") == [START + 12 * HOUR]


def test_a_new_job_has_missed_nothing_and_one_with_an_interval_runs_at_once() -> None:
    new = Simulation([daily(), hourly("status")])
    new.until(START + timedelta(minutes=5))
    assert [work.job.name for work in new.works] == ["status"]
    assert not new.told("job_missed")


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_by_a_little_repeats_nothing() -> None:
    back = Simulation([daily()])
    back.until(START + 2 * HOUR)
    assert len(back.works) == 1
    back.clock.moment -= timedelta(minutes=50)
    back.days(0.5)
    assert len(back.works) == 1
    assert not back.told("clock_set_back")


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule_when_it_is_put_right() -> None:
    ahead = Simulation([daily(), hourly("vectors", 6 * HOUR)], clock=Hands(START + 3650 * DAY))
    ahead.days(2.1)
    ran = len(ahead.works)
    ahead.clock.moment = START
    ahead.days(2)
    assert len(ahead.told("clock_set_back")) == 1
    assert len(ahead.works) >= ran + 2 + 7


# --- a schedule that changes ------------------------------------------------------------------------------------------


def test_a_job_that_runs_while_its_line_is_taken_away_goes_on_and_is_forgotten_afterwards() -> None:
    taken = Simulation([hourly("backup", DAY)], takes=lambda _job: HOUR)
    taken.until(START + timedelta(minutes=10))
    taken.loop.reload([daily("prune")])
    taken.until(START + 2 * HOUR)
    assert [event.fields["exit_code"] for event in taken.told("job_finished")] == [0]
    assert list(taken.sheet.rows) == ["prune"]


def test_a_line_whose_times_change_while_its_job_runs_counts_from_then_on() -> None:
    edited = Simulation([hourly("backup", DAY)], takes=lambda _job: HOUR)
    edited.until(START + timedelta(minutes=30))
    edited.loop.reload([daily("backup", "*/15 * * * *", zone=UTC)])
    edited.until(START + timedelta(minutes=80))
    assert edited.began("backup") == [START, START + HOUR]
    assert [event.fields["newest"][11:16] for event in edited.told("job_missed")] == ["00:45", "01:15"]


def test_changed_times_have_missed_nothing() -> None:
    before = Simulation([daily("backup", "0 2 * * *")])
    before.days(1.5)
    after = Simulation([daily("backup", "0 3 * * *")], sheet=before.sheet, clock=Hands(START + 2 * DAY))
    after.until(after.clock.moment + timedelta(minutes=30))
    assert not after.works
    assert not after.told("job_missed")


# --- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CO-2")
def test_a_job_that_is_stopped_is_run_again_after_the_next_start() -> None:
    stopped = Simulation([hourly("backup", DAY)], takes=lambda _job: HOUR)
    stopped.until(START + timedelta(minutes=10))
    stopped.loop.stop()
    assert stopped.works[0].asked
    stopped.works[0].code, stopped.works[0].ended = 130, True
    stopped.loop.step()
    assert not stopped.loop.busy
    assert stopped.sheet.rows["backup"].exit_code == 130
    again = Simulation([hourly("backup", DAY)], sheet=stopped.sheet, clock=stopped.clock)
    again.until(START + 2 * HOUR)
    assert [work.code for work in again.works] == [0]


@pytest.mark.parametrize(
    ("code", "seconds", "again"), [(130, 1, True), (-15, 1, True), (130, 120, False), (3, 1, False)]
)
def test_a_job_that_was_interrupted_a_moment_before_the_schedule_was_belongs_to_it(
    code: int, seconds: int, again: bool
) -> None:
    ended = Simulation([hourly("backup", DAY)])
    ended.code = code
    ended.until(START + timedelta(minutes=2))
    ended.clock.sleep(seconds)
    ended.loop.stop()
    ended.loop.step()
    row = ended.sheet.rows["backup"]
    assert (row.exit_code, row.pending) == (code, START if again else None)


def test_a_job_that_ends_well_though_it_was_asked_to_stop_is_not_run_again() -> None:
    stopped = Simulation([hourly("backup", DAY)], takes=lambda _job: HOUR)
    stopped.until(START + timedelta(minutes=59))
    stopped.loop.stop()
    stopped.until(START + HOUR)
    assert stopped.sheet.rows["backup"].exit_code == 0
    assert stopped.sheet.rows["backup"].pending is None


@pytest.mark.parametrize("catch_up", [True, False])
def test_a_job_whose_scheduler_died_is_interrupted_and_made_up_for_once(*, catch_up: bool) -> None:
    job, sheet, clock = hourly("backup", DAY, catch_up=catch_up), Sheet(), Hands()
    runs = []
    for minutes in (10, 20, 30, 40):
        killed = Simulation([job], sheet=sheet, clock=clock, takes=lambda _job: HOUR)
        killed.until(START + timedelta(minutes=minutes))
        runs.append(len(killed.works))
        assert bool(killed.told("job_interrupted")) == (runs[: len(runs) - 1][-1:] == [1])
    assert runs == ([1, 1, 0, 0] if catch_up else [1, 0, 0, 0])
    row = sheet.rows["backup"]
    assert (row.exit_code, row.running, row.finished is not None) == (None, False, True)


def test_a_job_that_outlives_its_scheduler_is_waited_for() -> None:
    sheet, clock = Sheet(), Hands()
    killed = Simulation([hourly("backup", DAY), daily("prune", "5 0 * * *", zone=UTC)], sheet=sheet, clock=clock)
    killed.loop.step()
    after = Simulation(
        [hourly("backup", DAY), daily("prune", "5 0 * * *", zone=UTC)], sheet=sheet, clock=clock, lives=True
    )
    after.until(START + timedelta(minutes=20))
    assert not after.works
    assert not after.loop.busy
    assert after.loop.waiting
    after.left.alive = False
    after.until(START + timedelta(minutes=30))
    assert [work.job.name for work in after.works] == ["backup", "prune"]  # how the first one ended, nobody saw


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_memory_that_cannot_be_written_is_told_once_and_stops_nothing() -> None:
    full = Simulation([hourly("backup", HOUR)])
    full.sheet.broken = True
    full.until(START + 5 * HOUR)
    assert len(full.works) == 6
    assert len(full.told("schedule_unremembered")) == 1


def test_a_memory_that_was_lost_gets_all_that_is_known_as_soon_as_it_takes_it() -> None:
    lost = Simulation([hourly("backup", DAY), daily("prune")])
    lost.until(START + HOUR)
    lost.sheet.rows, lost.sheet.broken = {}, True
    lost.until(START + 2 * HOUR)
    lost.sheet.broken = False
    lost.until(START + 2 * HOUR + timedelta(minutes=2))
    assert sorted(lost.sheet.rows) == ["backup", "prune"]


def test_a_strict_schedule_begins_nothing_that_it_cannot_write_down() -> None:
    full = Simulation([hourly("backup", HOUR)], strict=True)
    full.sheet.broken = True
    with pytest.raises(StateError):
        full.loop.step()
    assert not full.works


def test_a_sign_of_life_is_kept_though_nothing_is_due() -> None:
    quiet = Simulation([daily()], clock=Hands(START + 4 * HOUR))
    for _ in range(30):
        quiet.loop.step()
        quiet.clock.sleep(BEAT / 2)
    assert quiet.sheet.alive is not None
    assert quiet.clock.now() - quiet.sheet.alive <= timedelta(seconds=BEAT)


def test_it_says_what_it_does_and_what_comes_next() -> None:
    night = Simulation([daily("prune"), hourly("backup", DAY)])
    night.loop.step()
    assert night.loop.outlook == "backup runs"
    night.until(START + timedelta(minutes=5))
    assert night.loop.outlook == "next is prune, 2028-01-01 01:30 UTC"


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], ExitCode.OK),
        ([0, 3, 4], ExitCode.INCOMPLETE),
        ([-9], ExitCode.FAILED),
        ([99, 3], ExitCode.FAILED),
    ],
)
def test_several_jobs_end_with_the_first_code_that_is_not_zero(codes: list[int], code: ExitCode) -> None:
    several = Simulation([daily()])
    for several.code in codes:
        several.days(1)
    assert several.loop.exit_code == code


def test_moments_are_utc() -> None:
    zone = Simulation([daily()])
    zone.days(1)
    assert zone.began("backup") == [datetime(2028, 1, 1, 1, 30, tzinfo=UTC)]
