"""What a service tells systemd, or whoever set $NOTIFY_SOCKET (sd_notify(3)); without it, nothing is said."""

import contextlib
import os
import socket
from collections.abc import Mapping

from recoup.system.clock import SystemClock


class ServiceManager:
    """Who started us as a service.

    Args:
        environ: the environment, with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID where there is one.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._said = ""
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog: float | None = _watchdog(environ) if self._address else None
        """Seconds within which it wants to hear `alive`; None when it does not watch."""

    def ready(self) -> None:
        """The service does its work (again)."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(SystemClock().monotonic() * 1e6)}")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1")

    def alive(self, status: str) -> None:
        """A sign of life, for the watchdog where there is one.

        Args:
            status: what the service does, one line.
        """
        if self.watchdog is not None:
            self._send("WATCHDOG=1")
        if status != self._said:
            self._said = status
            self._send(f"STATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),  # who does not listen is not told, and the work goes on
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as channel,
        ):
            channel.sendto(text.encode(), address)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    limit, who = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit.isdecimal() or int(limit) == 0 or who not in ("", str(os.getpid())):
        return None
    return int(limit) / 1_000_000
