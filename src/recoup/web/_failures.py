"""What went wrong, as a page that a person understands, or as problem details (RFC 9457) for programs."""

import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from recoup.errors import (
    BusyError,
    ConfigError,
    LockedError,
    NoRepositoryError,
    NoSuchSetError,
    RecoupError,
    RefusedError,
    SkippedError,
    StorageError,
    UsageError,
)
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.web._json import Json
from recoup.web._pages import bare_page, page, path_to, prefix_of, site_of

_STATUS: tuple[tuple[type[RecoupError], int], ...] = (
    (NoSuchSetError, 404),
    (ConfigError, 503),
    (UsageError, 400),
    (LockedError, 409),
    (BusyError, 409),
    (RefusedError, 409),
    (SkippedError, 409),
    (NoRepositoryError, 503),
    (StorageError, 503),
)
"""What errors are to those who asked by HTTP; any other one is 500."""

_SENTENCES = {
    404: ("There is no such page", "Perhaps what it showed was deleted since."),
    405: ("This cannot be done here", "The address is right, but not for this kind of request."),
}

_LOG = logging.getLogger("recoup.web")


class Failure(Struct):
    """What went wrong.

    Attributes:
        status: of the answer.
        title: in a few words; the same for the same kind of failure.
        message: what happened, masked.
        hint: what to do, masked; may be empty.
        exit_code: with which the command line would have ended; None where that is no error of ours.
    """

    status: int
    title: str
    message: str
    hint: str = ""
    exit_code: int | None = None


def install(app: FastAPI) -> None:
    """Has an application answer errors by pages and problem details."""
    app.add_exception_handler(RecoupError, _told)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _not_understood)


def wants_problem(request: Request) -> bool:
    """Whether a program asks, which reads problem details."""
    return str(request.scope["path"]).removeprefix(prefix_of(request)).startswith("/api/")


def answer(request: Request, failure: Failure, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that tells a failure. A page has the usual frame for those who may see it."""
    if wants_problem(request):
        return _problem(request, failure, headers)
    framed = request.state.viewer is not None and failure.status != HTTPStatus.INTERNAL_SERVER_ERROR
    frame = (page, "base.html") if framed else (bare_page, "bare.html")
    made = frame[0](request, "failure.html", failure.status, failure=failure, frame=frame[1])
    made.headers.update(headers or {})
    return made


def of_error(request: Request, error: RecoupError) -> Failure:
    """An error of ours as a failure, masked."""
    mask = site_of(request).masker
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    titles = {404: "Not found", 409: "Not now", 400: "This cannot be done", 503: "Not available"}
    title = titles.get(status, "It failed")
    return Failure(status, title, mask(error.message), mask(error.hint), int(error.exit_code))


def unexpected(request: Request, error: Exception) -> Response:
    """The answer to an error that nobody foresaw: it is logged, masked, and the browser learns nothing of it."""
    text = "".join(traceback.format_exception(error))
    _LOG.error("%s", site_of(request).masker(text))
    told = "An error that should not happen. The server's log says which one."
    return answer(
        request,
        Failure(
            500, "Something went wrong", told, "Whether it was done is not known: look before you ask for it again."
        ),
    )


def broken_off(request: Request, error: Exception) -> None:
    """Logs why an answer that had begun could not be ended: a foreseen reason in a sentence, any other one in full."""
    reason = error if isinstance(error, RecoupError) else error.__cause__  # so the framework passes on what it handles
    if not isinstance(reason, RecoupError):
        unexpected(request, error)
        return
    what = shown(f"{request.method} {request.scope['path']}")
    _LOG.warning("%s", site_of(request).masker(f"{what} was broken off: {reason.message}. {reason.hint}".rstrip()))


def _problem(request: Request, failure: Failure, headers: Mapping[str, str] | None) -> Response:
    kind, title = "about:blank", HTTPStatus(failure.status).phrase  # which RFC 9457, section 4.2.1 wants of this type
    if failure.exit_code is not None:
        kind, title = f"{path_to(request, 'api_docs')}#problem-{failure.exit_code}", failure.title
    told = {"type": kind, "title": title, "status": failure.status, "detail": failure.message}
    more = {"hint": failure.hint, "exit_code": failure.exit_code}
    known = {name: value for name, value in more.items() if value not in ("", None)}
    return Json({**told, **known}, failure.status, headers, "application/problem+json")


def _told(request: Request, error: Exception) -> Response:
    if not isinstance(error, RecoupError):
        raise error
    return answer(request, of_error(request, error))


def _of_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    title, message = _SENTENCES.get(status, (status.phrase.capitalize(), status.description or status.phrase))
    if error.detail and error.detail != status.phrase:
        message = site_of(request).masker(str(error.detail))
    elif wants_problem(request):
        message = status.description or status.phrase
    return answer(request, Failure(status, title, message), error.headers)


def _not_understood(request: Request, error: Exception) -> Response:
    """Names what is wrong, and repeats nothing of what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = {str(one["loc"][-1]): str(one["msg"]) for one in error.errors()}
    told = "; ".join(f"{name}: {message}" for name, message in found.items())
    return answer(request, Failure(400, "This was not understood", told))
