"""A proxy for HTTP that does to requests what networks and servers do, so that a client meets faults of a real server.

    with FaultProxy("127.0.0.1", 8333) as proxy:
        proxy.inject(Answer(503, "SlowDown"), every=3)
        ...  # a client that was told `proxy.url`
        assert proxy.count("PUT") == 4

Bytes pass as they came, `Host` included, so signed requests stay valid.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from recoup.testing._http_wire import Head, Wire

_ACCEPTING = 0.05  # seconds between two looks at whether to stop


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

    def __init__(self, proxy: "FaultProxy", client: Wire, request: Head, exchange: Exchange) -> None:
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


@dataclass(frozen=True)
class Refuse:
    """The connection is reset; the server hears nothing."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.hang_up()


@dataclass(frozen=True)
class Answer:
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


@dataclass(frozen=True)
class CutRequest:
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


@dataclass(frozen=True)
class CutResponse:
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


@dataclass(frozen=True)
class ShortBody:
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


@dataclass(frozen=True)
class Corrupt:
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


@dataclass(frozen=True)
class LoseResponse:
    """The server does what was asked, and the client never hears of it."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.send()
        for _ in line.answer_body(line.answer_head()):
            pass
        line.hang_up()


@dataclass(frozen=True)
class Duplicate:
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


@dataclass(frozen=True)
class Delay:
    """The request waits before it goes on.

    Attributes:
        seconds: how long, at most until the proxy ends.
    """

    seconds: float

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.proxy.pause(self.seconds)
        line.relay()


@dataclass(frozen=True)
class Stall:
    """No answer comes, for as long as the proxy runs or the client waits."""

    def meet(self, line: Line, /) -> None:
        """Lets it happen."""
        line.proxy.pause(None)
        line.hang_up()


@dataclass(frozen=True)
class Before:
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


class _Rule:
    """When a fault happens."""

    def __init__(self, fault: Fault, method: str, contains: str, every: int, skip: int, times: int | None) -> None:
        self.fault, self._method, self._contains = fault, method, contains
        self._every, self._skip, self._times = every, skip, times
        self._seen = 0

    def due(self, method: str, target: str) -> bool:
        """Whether it is this request's turn; counts it."""
        if (self._method and method != self._method) or self._contains not in unquote(target):
            return False
        if self._times == 0:
            return False
        self._seen += 1
        if self._seen <= self._skip or (self._seen - self._skip) % self._every:
            return False
        if self._times is not None:
            self._times -= 1
        return True


class FaultProxy:
    """Listens on a port of its own of 127.0.0.1 while it is entered.

    Args:
        host: of the server behind it.
        port: of the server behind it.
        latency: seconds that each request takes longer.
    """

    def __init__(self, host: str, port: int, *, latency: float = 0.0) -> None:
        self.latency = latency
        self._server = (host, port)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._rules: list[_Rule] = []
        self._seen: list[Exchange] = []
        self._open: set[Wire] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.down()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        """Where clients find it, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    # --- what shall happen ------------------------------------------------------------------------------------------

    def inject(
        self,
        fault: Fault,
        *,
        method: str = "",
        contains: str = "",
        every: int = 1,
        skip: int = 0,
        times: int | None = None,
    ) -> None:
        """Lets a fault happen from now on; of several that are due the first one does.

        Args:
            fault: what.
            method: only to requests with this method.
            contains: only to requests whose path and query, decoded, contain this.
            every: to every n-th of those.
            skip: leaves so many of those in peace first.
            times: at most so often; None: always.
        """
        with self._lock:
            self._rules.append(_Rule(fault, method, contains, every, skip, times))

    def clear(self) -> None:
        """Nothing happens any more; what was counted is forgotten."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()

    def down(self) -> None:
        """Nobody listens at the port any more, and what is open breaks; in the middle of a request too, by `Before`."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None and self._acceptor is not None:
            self._acceptor.join()
            listener.close()
        with self._lock:
            open_ones = list(self._open)
        for wire in open_ones:
            wire.wake()

    def up(self) -> None:
        """Listens, at the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        listener.settimeout(_ACCEPTING)
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
        self._acceptor = self._run(self._accept, listener)

    # --- what happened ----------------------------------------------------------------------------------------------

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The requests that came, in their order."""
        with self._lock:
            return tuple(replace(exchange) for exchange in self._seen)

    def count(self, method: str = "", contains: str = "") -> int:
        """How many round trips there were.

        Args:
            method: only with this method.
            contains: only with this in path or query, decoded.
        """
        matching = (e for e in self.exchanges if method in ("", e.method) and contains in unquote(e.target))
        return sum(1 for _ in matching)

    # --- the work, in threads ---------------------------------------------------------------------------------------

    def connect(self) -> Wire:
        """A new connection to the server.

        Raises:
            ConnectionError: there is none, or the proxy is down.
        """
        if self._listener is None:
            raise ConnectionAbortedError("the proxy is down")
        return self._known(Wire(socket.create_connection(self._server)))

    def forget(self, wire: Wire) -> None:
        """A connection is about to be closed by whoever had it."""
        with self._lock:
            self._open.discard(wire)

    def pause(self, seconds: float | None) -> None:
        """Waits, at most until the proxy ends; None: until then."""
        self._ended.wait(seconds)

    def _known(self, wire: Wire) -> Wire:
        with self._lock:
            self._open.add(wire)
        return wire

    def _run(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()]
            thread.start()
            self._threads.append(thread)
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while self._listener is listener:
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                continue
            accepted.settimeout(None)
            self._run(self._serve, self._known(Wire(accepted)))

    def _serve(self, client: Wire) -> None:
        """One client's connection, request by request."""
        try:
            while raw := client.read_until(b"\r\n\r\n"):
                if not self._carry(client, Head.parse(raw)):
                    break
        except OSError:  # either side is gone: so is the other
            client.close(reset=True)
        finally:
            self.forget(client)
            client.close()

    def _carry(self, client: Wire, request: Head) -> bool:
        """One request; whether the connection can carry another."""
        if request.get("expect"):
            client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        line = Line(self, client, request, self._noted(request))
        try:
            if self.latency:
                self.pause(self.latency)
            fault = self._fault_for(request)
            line.relay() if fault is None else fault.meet(line)
        finally:
            line.close()
        return line.keeps

    def _fault_for(self, request: Head) -> Fault | None:
        method, target, _ = request.first
        with self._lock:
            return next((rule.fault for rule in self._rules if rule.due(method, target)), None)

    def _noted(self, request: Head) -> Exchange:
        exchange = Exchange(request.first[0], request.first[1])
        with self._lock:
            self._seen.append(exchange)
        return exchange
