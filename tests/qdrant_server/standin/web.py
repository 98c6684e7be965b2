"""The HTTP interface: takes requests, finds who answers them, writes the answers as Qdrant does."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

from qdrant_server.standin import bodies, rights, routes
from qdrant_server.standin.answers import Accepted, Answer, Bare, Download, Request, Result, Stream, Unchanged
from qdrant_server.standin.errors import Dropped, Refused
from qdrant_server.standin.node import Node

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_REASONS = {304: "Not Modified", 206: "Partial Content", 416: "Range Not Satisfiable"}


class Server(ThreadingHTTPServer):
    """The HTTP interface of one node.

    Args:
        address: where to listen.

    Attributes:
        node: who answers; to be set before `serve_forever`.
    """

    node: Node

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self._answering = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        with self._changed:
            self._answering += 1

    def end(self) -> None:
        with self._changed:
            self._answering -= 1
            self._changed.notify_all()

    def finish(self) -> None:
        """Takes no more connections and waits for the answers that are being given."""
        self.shutdown()
        with self._changed:
            self._changed.wait_for(lambda: self._answering == 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients go away in the middle, and tests make them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer_counted
        raise AttributeError(name)

    def _answer_counted(self) -> None:
        self.server.begin()
        try:
            self._answer_request()
        except (Dropped, OSError):
            self._drop()
        finally:
            self.wfile.flush()
            self.server.end()

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer_request(self) -> None:
        started = time.monotonic()
        path, _, query = self.path.partition("?")
        faults = self.server.node.switches.of_request(path)
        time.sleep(faults.answer_after)
        if faults.drop:
            raise Dropped
        body = _body(self.rfile, self.headers)
        if faults.answer_status:
            body.read()
            self._json(faults.answer_status, {"status": {"error": "Service internal error: switched on"}, "time": 0.0})
            return
        try:
            self._routed(path, query, body, started)
        finally:
            while not self.close_connection and body.read(1 << 20):
                pass

    def _routed(self, path: str, query: str, body: BinaryIO, started: float) -> None:
        node = self.server.node
        found = routes.found(self.command, path)
        if found is None:
            self._write(404, {}, b"")
            return
        route, values = found
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            access = (
                rights.access_of(node.settings, headers) if route.need is not rights.Need.NOTHING else rights.Access()
            )
        except Refused as refused:
            self._write(refused.status, {}, refused.message.encode())
            return
        length = headers.get("content-length")
        request = Request(
            *(self.command, path, values, dict(parse_qsl(query)), headers, body),
            int(length) if length is not None else None,
            access,
            started,
        )
        plain = route.plain
        try:
            try:
                access.demand(route.need, values.get("collection", ""))
            except Refused:
                plain = plain or route.plain_rights
                raise
            answer = self._timed(route, request)
        except Refused as refused:
            self._refuse(refused, plain, started)
        except (Dropped, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - the engine's words are the answer
            self._refuse(_of_engine(error), plain, started)
        else:
            self._send(answer, request)

    def _timed(self, route: routes.Route, request: Request) -> Answer:
        """The answer, or 504 by a proxy that does not wait so long; the work goes on behind it."""
        node = self.server.node
        limit = node.switches.on.max_request or node.settings.max_request
        if not limit or request.path.startswith("/internal/"):
            return route.handler(node, request)
        future: Future[Answer] = Future()
        worker = threading.Thread(target=_fulfil, args=(future, route, node, request), daemon=True)
        worker.start()
        try:
            return future.result(limit)
        except TimeoutError:
            self.close_connection = True
            self._write(504, {"Content-Type": "text/html"}, b"<h1>504 Gateway Time-out</h1>\n")
            self.wfile.flush()
            worker.join()  # it may still be reading the body
            raise Dropped from None

    def _refuse(self, refused: Refused, plain: bool, started: float) -> None:
        if plain if refused.plain is None else refused.plain:
            self._write(refused.status, {"Content-Type": _TEXT}, refused.message.encode())
        else:
            self._json(refused.status, {"status": {"error": refused.message}, "time": _since(started)})

    def _send(self, answer: Answer, request: Request) -> None:
        if isinstance(answer, Result):
            self._json(200, {"result": answer.value, "status": "ok", "time": _since(request.started)})
        elif isinstance(answer, Accepted):
            self._json(202, {"status": "accepted", "time": _since(request.started)})
        elif isinstance(answer, Bare):
            self._bare(answer)
        elif isinstance(answer, Unchanged):
            self._unchanged(answer)
        elif isinstance(answer, Stream):
            self._stream(answer, request)
        else:
            self._download(answer, request)

    def _bare(self, answer: Bare) -> None:
        if not isinstance(answer.value, str):
            self._json(answer.status, answer.value)
        else:
            self._write(answer.status, {"Content-Type": _TEXT}, answer.value.encode())

    def _unchanged(self, answer: Unchanged) -> None:
        """Sends the text although nothing may follow, and leaves it in the way of the next answer."""
        self._head(304, {"Content-Type": _TEXT})
        self.wfile.write(answer.text.encode())

    def _stream(self, answer: Stream, request: Request) -> None:
        node = self.server.node
        node.switches.pass_step("stream")
        headers = {"Content-Type": _BYTES, "Content-Disposition": f'attachment; filename="{answer.name}"'}
        self._chunked(headers, answer.pieces, request)

    def _download(self, answer: Download, request: Request) -> None:
        if not answer.ranges:
            self._chunked({"Content-Type": _BYTES}, bodies.of_file(answer.path, 0, answer.path.stat().st_size), request)
            return
        status = answer.path.stat()
        headers = {
            "Content-Type": _BYTES,
            "Content-Disposition": f'attachment; filename="{answer.path.name}"',
            "ETag": f'"{status.st_ino:x}:{status.st_size:x}:{int(status.st_mtime):x}:{status.st_mtime_ns % 10**9:x}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "Accept-Ranges": "bytes",
        }
        self._part(answer, request, headers, status.st_size)

    def _part(self, answer: Download, request: Request, headers: dict[str, str], size: int) -> None:
        try:
            part = bodies.wanted(request.headers.get("range", ""), size)
        except ValueError:
            self._write(416, {**headers, "Content-Range": f"bytes */{size}"}, b"")
            return
        code, start, length = (206, *part) if part else (200, 0, size)
        if part:
            headers |= {"Content-Encoding": "identity", "Content-Range": f"bytes {start}-{start + length - 1}/{size}"}
        pieces = bodies.of_file(answer.path, start, length)
        if not part and bodies.coding(request.headers.get("accept-encoding", "")):
            self._chunked(headers, pieces, request)
            return
        self._head(code, {**headers, "Content-Length": str(length)})
        sent = 0
        for piece in bodies.damaged(pieces, self.server.node.switches.of_body(request.path)):
            self.wfile.write(piece)
            sent += len(piece)
        if sent < length:
            raise Dropped

    def _chunked(self, headers: dict[str, str], pieces: Iterator[bytes], request: Request) -> None:
        coding = bodies.coding(request.headers.get("accept-encoding", ""))
        headers |= {"Transfer-Encoding": "chunked"} | ({"Content-Encoding": coding} if coding else {})
        faults = self.server.node.switches.of_body(request.path)
        try:
            self._head(200, headers)
            for piece in bodies.damaged(bodies.compressed(pieces, coding), faults):
                if piece:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        finally:
            pieces.close()  # type: ignore[attr-defined]

    def _json(self, status: int, value: object) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._write(status, {"Content-Type": "application/json"}, text.encode())

    def _write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status, _REASONS.get(status))
        for name, value in headers.items():
            self.send_header(name.lower(), value.encode().decode("latin-1"))
        if self.close_connection:
            self.send_header("connection", "close")
        self.send_header("date", formatdate(usegmt=True))
        self.end_headers()


def _fulfil(future: "Future[Answer]", route: routes.Route, node: Node, request: Request) -> None:
    try:
        future.set_result(route.handler(node, request))
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)


def _of_engine(error: Exception) -> Refused:
    """What the engine refused, as a server says it."""
    words = str(error)
    if isinstance(error, KeyError):
        return Refused(400, f"Format error in JSON body: missing field `{error.args[0]}`")
    if isinstance(error, TypeError | ValueError):
        return Refused(400, f"Format error in JSON body: {words}")
    wrong = ("dimension", "Wrong input", "Bad request", "not found", "Not existing")
    if any(mark in words for mark in wrong):
        return Refused(400, f"Wrong input: {words}")
    return Refused(500, f"Service internal error: {words}")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 9)


def _body(reader: BufferedIOBase, headers: Any) -> BinaryIO:
    """The body of a request, to its end."""
    if "chunked" in (headers.get("transfer-encoding") or "").lower():
        return io.BufferedReader(_Chunks(reader), 1 << 16)
    length = int(headers.get("content-length") or 0)
    return io.BufferedReader(_Counted(reader, length), 1 << 16)


class _Counted(io.RawIOBase):
    """So many bytes."""

    def __init__(self, reader: BufferedIOBase, length: int) -> None:
        self._reader = reader
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read1(min(len(buffer), self._left)) if self._left else b""
        if self._left and not data:
            raise ConnectionError("the client went away")
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


class _Chunks(io.RawIOBase):
    """Chunks up to the empty one."""

    def __init__(self, reader: BufferedIOBase) -> None:
        self._reader = reader
        self._left = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and not self._ended:
            self._next()
        if self._ended:
            return 0
        data = self._reader.read(min(len(buffer), self._left))
        if not data:
            raise ConnectionError("the client went away")
        buffer[: len(data)] = data
        self._left -= len(data)
        if not self._left:
            self._reader.readline()
        return len(data)

    def _next(self) -> None:
        line = self._reader.readline().partition(b";")[0].strip()
        if not line:
            raise ConnectionError("the client went away")
        self._left = int(line, 16)
        if not self._left:
            self._ended = True
            self._reader.readline()
