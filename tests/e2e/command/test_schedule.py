"""`recoup schedule` and `recoup daemon` as a person, cron and systemd run them: real processes, real signals, real files."""

import contextlib
import json
import os
import pty
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.command.conftest import Recoup, command, environment, sets
from recoup.system.statefile import state_path

DAY = "schedule:\n  - {run: backup, every: 1d}\n"
HEAVY = (
    "rich",
    "httpx",
    "obstore",
    "duckdb",
    "psycopg",
    "qdrant_client",
    "prometheus_client",
    "apprise",
    "dask",
    "asyncio",
)
NEVER = 'schedule:\n  - {run: backup, cron: "0 0 29 2 *"}\n'


def scheduled(folder: Path, lines: str = DAY) -> Path:
    """The stack with a schedule."""
    text = (folder / "recoup.yaml").read_text().partition("schedule:")[0]
    (folder / "recoup.yaml").write_text(text + lines)
    return folder


@contextlib.contextmanager
def standing_still(folder: Path) -> Iterator[None]:
    """Meanwhile a backup waits for its database."""
    with contextlib.closing(sqlite3.connect(folder / "data" / "chat.db", isolation_level=None)) as blocker:
        blocker.execute("begin exclusive")
        yield


@dataclass
class Service:
    """A daemon under something like systemd."""

    process: "subprocess.Popen[str]"
    notified: socket.socket
    log: Path

    def told(self) -> list[str]:
        """Names of the events so far."""
        return [str(event["event"]) for event in self.events()]

    def events(self) -> list[dict[str, object]]:
        """Its events and those of its jobs so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def waits_for(self, event: str) -> None:
        """Waits until an event was told."""
        while event not in self.told():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def hears(self, message: str) -> None:
        """Waits until the service manager was told something."""
        self.notified.settimeout(60)
        while not self.notified.recv(4096).decode().startswith(message):
            pass

    def job(self) -> int:
        """The process of the job that runs."""
        ours = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while not (found := ours.read_text().split()):
            time.sleep(0.05)
        return int(found[0])

    def ends(self) -> int:
        """Its exit code."""
        return self.process.wait(60)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts daemons, and ends them."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *arguments: str) -> Service:
            number = len(list(tmp_path.glob("notify-*")))
            notified = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notified.bind(str(tmp_path / f"notify-{number}"))
            log = tmp_path / f"daemon-{number}.log"
            process = subprocess.Popen(
                command("daemon", "--log-json", *arguments),
                cwd=folder,
                env={**environment(tmp_path), "NOTIFY_SOCKET": str(tmp_path / f"notify-{number}")},
                stdout=subprocess.DEVNULL,
                stderr=stack.enter_context(log.open("w")),
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Service(process, notified, log)

        yield start


# --- show and tick ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SR-6")
def test_a_tick_runs_what_is_due_and_the_next_one_has_nothing_to_do(
    fresh: Path, recoup: Recoup, inside: Recoup
) -> None:
    scheduled(fresh)
    assert "backup is due since" in inside(fresh, "schedule", "tick", "-n").stdout
    assert not sets(fresh)
    first = recoup(fresh, "schedule", "tick")
    assert first.returncode == 0, first.stderr
    assert "complete" in first.stdout
    assert "backup ended well" in first.stderr
    second = recoup(fresh, "schedule", "tick")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(sets(fresh)) == 1


def test_a_tick_with_nothing_to_do_loads_nothing_heavy(fresh: Path, tmp_path: Path) -> None:
    scheduled(fresh, NEVER)
    script = (
        "import sys; from recoup.cli.main import run; code = run(['schedule', 'tick'])\n"
        f"print(code, *(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=fresh, env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["0"], done.stderr


def test_files_in_the_present_folder_that_are_called_like_modules_do_no_harm(fresh: Path, inside: Recoup) -> None:
    for module in ("json", "calendar", "typer", "sqlite3"):
        (fresh / f"{module}.py").write_text("raise SystemExit('taken from the present folder')")
    done = inside(scheduled(fresh), "schedule", "tick")
    assert done.returncode == 0, done.stderr
    assert len(sets(fresh)) == 1


def test_a_job_that_fails_gives_the_tick_its_exit_code(fresh: Path, inside: Recoup) -> None:
    scheduled(fresh)
    (fresh / "data" / "chat.db").unlink()
    done = inside(fresh, "schedule", "tick")
    assert done.returncode == 3, done.stderr
    assert "backup ended with exit code 3" in done.stderr
    shown = inside(fresh, "schedule", "show").stdout
    assert "exit code 3" in shown


def test_the_schedule_is_shown_with_its_next_times(fresh: Path, inside: Recoup) -> None:
    scheduled(fresh, 'schedule:\n  - {run: verify, cron: "0 6 1 1 *", timezone: Europe/Berlin, jitter: 10m}\n')
    done = inside(fresh, "schedule", "show", "--next", "2", "--json")
    assert done.returncode == 0
    job = json.loads(done.stdout)
    assert (job["type"], job["name"], job["run"], job["started"]) == ("job", "verify", "verify", None)
    assert [moment[4:13] for moment in job["next"]] == ["-01-01T05", "-01-01T05"]
    assert job["when"].startswith("0 6 1 1 * (Europe/Berlin)")
    assert "Nothing under this account runs this schedule yet" in done.stderr


@pytest.mark.parametrize("verb", ["daemon", "schedule tick", "schedule show"])
def test_without_a_schedule_there_is_one_to_copy(fresh: Path, inside: Recoup, verb: str) -> None:
    done = inside(fresh, *verb.split())
    assert done.returncode == 2
    assert "there is no schedule in" in done.stderr
    assert '- {run: backup, cron: "0 2 * * *"}' in done.stderr


def test_one_repository_for_a_whole_schedule_is_refused(fresh: Path, inside: Recoup) -> None:
    done = inside(scheduled(fresh), "schedule", "tick", "-r", "local")
    assert done.returncode == 2
    assert "-r has no meaning for a whole schedule" in done.stderr


def test_a_wrong_line_is_found_by_config_check(fresh: Path, inside: Recoup) -> None:
    done = inside(scheduled(fresh, "schedule:\n  - {run: backup, every: 1d, sources: [chats]}\n"), "config", "check")
    assert done.returncode == 2
    assert "recoup.yaml:9: `schedule.0.sources` names the source `chats`, which is not configured" in done.stderr


def test_a_memory_that_cannot_be_used_keeps_a_tick_from_beginning_anything(fresh: Path, inside: Recoup) -> None:
    state_path("small").mkdir(parents=True)
    done = inside(scheduled(fresh), "schedule", "tick")
    assert done.returncode == 1
    assert "small.db, where this machine remembers" in done.stderr
    assert not sets(fresh)


def test_a_job_is_done_though_nobody_listens_any_more(fresh: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    tick = subprocess.run(
        command("schedule", "tick"),
        cwd=scheduled(fresh),
        env=environment(tmp_path),
        stdout=writing,
        stderr=writing,
        check=False,
    )
    os.close(writing)
    assert tick.returncode == 0
    assert len(sets(fresh)) == 1


def test_two_configurations_of_one_stack_name_do_not_silently_forget_each_others_jobs(
    fresh: Path, inside: Recoup
) -> None:
    twin = fresh.with_name("twin")
    shutil.copytree(scheduled(fresh, NEVER), twin)
    assert inside(fresh, "schedule", "tick").returncode == 0
    for verb in ("schedule tick", "daemon"):
        refused = inside(twin, *verb.split())
        assert refused.returncode == 2, refused.stderr
        assert f"the schedule of small is run from another configuration: {fresh}/recoup.yaml" in refused.stderr
    (fresh / "recoup.yaml").unlink()
    assert inside(twin, "schedule", "tick").returncode == 0


def test_a_tick_that_overlaps_with_another_one_ends_at_once_and_one_that_is_stopped_says_so(
    fresh: Path, inside: Recoup, tmp_path: Path
) -> None:
    with standing_still(fresh):
        first = subprocess.Popen(
            command("schedule", "tick"),
            cwd=scheduled(fresh),
            env=environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not list((fresh / "backups" / ".locks").glob("*")):
            time.sleep(0.05)
        second = inside(fresh, "schedule", "tick")
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
        first.send_signal(signal.SIGTERM)
        _, told = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "backup was interrupted; it is run again" in told
    assert "ended before everything that is due was done" in told
    assert not sets(fresh)


# --- the daemon -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("CO-2")
def test_a_daemon_runs_its_schedule_alone_loads_it_again_and_ends(
    fresh: Path, recoup: Recoup, inside: Recoup, serve: Callable[..., Service]
) -> None:
    service = serve(scheduled(fresh))
    service.hears("READY=1")
    service.waits_for("job_finished")
    assert len(sets(fresh)) == 1

    second = inside(fresh, "daemon", "--metrics", "0")
    assert second.returncode == 11
    assert "Metrics" not in second.stderr
    assert f"the schedule of small is run already by: `recoup daemon`, process {service.process.pid}" in second.stderr
    tick = inside(fresh, "schedule", "tick")
    assert (tick.returncode, tick.stdout, tick.stderr) == (0, "", "")

    good = (fresh / "recoup.yaml").read_text()
    (fresh / "recoup.yaml").write_text(good + "  - {run: verify}\n")
    service.process.send_signal(signal.SIGHUP)
    service.waits_for("schedule_refused")
    (refused,) = (event for event in service.events() if event["event"] == "schedule_refused")
    assert "recoup.yaml:10: `schedule.1` cannot be used: it says no time" in str(refused["message"])
    (fresh / "recoup.yaml").write_text(good + "  - {run: verify, every: 1d}\n")
    service.process.send_signal(signal.SIGHUP)
    service.waits_for("schedule_loaded")
    while service.told().count("job_finished") < 2:
        time.sleep(0.05)

    service.process.send_signal(signal.SIGTERM)
    assert service.ends() == 0
    service.hears("STOPPING=1")
    ended = [event for event in service.events() if event["event"] == "job_finished"]
    assert [(event["job"], event["exit_code"]) for event in ended] == [("backup", 0), ("verify", 0)]
    assert service.told()[-1] == "schedule_ended"
    assert "Nothing" not in inside(fresh, "schedule", "show").stdout


@pytest.mark.requirement("CO-2")
def test_ending_the_daemon_ends_the_running_job_cleanly_and_the_next_start_makes_up_for_it(
    fresh: Path, recoup: Recoup, serve: Callable[..., Service]
) -> None:
    with standing_still(fresh):
        service = serve(scheduled(fresh))
        service.job()
        while not list((fresh / "backups" / ".locks").glob("*")):
            time.sleep(0.05)
        service.process.send_signal(signal.SIGTERM)
        assert service.ends() == 0
    assert "job_interrupted" in service.told()
    assert not sets(fresh)
    assert not list((fresh / "backups" / ".locks").glob("*"))
    assert recoup(fresh, "schedule", "tick").returncode == 0
    assert len(sets(fresh)) == 1


def test_a_job_that_does_not_end_is_killed_when_the_grace_is_over(fresh: Path, serve: Callable[..., Service]) -> None:
    with standing_still(fresh):
        service = serve(scheduled(fresh), "--grace", "1s")
        job = service.job()
        os.kill(job, signal.SIGSTOP)
        service.process.send_signal(signal.SIGINT)
        assert service.ends() == 0
    assert not Path(f"/proc/{job}").exists()
    assert "job_interrupted" in service.told()


def test_closing_its_terminal_ends_a_daemon(fresh: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    takes_it = f"exec 3<>{os.ttyname(theirs)}; exec {shlex.join(command('daemon'))}"
    process = subprocess.Popen(
        ["sh", "-c", takes_it],
        cwd=scheduled(fresh, NEVER),
        env=environment(tmp_path),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    told = b""
    while b"the schedule runs" not in told:
        told += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(60) == 0


@pytest.mark.requirement("CO-2")
def test_a_job_outlives_its_killed_daemon_and_the_next_one_waits_for_it(
    fresh: Path, inside: Recoup, serve: Callable[..., Service]
) -> None:
    with standing_still(fresh):
        killed = serve(scheduled(fresh))
        job = killed.job()
        killed.process.kill()
        killed.ends()
        state = inside(fresh, "schedule", "show", "--json")
        assert json.loads(state.stdout)["running"] is True
        after = serve(fresh)
        after.hears("READY=1")
        os.kill(job, 0)  # raises when it is gone
        assert "job_started" not in after.told()
        os.kill(job, signal.SIGKILL)
    after.waits_for("job_finished")
    assert [event for event in after.told() if event.startswith("job_")] == [
        "job_interrupted",
        "job_started",
        "job_finished",
    ]
    assert len(sets(fresh)) == 1
