"""Programs that are read line by line, and ended when nobody reads on."""

import os
import sys

import pytest

from recoup.system.subprocesses import ChildFailedError, Printing


def printing(code: str, patience: float = 60.0) -> Printing:
    return Printing([sys.executable, "-c", code], patience)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_lines_come_as_they_are_printed_and_the_code_is_told() -> None:
    program = printing("import sys; print('one'); print('two'); sys.stdout.write('half'); sys.exit(3)")
    assert list(program.lines()) == [b"one", b"two"]
    assert program.code() == 3
    assert not program.ran_out
    program.close()


def test_who_reads_no_further_ends_the_program() -> None:
    program = printing("import os\nprint(os.getpid(), flush=True)\nwhile True: print('more')")
    pid = int(next(program.lines()))
    program.close()
    assert is_gone(pid)
    program.close()


def test_a_program_that_takes_too_long_is_ended_and_said_to_be() -> None:
    program = printing("import time; print('begun', flush=True); time.sleep(600)", patience=1.0)
    assert list(program.lines()) == [b"begun"]
    assert program.code() < 0
    assert program.ran_out
    program.close()


def test_a_program_that_cannot_be_started_is_told() -> None:
    with pytest.raises(ChildFailedError, match="cannot be started"):
        Printing(["/nowhere/at-all"], 1.0)
