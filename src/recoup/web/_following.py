"""Following what a job tells, for streams of events that stay open until it has ended."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio import to_thread

from recoup.model.structs import Struct
from recoup.web._job_news import PIECE
from recoup.web.jobs import Jobs

PAUSE = 0.5
"""Seconds between two looks at what a job tells."""

QUIET = 15.0
"""Seconds without news after which something is sent all the same, so that nobody takes the connection for dead."""

AT_ONCE = 48
"""Streams that are open at once, at most."""


class JobNews(Struct):
    """What a job said from an offset on, at most a mebibyte of it.

    Attributes:
        records: lines of `--log-json --log-progress`, as `docs/reference/events.md` has them; a line that is none has the event
            `text`.
        end: bytes: where to read on.
        state: of the job, before it was looked for news: when it had ended, and there are no records, there will be none.
    """

    records: tuple[dict[str, Any], ...]
    end: int
    state: str


class Streams:
    """The streams that a server has open.

    Attributes:
        ending: whether the server ends, and its streams with it.
    """

    def __init__(self) -> None:
        self.ending = False
        self._open = 0

    @property
    def full(self) -> bool:
        """Whether there are as many as may be."""
        return self._open >= AT_ONCE

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts one more meanwhile."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


def news_of(jobs: Jobs, job_id: str, after: int) -> JobNews | None:
    """What a job said from an offset on; None when there is no such job.

    Args:
        jobs: those of the stack.
        job_id: any text.
        after: bytes.
    """
    job = jobs.job(job_id)  # looked at first: what comes later is for the next time
    if job is None:
        return None
    read = jobs.news(job_id, after)
    return JobNews(read.records, read.end, job.state)


async def following(
    jobs: Jobs, job_id: str, after: int, streams: Streams, patience: float = QUIET
) -> AsyncIterator[JobNews]:
    """Pieces of what a job tells, as it tells them.

    The last one has no records and another state than `running`; it does not come when the server ends before, or the job is
    forgotten. One without records of a job that runs comes after each time without news.

    Args:
        jobs: those of the stack.
        job_id: any text.
        after: bytes: where to begin.
        streams: counts this one.
        patience: seconds without news after which a piece comes all the same.
    """
    quiet = 0.0
    with streams.one():
        while not streams.ending:
            read = await to_thread.run_sync(news_of, jobs, job_id, after)
            if read is None:
                return
            over = read.state != "running" and read.end == after
            quiet = 0.0 if read.records else quiet + PAUSE
            if read.records or over or quiet >= patience:
                quiet = 0.0
                yield read
            if over:
                return
            if read.end - after < PIECE // 2:  # else there is more already
                await anyio.sleep(PAUSE)
            after = read.end
