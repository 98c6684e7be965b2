"""The headers that every answer has, and the cookie that says whose session it is."""

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and do (Content-Security-Policy): our own files, and no script or style inside the page."""

_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_KEPT = "private, no-cache"  # files of ours: asked for again each time, and sent when they changed
_NOT_KEPT = "no-store"


class Answer:
    """An answer on its way out.

    Args:
        send: takes its messages.
        cookie: says what the header Set-Cookie is to be, when the answer begins; empty for none.
        static: whether it is a file of ours, which browsers may keep.

    Attributes:
        begun: whether its status has been sent.
    """

    def __init__(self, send: Send, cookie: Callable[[], str], *, static: bool) -> None:
        self._send, self._cookie, self._static = send, cookie, static
        self.begun = False

    async def send(self, message: Message) -> None:
        """Sends a message; the first one with the headers."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _ALWAYS.items():
                headers[name] = value
            headers["Cache-Control"] = _KEPT if self._static else _NOT_KEPT
            if cookie := self._cookie():
                headers.append("Set-Cookie", cookie)
        await self._send(message)


def session_cookie(name: str, value: str, path: str, *, secure: bool, age: int) -> str:
    """The header that gives a browser its cookie, or takes it away with an `age` of 0.

    Args:
        name: of the cookie.
        value: letters, digits and `._-` alone.
        path: prefix of our paths; empty for none.
        secure: whether the request came by https.
        age: seconds that the browser keeps it.
    """
    attributes = [f"{name}={value}", f"Path={path or '/'}", f"Max-Age={age}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*attributes, *(["Secure"] if secure else [])])


def cookie_name(stack: str, path: str, *, secure: bool) -> str:
    """The cookie's name: browsers keep one with `__Host-` from being set by any other host, where it is for all paths and https.

    Args:
        stack: its name: all ports of a machine share their cookies.
        path: prefix of our paths; empty for none.
        secure: whether the request came by https.
    """
    name = f"recoup-{stack}"
    return f"__Host-{name}" if secure and not path else name
