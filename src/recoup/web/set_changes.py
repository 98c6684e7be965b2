"""What changed from one set to another."""

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from recoup.errors import UsageError
from recoup.web._fact_changes import MOST, fact_changes
from recoup.web._glances import glance_for
from recoup.web._lookup import Looked, chosen, seen
from recoup.web._pages import page, site_of
from recoup.web._set_choice import where
from recoup.web._set_view import text_of

if TYPE_CHECKING:
    from recoup.model.manifest import Manifest
    from recoup.model.reports import SetInfo

router = APIRouter(tags=["sets"])

QUICK_MEMBERS = 200_000
"""Members of trees in two sets that are compared while a browser waits: about two seconds."""

QUICK_BYTES = 100 * 1024**3
"""Plain bytes of two sets whose chunks are compared while a browser waits."""

NAMED = 100
"""Names of members that are shown of one folder."""


@router.get("/sets/{repository:path}/{name}/changes", name="set_changes")
def set_changes(request: Request, repository: str, name: str, before: str = "") -> HTMLResponse:
    """What changed since the set before, or since another one of the same repository."""
    site = site_of(request)
    looked = seen(glance_for(request), repository, name)
    older = _older(looked, before)
    with site.reading() as stack:
        arguments = ["diff", older.name, looked.info.name, *where(stack, repository)]
    values: dict[str, Any] = {
        "looked": looked,
        "info": looked.info,
        "before": older,
        "command": site.jobs.typed(arguments),
    }
    if not is_quick(older, looked.info):
        return page(request, "set_changes.html", report=None, **values)
    with site.looking(repository) as stack:
        report = stack.diff(older.name, looked.info.name)
        manifests = stack.manifest(older.name), stack.manifest(looked.info.name)
    return page(
        request,
        "set_changes.html",
        report=report,
        facts=fact_changes(*manifests),
        recorded=any(record.facts and record.facts.values for one in manifests for record in one.sources.values()),
        named=NAMED,
        most=MOST,
        text_of=text_of,
        **values,
    )


def _older(looked: Looked, before: str) -> "SetInfo":
    """The set to compare with.

    Raises:
        UsageError: there is none.
    """
    if before:
        return chosen(looked.comparable, looked.info.repository, before)
    if looked.before is None:
        raise UsageError(
            f"there is no set before {looked.info.name} to compare it with", "Choose another one, or wait for the next."
        )
    return looked.before


def is_quick(before: "SetInfo", after: "SetInfo") -> bool:
    """Whether two sets can be compared while a browser waits.

    Args:
        before: one of them.
        after: the other one.
    """
    manifests = [info.manifest for info in (before, after) if info.manifest]
    return sum(map(_members, manifests)) <= QUICK_MEMBERS and sum(one.bytes for one in manifests) <= QUICK_BYTES


def _members(manifest: "Manifest") -> int:
    return sum(part.members.count for record in manifest.sources.values() for part in record.parts if part.members)
