"""The page of drills: whether the backups restore, as far as that was tried, and trying it now."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from recoup.errors import RecoupError, UsageError
from recoup.operations.selection import is_good
from recoup.system.runs import runs
from recoup.system.statefile import StateError
from recoup.web._failures import Failure, of_error
from recoup.web._glances import glance_for
from recoup.web._pages import page, path_to, site_of
from recoup.web._past_drills import leading, newest_result, past_drills
from recoup.web._security import Operator

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.model.reports import VerbRun
    from recoup.web._past_drills import PastDrill

router = APIRouter(tags=["drills"])

NEWEST = "latest-complete"
"""What a drill takes by default."""

MOST_ROWS, MOST_SETS = 100, 200
"""Drills that are listed, and sets that are offered."""


@router.get("/drills", name="drills")
def drills(request: Request) -> HTMLResponse:
    """What drills found."""
    return _drills(request)


@router.post("/drills", name="drill", response_model=None)
def begin(
    request: Request,
    _: Operator,
    chosen: Annotated[str, Form(alias="set")] = NEWEST,
    source: Annotated[list[str] | None, Form()] = None,
    full: Annotated[bool, Form()] = False,
) -> Response:
    """Begins a drill of one set, or the disaster-recovery drill."""
    site = site_of(request)
    try:
        arguments = ["drill", "--full"] if full else _checked(site.alone(), chosen, source or [])
    except RecoupError as error:
        return _drills(request, of_error(request, error))
    job = site.jobs.start(arguments, by=request.state.viewer.name)
    return RedirectResponse(path_to(request, "job", id=job.id), 303)


def _checked(stack: "Stack", text: str, sources: list[str]) -> list[str]:
    """The verb and its arguments, once the set and the sources were found.

    Raises:
        RecoupError: there is no such set, or it has no such source.
    """
    plan = stack.plan_drill(text, sources or None)
    if not plan.sources:
        raise UsageError(f"{plan.set} holds nothing that could be drilled", "Choose another set.")
    named = ["--source", ",".join(plan.sources)] if sources else []
    return ["drill", *([] if text == NEWEST else [str(plan.set)]), *named]


def _drills(request: Request, failure: Failure | None = None) -> HTMLResponse:
    site = site_of(request)
    known, glance = site.jobs.all(), glance_for(request)
    infos = glance.sets
    past, unread = history(request)
    return page(
        request,
        "drills.html",
        failure.status if failure else 200,
        past=past[:MOST_ROWS],
        last=leading(past),
        more=max(len(past) - MOST_ROWS, 0),
        unread=unread,
        newest=newest_result(site.jobs, known, "drill"),
        recovery=newest_result(site.jobs, known, "recovery"),
        sets=list({info.name: info for info in infos if info.manifest}.values())[:MOST_SETS],
        sources=glance.sources,
        commands={what: site.jobs.typed(["drill", *options]) for what, options in (("one", ()), ("full", ("--full",)))},
        failure=failure,
    )


def history(request: Request) -> "tuple[list[PastDrill], tuple[str, ...]]":
    """The drills of this stack's sets, the newest first, and why some may be missing, one sentence each.

    Args:
        request: who asks.
    """
    site = site_of(request)
    own = {(info.repository, info.name): info for info in glance_for(request).sets}
    flawed = {key for key, info in own.items() if not is_good(info)}
    with site.reading() as stack:
        remembered, forgotten = _remembered(stack)
        proofs = [proof for proof in stack.proofs() if proof[:2] in own]
        return past_drills(proofs, remembered, site.jobs.all(), flawed), (*stack.unread, *forgotten)


def _remembered(stack: "Stack") -> "tuple[tuple[VerbRun, ...], tuple[str, ...]]":
    """The runs that this machine remembers, and why it cannot."""
    try:
        return runs(stack.remembered_as) if stack.remembered_as else (), ()
    except StateError as error:
        return (), (error.message,)
