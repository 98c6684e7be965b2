"""The pages of jobs: what runs and what ran, what each of them says and found, and ending one."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from recoup.web._endings import ending
from recoup.web._following import Streams, following
from recoup.web._job_view import shown_of
from recoup.web._live import Live
from recoup.web._pages import page, path_to, site_of
from recoup.web._security import Operator
from recoup.web._site import Site
from recoup.web._told import line_of, told
from recoup.web.jobs import KEPT, Job

router = APIRouter(tags=["jobs"])

Id = Annotated[str, Path(max_length=100)]

_PATIENCE = 3.0  # seconds without news after which a page is told at least how long the job has run


@router.get("/jobs", name="jobs")
def jobs(request: Request) -> HTMLResponse:
    """All that are kept, what runs first."""
    known = sorted(site_of(request).jobs.all(), key=lambda job: job.state != "running")
    return page(request, "jobs.html", jobs=[(job, ending(job)) for job in known], kept=KEPT)


@router.get("/jobs/{id}", name="job")
def job(request: Request, id: Id) -> HTMLResponse:  # noqa: A002 - its name in the path
    """One job, as it is at this moment."""
    site = site_of(request)
    found = job_of(site, id)  # looked at first: what comes later is for the next time
    return page(request, "job.html", **shown_of(request, found, told(site.jobs, id)))


@router.get("/jobs/{id}/log", name="job_log")
def log(request: Request, id: Id) -> Response:  # noqa: A002
    """All lines of a job's log, as text."""
    site = site_of(request)
    job_of(site, id)
    return StreamingResponse(_lines(site, id), media_type="text/plain; charset=utf-8")


@router.get("/jobs/{id}/events", name="job_events")
async def events(
    request: Request,
    id: Id,  # noqa: A002
    last_event_id: Annotated[str, Header(max_length=30)] = "",
) -> Response:
    """What changes on a job's page, as it changes, until it has ended."""
    streams: Streams = request.app.state.streams
    if streams.full:
        raise HTTPException(503, "Too many pages show jobs that run.")
    seen = int(last_event_id) if last_event_id.isascii() and last_event_id.isdecimal() else None
    found = await to_thread.run_sync(job_of, site_of(request), id)
    # a proxy that collects answers before it passes them on would hold all of it back: nginx is told not to
    return StreamingResponse(
        _live(request, found, seen), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@router.post("/jobs/{id}/cancel", name="cancel_job")
def cancel(request: Request, id: Id, _: Operator) -> RedirectResponse:  # noqa: A002
    """Asks a job to end, and leads back to its page.

    Raises:
        RefusedError: it runs on another host, or nobody knows where.
    """
    site = site_of(request)
    site.jobs.cancel(job_of(site, id).id)
    return RedirectResponse(path_to(request, "job", id=id), 303)


def job_of(site: Site, job_id: str) -> Job:
    """A job.

    Raises:
        HTTPException: 404: there is none.
    """
    found = site.jobs.job(job_id)
    if found is None:
        raise no_such_job()
    return found


def no_such_job() -> HTTPException:
    """What is answered where a job is not there, or not any more."""
    return HTTPException(404, f"There is no such job. The {KEPT} newest are kept.")


def _lines(site: Site, job_id: str) -> Iterator[str]:
    """The log, piece by piece: it may be long."""
    end = -1
    news = site.jobs.news(job_id)
    while news.end > end:
        end = news.end
        for record in news.records:
            if (line := line_of(record)) is not None:
                yield f"{site.masker(str(line))}\n"
        news = site.jobs.news(job_id, end)


async def _live(request: Request, job: Job, seen: int | None) -> AsyncIterator[str]:
    live = await to_thread.run_sync(Live, request, job, seen)
    yield await to_thread.run_sync(live.opening)
    async for read in following(site_of(request).jobs, job.id, live.end, request.app.state.streams, _PATIENCE):
        yield await to_thread.run_sync(live.events, read)
