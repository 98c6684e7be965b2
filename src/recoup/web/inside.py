"""Looking into a set: its parts, what is in folders and archives, and one file taken out."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from recoup.errors import NoSuchSetError
from recoup.model.names import shown
from recoup.operations.contents import split
from recoup.web._browsing import Cursor, Listing, listing
from recoup.web._glances import glance_for
from recoup.web._lookup import looked_up, seen
from recoup.web._pages import page, site_of
from recoup.web._points import collections
from recoup.web._security import Operator
from recoup.web._set_choice import where
from recoup.web._set_view import counts
from recoup.web._taking_out import taken_out

if TYPE_CHECKING:
    from collections.abc import Generator

    from recoup.app import Stack
    from recoup.model.manifest import Manifest
    from recoup.model.reports import SetInfo
    from recoup.operations.contents import Entry

router = APIRouter(tags=["sets"])

_COUNTS = 200  # of one source, that are shown


def _path(request: Request) -> str:
    """The path in the set that a URL asks for. It is compared with what the set has, and is never the path of a file."""
    return _asked(request, "path")


def _cursor(request: Request) -> Cursor:
    """Where a page of a long list begins."""
    begin = _asked(request, "begin")
    return Cursor(
        int(begin) if begin.isascii() and begin.isdecimal() and len(begin) < 13 else 0, _asked(request, "after")
    )


def _asked(request: Request, key: str) -> str:
    """A value of a URL's query; bytes that are not UTF-8 are surrogate-escaped, as in names of files."""
    query: str = request.scope["query_string"].decode("latin-1")
    return dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape")).get(key, "")


Path = Annotated[str, Depends(_path)]


@router.get("/sets/{repository:path}/{name}/inside", name="inside")
def inside(
    request: Request, repository: str, name: str, path: Path, begin: Annotated[Cursor, Depends(_cursor)]
) -> HTMLResponse:
    """What is in a set at a path, one page of it."""
    site = site_of(request)
    info = seen(glance_for(request), repository, name).info
    manifest = _readable(info)
    steps = [step for step in "/".join(split(path)).split("/") if step]
    with site.looking(repository) as stack:
        found = _listed(stack, info.name, "/".join(steps), begin)
    with site.reading() as stack:
        here = where(stack, repository)
    return page(
        request,
        "inside.html",
        info=info,
        steps=[(step, "/".join(steps[: count + 1])) for count, step in enumerate(steps)],
        path="/".join(steps),
        listing=found,
        begin=begin,
        counts=_counts(manifest, steps),
        collections=[one for one in collections(manifest) if not steps or steps == [one.source]],
        command=site.jobs.typed(["ls", *here, "--", info.name, *(["/".join(steps)] if steps else [])]),
    )


def _readable(info: "SetInfo") -> "Manifest":
    if info.manifest is None:
        raise NoSuchSetError(f"{info.name} cannot be looked into: {shown(info.problem)}", "Look into another set.")
    return info.manifest


def _listed(stack: "Stack", name: str, path: str, begin: Cursor) -> Listing:
    entries = cast("Generator[Entry]", stack.entries(name, path))
    with closing(entries):
        return listing(entries, path, begin)


def _counts(manifest: "Manifest", steps: list[str]) -> list[tuple[str, str, str, int]]:
    """What was counted of the sources at a path: source, subject, name and number."""
    sources = manifest.sources if not steps else {steps[0]: manifest.sources[steps[0]]} if len(steps) == 1 else {}
    return [(source, *one) for source, record in sources.items() for one in counts(record)[:_COUNTS]]


@router.get("/sets/{repository:path}/{name}/content", name="content")
def content(request: Request, _viewer: Operator, repository: str, name: str, path: Path) -> Response:
    """One file of a set, whole or a range of it."""
    site = site_of(request)
    info = looked_up(site, repository, name).info
    return taken_out(site, repository, _readable(info), path, request.headers)
