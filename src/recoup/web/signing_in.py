"""Signing in and out."""

import math
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from recoup.config._web import ROLES
from recoup.web._accounts import Accounts
from recoup.web._attempts import Attempts
from recoup.web._leading import own_path
from recoup.web._pages import bare_page, path_to, prefix_of, site_of
from recoup.web._sessions import Sessions

router = APIRouter(tags=["sign_in"], include_in_schema=False)

_AT_ONCE = 2  # passwords that are compared at the same time: each takes memory, on purpose


@router.get("/sign-in", name="sign_in")
def sign_in(request: Request, wanted: Annotated[str, Query(alias="next")] = "") -> Response:
    """The form."""
    where = own_path(wanted, prefix_of(request))
    if request.state.viewer is not None:
        return RedirectResponse(where, 303)
    return _form(request, where)


@router.post("/sign-in", name="signed_in")
async def signed_in(
    request: Request,
    role: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    wanted: Annotated[str, Form(alias="next")] = "",
) -> Response:
    """Begins a session, and goes on to the page that was asked for first."""
    attempts: Attempts = request.app.state.attempts
    where = own_path(wanted, prefix_of(request))
    wait = attempts.begin(request.state.peer)
    if wait > 0:
        return await to_thread.run_sync(_later, request, where, wait)
    accounts = Accounts.of(await to_thread.run_sync(lambda: site_of(request).settings))
    if not await to_thread.run_sync(accounts.admits, role, password, limiter=_limiter(request)):
        return await to_thread.run_sync(_wrong, request, where, role)
    attempts.succeeded(request.state.peer)
    sessions: Sessions = request.app.state.sessions
    request.state.session = sessions.begin(role, accounts.proof(role, sessions.key))
    return RedirectResponse(where, 303)


@router.post("/sign-out", name="sign_out")
def sign_out(request: Request) -> Response:
    """Ends the session, also for whoever has a copy of its cookie."""
    sessions: Sessions = request.app.state.sessions
    session = request.state.session
    if session is not None and session.role:  # others prove nothing, and anybody can have as many of them as they like
        sessions.end(session)
    request.state.session = None
    return RedirectResponse(path_to(request, "sign_in"), 303)


def _limiter(request: Request) -> CapacityLimiter:
    """Belongs to the event loop, so it is made by the first who needs it."""
    state = request.app.state
    if not hasattr(state, "hashing"):
        state.hashing = CapacityLimiter(_AT_ONCE)
    limiter: CapacityLimiter = state.hashing
    return limiter


def _form(request: Request, where: str, status: int = 200, problem: str = "", role: str = ROLES[0]) -> Response:
    values = {"csrf": request.state.csrf, "where": where, "problem": problem, "role": role, "roles": ROLES}
    return bare_page(request, "sign_in.html", status, **values)


def _wrong(request: Request, where: str, role: str) -> Response:
    return _form(request, where, 401, "Name and password do not fit together.", role)


def _later(request: Request, where: str, wait: float) -> Response:
    seconds = math.ceil(wait)
    unit = "second" if seconds == 1 else "seconds"
    made = _form(request, where, 429, f"There were too many wrong tries. Wait {seconds} {unit}, then try again.")
    made.headers["Retry-After"] = str(seconds)
    return made
