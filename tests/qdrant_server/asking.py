"""Sending a request byte by byte as it was recorded, which ordinary clients would not: odd paths, HEAD, 304 with a body."""

import contextlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_BOUNDARY = "a-boundary-that-no-snapshot-holds-7d1f0c"
_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        headers: by lower-case name.
        content: the body, as it came.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


def multipart(field: str, name: str, data: bytes) -> tuple[bytes, str]:
    """A form with one file: body and content type."""
    head = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"


def ask(url: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    """Sends a request on a connection of its own and reads the whole answer."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_TIMEOUT)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**headers, "Connection": "close"}.items():
            connection.putheader(name, value)
        if body is not None or method in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders()
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # refused before all was sent: the answer says why
            connection.send(body or b"")
        with connection.getresponse() as response:
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
    finally:
        connection.close()
