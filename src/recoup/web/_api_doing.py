"""The REST interface's routes that do something: what works on data begins a job, what is only said of a set is done at once."""

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, Request, Response

from recoup.errors import RefusedError, UsageError
from recoup.model.reports import SetInfo
from recoup.operations.selection import begin_of
from recoup.system.clock import local_zone_name
from recoup.web import _api_bodies as bodies
from recoup.web import _api_commands as commands
from recoup.web._accounts import Viewer
from recoup.web._api_answers import PREFIX, Problems, answer, begins, begun, says
from recoup.web._pages import site_of
from recoup.web._restore_choice import Choice, Where
from recoup.web._security import Operator
from recoup.web._site import Site
from recoup.web.restoring import Planned, Step

if TYPE_CHECKING:
    from recoup.app import Stack

router = APIRouter(prefix=PREFIX)

_BEGIN: list[str | Enum] = ["Work"]
_RESTORE: list[str | Enum] = ["Restore"]
_SAY: list[str | Enum] = ["What people say of sets"]

_Body = TypeVar("_Body")


def _begun(request: Request, viewer: Viewer, arguments: list[str]) -> Response:
    return begun(request, site_of(request).jobs.start(arguments, by=viewer.name))


def _commanded(
    request: Request, viewer: Viewer, command: "Callable[[Stack, _Body], list[str]]", body: "_Body"
) -> Response:
    """Begins the command that a body asks for."""
    with site_of(request).reading() as stack:
        arguments = command(stack, body)
    return _begun(request, viewer, arguments)


@router.post(
    "/backup",
    name="api_backup",
    operation_id="backup",
    summary="Back up",
    status_code=202,
    tags=_BEGIN,
    responses=begins(),
)
def backup(request: Request, viewer: Operator, body: bodies.Backup) -> Response:
    """Begins `recoup backup`: one cut of the stack."""
    return _commanded(request, viewer, commands.backup, body)


@router.post(
    "/verify",
    operation_id="verify",
    summary="Compare stored bytes with the manifests",
    status_code=202,
    tags=_BEGIN,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def verify(request: Request, viewer: Operator, body: bodies.Verify) -> Response:
    """Begins `recoup verify`."""
    return _commanded(request, viewer, commands.verify, body)


@router.post(
    "/drill",
    operation_id="drill",
    summary="Prove that a set restores",
    status_code=202,
    tags=_BEGIN,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def drill(request: Request, viewer: Operator, body: bodies.Drill) -> Response:
    """Begins `recoup drill`; with `full`, `recoup drill --full`."""
    return _commanded(request, viewer, commands.drill, body)


@router.post(
    "/copy",
    operation_id="copy",
    summary="Copy sets into another repository",
    status_code=202,
    tags=_BEGIN,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def copy(request: Request, viewer: Operator, body: bodies.Copy) -> Response:
    """Begins `recoup copy`."""
    return _commanded(request, viewer, commands.copy, body)


@router.post(
    "/delete",
    operation_id="delete",
    summary="Delete sets",
    status_code=202,
    tags=_BEGIN,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def delete(request: Request, viewer: Operator, body: bodies.Delete) -> Response:
    """Begins `recoup delete`. Protected sets are refused, unless with `force`."""
    with site_of(request).reading() as stack:
        arguments = commands.delete(stack, body)
        chosen, _ = commands.placed(stack, body.repository)
        chosen.plan_delete(body.sets).require_allowed(force=body.force)
    return _begun(request, viewer, arguments)


@router.post(
    "/undelete",
    operation_id="undelete",
    summary="Take a set out of the trash",
    status_code=202,
    tags=_BEGIN,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def undelete(request: Request, viewer: Operator, body: bodies.Undelete) -> Response:
    """Begins `recoup undelete`."""
    return _commanded(request, viewer, commands.undelete, body)


# --- prune and restore: planned first ------------------------------------------------------------------------------------


@router.post(
    "/prune/plan",
    operation_id="prune_plan",
    summary="What a prune would remove",
    tags=_BEGIN,
    responses=says(bodies.PrunePlanned, Problems.CHANGE),
)
def prune_plan(request: Request, _viewer: Operator, body: bodies.Prune) -> Response:
    """Changes nothing. The rows are those of `recoup prune -n --json`."""
    site = site_of(request)
    with site.reading() as stack:
        arguments = commands.prune(stack, body)
        chosen, _ = commands.placed(stack, body.repository)
        plan = chosen.plan_prune(body.tags, body.sources or (), free=commands.wanted_bytes(body))
    found = bodies.PrunePlanned(
        rows=plan.rows,
        notes=plan.notes,
        freed_bytes=plan.freed_bytes,
        wanted_bytes=plan.wanted_bytes,
        enough=plan.freed_bytes >= plan.wanted_bytes,
        command=site.jobs.typed(arguments),
    )
    return answer(request, found)


@router.post(
    "/prune",
    operation_id="prune",
    summary="Remove what no rule keeps",
    status_code=202,
    tags=_BEGIN,
    responses=begins(),
)
def prune(request: Request, viewer: Operator, body: bodies.Prune) -> Response:
    """Begins `recoup prune`."""
    return _commanded(request, viewer, commands.prune, body)


@router.post(
    "/restore/plan",
    operation_id="restore_plan",
    summary="What a restore would do",
    tags=_RESTORE,
    responses=says(bodies.RestorePlanned, Problems.FIND_AND_CHANGE),
)
def restore_plan(request: Request, _viewer: Operator, body: bodies.Restore) -> Response:
    """Changes nothing. The rows are those of `recoup restore -n --json`."""
    site = site_of(request)
    planned = _planned(site, body)
    plan = planned.plan
    found = bodies.RestorePlanned(
        rows=plan.rows,
        skipped=dict(plan.skipped),
        lost=plan.lost,
        notes=tuple(plan.notes),
        destructive=plan.destructive,
        fits=planned.fits,
        seen=planned.seen,
        command=site.jobs.typed(planned.arguments),
    )
    return answer(request, found)


@router.post(
    "/restore",
    operation_id="restore",
    summary="Restore what was planned",
    status_code=202,
    tags=_RESTORE,
    responses=begins(Problems.FIND_AND_CHANGE),
)
def restore(request: Request, viewer: Operator, body: bodies.RestoreNow) -> Response:
    """Begins `recoup restore`, when what it would do is still what the plan said."""
    site = site_of(request)
    planned = _planned(site, body)
    if planned.seen != body.plan:
        raise RefusedError("what would happen has changed since the plan was made", "Look at the plan again.")
    if not planned.fits:
        raise RefusedError("there is too little free space for it", "The plan says how much it takes.")
    if body.where == "place" and body.confirm != site.name:
        raise UsageError("what is restored in place replaces what is there", "`confirm` has to be the stack's name.")
    return _begun(request, viewer, list(planned.arguments))


def _planned(site: Site, body: bodies.Restore) -> Planned:
    """What would happen now.

    Raises:
        RecoupError: it cannot be done.
    """
    place: Where = "place" if body.where == "place" else "files"
    choice = Choice(body.set, body.sources or (), place, body.options)
    step = Step.of(site, choice)
    if body.sources is None:
        every = tuple(offer.source for offer in step.order.offers if not offer.refused)
        step = Step.of(site, Choice(body.set, every, place, body.options))
    return Planned.of(site, step.order)


# --- what people say of sets ----------------------------------------------------------------------------------------------

_SAID = says(bodies.Said, Problems.FIND_AND_CHANGE)


@router.post("/pin", operation_id="pin", summary="Protect a set from prune and delete", tags=_SAY, responses=_SAID)
def pin(request: Request, _viewer: Operator, body: bodies.Pin) -> Response:
    """The same as `recoup pin`, at once."""
    now = site_of(request).now()
    end = None if body.until is None else begin_of(body.until, now, local_zone_name())
    if end is not None and end <= now:
        raise UsageError(f"{body.until} is in the past")
    with site_of(request).reading() as stack:
        chosen, info = _one(stack, body)
        return answer(request, bodies.Said(chosen.pin(info.name, body.reason, end), info.repository))


@router.post("/unpin", operation_id="unpin", summary="End a set's protection", tags=_SAY, responses=_SAID)
def unpin(request: Request, _viewer: Operator, body: bodies.OfSet) -> Response:
    """The same as `recoup unpin`, at once."""
    with site_of(request).reading() as stack:
        chosen, info = _one(stack, body)
        return answer(request, bodies.Said(chosen.unpin(info.name), info.repository))


@router.post("/note", operation_id="note", summary="Add a note to a set", tags=_SAY, responses=_SAID)
def note(request: Request, _viewer: Operator, body: bodies.Note) -> Response:
    """The same as `recoup note`, at once."""
    with site_of(request).reading() as stack:
        chosen, info = _one(stack, body)
        return answer(request, bodies.Said(chosen.note(info.name, body.text), info.repository))


@router.post("/accept", operation_id="accept", summary="Let a suspicious set count as good", tags=_SAY, responses=_SAID)
def accept(request: Request, _viewer: Operator, body: bodies.OfSet) -> Response:
    """The same as `recoup accept`, at once."""
    with site_of(request).reading() as stack:
        chosen, info = _one(stack, body)
        return answer(request, bodies.Said(chosen.accept(info.name), info.repository))


def _one(stack: "Stack", body: bodies.OfSet) -> "tuple[Stack, SetInfo]":
    """The set that is meant, and the stack with its repository chosen.

    Raises:
        UsageError: there is none, or nobody said in which of several repositories.
    """
    if body.repository is None and stack.has_several:
        known = ", ".join(stack.chosen_repositories)
        raise UsageError("there are several repositories", f"Name one of them: {known}.")
    chosen, _ = commands.placed(stack, body.repository)
    return chosen, chosen.show(body.set)
