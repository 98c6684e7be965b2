"""How a process ends: with its code, what is registered is done, and nothing of the interpreter is unloaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ENDS = """
import atexit, os, sys
from recoup.system.leaving import Leaving

leaving = Leaving()
atexit.register(lambda: print("registered"))

class Unloaded:
    write = os.write
    def __del__(self):
        self.write(2, b"unloaded")

kept = Unloaded()
print("done")
"""


def end(last: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _ENDS + last], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize("code", [0, 3])
def test_what_is_registered_runs_what_is_printed_arrives_and_nothing_is_unloaded(code: int) -> None:
    done = end(f"sys.exit(leaving.with_code({code}))")
    assert (done.returncode, done.stdout, done.stderr) == (code, "done\nregistered\n", "")


def test_without_a_code_python_ends_the_process_in_its_own_way() -> None:
    done = end("sys.exit(4)")
    assert (done.returncode, done.stdout, done.stderr) == (4, "done\nregistered\n", "unloaded")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_what_cannot_be_printed_is_not_passed_over() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = end("sys.exit(leaving.with_code(0))", full)
    finally:
        os.close(full)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr
