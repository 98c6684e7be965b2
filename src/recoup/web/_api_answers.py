"""What answers of the REST interface have in common: values as `--json` writes them, and what the document says of them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path, Query, Request

from recoup.model.json_values import plain
from recoup.model.structs import Struct
from recoup.web._api_schemas import name_of, sentence
from recoup.web._json import Json
from recoup.web._pages import path_to, site_of
from recoup.web.jobs import Job

PREFIX = "/api/v1"
"""Where the interface is."""

KINDS: dict[str, type[Struct]] = {}
"""The kinds of values that answers have, by their names in the document."""

Says = dict[int | str, dict[str, Any]]
"""What the document says of a route's answers, by status."""

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}

Repository = Annotated[str, Path(description="Name of a configured repository.")]
Name = Annotated[
    str, Path(description="Name of a set, a unique prefix of it, `latest`, `latest-complete`, `oldest`, or a time.")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many, at most.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="How many to leave out in front.")]


class Problems:
    """Answers that say that something went wrong; each is an `application/problem+json`."""

    LOOK = (401,)
    FIND = (401, 404)
    CHANGE = (400, 401, 403, 409)
    FIND_AND_CHANGE = (400, 401, 403, 404, 409)


WRONG = {
    400: "What was sent makes no sense here.",
    401: "Nobody knows who asks: sign in, or send a token.",
    403: "This is for operators, or the CSRF token is missing.",
    404: "There is no such thing.",
    409: "Not now: something else runs, a lock is held, or it was refused for safety.",
    416: "The file does not have these bytes.",
}
"""What may go wrong, by status."""


def answer(request: Request, value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Json:
    """An answer with a value as `--json` writes it, without secrets.

    Args:
        request: who asks.
        value: a frozen value, or JSON types.
        status: of the answer.
        headers: further ones.
    """
    return Json(site_of(request).masker.value(plain(value)), status, dict(headers or {}))


def begun(request: Request, job: Job) -> Json:
    """The answer to a request that began a job.

    Args:
        request: who asks.
        job: it.
    """
    return answer(request, job, 202, {"Location": path_to(request, "api_job", id=job.id)})


def says(kind: type[Struct], wrong: tuple[int, ...] = Problems.LOOK, status: int = 200, text: str = "") -> Says:
    """What the document says of a route's answers.

    Args:
        kind: of the value.
        wrong: statuses of what may go wrong.
        status: that of success.
        text: what it is, where the value does not say so itself.
    """
    KINDS[name_of(kind)] = kind
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name_of(kind)}"}}}
    return {status: {"description": text or sentence(kind), "content": content}, **goes_wrong(wrong)}


def says_content(media_type: str, text: str, wrong: tuple[int, ...], schema: Mapping[str, Any] | None = None) -> Says:
    """The same of an answer that is no value of ours.

    Args:
        media_type: of the answer.
        text: what it is.
        wrong: statuses of what may go wrong.
        schema: of its content.
    """
    return {200: {"description": text, "content": {media_type: {"schema": dict(schema or {})}}}, **goes_wrong(wrong)}


def begins(wrong: tuple[int, ...] = Problems.CHANGE) -> Says:
    """What the document says of a route that begins a job."""
    found = says(Job, wrong, 202, "The job that was begun; `Location` is where to look at it.")
    found[202]["headers"] = {"Location": {"description": "The job.", "schema": {"type": "string"}}}
    return found


def goes_wrong(statuses: tuple[int, ...]) -> Says:
    """What the document says of what may go wrong; anything else may, too."""
    found: Says = {status: {"description": WRONG[status], "content": _PROBLEM} for status in statuses}
    return {**found, "default": {"description": "It failed.", "content": _PROBLEM}}
