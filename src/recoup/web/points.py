"""Points of a set's Qdrant collections: by id, by a text of their payload, or all as a file. For operators: it is content."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from recoup.errors import UsageError
from recoup.model.names import shown
from recoup.model.reports import SetInfo
from recoup.web import _points
from recoup.web._attachment import attachment
from recoup.web._glances import glance_for
from recoup.web._lookup import seen
from recoup.web._pages import page, site_of
from recoup.web._points import Collection, collections
from recoup.web._security import Operator
from recoup.web._set_choice import where
from recoup.web._streaming import Blocks, Download

router = APIRouter(tags=["sets"])

_LONGEST = 600  # characters of one value of many points
_LONGEST_OF_ONE = 20_000


@router.get("/sets/{repository:path}/{name}/points", name="points")
def points(
    request: Request,
    _viewer: Operator,
    repository: str,
    name: str,
    source: str = "",
    collection: str = "",
    id: str = "",  # noqa: A002 - the noun of the field
    text: str = "",
    begin: Annotated[int, Query(ge=0, le=10**12)] = 0,
) -> HTMLResponse:
    """Points of a collection: a page of them, one, or those with a text."""
    info, found, chosen = _chosen(request, repository, name, source, collection)
    shown_id = id.strip()
    arguments = _arguments(request, info, chosen, shown_id)
    wanted = "" if shown_id else text.strip()
    look = _points.look(site_of(request).jobs.asked(arguments), wanted, begin, by_id=bool(shown_id))
    return page(
        request,
        "points.html",
        info=info,
        found=found,
        chosen=chosen,
        look=look,
        rows=[(point.get("id"), values(point, _LONGEST_OF_ONE if shown_id else _LONGEST)) for point in look.points],
        asked_id=shown_id,
        asked_text=wanted,
        begin=begin,
        command=site_of(request).jobs.typed(arguments),
    )


@router.get("/sets/{repository:path}/{name}/points.jsonl", name="points_file")
def points_file(
    request: Request, _viewer: Operator, repository: str, name: str, source: str = "", collection: str = ""
) -> Response:
    """All points of a collection with their vectors, a JSON object a line."""
    info, _, chosen = _chosen(request, repository, name, source, collection)
    command = [*site_of(request).jobs.asked(_arguments(request, info, chosen, "")), "--vectors"]
    blocks = Blocks(_points.lines(command), None)
    return Download(blocks, attachment(f"{info.name}.{chosen.name.replace('/', '_')}.jsonl"))


def _chosen(
    request: Request, repository: str, name: str, source: str, collection: str
) -> tuple[SetInfo, Sequence[Collection], Collection]:
    """The set, its collections, and the one that is meant: the first one where none is named.

    Raises:
        UsageError: there is none.
    """
    info = seen(glance_for(request), repository, name).info
    found = collections(info.manifest) if info.manifest else ()
    if not found:
        raise UsageError(f"{info.name} has no collection that could be opened here", "Look at its files instead.")
    named = [one for one in found if source in ("", one.source) and collection in ("", one.name)]
    if not named:
        raise UsageError(f"{info.name} has no collection {shown(collection)}", "Choose one of those that it has.")
    return info, found, named[0]


def _arguments(request: Request, info: SetInfo, chosen: Collection, point: str) -> list[str]:
    """The command that prints points, all or one. What came from a browser stands where it can be no option."""
    with site_of(request).reading() as stack:
        here = where(stack, info.repository)
    which = [f"--collection={chosen.name}", f"--source={chosen.source}", *here]
    if point:
        return ["qdrant", "get", *which, "--", info.name, point]
    return ["qdrant", "scroll", *which, "--limit=0", info.name]


def values(point: Mapping[str, Any], longest: int = _LONGEST) -> list[tuple[str, str]]:
    """The payload of a point, field by field; a long value is cut, and ends with dots.

    Args:
        point: in Qdrant's JSON form.
        longest: characters of a value.
    """
    payload = point.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    return [(str(name), _text(value, longest)) for name, value in fields.items()]


def _text(value: object, longest: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[:longest]}..."
