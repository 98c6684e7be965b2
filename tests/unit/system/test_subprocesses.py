"""Children end with us, and at once when the user wants to stop."""

import os
import signal
import threading
from pathlib import Path

import pytest

from recoup.errors import InterruptedRunError
from recoup.sources import _qdrant_folder
from recoup.system.subprocesses import Child, child, end_all

pytestmark = pytest.mark.started


def test_a_child_that_does_not_answer_is_not_waited_for_when_the_user_wants_to_stop(tmp_path: Path) -> None:
    started: list[Child] = []
    with pytest.raises(KeyboardInterrupt), child(_qdrant_folder.lock, str(tmp_path)) as process:
        started.append(process)
        pid = process.answer()
        os.kill(pid, signal.SIGSTOP)  # busy with something long, as far as anybody can tell
        waking = threading.Timer(3.0, os.kill, (pid, signal.SIGCONT))
        waking.start()
        raise KeyboardInterrupt
    waking.cancel()
    assert started[0]._process.returncode == -signal.SIGKILL


def test_a_child_that_was_ended_because_the_user_wants_to_stop_is_no_failure(tmp_path: Path) -> None:
    with child(_qdrant_folder.lock, str(tmp_path)) as process:
        process.answer()
        end_all()
        with pytest.raises(InterruptedRunError):
            process.answer()


def test_a_child_may_finish_what_it_began_when_nobody_is_in_a_hurry(tmp_path: Path) -> None:
    with child(_qdrant_folder.lock, str(tmp_path)) as process:
        process.answer()
    assert process._process.returncode == 0
