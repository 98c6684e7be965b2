"""What a server is doing now, from its `/metrics` (Prometheus' text format, version 0.0.4)."""

import re
from collections.abc import Collection as Several
from collections.abc import Iterable

from recoup.errors import InterruptedRunError
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._faults import ServerError

_RUNNING = re.compile(r'^snapshot_creation_running\{id="((?:[^"\\]|\\.)*)"\} (\d+)', re.MULTILINE)


def creations(servers: Iterable[Server], collections: Several[str]) -> int | None:
    """How many snapshots of these collections the nodes are making now; None where the key may not ask."""
    total = 0
    for server in servers:
        try:
            text = server.text(at("metrics"))
        except (ServerError, InterruptedRunError):
            return None
        total += sum(int(count) for name, count in _RUNNING.findall(text) if _unescaped(name) in collections)
    return total


def _unescaped(name: str) -> str:
    """A label's value as it was before it was escaped."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], name)
