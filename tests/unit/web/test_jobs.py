"""Jobs outlive who began them, and what became of them is known, whoever is killed."""

import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from recoup.app import open_stack
from recoup.errors import ExitCode, LockedError, RefusedError, UsageError
from recoup.scheduler import _jobs as schedule
from recoup.scheduler._starting import Starter, job_lock
from recoup.system.holding import Lock
from recoup.system.journal import state_folder
from recoup.system.statefile import StateError
from recoup.web.jobs import Jobs
from unit.web.running import CLOCK, OPTIONS, Later, child_of, folder_of, messages, scripted, supervisor, through, until

NEVER_STOPS = """\
version: 1
stack: shop
sources:
  notes:
    kind: directory
    path: notes
    stop: [touch, asked]
    start: [touch, started]
    wait: {command: ["true"]}
repositories:
  local: {path: backups}
"""


@pytest.fixture(autouse=True)
def _no_job_is_left() -> Iterator[None]:
    """Ends what a test that failed has left."""
    yield
    for folder in state_folder().glob("stacks/*.jobs/*"):
        if Lock(folder / "alive.lock").lives():
            until((folder / "process.json").exists)
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(json.loads((folder / "process.json").read_bytes())["group"], signal.SIGKILL)


# --- what a job is ----------------------------------------------------------------------------------------------------


def test_a_backup_runs_as_a_job_and_tells_progress_exit_code_and_results(stack_folder: Path, preloaded: Path) -> None:
    config = stack_folder / "recoup.yaml"
    jobs = Jobs("shop", ("-c", str(config)), CLOCK, (str(preloaded / "recoup"),))
    begun = jobs.start(("backup", "--note", "by hand"), "anna")
    assert (begun.state, begun.exit_code, begun.finished) == ("running", None, None)
    job = through(jobs, begun)
    assert (job.state, job.exit_code, job.by) == ("ended", ExitCode.OK, "anna")
    assert job.finished is not None
    assert job.started == begun.started < job.finished
    records = jobs.news(job.id).records
    progress = [record for record in records if record["event"] == "progress"]
    assert {record["work"] for record in progress if record["finished"]} == {"backup notes", "backup chat"}
    assert "backup_created" in [record["event"] for record in records]
    (result,) = (found for found in jobs.results(job.id) if found["type"] == "backup")
    assert result["manifest"]["note"] == "by hand"
    assert result["manifest"]["name"] in [info.name for info in open_stack([config]).sets()]


def test_the_command_that_is_shown_asks_and_the_one_that_is_run_does_not() -> None:
    jobs = scripted('for one; do echo "$one" >&2; done')
    job = through(jobs, jobs.start(("restore", "latest", "--in-place", "a b")))
    assert job.command == """recoup -c '/srv/it'"'"'s mine.yaml' restore latest --in-place 'a b'"""
    given = messages(jobs, job)
    assert given[:2] == list(OPTIONS)
    assert given[-4:] == ["restore", "latest", "--in-place", "a b"]
    assert {"--yes", "--json", "--log-json", "--log-progress"} <= {*given[2:-4]}


def test_a_job_of_a_stack_without_a_name_is_kept_too() -> None:
    jobs = scripted("exit 3", stack="")
    assert through(jobs, jobs.start(("backup",))).exit_code == 3
    assert [job.exit_code for job in jobs.all()] == [3]


def test_what_a_job_writes_is_for_its_owner_alone() -> None:
    jobs = scripted('echo \'{"type": "x"}\'; echo told >&2')
    through(jobs, jobs.start(("list",)))
    root = state_folder() / "stacks" / "shop.jobs"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    files = {"begun.json", "process.json", "ended.json", "news.jsonl", "results.jsonl", "alive.lock"}
    assert {name for name, mode in modes.items() if mode == 0o600} == files
    assert {mode for name, mode in modes.items() if name not in files} == {0o700}


def test_a_program_that_is_not_there_is_said() -> None:
    jobs = Jobs("shop", (), CLOCK, ("/nonexistent/recoup",))
    job = through(jobs, jobs.start(("backup",)))
    assert (job.state, job.exit_code) == ("ended", 127)
    assert messages(jobs, job) == ["Error: /nonexistent/recoup cannot be started (No such file or directory)."]


@pytest.mark.parametrize("arguments", [(), ("backup", "a\0b"), ("backup", "\ud800")])
def test_what_can_be_no_command_line_is_refused_and_leaves_nothing(arguments: tuple[str, ...]) -> None:
    jobs = scripted("exit 0")
    with pytest.raises(UsageError):
        jobs.start(arguments)
    assert jobs.all() == ()


def test_a_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "recoup").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(StateError, match=r"shop\.jobs, where jobs are kept, cannot be written: Not a directory"):
        scripted("exit 0").start(("backup",))


# --- one at a time ----------------------------------------------------------------------------------------------------


def test_a_second_job_is_refused_and_told_what_runs() -> None:
    jobs = scripted("exec sleep 60")
    first = jobs.start(("drill", "--note", "a\nb"), "anna")
    other = Jobs("shop", (), CLOCK, ("true",))
    with pytest.raises(LockedError, match=r"runs: drill --note 'a.b', begun .* by anna") as refused:
        other.start(("backup",))
    assert "cancel" in refused.value.hint
    assert [job.id for job in other.all()] == [first.id]
    assert Jobs("another", (), CLOCK, ("true",)).start(("backup",)).state == "running"
    jobs.cancel(first.id)
    through(jobs, first)
    assert through(other, other.start(("backup",))).exit_code == 0


def test_a_job_of_the_schedule_and_one_that_is_clicked_keep_each_other_out() -> None:
    jobs = scripted("exec sleep 60")
    due = schedule.Job("nightly", ("backup",), "", UTC, timedelta(hours=1))
    clicked = jobs.start(("drill",))
    with pytest.raises(LockedError, match="another job of this stack runs: drill, begun"):
        Starter(("true",), job_lock("shop"))(due)
    jobs.cancel(clicked.id)
    through(jobs, clicked)
    run = Starter(("/bin/sh", "-c", "exec sleep 60", "recoup"), job_lock("shop"))(due)
    try:
        with pytest.raises(LockedError, match="another job of this stack runs: nightly"):
            jobs.start(("drill",))
    finally:
        run.kill()
        until(lambda: run.poll() is not None)


def test_of_many_who_begin_at_once_one_does() -> None:
    begun, refused = [], []
    together = threading.Barrier(8)

    def begin() -> None:
        jobs = scripted("exec sleep 60")
        together.wait()
        try:
            begun.append(jobs.start(("backup",)))
        except LockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(begun), len(refused)) == (1, 7)
    jobs = scripted("")
    assert [job.id for job in jobs.all()] == [begun[0].id]
    jobs.cancel(begun[0].id)
    through(jobs, begun[0])


# --- its end ----------------------------------------------------------------------------------------------------------


def test_a_job_that_is_cancelled_tidies_up_as_after_a_key_press(stack_folder: Path, preloaded: Path) -> None:
    config = stack_folder / "recoup.yaml"
    config.write_text(NEVER_STOPS)
    jobs = Jobs("shop", ("-c", str(config)), CLOCK, (str(preloaded / "recoup"),))
    before = sorted(path.name for path in (stack_folder / "backups").iterdir())
    job = jobs.start(("backup",))
    until((stack_folder / "asked").exists)
    jobs.cancel(job.id)
    found = through(jobs, job)
    assert (found.state, found.exit_code) == ("ended", ExitCode.INTERRUPTED)
    until((stack_folder / "started").exists)  # a service that was to stop runs again
    assert sorted(path.name for path in (stack_folder / "backups").iterdir()) == before


def test_a_job_that_does_not_end_is_asked_again_after_a_while() -> None:
    script = (
        "trap 'echo int >&2' INT; trap 'echo term >&2; exit 130' TERM; echo ready >&2; while :; do sleep 0.05; done"
    )
    jobs = scripted(script)
    job = jobs.start(("backup",))
    until(lambda: "ready" in messages(jobs, job))
    jobs.cancel(job.id)
    until(lambda: "int" in messages(jobs, job))
    jobs.cancel(job.id)  # a second click at once is the same wish
    Jobs("shop", (), Later(timedelta(seconds=11))).cancel(job.id)
    assert through(jobs, job).exit_code == 130
    assert [text for text in messages(jobs, job) if text in ("int", "term")] == ["int", "term"]
    jobs.cancel(job.id)  # it is no more


def test_a_job_that_is_cancelled_before_its_command_begins_has_ended() -> None:
    jobs = scripted("exec sleep 60")
    job = jobs.start(("backup",))
    jobs.cancel(job.id)
    assert through(jobs, job).exit_code in (ExitCode.INTERRUPTED, -signal.SIGINT)


class Hurried(Later):
    """Does not wait."""

    def sleep(self, _seconds: float) -> None:
        pass


def test_a_job_of_another_host_is_not_ended_by_chance() -> None:
    jobs = scripted("exec sleep 60")
    job = jobs.start(("backup",))
    until(lambda: supervisor(job))
    noted = folder_of(job) / "process.json"
    here = noted.read_bytes()
    noted.write_text(json.dumps({**json.loads(here), "host": "elsewhere"}))
    with pytest.raises(RefusedError, match="on another host"):
        jobs.cancel(job.id)
    noted.unlink()
    with pytest.raises(RefusedError, match="where nobody knows"):
        Jobs("shop", (), Hurried(timedelta(0))).cancel(job.id)
    noted.write_bytes(here)
    jobs.cancel(job.id)
    through(jobs, job)


def test_a_command_that_is_killed_has_ended_by_the_signal() -> None:
    jobs = scripted("exec sleep 60")
    job = jobs.start(("backup",))
    os.kill(child_of(supervisor(job)), signal.SIGKILL)
    found = through(jobs, job)
    assert (found.state, found.exit_code) == ("ended", -signal.SIGKILL)


def test_a_command_whose_supervisor_is_killed_runs_on_can_be_cancelled_and_is_lost_then() -> None:
    jobs = scripted("trap 'echo asked >&2; exit 130' INT; echo ready >&2; while :; do sleep 0.05; done")
    job = jobs.start(("backup",))
    until(lambda: "ready" in messages(jobs, job))
    os.kill(supervisor(job), signal.SIGKILL)
    until(lambda: not Path(f"/proc/{supervisor(job)}").exists())
    assert [job.id for job in jobs.all() if job.state == "running"] == [job.id]
    with pytest.raises(LockedError):
        jobs.start(("backup",))
    jobs.cancel(job.id)
    found = through(jobs, job)
    assert (found.state, found.exit_code, found.finished) == ("lost", None, None)
    assert jobs.running is None
    assert messages(jobs, job) == ["ready", "asked"]
    assert through(jobs, Jobs("shop", (), CLOCK, ("true",)).start(("backup",))).state == "ended"


def test_a_job_whose_processes_are_all_killed_is_lost() -> None:
    jobs = scripted("printf half >&2; exec sleep 60")
    job = jobs.start(("backup",))
    until((folder_of(job) / "news.jsonl").read_bytes)
    os.killpg(supervisor(job), signal.SIGKILL)
    assert through(jobs, job).state == "lost"
    assert jobs.running is None
    assert messages(jobs, job) == ["half"], "what was being written is shown"


_STARTER = """
import sys
from recoup.system.clock import SystemClock
from recoup.web.jobs import Jobs
jobs = Jobs("shop", (), SystemClock(), ("/bin/sh", "-c", sys.argv[1], "recoup"))
print(jobs.start(("backup",), "anna").id, flush=True)
sys.stdin.read()
"""


def test_a_job_goes_on_when_its_starter_is_killed_and_is_found_by_the_next_one(preloaded: Path) -> None:
    script = "trap 'echo result; echo late >&2; exit 4' USR1; echo ready >&2; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [preloaded / "python", "-c", _STARTER, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        job_id = starter.stdout.readline().strip()
        starter.kill()
    jobs = scripted("exit 0")
    job = jobs.running
    assert job is not None
    assert (job.id, job.by, job.state) == (job_id, "anna", "running")
    until(lambda: messages(jobs, job) == ["ready"])
    end = jobs.news(job_id).end
    os.kill(child_of(supervisor(job)), signal.SIGUSR1)
    found = through(jobs, job)
    assert (found.state, found.exit_code) == ("ended", ExitCode.DAMAGED)
    assert [record["message"] for record in jobs.news(job_id, end).records] == ["late"]
    assert jobs.running is None
