"""How far a running job is, added up from what it told."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from recoup.model.structs import Struct
from recoup.web._progress import Work, with_progress
from recoup.web.jobs import Jobs

LINES = 8
"""Sentences that are kept, the newest ones."""

_PIECES = 16  # that are read at a time, of 1 MiB each: what is shown waits for no more


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
                works = with_progress(works, record)
            elif isinstance(message := record.get("message"), str) and message.strip():
                lines.append(message)
        return replace(self, works=works, lines=tuple(lines[-LINES:]))
