"""What may happen to a request on its way, and what a fault may do with it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from recoup.model.structs import Struct
from recoup.testing._http_wire import Head, Wire


class Carrier(Protocol):
    """What a request is carried by: the proxy."""

    def connect(self) -> Wire:
        """A new connection to the server."""
        ...

    def forget(self, wire: Wire) -> None:
        """A connection is about to be closed by whoever had it."""
        ...

    def pause(self, seconds: float | None) -> None:
        """Waits, at most until the proxy ends; None: until then."""
        ...


@dataclass
class Exchange:
    """One request that came.

    Attributes:
        method: of the request.
        target: path and query, as they came.
        status: of the answer that the client was given; 0 where it was given none.
    """

    method: str
    target: str
    status: int = 0

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(urlsplit(self.target).path)


class Line:
    """A request on its way: what a fault may do with it."""

    def __init__(self, proxy: Carrier, client: Wire, request: Head, exchange: Exchange) -> None:
        self.proxy, self.client, self.request = proxy, client, request
        self._exchange = exchange
        self.keeps = request.get("connection").lower() != "close"
        self._body = request.body_of_request(client)
        self._upstream: Wire | None = None

    @property
    def upstream(self) -> Wire:
        """The connection to the server."""
        if self._upstream is None:
            self._upstream = self.proxy.connect()
        return self._upstream

    def send(self, body: Iterator[bytes] | None = None) -> None:
        """Passes the request on; without its body when another one is given."""
        head = self.request.without("expect").having("Connection", "close")
        listens = self._offer(head.raw())
        for piece in self._body if body is None else body:
            listens = listens and self._offer(head.framed(piece))
        if listens:
            self._offer(head.end)

    def _offer(self, data: bytes) -> bool:
        """Whether the server still takes the request; one that refuses it may have answered before its end."""
        upstream = self.upstream
        try:
            upstream.send(data)
        except OSError:
            return False
        return True

    def body(self) -> Iterator[bytes]:
        """The request's body, which can be read once."""
        return self._body

    def answer_head(self) -> Head:
        """The head of the server's answer.

        Raises:
            ConnectionError: it gives none.
        """
        raw = self.upstream.read_until(b"\r\n\r\n")
        if not raw:
            raise ConnectionError("the server gave no answer")
        return Head.parse(raw)

    def answer_body(self, head: Head) -> Iterator[bytes]:
        """The body of the server's answer."""
        return head.body_of_response(self.upstream, self.request.first[0])

    def reply(self, head: Head, body: Iterator[bytes]) -> None:
        """Gives the client an answer."""
        self.keeps = self.keeps and (head.chunked or bool(head.get("content-length")) or head.status in (204, 304))
        self._exchange.status = head.status
        self.client.send(head.having("Connection", "keep-alive" if self.keeps else "close").raw())
        for piece in body:
            self.client.send(head.framed(piece))
        if self.request.first[0] != "HEAD":
            self.client.send(head.end)

    def relay(self) -> None:
        """What a proxy does that is in order."""
        self.send()
        head = self.answer_head()
        self.reply(head, self.answer_body(head))

    def hang_up(self) -> None:
        """Resets the client's connection."""
        self.keeps = False
        self.client.close(reset=True)

    def close(self) -> None:
        """Ends the connection to the server."""
        if self._upstream is not None:
            self.proxy.forget(self._upstream)
            self._upstream.close()
            self._upstream = None


class Fault(Protocol):
    """Something that may happen to a request."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        ...


class Refuse(Struct):
    """The connection is reset; the server hears nothing."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.hang_up()


class Answer(Struct):
    """The server hears nothing, and this is the answer, as S3 words it.

    Attributes:
        status: HTTP status.
        code: of S3's error, e.g. `SlowDown`.
        headers: further ones.
        body: in place of the error document.
    """

    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        for _ in line.body():
            pass
        document = (
            f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>{self.code}</Message></Error>".encode()
        )
        body = document if self.body is None else self.body
        own = (("Content-Type", "application/xml"), ("Content-Length", str(len(body))))
        head = Head(("HTTP/1.1", str(self.status), "Injected"), (*own, *self.headers))
        line.reply(head, iter([body] if line.request.first[0] != "HEAD" else []))


class CutRequest(Struct):
    """Both connections break after some bytes of the request's body.

    Attributes:
        after: bytes that still pass.
    """

    after: int = 0

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        with contextlib.suppress(OSError):
            line.upstream.send(line.request.without("expect").raw())
            for piece in _first(self.after, line.body()):
                line.upstream.send(line.request.framed(piece))
        line.hang_up()


class CutResponse(Struct):
    """The client's connection breaks after some bytes of the answer's body.

    Attributes:
        after: bytes that still pass.
    """

    after: int = 0

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.send()
        head = line.answer_head()
        line.client.send(head.raw())
        for piece in _first(self.after, line.answer_body(head)):
            line.client.send(head.framed(piece))
        line.hang_up()


class ShortBody(Struct):
    """The answer says 200 and is well formed, but its body ends early.

    Attributes:
        length: bytes that are left.
    """

    length: int = 0

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.send()
        head = line.answer_head()
        if stated := head.get("content-length"):
            head = head.having("Content-Length", str(min(self.length, int(stated))))
        line.reply(head, _first(self.length, line.answer_body(head)))


class Corrupt(Struct):
    """One byte of the answer's body is another one.

    Attributes:
        at: its position.
    """

    at: int = 0

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.send()
        head = line.answer_head()
        line.reply(head, self._harmed(line.answer_body(head)))

    def _harmed(self, body: Iterator[bytes]) -> Iterator[bytes]:
        position = 0
        for piece in body:
            place = self.at - position
            position += len(piece)
            if 0 <= place < len(piece):
                yield piece[:place] + bytes([piece[place] ^ 0xFF]) + piece[place + 1 :]
            else:
                yield piece


class LoseResponse(Struct):
    """The server does what was asked, and the client never hears of it."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.send()
        for _ in line.answer_body(line.answer_head()):
            pass
        line.hang_up()


class Duplicate(Struct):
    """The server gets the request twice, as from a network that repeats by itself; the client hears the second answer.

    The body is held in memory.
    """

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        held = list(line.body())
        line.send(iter(held))
        for _ in line.answer_body(line.answer_head()):
            pass
        line.close()
        line.send(iter(held))
        head = line.answer_head()
        line.reply(head, line.answer_body(head))


class Delay(Struct):
    """The request waits before it goes on.

    Attributes:
        seconds: how long, at most until the proxy ends.
    """

    seconds: float

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.proxy.pause(self.seconds)
        line.relay()


class Stall(Struct):
    """No answer comes, for as long as the proxy runs or the client waits."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.proxy.pause(None)
        line.hang_up()


class Before(Struct):
    """Something happens elsewhere just before the server gets the request: an object goes, the server ends.

    Attributes:
        action: does it.
    """

    action: Callable[[], object]

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        self.action()
        line.relay()


def _first(count: int, body: Iterator[bytes]) -> Iterator[bytes]:
    """The first bytes of a body."""
    for piece in body:
        if count <= 0:
            return
        yield piece[:count]
        count -= len(piece)
