"""What a person does with a set: says something of it, checks it, copies it, deletes it.

What a person says is written at once; what takes longer is a job.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from recoup.errors import NoSuchSetError, UsageError
from recoup.model.names import shown
from recoup.operations.prune import protected
from recoup.operations.selection import begin_of
from recoup.system.clock import local_zone_name
from recoup.web._accounts import Viewer
from recoup.web._lookup import chosen, looked_up
from recoup.web._pages import page, path_to, site_of
from recoup.web._security import Operator
from recoup.web._set_choice import chosen_stack, where
from recoup.web.set_page import LONGEST_TEXT

if TYPE_CHECKING:
    from recoup.app import Stack

router = APIRouter(tags=["sets"])

Text = Annotated[str, Form(max_length=LONGEST_TEXT)]
Short = Annotated[str, Form(max_length=200)]

SEE_OTHER = 303
"""The status of an answer that sends a browser on after a form."""


# --- said of it ---------------------------------------------------------------------------------------------------------


@router.post("/sets/{repository:path}/{name}/pin", name="set_pin")
def pin(
    request: Request, _viewer: Operator, repository: str, name: str, reason: Text = "", until: Short = ""
) -> Response:
    """Protects it from retention."""
    end = begin_of(until, site_of(request).now(), local_zone_name()) if until.strip() else None
    return _said(request, repository, name, lambda stack, found: stack.pin(found, reason.strip(), end))


@router.post("/sets/{repository:path}/{name}/unpin", name="set_unpin")
def unpin(request: Request, _viewer: Operator, repository: str, name: str) -> Response:
    """Ends its protection."""
    return _said(request, repository, name, lambda stack, found: stack.unpin(found))


@router.post("/sets/{repository:path}/{name}/note", name="set_note")
def note(request: Request, _viewer: Operator, repository: str, name: str, text: Text = "") -> Response:
    """Adds a note."""
    return _said(request, repository, name, lambda stack, found: stack.note(found, text.strip()))


@router.post("/sets/{repository:path}/{name}/accept", name="set_accept")
def accept(request: Request, _viewer: Operator, repository: str, name: str) -> Response:
    """Lets it count as good, though it is suspicious."""
    return _said(request, repository, name, lambda stack, found: stack.accept(found))


def _said(request: Request, repository: str, name: str, say: "Callable[[Stack, str], str]") -> Response:
    """Writes what a person says of a set, and shows the set."""
    site = site_of(request)
    found = looked_up(site, repository, name).info
    say(chosen_stack(site, repository), found.name)
    return RedirectResponse(path_to(request, "set", repository=repository, name=found.name), SEE_OTHER)


# --- done with it ---------------------------------------------------------------------------------------------------------


@router.post("/sets/{repository:path}/{name}/verify", name="set_verify")
def verify(request: Request, viewer: Operator, repository: str, name: str) -> Response:
    """Begins a job that compares its stored bytes with its manifest."""
    return _begun(request, viewer, repository, ["verify", _known(request, repository, name)])


@router.post("/sets/{repository:path}/{name}/changes", name="set_compare")
def compare(request: Request, viewer: Operator, repository: str, name: str, before: Short) -> Response:
    """Begins a job that says what changed since another set."""
    looked = looked_up(site_of(request), repository, name)
    older = chosen(looked.comparable, repository, before)
    return _begun(request, viewer, repository, ["diff", older.name, looked.info.name])


@router.post("/sets/{repository:path}/{name}/copy", name="set_copy")
def copy(request: Request, viewer: Operator, repository: str, name: str, to: Short) -> Response:
    """Begins a job that copies it into another repository."""
    site, found = site_of(request), _known(request, repository, name)
    with site.reading() as stack:
        if to not in stack.chosen_repositories or to == repository:
            raise UsageError(f"{shown(to)} is no other repository of this stack", "Choose one of those offered.")
    return _begun(request, viewer, repository, ["copy", found, "--to", to, "--from", repository], chooses=False)


@router.get("/sets/{repository:path}/{name}/delete", name="set_delete")
def delete_page(request: Request, _viewer: Operator, repository: str, name: str) -> HTMLResponse:
    """What a delete would take away, and a form that wants the set's name typed."""
    return _delete_page(request, repository, name)


@router.post("/sets/{repository:path}/{name}/delete", name="set_delete_now")
def delete(request: Request, viewer: Operator, repository: str, name: str, typed: Short = "") -> Response:
    """Begins a job that deletes it, when its name was typed."""
    found = _known(request, repository, name)
    if typed.strip() != found:
        return _delete_page(request, repository, name, wrong=True)
    return _begun(request, viewer, repository, ["delete", found])


def _delete_page(request: Request, repository: str, name: str, *, wrong: bool = False) -> HTMLResponse:
    site = site_of(request)
    looked = looked_up(site, repository, name)
    with site.reading() as stack:
        arguments = ["delete", looked.info.name, *where(stack, repository)]
        settings = stack.settings.repositories.get(repository)
    return page(
        request,
        "set_delete.html",
        400 if wrong else 200,
        info=looked.info,
        copies=looked.copies,
        protected=protected(looked.here).get(looked.info.name, ""),
        trash_days=settings.trash_days if settings else 0.0,
        command=site.jobs.typed(arguments),
        wrong=wrong,
    )


# --- taken back -----------------------------------------------------------------------------------------------------------


@router.post("/trash", name="undelete")
def undelete(request: Request, viewer: Operator, repository: Short, name: Short) -> Response:
    """Begins a job that takes a set out of the trash."""
    with site_of(request).reading() as stack:
        trashed = stack.trashed()
    if name not in trashed.get(repository, ()):
        raise NoSuchSetError(
            f"{shown(name)} is not in the trash of {shown(repository)}", "Perhaps it was emptied since."
        )
    return _begun(request, viewer, repository, ["undelete", name])


def _known(request: Request, repository: str, name: str) -> str:
    """The name of a set that there is."""
    return looked_up(site_of(request), repository, name).info.name


def _begun(
    request: Request, viewer: Viewer, repository: str, arguments: Sequence[str], *, chooses: bool = True
) -> Response:
    """Begins a job, and shows it."""
    site = site_of(request)
    with site.reading() as stack:
        here = where(stack, repository) if chooses else []
    job = site.jobs.start([*arguments, *here], by=viewer.name)
    return RedirectResponse(path_to(request, "job", id=job.id), SEE_OTHER)
