"""How far a running job is, added up from what it told."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any, TypeGuard

from recoup.model.figures import size
from recoup.model.structs import Struct
from recoup.web.jobs import Jobs

LINES = 8
"""Sentences that are kept, the newest ones."""

_PIECES = 16  # that are read at a time, of 1 MiB each: what is shown waits for no more


class Work(Struct):
    """One work of a job.

    Attributes:
        done: bytes, or what `unit` says.
        total: how many there are; None when unknown.
        unit: what is counted; empty for bytes.
        finished: whether it has come to its end.
    """

    done: int
    total: int | None
    unit: str
    finished: bool

    @property
    def share(self) -> float | None:
        """The part of it that is done, 0.0 to 1.0; None when unknown. Not 1.0 before its end."""
        if self.finished:
            return 1.0
        return min(self.done / self.total, 0.99) if self.total else None

    @property
    def amount(self) -> str:
        """How much, for people: `1.2 MiB of 3.4 MiB`."""
        total = "" if self.total is None else f" of {self._counted(self.total)}"
        return f"{self._counted(self.done)}{total}"

    def _counted(self, count: int) -> str:
        return f"{count:,} {self.unit}" if self.unit else size(count)


class Followed(Struct):
    """What was read of a job's news so far.

    Attributes:
        end: offset in bytes from which to read on.
        works: name of each work to how far it is, in the order of their beginnings.
        lines: what it said last, the newest at the end.
    """

    end: int = 0
    works: Mapping[str, Work] = field(default_factory=dict)
    lines: tuple[str, ...] = ()

    def read_on(self, jobs: Jobs, job_id: str) -> "Followed":
        """With what a job has told since."""
        found = self
        for _ in range(_PIECES):
            news = jobs.news(job_id, found.end)
            if news.end == found.end:
                break
            found = replace(found.told(news.records), end=news.end)
        return found

    def told(self, records: Iterable[Mapping[str, Any]]) -> "Followed":
        """With some records more. What is none of ours counts as a sentence, or as nothing."""
        works, lines = dict(self.works), list(self.lines)
        for record in records:
            if record.get("event") == "progress":
                works |= _work(record)
            elif isinstance(message := record.get("message"), str) and message.strip():
                lines.append(message)
        return replace(self, works=works, lines=tuple(lines[-LINES:]))


def _work(record: Mapping[str, Any]) -> dict[str, Work]:
    name, done, total = record.get("work"), record.get("done"), record.get("total")
    if not isinstance(name, str) or not _is_count(done):
        return {}
    unit, finished = str(record.get("unit", "")), record.get("finished") is True
    return {name: Work(done, total if _is_count(total) else None, unit, finished)}


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
