"""The REST interface's routes that look at sets: which there are, what is in one, what changed."""

from collections.abc import Generator, Iterator
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from recoup.errors import NoSuchSetError, UsageError
from recoup.model.artefact import Artefact
from recoup.model.marks import Mark
from recoup.model.names import shown
from recoup.model.reports import SetInfo
from recoup.model.structs import Struct
from recoup.operations.contents import Entry
from recoup.operations.diff import DiffReport
from recoup.web import inside
from recoup.web._api_answers import PREFIX, Limit, Name, Offset, Problems, Repository, answer, says, says_content
from recoup.web._attachment import attachment
from recoup.web._lookup import looked_up
from recoup.web._pages import site_of
from recoup.web._security import Operator
from recoup.web._set_choice import chosen_stack
from recoup.web._site import Site
from recoup.web.inside import Path

router = APIRouter(prefix=PREFIX, tags=["Sets"])


class Sets(Struct):
    """Some of the sets.

    Attributes:
        sets: those asked for; of several repositories each copy by itself.
        total: how many answer to the filters.
        unread: repositories that cannot be read, with the reason: their sets are not among these.
    """

    sets: tuple[SetInfo, ...]
    total: int
    unread: tuple[str, ...]


class Entries(Struct):
    """Some of what is in a set.

    Attributes:
        entries: what is at the path and below it.
        more: whether there is more behind these.
    """

    entries: tuple[Entry, ...]
    more: bool


class Foreign(Struct):
    """What other tools put into keyed repositories.

    Attributes:
        artefacts: oldest first of each repository.
        unread: repositories that cannot be listed, with the reason.
    """

    artefacts: tuple[Artefact, ...]
    unread: tuple[str, ...]


class Trash(Struct):
    """Deleted sets that can be taken back.

    Attributes:
        trash: repository to the names of the sets in its trash, the newest first.
        unread: repositories whose trash cannot be read, with the reason.
    """

    trash: dict[str, tuple[str, ...]]
    unread: tuple[str, ...]


class Marks(Struct):
    """What was learned about a set after it was stored.

    Attributes:
        marks: pins, notes and proofs, the newest first.
    """

    marks: tuple[Mark, ...]


def found(site: Site, repository: str, text: str) -> SetInfo:
    """The set that a text means.

    Args:
        site: what the interface stands on.
        repository: name of a configured repository, looked up before it is used.
        text: a whole name, or what `recoup show` takes.

    Raises:
        NoSuchSetError: there is no such repository or set.
    """
    infos = site.sets()
    for info in infos:
        if (info.repository, info.name) == (repository, text):
            return info
    known(site, repository)
    try:
        with site.looking(repository) as stack:
            return stack.show(text)
    except UsageError as error:
        raise NoSuchSetError(error.message, error.hint) from None


def known(site: Site, repository: str) -> str:
    """The name of a repository that is configured.

    Raises:
        NoSuchSetError: it is not.
    """
    with site.reading() as stack:
        names = stack.chosen_repositories
    if repository not in names:
        raise NoSuchSetError(f"there is no repository {shown(repository)}", f"Known: {', '.join(names) or 'none'}.")
    return repository


def pairs(texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping.

    Raises:
        UsageError: one is none.
    """
    split = [text.partition("=") for text in texts]
    if any(not key or not equals for key, equals, _ in split):
        raise UsageError("a tag is KEY=VALUE")
    return {key: value for key, _, value in split}


@router.get("/sets", operation_id="sets", summary="The sets there are", responses=says(Sets, (400, 401)))
def sets(  # noqa: PLR0913, RUF100 - filters
    request: Request,
    tag: Annotated[list[str], Query(description="Only sets with this tag, as KEY=VALUE.")] = [],  # noqa: B006 - FastAPI's way
    source: Annotated[list[str], Query(description="Only sets that hold this source.")] = [],  # noqa: B006
    repository: Annotated[str | None, Query(description="Only those of this repository.")] = None,
    since: Annotated[str | None, Query(description="Only sets begun at or after this time.")] = None,
    until: Annotated[str | None, Query(description="Only sets begun at or before this time.")] = None,
    order: Annotated[Literal["newest", "oldest"], Query(description="Which come first.")] = "newest",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """The same as `recoup list --json`, page by page."""
    site = site_of(request)
    if repository is not None:
        known(site, repository)
    with site.reading() as stack:
        infos = stack.sets(tags=pairs(tag), sources=source, since=since, until=until)
        unread = stack.unread
    chosen = [info for info in infos if repository in (None, info.repository)]
    if order == "newest":
        chosen.sort(key=lambda info: info.name_key, reverse=True)
    return answer(request, Sets(tuple(chosen[offset : offset + limit]), len(chosen), unread))


@router.get("/foreign", operation_id="foreign", summary="What other tools put there", responses=says(Foreign))
def foreign(request: Request) -> Response:
    """As `recoup list --json` tells of it, beside the sets of keyed repositories."""
    with site_of(request).reading() as stack:
        stack.sets()  # which finds out what cannot be read
        artefacts = stack.foreign()
        return answer(request, Foreign(artefacts, stack.unread))


@router.get("/trash", operation_id="trash", summary="Deleted sets that can be taken back", responses=says(Trash))
def trash(request: Request) -> Response:
    """`trash_days` says how long they can."""
    with site_of(request).reading() as stack:
        return answer(request, Trash(stack.trashed(), stack.unread))


def _path_of(text: str, *, required: bool = False) -> dict[str, Any]:
    """What the document says of the path in a set; it is read by ourselves, since bytes of a name may be no UTF-8."""
    schema = {"type": "string", "title": "Path"}
    return {
        "parameters": [{"name": "path", "in": "query", "required": required, "schema": schema, "description": text}]
    }


_MANIFEST = says_content(
    "application/json",
    "The manifest as it is stored; where it is encrypted, what it says. `recoup config schema --manifest` prints its schema.",
    Problems.FIND,
    {"type": "object"},
)


@router.get(
    "/sets/{repository:path}/{name}/manifest", operation_id="set_manifest", summary="Its manifest", responses=_MANIFEST
)
def manifest(request: Request, repository: Repository, name: Name) -> Response:
    """A file of its own."""
    site = site_of(request)
    info = found(site, repository, name)
    file = chosen_stack(site, repository).manifest_file(info.name)
    return Response(file.data, media_type="application/json", headers=attachment(f"{info.name}.manifest.json"))


@router.get(
    "/sets/{repository:path}/{name}/marks",
    operation_id="set_marks",
    summary="What was learned of it later",
    responses=says(Marks, Problems.FIND),
)
def marks(request: Request, repository: Repository, name: Name) -> Response:
    """Pins, notes, proofs."""
    site = site_of(request)
    info = found(site, repository, name)
    return answer(request, Marks(chosen_stack(site, repository).marks(info)))


@router.get(
    "/sets/{repository:path}/{name}/entries",
    operation_id="set_entries",
    summary="What is in it",
    responses=says(Entries, Problems.FIND),
    openapi_extra=_path_of("`SOURCE`, `SOURCE/PART`, or that and what is inside it; empty for all parts."),
)
def entries(
    request: Request,
    repository: Repository,
    name: Name,
    path: Path,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """The same as `recoup ls --json`, page by page."""
    site = site_of(request)
    info = found(site, repository, name)
    with site.looking(repository) as stack:
        some = _some(stack.entries(info.name, path), offset, limit + 1)
    return answer(request, Entries(some[:limit], len(some) > limit))


def _some(every: Iterator[Entry], offset: int, count: int) -> tuple[Entry, ...]:
    """Reads no further than needed, and gives up at once what is held for reading."""
    try:
        return tuple(islice(every, offset, offset + count))
    finally:
        if isinstance(every, Generator):
            every.close()


_WHOLE = says_content(
    "application/octet-stream",
    "The file. When it turns out to be damaged on the way, the connection is broken off.",
    (401, 403, 404, 416),
    {"type": "string", "format": "binary"},
)
_RANGE = {**_WHOLE[200], "description": "The range of it that was asked for by `Range`."}


@router.get(
    "/sets/{repository:path}/{name}/content",
    operation_id="set_content",
    summary="One file of it",
    responses={200: _WHOLE[200], 206: _RANGE, **_WHOLE},
    openapi_extra=_path_of("`SOURCE/PART`, or that and what is inside it.", required=True),
)
def content(request: Request, viewer: Operator, repository: Repository, name: Name, path: Path) -> Response:
    """The same as `recoup cat`, for operators: content is more than state. `Range` and `If-Range` are understood."""
    info = found(site_of(request), repository, name)
    return inside.content(request, viewer, repository, info.name, path)


@router.get(
    "/sets/{repository:path}/{name}/diff",
    operation_id="set_diff",
    summary="What changed since another set",
    responses=says(DiffReport, Problems.FIND),
)
def diff(
    request: Request,
    repository: Repository,
    name: Name,
    other: Annotated[
        str, Query(alias="with", description="The set to compare with; by default the one before it.")
    ] = "",
) -> Response:
    """The same as `recoup diff --json OTHER NAME`."""
    site = site_of(request)
    info = found(site, repository, name)
    before = found(site, repository, other) if other else looked_up(site, repository, info.name).before
    if before is None:
        raise NoSuchSetError(f"there is no set before {info.name}", "Name one with `with=`.")
    with site.looking(repository) as stack:
        return answer(request, stack.diff(before.name, info.name))


@router.get(
    "/sets/{repository:path}/{name}",
    operation_id="set",
    summary="One set, whole",
    responses=says(SetInfo, Problems.FIND),
)
def one(request: Request, repository: Repository, name: Name) -> Response:
    """The same as `recoup show --json`; one whose manifest cannot be read says so in `problem`, and its `manifest` is null."""
    return answer(request, found(site_of(request), repository, name))
