"""How jobs ended, in words."""

import signal
from functools import cache
from typing import Literal

from recoup.errors import ExitCode
from recoup.model.exit_codes import exit_code_table
from recoup.model.structs import Struct
from recoup.web.jobs import Job

Level = Literal["good", "warning", "bad", "busy"]

_WORDS: dict[int, tuple[Level, str]] = {
    ExitCode.OK: ("good", "done"),
    ExitCode.INCOMPLETE: ("warning", "incomplete"),
    ExitCode.DAMAGED: ("bad", "damage found"),
    ExitCode.LOCKED: ("bad", "locked"),
    ExitCode.REFUSED: ("bad", "refused"),
    ExitCode.SKIPPED: ("warning", "skipped"),
    ExitCode.INTERRUPTED: ("warning", "interrupted"),
}
_LOST = (
    "Its processes were killed, or the machine went down, before it could be noted how it ended. What was half done counts as no "
    "set; what a restore was replacing is put in order by the next restore."
)


class Ending(Struct):
    """How a job is.

    Attributes:
        level: how good that is.
        word: in a word or two.
        meaning: in a sentence.
        code: what stands behind it: `exit code 3`; empty where there is none.
    """

    level: Level
    word: str
    meaning: str
    code: str = ""


def ending(job: Job) -> Ending:
    """How a job is, and how it ended."""
    if job.state == "running":
        return Ending("busy", "running", "It runs.")
    code = job.exit_code
    if job.state == "lost" or code is None:
        return Ending("bad", "lost", _LOST)
    return of_code(code)


def of_code(code: int) -> Ending:
    """How a command ended.

    Args:
        code: its exit code, negative the number of the signal that ended it.
    """
    if code < 0:
        return Ending("bad", "killed", f"It was ended by the signal {_signal(-code)}.", f"signal {-code}")
    level, word = _WORDS.get(code, ("bad", "failed"))
    meaning = _meanings().get(code, "Unknown exit codes count as failure.")
    return Ending(level, word, meaning, f"exit code {code}")


@cache
def _meanings() -> dict[int, str]:
    return dict(exit_code_table())


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
