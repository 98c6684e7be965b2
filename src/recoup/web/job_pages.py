"""The pages of jobs: what runs and what ran, what each of them says and found, and ending one."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from recoup.errors import RecoupError
from recoup.web._endings import ending
from recoup.web._failures import of_error
from recoup.web._pages import page, path_to, site_of
from recoup.web._results import results
from recoup.web._security import Operator
from recoup.web._site import Site
from recoup.web._told import Told, line_of, told
from recoup.web.jobs import KEPT, Job

router = APIRouter(tags=["jobs"])

Id = Annotated[str, Path(max_length=100)]


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
        raise HTTPException(404, f"There is no such job. The {KEPT} newest are kept.")
    return found


def shown_of(request: Request, job: Job, so_far: Told) -> dict[str, Any]:
    """What the templates of a job want.

    Args:
        request: who asks.
        job: it.
        so_far: what it told.
    """
    site = site_of(request)
    until = job.finished or (site.now() if job.state == "running" else None)
    found, unread = ((), None) if job.state == "running" else _results(request, job)
    return {
        "job": job,
        "ending": ending(job),
        "told": so_far,
        "seconds": (until - job.started).total_seconds() if until else None,
        "asked_to_end": site.jobs.asked_to_end(job.id),
        "results": found,
        "unread": unread,
    }


def _results(request: Request, job: Job) -> tuple[Any, Any]:
    """What a job found, and why that cannot be read."""
    try:
        return results(site_of(request).jobs.results(job.id)), None
    except RecoupError as error:
        return (), of_error(request, error)


def _lines(site: Site, job_id: str) -> Iterator[str]:
    """The log, piece by piece: it may be long."""
    end = -1
    news = site.jobs.news(job_id)
    while news.end > end:
        end = news.end
        for record in news.records:
            if (line := line_of(record)) is not None:
                yield f"{line}\n"
        news = site.jobs.news(job_id, end)
