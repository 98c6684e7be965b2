"""What a daemon stands on: locks, waiting for signals, children, the service manager."""

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import LockedError
from recoup.system.clock import local_zone
from recoup.system.holding import Lock
from recoup.system.service_manager import ServiceManager
from recoup.system.subprocesses import Beside, ChildFailedError, reap
from recoup.system.waking import Waker

# --- locks ------------------------------------------------------------------------------------------------------------


def test_a_second_holder_is_told_who_the_first_one_is(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "state" / "shop.lock")
    with lock.held("`recoup daemon`, process 7", "the schedule is run already by"):
        assert lock.lives()
        with (
            pytest.raises(LockedError, match="run already by: `recoup daemon`, process 7"),
            lock.held("me", "the schedule is run already by"),
        ):
            pass
        assert (tmp_path / "state" / "shop.lock").stat().st_mode & 0o777 == 0o600
    assert not lock.lives()
    with lock.held("me", ""):
        pass


def test_a_child_that_inherits_a_lock_holds_it_until_it_ends(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "job.lock")
    ours, theirs = os.pipe()
    with lock.held("backup", "a job runs") as descriptor:
        child = Beside([sys.executable, "-c", f"import os; os.read({ours}, 1)"], (descriptor, ours))
    assert lock.lives()
    os.close(theirs)
    os.close(ours)
    while child.poll() is None:
        pass
    assert child.poll() == 0
    assert not lock.lives()


def test_a_lock_whose_file_was_removed_meanwhile_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock(tmp_path / "job.lock")
    opened = lock._opened

    def removed_after_opening() -> int:
        descriptor = opened()
        lock.path.unlink()
        return descriptor

    monkeypatch.setattr(lock, "_opened", removed_after_opening)
    with pytest.raises(LockedError), lock.held("me", "it"):
        pass


def test_a_lock_is_no_way_to_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("untouched")
    (tmp_path / "job.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"), Lock(tmp_path / "job.lock").held("me", "it"):
        pass
    assert (tmp_path / "target").read_text() == "untouched"


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_a_signal_ends_the_wait_and_interrupts_nothing_else() -> None:
    with Waker((signal.SIGTERM, signal.SIGHUP)) as waker:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        came = waker.wait(60)
        while len(came) < 2:
            came |= waker.wait(60)
        assert came == {signal.SIGTERM, signal.SIGHUP}
        assert waker.wait(0) == frozenset()


def test_the_end_of_a_child_ends_the_wait() -> None:
    with Waker((signal.SIGCHLD,)) as waker:
        child = Beside([sys.executable, "-S", "-c", "raise SystemExit(3)"])
        while child.poll() is None:
            waker.wait(60)
    assert child.poll() == 3


def test_what_handled_signals_before_does_so_afterwards() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with Waker((signal.SIGHUP,)):
        assert signal.getsignal(signal.SIGHUP) != before
    assert signal.getsignal(signal.SIGHUP) == before


# --- children ---------------------------------------------------------------------------------------------------------


def test_a_program_that_ignores_the_question_is_killed() -> None:
    ignoring = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    child = Beside([sys.executable, "-S", "-c", ignoring])
    child.terminate()
    child.kill()
    while child.poll() is None:
        pass
    assert child.poll() in (-signal.SIGKILL, -signal.SIGTERM)  # it may not have come so far as to ignore anything
    child.terminate()
    child.kill()


def test_a_program_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(ChildFailedError, match="/no/such/program cannot be started"):
        Beside(["/no/such/program"])


def test_children_that_nobody_waits_for_are_reaped_and_ours_are_not() -> None:
    stranger = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", ""], os.environ)
    own = subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(7)"])
    os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
    for _ in range(10_000):  # the system lists the dead in an order of its own
        reap((own.pid,))
        if not Path(f"/proc/{stranger}").exists():
            break
        own.poll()
    assert own.wait() == 7
    reap(())
    with pytest.raises(ChildProcessError):
        os.waitpid(stranger, os.WNOHANG)


# --- the service manager ----------------------------------------------------------------------------------------------


def test_the_service_manager_is_told_what_it_asks_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        service = ServiceManager(
            {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
        )
        assert service.watchdog == 30.0
        service.ready()
        service.alive("next is backup")
        service.alive("next is backup")
        service.reloading()
        service.stopping()
        told = [listening.recv(4096).decode() for _ in range(6)]
    assert told[:4] == ["READY=1", "WATCHDOG=1", "STATUS=next is backup", "WATCHDOG=1"]
    assert told[4].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert told[5] == "STOPPING=1"


def test_an_abstract_socket_works_too() -> None:
    name = f"recoup-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listening.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": "/no/such/socket"}, {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)
def test_a_service_manager_that_is_not_there_is_no_trouble(environ: dict[str, str]) -> None:
    service = ServiceManager(environ)
    service.ready()
    service.alive("waiting")
    service.stopping()
    assert service.watchdog is None


@pytest.mark.requirement("CI-8")
@pytest.mark.parametrize(
    ("told", "hours"),
    [
        ("Asia/Tokyo", 9),
        (":Asia/Tokyo", 9),
        ("Japan", 9),
        ("EST", -5),
        ("JST-9", 9),
        ("UTC", 0),
        ("/usr/share/zoneinfo/Asia/Tokyo", 9),
    ],
)
def test_the_time_zone_is_the_one_that_every_other_program_takes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, told: str, hours: int
) -> None:
    if told.startswith("/") and not Path(told).exists():
        pytest.skip("this machine has no such file")
    monkeypatch.setenv("TZ", told)
    time.tzset()
    try:
        assert datetime(2026, 11, 21, tzinfo=UTC).astimezone(local_zone()).utcoffset() == timedelta(hours=hours)
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_the_machine_has_a_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert str(local_zone()) == "Europe/Berlin"
    monkeypatch.delenv("TZ")
    assert local_zone() is not None
