"""What is remembered of a schedule, in its real file."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.scheduler._jobs import Job, Row
from recoup.scheduler._starting import job_lock
from recoup.scheduler.state import StackMemory, alive, another, given_up, job_states
from recoup.system.statefile import remembered, state_path

NOW = datetime(2026, 11, 21, 17, 30, tzinfo=UTC)
JOB = Job("backup-db", ("backup", "--source", "db"), "0 2 * * *", UTC, sources=("db",))
ROW = Row(
    "backup-db",
    JOB.timing,
    NOW - timedelta(days=9),
    NOW - timedelta(hours=15, minutes=30),
    pending=None,
    attempt=1,
    due=NOW - timedelta(hours=15, minutes=30),
    started=NOW - timedelta(hours=15),
    finished=NOW - timedelta(hours=14),
    exit_code=3,
    missed=2,
)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_what_is_written_is_read_again_and_what_is_gone_is_not() -> None:
    memory = StackMemory("shop")
    other = Row("prune", "30 4 * * * UTC", NOW, NOW, pending=NOW, running=True)
    memory.write([ROW, other], [], NOW)
    assert StackMemory("shop").read() == {"backup-db": ROW, "prune": other}
    memory.write([], ["prune"], NOW + timedelta(minutes=1))
    assert StackMemory("shop").read() == {"backup-db": ROW}
    assert alive("shop") == NOW + timedelta(minutes=1)


def test_a_stack_without_memory_has_none_and_none_is_made() -> None:
    assert alive("shop") is None
    (known,) = job_states("shop", [JOB], NOW)
    assert (known.started, known.next_due, known.missed) == (None, datetime(2026, 11, 22, 2, tzinfo=UTC), 0)
    assert not state_path("shop").exists()


def test_another_configuration_takes_over_only_what_was_given_up(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.touch()
    soon, later = NOW + timedelta(minutes=4), NOW + timedelta(minutes=6)
    assert another("shop", [two], NOW) == ()
    StackMemory("shop", [one]).write([ROW], [], NOW)
    assert another("shop", [one], soon) == ()
    assert another("shop", [one, two], soon) == (), "something is laid over it"
    assert another("shop", [two], soon) == (str(one),)
    assert another("shop", [two], later) == ()
    given_up("shop")
    assert another("shop", [two], soon) == ()


def test_the_state_of_a_job_says_when_it_is_next_due_and_how_it_ended() -> None:
    StackMemory("shop").write([ROW], [], NOW)
    (known,) = job_states("shop", [JOB], NOW)
    assert (known.name, known.run, known.sources) == ("backup-db", "backup", ("db",))
    assert (known.next_due, known.last_due) == (datetime(2026, 11, 22, 2, tzinfo=UTC), ROW.due)
    assert (known.started, known.finished, known.exit_code) == (ROW.started, ROW.finished, 3)
    assert (known.missed, known.running, known.interrupted) == (2, False, False)


def test_a_job_runs_only_as_long_as_its_process_does() -> None:
    StackMemory("shop").write([replace(ROW, running=True, finished=None, exit_code=None)], [], NOW)
    (dead,) = job_states("shop", [JOB], NOW)
    assert (dead.running, dead.interrupted) == (False, True)
    with job_lock("shop").held("backup-db", "another job runs"):
        (living,) = job_states("shop", [JOB], NOW)
    assert (living.running, living.interrupted) == (True, False)


def test_what_nothing_runs_is_due_in_the_past() -> None:
    StackMemory("shop").write([ROW], [], NOW)
    (known,) = job_states("shop", [JOB], NOW + timedelta(days=9))
    assert known.next_due == datetime(2026, 11, 22, 2, tzinfo=UTC)


def test_a_row_that_another_version_wrote_is_begun_anew_unless_it_has_all_that_is_needed() -> None:
    memory = StackMemory("shop")
    memory.write([ROW], [], NOW)
    tables = "CREATE TABLE IF NOT EXISTS schedule_jobs (name TEXT PRIMARY KEY, row TEXT NOT NULL);"
    with remembered("shop", tables) as connection:
        (text,) = connection.execute("SELECT row FROM schedule_jobs").fetchone()
        connection.execute(
            "INSERT INTO schedule_jobs VALUES ('new', ?)", [json.dumps({**json.loads(text), "name": "new", "more": 1})]
        )
        connection.executemany(
            "INSERT INTO schedule_jobs VALUES (?, ?)", [("odd", "{}"), ("torn", "{"), ("list", "[]")]
        )
    assert set(memory.read()) == {"backup-db", "new"}


@pytest.mark.parametrize(
    ("job", "distance"),
    [
        (Job("a", ("backup",), "", UTC, timedelta(hours=6)), timedelta(hours=6)),
        (Job("a", ("backup",), "0 2 * * *", UTC), timedelta(days=1)),
        (Job("a", ("backup",), "0 2 * * 1-5", UTC), timedelta(days=3)),
        (Job("a", ("backup",), "0 2 1 * *", UTC), timedelta(days=31)),
    ],
)
def test_the_distance_of_two_runs_is_the_longest_one(job: Job, distance: timedelta) -> None:
    assert job.distance(NOW) == distance
