"""What a person sees who stops the program while it starts."""

import signal
import subprocess
import sys

import pytest

from recoup.errors import ExitCode

_WAITS = """
import sys, time, types
late = types.ModuleType("recoup.cli.main")
def _wait(_name):
    print("loading", flush=True)
    time.sleep(60)
late.__getattr__ = _wait
sys.modules["recoup.cli.main"] = late
from recoup.__main__ import main
main()
"""


@pytest.mark.parametrize("ignored", [False, True], ids=["in a terminal", "where somebody wants it ignored"])
def test_a_key_press_while_the_program_loads_ends_it_at_once_without_a_traceback(*, ignored: bool) -> None:
    program = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if ignored else []
    process = subprocess.Popen(
        [*program, sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    if ignored:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()
        process.communicate()
        return
    _, told = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert told == "Error: interrupted\n"
