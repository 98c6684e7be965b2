"""Programs beside us: where they write, what they inherit, how their end is known."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from recoup.system.clock import SystemClock
from recoup.system.holding import Lock
from recoup.system.subprocesses import Beside, ChildFailedError, code_of


def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        SystemClock().sleep(0.01)
    raise AssertionError("it did not become true")


def test_it_writes_into_the_files_and_has_the_environment_that_it_is_given(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        beside = Beside(
            ["/bin/sh", "-c", 'echo "$A$HOME"; echo told >&2; cat'],
            stdout=out.fileno(),
            stderr=err.fileno(),
            environ={"A": "a"},
        )
        until(lambda: beside.poll() is not None)
    assert (tmp_path / "out").read_text() == "a\n"
    assert (tmp_path / "err").read_text() == "told\n"


def test_one_that_is_left_to_itself_leaves_no_zombie() -> None:
    beside = Beside(["true"])
    beside.leave()
    until(lambda: not Path(f"/proc/{beside.pid}").exists())


def test_what_is_run_to_its_end_tells_how_it_ended_and_holds_what_it_inherits(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with lock.held("", "locked") as descriptor:
        assert code_of(["/bin/sh", "-c", f"test -e /dev/fd/{descriptor} && exit 3"], (descriptor,)) == 3
    assert code_of(["/bin/sh", "-c", "kill -9 $$"]) == -signal.SIGKILL
    with pytest.raises(ChildFailedError, match="nonexistent cannot be started"):
        code_of(["/nonexistent"])


def test_asking_whether_a_lock_is_held_is_no_holding_for_others_who_ask(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with lock.held("", "locked"):
        assert lock.lives()
    other = lock._opened()
    try:
        import fcntl

        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert not lock.lives()
    finally:
        os.close(other)
