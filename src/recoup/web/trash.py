"""Deleted sets that can be taken back."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from recoup.web._pages import page, site_of
from recoup.web._set_choice import where

router = APIRouter(tags=["sets"])


@router.get("/trash", name="trash")
def trash(request: Request) -> HTMLResponse:
    """The trash of each repository."""
    site = site_of(request)
    with site.reading() as stack:
        trashed = stack.trashed()
        unread = stack.unread
        days = {name: settings.trash_days for name, settings in stack.settings.repositories.items()}
        commands = {name: site.jobs.typed(["undelete", "SET", *where(stack, name)]) for name in trashed}
    return page(request, "trash.html", trashed=trashed, unread=unread, days=days, commands=commands)
