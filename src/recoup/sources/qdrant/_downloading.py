"""The bodies of large answers, read in large blocks.

A stream of Qdrant's comes in chunks of some two kilobytes. httpx makes an event of each, and then needs more of the processor
than all that is done with the bytes; the standard library's client reads the same at a quarter of that. So httpx prepares the
request and knows what a failure means, and this sends it, by a connection of its own.
"""

import base64
import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from recoup.sources.qdrant._addresses import is_this_machine
from recoup.sources.qdrant._trusting import trusting

if TYPE_CHECKING:
    import httpx

BLOCK = 1 << 20  # bytes handed on at once
_PIECE = 1 << 18  # bytes asked of the connection at once


@contextlib.contextmanager
def answered(
    request: "httpx.Request",
    connect_timeout: float,
    wait: float | None,
    begun: Callable[[socket.socket], None],
    authority: Path | None = None,
) -> "Iterator[http.client.HTTPResponse]":
    """Sends a request by a connection of its own, and yields the answer, whose body is not read yet.

    Args:
        request: as httpx builds it; userinfo in its URL is sent as basic authentication.
        connect_timeout: seconds to wait for the connection.
        wait: seconds without a byte to bear with; None for ever.
        begun: is given the connection's socket.
        authority: file of certificates that are trusted besides the usual ones.

    Raises:
        httpx.TransportError: as httpx would.
    """
    connection, target = _connected(request.url, connect_timeout, authority)
    with contextlib.closing(connection):
        connection.sock.settimeout(wait)
        begun(connection.sock)
        headers = {**request.headers, "Connection": "close", **_authorization(request.url)}
        with _failures():
            connection.request(request.method, target, request.content or None, headers)
            response = connection.getresponse()
        with contextlib.closing(response):
            yield response


def blocks_of(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body: its first block as soon as there is something, the others of 1 MiB or a little more.

    Raises:
        httpx.TransportError: the connection broke before the announced end; what came of a body of known length was yielded.
    """
    waiting: list[bytes] = []
    size = BLOCK  # so that the first piece does not wait for others
    with _failures():
        try:
            for piece in _pieces(response):
                waiting.append(piece)
                size += len(piece)
                if size >= BLOCK:
                    yield b"".join(waiting)
                    waiting, size = [], 0
        except (OSError, http.client.HTTPException):
            yield b"".join(waiting)
            raise
    yield b"".join(waiting)


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    if response.chunked:
        yield response.read1(_PIECE)
        while piece := response.read(BLOCK):
            yield piece
        return
    left = response.length
    while left != 0:
        piece = response.read1(_PIECE if left is None else min(_PIECE, left))
        if not piece:
            break
        yield piece
        left = None if left is None else left - len(piece)
    if left:
        raise http.client.IncompleteRead(b"", left)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Failures of the standard library's client as httpx would tell them."""
    import httpx

    try:
        yield
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from None
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(str(error) or type(error).__name__) from None
    except OSError as error:
        raise httpx.ReadError(error.strerror or str(error)) from None


def _connected(url: "httpx.URL", timeout: float, authority: Path | None) -> tuple[http.client.HTTPConnection, str]:
    """A connection to where a URL leads, and the target to ask it for; by the proxy that the environment names."""
    import httpx

    connection, target = _connection(url, timeout, authority)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        raise httpx.ConnectError(error.strerror or str(error)) from None
    return connection, target


def _connection(url: "httpx.URL", timeout: float, authority: Path | None) -> tuple[http.client.HTTPConnection, str]:
    target, proxy = url.raw_path.decode(), _proxy(url)
    first = (urlsplit(proxy).hostname or "", urlsplit(proxy).port) if proxy else (url.host, url.port)
    if url.scheme != "https":
        whole = f"http://{url.netloc.decode()}{target}"
        return http.client.HTTPConnection(*first, timeout=timeout), whole if proxy else target
    connection = http.client.HTTPSConnection(*first, timeout=timeout, context=trusting(authority))
    if proxy:
        import httpx

        connection.set_tunnel(url.host, url.port, _authorization(httpx.URL(proxy), "Proxy-Authorization"))
    return connection, target


def _proxy(url: "httpx.URL") -> str:
    """A proxy for the network is none for this machine."""
    if is_this_machine(str(url)) or proxy_bypass(url.host):
        return ""
    known = getproxies()
    found = known.get(url.scheme) or known.get("all") or ""
    return found if "://" in found or not found else f"http://{found}"


def _authorization(url: "httpx.URL", name: str = "Authorization") -> dict[str, str]:
    if not url.userinfo:
        return {}
    return {name: f"Basic {base64.b64encode(f'{url.username}:{url.password}'.encode()).decode()}"}
