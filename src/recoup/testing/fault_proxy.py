"""A proxy for HTTP that does to requests what networks and servers do, so that a client meets faults of a real server.

    with FaultProxy("127.0.0.1", 8333) as proxy:
        proxy.inject(Answer(503, "SlowDown"), every=3)
        ...  # a client that was told `proxy.url`
        assert proxy.count("PUT") == 4

Bytes pass as they came, `Host` included, so signed requests stay valid.
"""

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self
from urllib.parse import unquote

from recoup.testing._faults import (
    Answer,
    Before,
    Corrupt,
    CutRequest,
    CutResponse,
    Delay,
    Duplicate,
    Exchange,
    Fault,
    Line,
    LoseResponse,
    Refuse,
    ShortBody,
    Stall,
)
from recoup.testing._http_wire import Head, Wire

__all__ = [
    "Answer",
    "Before",
    "Corrupt",
    "CutRequest",
    "CutResponse",
    "Delay",
    "Duplicate",
    "Exchange",
    "Fault",
    "FaultProxy",
    "Line",
    "LoseResponse",
    "Refuse",
    "ShortBody",
    "Stall",
]

_ACCEPTING = 0.05  # seconds between two looks at whether to stop


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
