"""The REST interface's routes about jobs: what runs, what it says, what it found, and how it is ended."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from recoup.model.json_values import plain
from recoup.model.structs import Struct
from recoup.web._api_answers import PREFIX, Problems, answer, says, says_content
from recoup.web._following import JobNews, Streams, following, news_of
from recoup.web._pages import site_of
from recoup.web._security import Operator
from recoup.web._site import Site
from recoup.web.job_pages import job_of, no_such_job
from recoup.web.jobs import Job

router = APIRouter(prefix=PREFIX, tags=["Jobs"])

Id = Annotated[str, Path(max_length=100, description="A job's id.")]
After = Annotated[int, Query(ge=0, le=2**62, description="Bytes: the `end` of what was read last.")]


class JobList(Struct):
    """The jobs that are kept.

    Attributes:
        jobs: the newest first.
    """

    jobs: tuple[Job, ...]


class JobResults(Struct):
    """What a job printed.

    Attributes:
        results: lines of `--json`, each with its `type`; one of type `error` says why the job failed.
    """

    results: tuple[dict[str, Any], ...]


@router.get("/jobs", operation_id="jobs", summary="What runs and what ran", responses=says(JobList))
def jobs(request: Request) -> Response:
    """The 50 newest are kept."""
    return answer(request, JobList(site_of(request).jobs.all()))


@router.get("/jobs/{id}", name="api_job", operation_id="job", summary="One job", responses=says(Job, Problems.FIND))
def job(request: Request, id: Id) -> Response:  # noqa: A002 - its name in the path
    """How it is. Whether it did what was asked says `exit_code`, once it has ended."""
    return answer(request, job_of(site_of(request), id))


@router.get(
    "/jobs/{id}/results",
    operation_id="job_results",
    summary="What it found",
    responses=says(JobResults, Problems.FIND),
)
def results(request: Request, id: Id) -> Response:  # noqa: A002
    """The lines that its command printed with `--json`, so far."""
    site = site_of(request)
    return answer(request, JobResults(site.jobs.results(job_of(site, id).id)))


@router.get("/jobs/{id}/news", operation_id="job_news", summary="What it says", responses=says(JobNews, Problems.FIND))
def news(request: Request, id: Id, after: After = 0) -> Response:  # noqa: A002
    """Events, progress and text, from an offset on."""
    read = news_of(site_of(request).jobs, id, after)
    if read is None:
        raise no_such_job()
    return answer(request, read)


_EVENTS = says_content(
    "text/event-stream",
    "Server-sent events: `news` with a record each, at last `ended` with the job. The id of an event is where to read on.",
    Problems.FIND,
    {"type": "string"},
)


@router.get("/jobs/{id}/events", operation_id="job_events", summary="What it says, as it comes", responses=_EVENTS)
async def events(
    request: Request,
    id: Id,  # noqa: A002
    after: After = 0,
    last_event_id: Annotated[str, Header(max_length=30, description="Sent by browsers that connect again.")] = "",
) -> Response:
    """The same as `news`, without asking again and again, until the job has ended."""
    begin = int(last_event_id) if last_event_id.isascii() and last_event_id.isdecimal() else after
    streams: Streams = request.app.state.streams
    await to_thread.run_sync(job_of, site_of(request), id)
    if streams.full:
        raise HTTPException(503, "Too many streams of events are open.")
    return StreamingResponse(_told(site_of(request), id, min(begin, 2**62), streams), media_type="text/event-stream")


async def _told(site: Site, job_id: str, begin: int, streams: Streams) -> AsyncIterator[str]:
    """A job's news as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    async for read in following(site.jobs, job_id, begin, streams):
        for record in read.records:
            yield _event(site, "news", record, read.end if record is read.records[-1] else None)
        if not read.records:
            yield (
                ": still there\n\n" if read.state == "running" else await to_thread.run_sync(_ended, site, job_id, read)
            )


def _ended(site: Site, job_id: str, read: JobNews) -> str:
    return _event(site, "ended", site.jobs.job(job_id), read.end)


def _event(site: Site, name: str, value: Any, end: int | None) -> str:
    """An event. Only the last one of a piece says where to read on: nothing is left out by who connects again."""
    place = "" if end is None else f"id: {end}\n"
    return f"event: {name}\n{place}data: {json.dumps(site.masker.value(plain(value)))}\n\n"


@router.delete(
    "/jobs/{id}",
    operation_id="job_cancel",
    summary="Ask for its end",
    status_code=202,
    responses=says(Job, Problems.FIND_AND_CHANGE, 202, "The job; it may take a while to end."),
)
def cancel(request: Request, id: Id, _viewer: Operator) -> Response:  # noqa: A002
    """As Ctrl-C does; asked again after ten seconds, by SIGTERM. One that has ended is left alone."""
    site = site_of(request)
    site.jobs.cancel(job_of(site, id).id)
    return answer(request, job_of(site, id), 202)
