"""HTTP/1.1 messages as bytes that pass by: heads and bodies, framed as RFC 9112 says (sections 2, 6 and 7)."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import field

from recoup.model.structs import Struct

_PIECE = 256 * 1024  # bytes that are passed on at once
_LONGEST_HEAD = 256 * 1024  # bytes
_BODILESS = (204, 304)


class Wire:
    """One connection, read through a buffer."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket, self._buffer = sock, bytearray()

    def send(self, data: bytes) -> None:
        """Sends all of it."""
        self._socket.sendall(data)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end."""
        if not self._buffer:
            return self._socket.recv(min(size, _PIECE))
        piece = bytes(self._buffer[:size])
        del self._buffer[: len(piece)]
        return piece

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and including a mark; empty when the peer is gone before anything came.

        Raises:
            ConnectionError: the peer is gone in the middle, or sends more than a head has.
        """
        while (end := self._buffer.find(mark)) < 0:
            piece = self._socket.recv(_PIECE)
            if not piece and not self._buffer:
                return b""
            if not piece or len(self._buffer) > _LONGEST_HEAD:
                raise ConnectionError("the peer did not send a whole message")
            self._buffer += piece
        found = bytes(self._buffer[: end + len(mark)])
        del self._buffer[: len(found)]
        return found

    def wake(self) -> None:
        """Ends the connection under whoever reads or writes it in another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self, *, reset: bool = False) -> None:
        """Closes it.

        Args:
            reset: so that the peer sees it broken (RST), not ended.
        """
        with contextlib.suppress(OSError):
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()


class Head(Struct):
    """The first line and the headers of a message.

    Attributes:
        first: the first line's three words.
        headers: names as they came, with their values.
    """

    first: tuple[str, str, str]
    headers: tuple[tuple[str, str], ...] = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        """From the bytes up to the empty line."""
        line, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        one, two, three = (*line.split(" ", 2), "", "")[:3]
        pairs = (entry.partition(":") for entry in rest)
        return cls((one, two, three), tuple((name, value.strip()) for name, _, value in pairs))

    def get(self, name: str) -> str:
        """A header's value; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def without(self, name: str) -> "Head":
        """The same without a header."""
        return Head(self.first, tuple((key, value) for key, value in self.headers if key.lower() != name.lower()))

    def having(self, name: str, value: str) -> "Head":
        """The same with another value of a header."""
        cleared = self.without(name)
        return Head(cleared.first, (*cleared.headers, (name, value)))

    def raw(self) -> bytes:
        """As bytes, with the empty line."""
        lines = [" ".join(self.first), *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.first[1])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.get("transfer-encoding").lower() == "chunked"

    def body_of_request(self, wire: Wire) -> Iterator[bytes]:
        """The body's bytes, without framing."""
        if self.chunked:
            return _chunks(wire)
        return _counted(wire, int(self.get("content-length") or 0))

    def body_of_response(self, wire: Wire, method: str) -> Iterator[bytes]:
        """The body's bytes, without framing.

        Args:
            wire: where it comes from.
            method: of the request.
        """
        if method == "HEAD" or self.status in _BODILESS:
            return iter(())
        if self.chunked:
            return _chunks(wire)
        length = self.get("content-length")
        return _counted(wire, int(length)) if length else iter(lambda: wire.read(_PIECE), b"")

    def framed(self, piece: bytes) -> bytes:
        """A piece of the body as it is sent on."""
        return b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece

    @property
    def end(self) -> bytes:
        """What follows the last piece."""
        return b"0\r\n\r\n" if self.chunked else b""


def _counted(wire: Wire, length: int) -> Iterator[bytes]:
    while length:
        piece = wire.read(length)
        if not piece:
            raise ConnectionError("the peer did not send the whole body")
        length -= len(piece)
        yield piece


def _chunk_size(wire: Wire) -> int:
    line = wire.read_until(b"\r\n").partition(b";")[0].strip()
    try:
        return int(line, 16)
    except ValueError:
        raise ConnectionError("the peer did not send the whole body") from None


def _chunks(wire: Wire) -> Iterator[bytes]:
    while size := _chunk_size(wire):
        yield from _counted(wire, size)
        wire.read_until(b"\r\n")
    while wire.read_until(b"\r\n") not in (b"\r\n", b""):  # trailers, up to the empty line
        pass
