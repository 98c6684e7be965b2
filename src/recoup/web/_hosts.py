"""Under which names the page is reached, so that no foreign page can reach it by a name of its own (DNS rebinding)."""

import contextlib
import ipaddress
import re
from collections.abc import Iterable

from recoup.model.structs import Struct
from recoup.web._place import Place

_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@\s]+)", re.ASCII)
_USUAL = {"http": "80", "https": "443"}


class Authority(Struct):
    """A host with its port, as in a Host header.

    Attributes:
        host: lower case; an IPv6 address without brackets.
        port: as written; empty where it is the usual one.
    """

    host: str
    port: str = ""

    @classmethod
    def parsed(cls, text: str, scheme: str = "") -> "Authority | None":
        """What a text names; None when it is none.

        Args:
            text: `HOST` or `HOST:PORT`.
            scheme: whose usual port counts as none.
        """
        found = _AUTHORITY.fullmatch(text)
        if found is None:
            return None
        host = found["host"].lower().removeprefix("[").removesuffix("]").removesuffix(".")
        port = found["port"] or ""
        return cls(host, "" if port == _USUAL.get(scheme) else port)


class Hosts(Struct):
    """The names that are ours.

    Attributes:
        listed: those of the configuration.
        bound: the host that the server listens on.
    """

    listed: tuple[str, ...]
    bound: str

    @classmethod
    def of(cls, listed: Iterable[str], place: Place) -> "Hosts":
        """The names of a page.

        Args:
            listed: `web.hosts`.
            place: where it is.
        """
        return cls(tuple(listed), place.host.lower())

    def know(self, header: str) -> bool:
        """Whether a Host header names us: this machine, what we listen on, or what is configured. Where we listen on all
        addresses, any address does, since only names can be made to lead elsewhere.
        """
        asked = Authority.parsed(header)
        if asked is None:
            return False
        address = _address(asked.host)
        if asked.host == "localhost" or (address is not None and (address.is_loopback or self._anywhere)):
            return True
        return asked.host == self.bound or any(asked.host == one.host for one in self._authorities(""))

    def may_send(self, origin: str, header: str) -> bool:
        """Whether a page of this origin may change things here: one of ours alone. Another port is another application.

        Args:
            origin: the Origin header.
            header: the Host header that came with it.
        """
        found = _ORIGIN.fullmatch(origin)
        if found is None:
            return False
        scheme = found["scheme"]
        sent = Authority.parsed(found["authority"], scheme)
        return sent is not None and sent in (Authority.parsed(header, scheme), *self._authorities(scheme))

    @property
    def _anywhere(self) -> bool:
        address = _address(self.bound)
        return address is not None and address.is_unspecified

    def _authorities(self, scheme: str) -> tuple[Authority, ...]:
        found = (Authority.parsed(name, scheme) for name in self.listed)
        return tuple(one for one in found if one is not None)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    found = _address(host)
    return found is not None and found.is_loopback


def network(host: str) -> str:
    """What counts as one peer: an IPv4 address, or the 64 bits of an IPv6 address that one customer has at least."""
    found = _address(host)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
    return host if found is None else str(found)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(host)
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            return found.ipv4_mapped
        return found
    return None
