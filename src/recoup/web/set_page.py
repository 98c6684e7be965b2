"""The page of one set: what it holds, what was learned of it, and what can be done with it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from recoup.operations.prune import protected
from recoup.web._attachment import attachment
from recoup.web._cut import cut_of, offset
from recoup.web._glances import glance_for
from recoup.web._lookup import Looked, looked_up, seen
from recoup.web._pages import page, site_of
from recoup.web._set_choice import chosen_stack, where
from recoup.web._set_view import MOST_ROWS, learned, source_view

if TYPE_CHECKING:
    from recoup.app import Stack
    from recoup.config.settings import RepositorySettings

router = APIRouter(tags=["sets"])

LONGEST_TEXT = 1000
"""Characters of a note, or of the reason of a pin."""


@router.get("/sets/{repository:path}/{name}/manifest.json", name="set_manifest")
def manifest_file(request: Request, repository: str, name: str) -> Response:
    """The manifest, as it is stored; where it is encrypted, what it says."""
    site = site_of(request)
    found = looked_up(site, repository, name).info
    chosen = chosen_stack(site, repository)
    data = chosen.manifest_file(found.name).data
    return Response(data, media_type="application/json", headers=attachment(f"{found.name}.manifest.json"))


@router.get("/sets/{repository:path}/{name}", name="set")
def set_page(request: Request, repository: str, name: str) -> HTMLResponse:
    """One set, whole."""
    site = site_of(request)
    glance = glance_for(request)
    looked = seen(glance, repository, name)
    with site.reading() as stack:
        marks = stack.marks(looked.info)
        targets = _targets(stack, looked)
        settings = stack.settings.repositories.get(repository)
        commands = {what: site.jobs.typed(arguments) for what, arguments in _commands(stack, looked).items()}
    manifest = looked.info.manifest
    return page(
        request,
        "set.html",
        looked=looked,
        info=looked.info,
        manifest=manifest,
        cut=cut_of(manifest) if manifest else None,
        offset=offset,
        views={source: source_view(record) for source, record in manifest.sources.items()} if manifest else {},
        most=MOST_ROWS,
        longest=LONGEST_TEXT,
        unread=looked.unread,
        dedup=_is_dedup(settings, looked),
        learned=[(mark, *learned(mark)) for mark in marks],
        verdict=glance.verdicts.get((repository, name)),
        protected=protected(looked.here).get(name, ""),
        targets=targets,
        trash_days=settings.trash_days if settings else 0.0,
        commands=commands,
    )


def _targets(stack: "Stack", looked: Looked) -> list[str]:
    """Repositories that do not have this cut."""
    have = {looked.info.repository, *(copy.repository for copy in looked.copies)}
    return [name for name in stack.chosen_repositories if name not in have]


def _is_dedup(settings: "RepositorySettings | None", looked: Looked) -> bool:
    """Whether all that the repository holds is encrypted."""
    if settings is not None:
        return settings.layout == "dedup"
    manifest = looked.info.manifest
    return manifest is not None and any(p.pack == "chunks" for r in manifest.sources.values() for p in r.parts)


def _commands(stack: "Stack", looked: Looked) -> Mapping[str, list[str]]:
    """Command lines that do what the page does; words in capitals stand for what a person types."""
    info, here = looked.info, where(stack, looked.info.repository)
    return {
        "show": ["show", info.name, *here],
        "verify": ["verify", info.name, *here],
        "pin": ["pin", info.name, "--reason=TEXT", *here],
        "unpin": ["unpin", info.name, *here],
        "note": ["note", info.name, *here, "--", "TEXT"],
        "accept": ["accept", info.name, *here],
        "copy": ["copy", info.name, "--to", "NAME", "--from", info.repository],
        "delete": ["delete", info.name, *here],
    }
