"""What the page of a job shows, and each piece of it that changes."""

from typing import Any

from fastapi import Request

from recoup.errors import RecoupError
from recoup.web._endings import ending
from recoup.web._failures import of_error
from recoup.web._pages import site_of
from recoup.web._results import results
from recoup.web._told import Told
from recoup.web.jobs import Job


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
        "at_work": [name for name, work in so_far.works.items() if not work.finished],
        "asked_to_end": site.jobs.asked_to_end(job.id),
        "results": found,
        "unread": unread,
    }


def _results(request: Request, job: Job) -> tuple[Any, Any]:
    """What a job found, and why that cannot be read."""
    site = site_of(request)
    try:
        return results(site.masker.value(site.jobs.results(job.id))), None
    except RecoupError as error:
        return (), of_error(request, error)
