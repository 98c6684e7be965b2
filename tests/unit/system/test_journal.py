"""Intent journals: what a dead run left is found, what a living one does is let be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recoup.system.journal import Journal, abandoned, state_folder


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


_DIES = """
import os, signal
from recoup.system.journal import Journal
journal = Journal.begin("test")
journal.add({"made": "one"})
journal.add({"made": "two"})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_intents_of_a_killed_run_are_found_in_order() -> None:
    process = subprocess.run([sys.executable, "-c", _DIES], check=False)
    assert process.returncode == -signal.SIGKILL
    (left,) = abandoned("test")
    assert [intent["made"] for intent in left.intents()] == ["one", "two"]
    left.forget()
    assert abandoned("test") == []


def test_the_journal_of_a_living_run_is_nobody_elses_business() -> None:
    journal = Journal.begin("test")
    journal.add({"made": "one"})
    assert abandoned("test") == []
    assert [intent["made"] for intent in journal.intents()] == ["one"]


def test_a_journal_belongs_to_its_purpose() -> None:
    subprocess.run([sys.executable, "-c", _DIES], check=False)
    assert abandoned("other") == []
    assert abandoned("tes") == []


def test_a_line_that_was_cut_short_is_left_out() -> None:
    journal = Journal.begin("test")
    journal.add({"made": "one"})
    with journal.path.open("ab") as file:
        file.write(b'{"made": "tw')
    assert [intent["made"] for intent in journal.intents()] == ["one"]


def test_only_its_owner_can_read_a_journal(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        journal = Journal.begin("test")
        journal.add({"made": "one"})
    finally:
        os.umask(previous)
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert state_folder().stat().st_mode & 0o777 == 0o700
