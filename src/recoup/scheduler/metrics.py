"""`/metrics` of the daemon, for Prometheus: each answer is made when it is asked for, in threads of their own."""

import contextlib
import http.server
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator

from recoup.errors import RecoupError, UsageError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""That of Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

_PATIENCE = 5.0  # seconds that a client may be silent


def address(text: str) -> tuple[str, int]:
    """Host and port to listen at.

    Args:
        text: `HOST:PORT`, or a port of 127.0.0.1; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is none.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{text!r} is no HOST:PORT", "Write a port such as 9185, or 0.0.0.0:9185 for other machines.")
    return host, int(port)


@contextlib.contextmanager
def serve(place: tuple[str, int], collect: Callable[[], bytes]) -> Iterator[tuple[str, int]]:
    """Answers at `/metrics` meanwhile; yields the host and port that it listens at.

    Args:
        place: host and port; port 0 takes a free one. The port is open to whoever reaches the host.
        collect: makes an answer, in Prometheus' text format; may be called from several threads.

    Raises:
        RecoupError: the port is taken, or the host is not this machine's.
    """
    try:
        server = _server(place, collect)
    except OSError as error:
        shown = f"{place[0]}:{place[1]}"
        raise RecoupError(
            f"metrics cannot be served at {shown}: {error.strerror or error}",
            "Choose another port, or an address of this machine.",
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True)
    thread.start()
    try:
        yield place[0], server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    """One that tells nobody of clients that went away."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that went away is no matter of ours."""


class _ServerByIPv6(_Server):
    address_family = socket.AF_INET6


def _server(place: tuple[str, int], collect: Callable[[], bytes]) -> _Server:
    class Handler(_Handler):
        """One that knows what to answer."""

        answer = staticmethod(collect)

    return (_ServerByIPv6 if _is_ipv6(place[0]) else _Server)(place, Handler)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _PATIENCE
    server_version = "recoup"
    sys_version = ""

    answer: Callable[[], bytes]

    def do_GET(self) -> None:
        """Answers."""
        if self.path.partition("?")[0] != "/metrics":
            self._send(404, b"Metrics are at /metrics.\n", "text/plain; charset=utf-8")
            return
        try:
            found = self.answer()
        except RecoupError as error:
            self._send(500, f"{error.message}\n".encode(), "text/plain; charset=utf-8")
        except Exception as error:  # noqa: BLE001 - a scrape must not be answered with silence
            self._send(500, f"{type(error).__name__}\n".encode(), "text/plain; charset=utf-8")
        else:
            self._send(200, found, CONTENT_TYPE)

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: scrapes are no news."""
