"""What a job told so far: how far its works are, and the newest lines of its log."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any, Literal

from recoup.model.figures import counted, size
from recoup.model.structs import Struct
from recoup.system.clock import local_zone
from recoup.web._progress import Work, moment_of, with_progress
from recoup.web.jobs import Jobs

MOST_LINES = 500
"""Lines that a page shows, the newest ones."""

Level = Literal["info", "warning", "error", "text"]
_LEVELS: Mapping[Any, Level] = {"info": "info", "warning": "warning", "error": "error"}


class Line(Struct):
    """A line of a job's log.

    Attributes:
        time: when; None where it does not say so.
        level: how grave; `text` for what was no event, such as what a service printed.
        message: a sentence.
    """

    time: datetime | None
    level: Level
    message: str

    @property
    def clock(self) -> str:
        """Its time of day on this machine: `03:15:22`; empty where it says none."""
        return f"{self.time.astimezone(local_zone()):%H:%M:%S}" if self.time else ""

    def __str__(self) -> str:
        moment = f"{self.time.astimezone(local_zone()):%Y-%m-%d %H:%M:%S}" if self.time else " " * 19
        return f"{moment}  {'' if self.level == 'text' else self.level:7}  {self.message}"


class Told(Struct):
    """What was read of a job's news so far.

    Attributes:
        end: offset in bytes from which to read on.
        works: name of each work to how far it is, in the order of their beginnings.
        lines: the newest of the log, at most `MOST_LINES`.
        count: lines that there were in all.
    """

    end: int = 0
    works: Mapping[str, Work] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    count: int = 0

    @property
    def older(self) -> int:
        """Lines that are not among `lines`."""
        return self.count - len(self.lines)

    def and_then(self, records: Iterable[Mapping[str, Any]], end: int) -> "Told":
        """With some records more.

        Args:
            records: they.
            end: offset in bytes behind them.
        """
        works: Mapping[str, Work] = self.works
        lines: list[Line] = []
        for record in records:
            if record.get("event") == "progress":
                works = with_progress(works, record)
            elif (line := line_of(record)) is not None:
                lines.append(line)
        return Told(end, works, (*self.lines, *lines)[-MOST_LINES:], self.count + len(lines))


def told(jobs: Jobs, job_id: str, after: int = 0) -> Told:
    """All that a job told until now, from an offset on.

    Args:
        jobs: those of the stack.
        job_id: any text.
        after: bytes.
    """
    return read_on(jobs, job_id, Told(after))


def read_on(jobs: Jobs, job_id: str, before: Told, pieces: int = sys.maxsize) -> Told:
    """With what a job told since.

    Args:
        jobs: those of the stack.
        job_id: any text.
        before: what was read of it before.
        pieces: that are read at most, of 1 MiB each: what is shown waits for no more.
    """
    found = before
    for _ in range(pieces):
        news = jobs.news(job_id, found.end)
        if news.end == found.end:
            break
        found = found.and_then(news.records, news.end)
    return found


def line_of(record: Mapping[str, Any]) -> Line | None:
    """The line of the log that a record is; None for one of progress, and for one that says nothing."""
    if record.get("event") == "progress":
        return None
    message = record.get("message") or _sentence(record)
    if not isinstance(message, str) or not message.strip():
        return None
    moment = moment_of(record.get("time"))
    return Line(moment, _LEVELS.get(record.get("level"), "text" if moment is None else "info"), message)


def _sentence(record: Mapping[str, Any]) -> str:
    """A sentence for an event that has none of its own, since its keys are promised."""
    event, name, stored, deleted = (record.get(key) for key in ("event", "set", "bytes_written", "deleted_count"))
    if event == "backup_created" and isinstance(stored, int):
        return f"stored as {name}, {size(stored)}"
    if event == "backup_pruned" and isinstance(deleted, int):
        return f"{counted(deleted, 'old set')} removed by the rules"
    return str(event or "")
