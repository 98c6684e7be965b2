"""The process that begins a job's command, waits for it, and keeps its exit code, whatever becomes of who asked for the job.

`python -m recoup.web._supervising FOLDER LOCK,LOCK COMMAND...`: the job's folder, and the descriptors of two locks that tell that
the job lives: the stack's, and the job's own. Signals to the process group are for the command, and only held off here. It
imports next to nothing, since it stays as long as the job.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from recoup.errors import ExitCode
from recoup.system.atomicfile import write_atomic
from recoup.system.clock import SystemClock
from recoup.system.subprocesses import ChildFailedError, code_of

PROCESS = "process.json"
"""Name of the file that says where a job runs: `host`, and `group`, the id of its process group there."""

ENDED = "ended.json"
"""Name of the file that says how a job ended: `exit_code` and `finished`, ISO 8601 in UTC."""

_HELD_OFF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOT_STARTED = 127  # as shells say it


def main(arguments: Sequence[str]) -> None:
    """Runs the command, and writes down how it ended.

    The stack's lock is given back before: who sees that the job has ended can begin the next one.
    """
    folder, descriptors, *command = arguments
    stack, own = (int(number) for number in descriptors.split(","))
    asked = _held_off()
    _note(Path(folder) / PROCESS, host=os.uname().nodename, group=os.getpgid(0))  # from here on it can be cancelled
    code = ExitCode.INTERRUPTED if asked else _code(command, (stack, own))
    os.close(stack)
    _note(Path(folder) / ENDED, exit_code=code, finished=SystemClock().now().isoformat())


def _held_off() -> list[int]:
    """The signals that have come, from now on; none of them ends this process."""
    asked: list[int] = []
    for number in _HELD_OFF:
        signal.signal(number, lambda came, _frame: asked.append(came))
    return asked


def _note(file: Path, **values: object) -> None:
    write_atomic(file, json.dumps(values).encode())


def _code(command: Sequence[str], descriptors: Sequence[int]) -> int:
    try:
        return code_of(command, descriptors)
    except ChildFailedError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        return _NOT_STARTED


if __name__ == "__main__":
    main(sys.argv[1:])
