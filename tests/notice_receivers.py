"""Real receivers of notices on this machine: an HTTP server that can misbehave, and a mail server."""

import contextlib
import email
import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """What a server got, and how it answers: a status, `reset` or `hang`."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def bodies(self) -> bytes:
        """All that came, headers and paths too."""
        return b"\n".join(f"{one.path} {one.headers}".encode() + one.body for one in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    known: HttpReceiver

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.known.requests.append(Request(self.path, dict(self.headers), self.rfile.read(length)))
        answer = self.known.answers.pop(0) if self.known.answers else 200
        if answer == "hang":
            self.known.released.wait(60)
            self.close_connection = True
        elif answer == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
        else:
            self._answer(int(answer))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{self.known.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """A server that takes every POST, unless its `answers` say otherwise."""
    known = HttpReceiver()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"known": known}))
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield known
    finally:
        known.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailServer:
    """What a mail server got."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    refuses: bool = False

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - what aiosmtpd calls
        if self.refuses:
            return "554 no mail is taken here"
        self.raw.append(envelope.content)
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 taken"


@contextlib.contextmanager
def mail_server() -> Iterator[MailServer]:
    """A mail server that takes everything."""
    from aiosmtpd.controller import Controller

    known = MailServer()
    controller = Controller(known, hostname="127.0.0.1", port=free_port())
    controller.start()
    known.port = controller.port
    try:
        yield known
    finally:
        controller.stop()


def free_port() -> int:
    """A port at which nothing listens."""
    with contextlib.closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
