"""The REST interface: its routes, its OpenAPI document, and the page on which people read what there is."""

from functools import cache
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.routing import BaseRoute

from recoup.model.exit_codes import exit_code_table
from recoup.web import _api_doing, _api_jobs, _api_looking, _api_sets
from recoup.web._api_answers import PREFIX, WRONG
from recoup.web._api_document import document, operations, values
from recoup.web._json import Json
from recoup.web._pages import page, prefix_of

_NOUNS = (_api_looking, _api_sets, _api_jobs, _api_doing)

router = APIRouter()
for _noun in _NOUNS:
    router.include_router(_noun.router)


def routes() -> list[BaseRoute]:
    """All routes of the interface."""
    return [route for noun in _NOUNS for route in noun.router.routes]


@cache
def openapi(prefix: str = "") -> dict[str, Any]:
    """The OpenAPI document, made once.

    Args:
        prefix: in front of all paths, behind a proxy.
    """
    return document(routes(), prefix)


@cache
def _codes() -> list[tuple[int, str]]:
    """Exit codes that say that something went wrong, with their meanings."""
    return [(code, meaning) for code, meaning in exit_code_table() if code]


@router.get(f"{PREFIX}/openapi.json", name="openapi", include_in_schema=False)
def openapi_file(request: Request) -> Response:
    """The OpenAPI document."""
    return Json(openapi(prefix_of(request)))


@router.get("/api", name="api_docs", tags=["api"], include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """What there is, for people."""
    made = openapi(prefix_of(request))
    return page(
        request,
        "api.html",
        about=[" ".join(paragraph.split()) for paragraph in made["info"]["description"].split("\n\n")],
        groups=operations(made),
        values=values(made),
        wrong=WRONG,
        codes=_codes(),
        base=f"{request.url.scheme}://{request.url.netloc}",
    )
