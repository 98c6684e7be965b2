"""Where things are at a Qdrant server: paths of its API, and whether a URL is this machine's."""

import re
from urllib.parse import quote, unquote, urlsplit

from recoup.errors import RefusedError
from recoup.model.names import shown
from recoup.model.secrets import bare_url
from recoup.system import host

Version = tuple[int, ...]


def at(*steps: str | int) -> str:
    """The path to something, e.g. `at("collections", name)`; every step is encoded, whatever is in it."""
    return "".join("/" + _encoded(str(step)) for step in steps)


def _encoded(step: str) -> str:
    return step.replace(".", "%2E") if step in (".", "..") else quote(step, safe="")


def version_of(text: str) -> Version:
    """Numbers of a version such as `1.18.3`; empty for what is none."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def is_this_machine(url: str) -> bool:
    """Whether a URL's host is this machine, as far as can be said without asking a name server."""
    return host.is_this_machine(urlsplit(url).hostname or "")


def require_allowed(url: str, *, allow_remote: bool) -> None:
    """Refuses a host of the network where only this machine may be contacted.

    Raises:
        RefusedError: it is not this machine, and `allow_remote` is off.
    """
    if not allow_remote and not is_this_machine(url):
        raise RefusedError(
            f"{bare_url(url)} is not this machine, and allow_remote is false",
            "Set `allow_remote: true` if this host may be contacted.",
        )


def shown_path(path: str) -> str:
    """A path as a person reads it."""
    return shown(unquote(path))
