"""Timing whole commands in pairs, and showing the result as rows of a table.

Memory is what the processes of a command need for themselves, all together at one moment: pages of files that they map or read do
not count, as the system takes them back whenever it wants. It is looked up all the time that the command runs.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from recoup.system.memory import private_memory

RECOUP = str(Path(sys.executable).with_name("recoup"))
MB = 1_000_000
LARGEST_MEMORY = 150  # MB, aim
_LOOK = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Run:
    """One run of a command.

    Attributes:
        seconds: of the clock.
        memory: bytes that all its processes needed for themselves together at one moment, at most.
        largest: bytes that its largest process had in memory at one moment, pages of files too.
        processor: seconds of processors that it and its children took; says something on a busy machine, too.
    """

    seconds: float
    memory: int
    largest: int
    processor: float


class _Memory:
    """The most memory that a process and those that it started needed at one moment, and the most that one of them had."""

    def __init__(self, pid: int) -> None:
        self.peak = self.largest = 0
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._ended.wait(_LOOK):
            family = _family(self._pid)
            self.peak = max(self.peak, sum(private_memory(pid) or 0 for pid in family))
            self.largest = max(self.largest, *map(_resident, family))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _family(pid: int) -> list[int]:
    """A process and its descendants; where the system does not list children, the process alone."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):  # it ended meanwhile
            for listed in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, listed.read_text().split())
    return found


def _resident(pid: int) -> int:
    """The most bytes that a process had in memory so far; where the system does not tell, what it needs now."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return private_memory(pid) or 0


def timed(command: str | Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Runs a command (text: by the shell) to its end; a failing one ends the benchmark.

    Args:
        command: what to run.
        folder: where.
        environment: all its variables; None: this process's own.
    """
    arguments = ["sh", "-ec", command] if isinstance(command, str) else list(command)
    began = time.perf_counter()
    child = subprocess.Popen(arguments, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    with _Memory(child.pid) as memory:
        said = child.stderr.read().decode(errors="replace")
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arguments} ended with {child.returncode}:\n{said}")
    return Run(seconds, memory.peak, memory.largest, used.ru_utime + used.ru_stime)


@dataclass(frozen=True)
class Pair:
    """Recoup beside something plain.

    Attributes:
        what: what both did.
        recoup: runs of Recoup.
        plain: runs of the other.
        beside: what the other was.
        least_speed: aim for `speed`; None without one.
        most_times: aim for `times`; None without one.
    """

    what: str
    recoup: list[Run]
    plain: list[Run]
    beside: str
    least_speed: float | None = None
    most_times: float | None = None

    @property
    def times(self) -> float:
        """Recoup's time as a multiple of the other's."""
        return _median(self.recoup) / _median(self.plain)

    @property
    def memory(self) -> int:
        """The most that Recoup's processes needed together, bytes."""
        return max(run.memory for run in self.recoup)

    def row(self) -> str:
        """One line of the table."""
        if self.least_speed is not None:
            shown, aim, holds = (
                f"speed {1 / self.times:.2f}",
                f">= {self.least_speed}",
                1 / self.times >= self.least_speed,
            )
        else:
            assert self.most_times is not None
            shown, aim, holds = f"{self.times:.2f} times", f"<= {self.most_times}", self.times <= self.most_times
        cells = (self.what, _shown(self.recoup), self.beside, _shown(self.plain), shown, aim, "yes" if holds else "NO")
        return f"| {' | '.join(cells)} | {self.memory / MB:.0f} MB |"


def _median(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def _shown(runs: list[Run]) -> str:
    seconds = [run.seconds for run in runs]
    return f"{_median(runs):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def alternately(count: int, first: Callable[[], Run], second: Callable[[], Run]) -> tuple[list[Run], list[Run]]:
    """Runs both `count` times, each time in the other order."""
    runs: tuple[list[Run], list[Run]] = ([], [])
    for number in range(count):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            runs[which].append((first, second)[which]())
    return runs


HEADING = """\
| what | Recoup | beside | its time | ratio | aim | holds | memory |
|---|---|---|---|---|---|---|---|"""
"""The head of a table of `Pair.row`s."""
