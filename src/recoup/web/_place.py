"""Where the page is."""

import contextlib
import ipaddress

from recoup.errors import UsageError
from recoup.model.structs import Struct

DEFAULT = "127.0.0.1:8642"
"""Where the page is by default: on this machine alone."""


class Place(Struct):
    """Where the page is.

    Attributes:
        host: name or address to listen on.
        port: TCP port; 0 lets the system choose.
        path: prefix behind a proxy, without a slash at its end; empty for none.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parsed(cls, text: str, path: str = "") -> "Place":
        """The place that a text names: `HOST:PORT`, `[ADDRESS]:PORT`, or a port of this machine alone.

        Args:
            text: what a person wrote.
            path: prefix behind a proxy.

        Raises:
            UsageError: it names none.
        """
        host, _, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not port.isdecimal() or int(port) > 65535 or any(sign in host for sign in "/@ []"):
            raise UsageError(f"{text!r} is no place to listen at", f"Write HOST:PORT, as in {DEFAULT}.")
        return cls(host, int(port), path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    @property
    def url(self) -> str:
        """What a browser on this machine asks for."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not where to listen, but what it means
        host = anywhere.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.path}/"
