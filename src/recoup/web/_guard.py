"""The guard in front of all routes. It looks at each request before anything else does, and refuses by default: a route that
changes something cannot forget to be protected.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from anyio import to_thread
from fastapi import Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recoup.web._accounts import Accounts, Viewer
from recoup.web._failures import Failure, answer, broken_off, unexpected, wants_problem
from recoup.web._headers import Answer, cookie_name, session_cookie
from recoup.web._hosts import Hosts, is_loopback, network
from recoup.web._leading import own_path
from recoup.web._pages import bare_page, path_to
from recoup.web._place import Place
from recoup.web._sessions import LIFETIME, Session, Sessions

if TYPE_CHECKING:
    from recoup.web._site import Site

LARGEST = 1024 * 1024
"""Bytes of a form or of another changing request, at most: nothing is uploaded here."""

_READING = ("GET", "HEAD", "OPTIONS")
_FORM = "application/x-www-form-urlencoded"
_PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_SIGN_IN, _SIGN_OUT, _STATIC = "/sign-in", "/sign-out", "/static/"


class BrokenOffError(Exception):
    """An answer that had begun could not be ended: the connection is closed, so that nobody takes it for whole."""


class Guard:
    """The guard, as an ASGI application around another one.

    Args:
        app: what it protects.
        site: the stack.
        place: where the page is.
        sessions: those of its browsers.
    """

    def __init__(self, app: ASGIApp, site: "Site", place: Place, sessions: Sessions) -> None:
        self._app, self._site, self._place, self._sessions = app, site, place, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # there are none here
        elif scope["type"] == "http":
            await self._http(_located(scope, self._place.path), receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        static = _route(request).startswith(_STATIC)
        out = Answer(send, partial(self._cookie, request), static=static)
        request.state.viewer, request.state.csrf = None, ""
        request.state.session, request.state.came_with = None, None
        request.state.peer = network(_peer(request))
        try:
            passed = await self._looked_at(request)
            if isinstance(passed, Response):
                await passed(scope, receive, out.send)
            else:
                await self._app(scope, passed, out.send)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is: one request failed, and its browser is told so
            if out.begun:
                await to_thread.run_sync(broken_off, request, error)
                raise BrokenOffError("an answer was broken off; see above") from None
            told = await to_thread.run_sync(unexpected, request, error)
            await told(scope, receive, out.send)

    async def _looked_at(self, request: Request) -> Response | Receive:
        """What to answer a request that is refused; for any other one what gives its body."""
        settings = await to_thread.run_sync(lambda: self._site.settings)
        hosts = Hosts.of(settings.hosts, self._place)
        names = request.headers.getlist("host")
        if len(names) != 1 or not hosts.know(names[0]):
            return _misdirected(names)
        if request.scope["path"] == self._place.path != "":
            return RedirectResponse(f"{self._place.path}/", 307)
        if _route(request).startswith(_STATIC) and request.method in _READING:
            return request.receive
        return await self._admitted(request, Accounts.of(settings), hosts)

    async def _admitted(self, request: Request, accounts: Accounts, hosts: Hosts) -> Response | Receive:
        if token := _bearer(request):
            request.state.viewer = accounts.by_token(token)
            if request.state.viewer is None:
                return _unknown_token(request)
        else:
            refused = _foreign(request, hosts) or self._by_session(request, accounts)
            if refused is not None:
                return await _made(refused)
        if request.state.viewer is None and _route(request) not in (_SIGN_IN, _SIGN_OUT):
            return _sign_in_first(request)
        if request.method in _READING:
            return request.receive
        return await self._changing(request, by_token=bool(token))

    def _by_session(self, request: Request, accounts: Accounts) -> "_Refused":
        """Finds the session of a browser's cookie, or begins one, and so who it is."""
        session = self._session(request, accounts)
        if session is None and _from_elsewhere(request):
            return partial(_once_more, request)
        if session is None:
            session = self._sessions.begin("", accounts.proof("", self._sessions.key))
        else:
            request.state.came_with = session
            session = self._sessions.renewed(session)
        request.state.session, request.state.csrf = session, self._sessions.csrf(session)
        if not accounts.is_open:
            request.state.viewer = accounts.viewer(session.role) if session.role else None
        elif not _from_this_machine(request):
            return partial(answer, request, _PASSED)
        else:
            request.state.viewer = Viewer("", may_operate=True)
        return None

    def _session(self, request: Request, accounts: Accounts) -> Session | None:
        """The session that a browser's cookie proves; None when there is none, or its password is another one now."""
        found = self._sessions.read(request.cookies.get(self._cookie_name(request), ""))
        if found is None or (found.role and found.role not in accounts.roles):
            return None
        return found if found.proof == accounts.proof(found.role, self._sessions.key) else None

    async def _changing(self, request: Request, *, by_token: bool) -> Response | Receive:
        """Only an operator, from a page of ours, changes something."""
        body = await _body(request.receive)
        if body is None:
            return await _made(partial(answer, request, _TOO_LARGE))
        if not by_token and not self._sessions.is_csrf(request.state.session, _csrf(request, body)):
            return await _made(partial(answer, request, _STALE))
        viewer = request.state.viewer
        if _route(request) not in (_SIGN_IN, _SIGN_OUT) and not (viewer and viewer.may_operate):
            return await _made(partial(answer, request, _READER))
        return _again(body, request.receive)

    def _cookie_name(self, request: Request) -> str:
        return cookie_name(self._site.name, self._place.path, secure=request.url.scheme == "https")

    def _cookie(self, request: Request) -> str:
        """The header that tells the browser of a session that began, was renewed, or ended; empty when nothing changed."""
        session, before = request.state.session, request.state.came_with
        if session == before:
            return ""
        secure = request.url.scheme == "https"
        name = cookie_name(self._site.name, self._place.path, secure=secure)
        value, age = (self._sessions.cookie(session), LIFETIME) if session else ("", 0)
        return session_cookie(name, value, self._place.path, secure=secure, age=age)


_Refused = Callable[[], Response] | None

_STALE = Failure(
    403,
    "This was not done",
    "The request did not come from a page of this session. Perhaps you signed in or out in another tab, or the page is old.",
    "Go back, load the page again, and try once more.",
)
_READER = Failure(403, "This is for operators", "A reader may look at everything and change nothing.")
_FOREIGN = Failure(403, "Refused", "The request came from a page of another site.")
_TOO_LARGE = Failure(413, "Too large", f"A form has at most {LARGEST // 1024} KiB.")
_PASSED = Failure(
    403,
    "Refused",
    "Without a password the page answers this machine alone, and this request came from elsewhere or by a proxy.",
    "Set `web.operator.password_hash`; `recoup web --hash-password` makes what it takes.",
)


def _located(scope: Scope, prefix: str) -> Scope:
    """The request with our prefix in its path, whether a proxy took it away or not, and with the scheme that a proxy of this
    machine tells.
    """
    path: str = scope["path"]
    inside = path == prefix or path.startswith(f"{prefix}/")
    made = {
        **scope,
        "root_path": prefix,
        "path": path if inside else prefix + path,
        "state": {**scope.get("state", {})},
    }
    told = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    if told in (b"http", b"https") and _near(scope):
        made["scheme"] = told.decode()
    return made


def _near(scope: Scope) -> bool:
    """Whether the connection comes from this machine."""
    client = scope.get("client")
    return client is not None and is_loopback(client[0])


def _route(request: Request) -> str:
    """The path without our prefix."""
    return str(request.scope["path"]).removeprefix(str(request.scope["root_path"]))


def _peer(request: Request) -> str:
    """Who is at the other end; of what a proxy of this machine passes on, whom that proxy names (the last one: others can be
    made up).
    """
    told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    own = request.client.host if request.client else ""
    return told[:64] if told and _near(request.scope) else own


def _from_this_machine(request: Request) -> bool:
    return _near(request.scope) and not any(name in request.headers for name in _PASSED_ON)


def _misdirected(names: list[str]) -> Response:
    if len(names) != 1:
        return PlainTextResponse("The request does not say which host it is for.\n", 400)
    return PlainTextResponse(
        "Recoup is not reached under this name. Names under which browsers reach it stand in `web.hosts`.\n", 421
    )


def _bearer(request: Request) -> str:
    """The token of a program; empty without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or "-" if scheme.lower() == "bearer" else ""


def _unknown_token(request: Request) -> Response:
    told = Failure(401, "Unknown token", "The token is not one of the configuration.")
    return answer(request, told, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _foreign(request: Request, hosts: Hosts) -> "_Refused":
    """Whether a page of another site had the browser ask: it may lead here by a link, and do nothing else."""
    site = request.headers.get("sec-fetch-site", "none")
    reading = request.method in _READING
    link = reading and request.headers.get("sec-fetch-mode") == "navigate"
    origin = request.headers.get("origin")
    wrong_origin = origin is not None and not reading and not hosts.may_send(origin, request.headers["host"])
    if wrong_origin or (site not in ("same-origin", "none") and not link):
        return partial(answer, request, _FOREIGN)
    return None


def _from_elsewhere(request: Request) -> bool:
    """Whether a link of another site led here: then browsers leave out a cookie that is `SameSite=Strict`."""
    return request.method == "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _once_more(request: Request) -> HTMLResponse:
    """A page that asks for the same again, now from a page of ours, so that the cookie comes with it."""
    return bare_page(request, "once_more.html", again=own_path(_asked(request), request.scope["root_path"]))


def _sign_in_first(request: Request) -> Response:
    """Leads a person to the form, and back to where they wanted to go; tells a program what is missing."""
    where = path_to(request, "sign_in")
    if wants_problem(request):
        told = Failure(401, "Sign in first", "This is for those who have signed in, or have a token.")
        return answer(request, told, {"WWW-Authenticate": "Bearer"})
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": where})
    if request.method not in _READING:
        return RedirectResponse(where, 303)
    return RedirectResponse(f"{where}?{urlencode({'next': _asked(request)})}", 303)


def _asked(request: Request) -> str:
    """Path and query, as a browser writes them."""
    path = quote(request.scope["path"], safe="/:@!$&'()*+,;=~", errors="surrogateescape")
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _csrf(request: Request, body: bytes) -> str:
    """The token that came with a change: in the header, else in the form."""
    if header := request.headers.get("x-csrf-token"):
        return header
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return ""
    try:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10_000))
    except ValueError:
        return ""
    return fields.get("csrf", "")


async def _made(refused: Callable[[], Response]) -> Response:
    """The page that refuses, made in a thread: its frame reads files."""
    return await to_thread.run_sync(refused)


async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None when it is too large.

    Raises:
        ClientDisconnect: the browser went away.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > LARGEST:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, and then what else comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
