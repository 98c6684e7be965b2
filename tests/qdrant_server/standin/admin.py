"""The port over which the faults are switched, and gRPC is asked for."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_server.standin.faults import Switches


class AdminServer(ThreadingHTTPServer):
    """`GET`, `POST`, `DELETE /faults`, and `POST /grpc`.

    Args:
        port: where to listen; 0: anywhere.
        switches: what is switched.
        grpc_wanted: set when somebody asks for gRPC.
    """

    daemon_threads = True

    def __init__(self, port: int, switches: Switches, grpc_wanted: threading.Event) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.switches = switches
        self.grpc_wanted = grpc_wanted


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AdminServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""

    def do_GET(self) -> None:
        self._tell(200, self.server.switches.shown())

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/grpc":
            self.server.grpc_wanted.set()
            self._tell(200, {})
            return
        try:
            self.server.switches.set(json.loads(data or b"{}"))
        except (TypeError, ValueError) as error:
            self._tell(400, {"error": str(error)})
        else:
            self.do_GET()

    def do_DELETE(self) -> None:
        self.server.switches.clear()
        self.do_GET()

    def _tell(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
