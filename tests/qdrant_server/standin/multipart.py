"""The file in a `multipart/form-data` request, written to disk as it comes."""

import re
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from qdrant_server.standin.answers import Request
from qdrant_server.standin.errors import Refused
from qdrant_server.standin.node import Node

_PIECE = 1 << 18


def file_of(node: Node, request: Request, folder: Path) -> tuple[Path, str]:
    """Writes the field `snapshot` of a request into a folder.

    Returns:
        the file, and the name that the sender gave it.

    Raises:
        Refused: 400, there is no such field; 500, no room.
    """
    boundary = _boundary(request)
    body = _Body(request.body)
    body.until(b"--" + boundary)
    while body.line() != b"--":
        name, file_name = _part(body)
        target = folder / "uploaded"
        with target.open("wb") as writer:
            written = 0
            for piece in body.pieces(b"\r\n--" + boundary):
                written += len(piece)
                _check_room(node, name, written)
                writer.write(piece)
        if name == "snapshot":
            node.switches.pass_step("upload")
            body.rest()
            return target, file_name
    raise Refused(400, "Required field is missing: snapshot", plain=True)


def _check_room(node: Node, field: str, written: int) -> None:
    quotas = (node.switches.on.snapshots_quota, node.switches.on.storage_quota)
    if any(quota and written > quota for quota in quotas):
        raise Refused(500, f"An error occurred processing field: {field}", plain=True)


def _boundary(request: Request) -> bytes:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str):
        raise Refused(400, "Could not find multipart boundary", plain=True)
    return boundary.encode()


def _part(body: "_Body") -> tuple[str, str]:
    """Field and file name of the part that begins."""
    told = b""
    while line := body.line():
        told += line + b"\n"
    text = told.decode(errors="replace")
    field = re.search(r'[; ]name="([^"]*)"', text)
    name = re.search(r'filename="([^"]*)"', text)
    return field.group(1) if field else "", name.group(1) if name else ""


class _Body:
    """A request's body, read piece by piece."""

    def __init__(self, reader: BinaryIO) -> None:
        self._reader = reader
        self._held = b""
        self._ended = False

    def _more(self) -> bool:
        data = self._reader.read(_PIECE)
        self._held += data
        self._ended = self._ended or not data
        return bool(data)

    def line(self) -> bytes:
        """The next line without its end; `--` at the end of all."""
        while b"\r\n" not in self._held and self._more():
            pass
        line, found, rest = self._held.partition(b"\r\n")
        self._held = rest
        return line if found else b"--"

    def until(self, mark: bytes) -> None:
        """Skips what is before a mark, and the mark."""
        for _ in self.pieces(mark):
            pass

    def pieces(self, mark: bytes):  # type: ignore[no-untyped-def]
        """What is before a mark; the mark is skipped."""
        while (at := self._held.find(mark)) < 0:
            safe = len(self._held) - len(mark)
            if safe > 0:
                yield self._held[:safe]
                self._held = self._held[safe:]
            if not self._more():
                raise Refused(400, "Multipart stream is incomplete", plain=True)
        yield self._held[:at]
        self._held = self._held[at + len(mark) :]

    def rest(self) -> None:
        """Reads to the end, so that the next request of the connection begins there."""
        self._held = b""
        while self._reader.read(_PIECE):
            pass
