"""How far a server is with the snapshots that it makes, from its `/metrics`, where the key may read them."""

import contextlib
import re
import threading
from collections.abc import Collection as Several
from collections.abc import Iterator, Sequence

from recoup.errors import InterruptedRunError
from recoup.model.events import Event
from recoup.sources._base import Site
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._faults import ServerError
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._job import Job

_EVERY = 5.0  # seconds between two pieces of news
_RUNNING = re.compile(r'^snapshot_creation_running\{id="((?:[^"\\]|\\.)*)"\} (\d+)', re.MULTILINE)


@contextlib.contextmanager
def watched(nodes: Sequence[Node], jobs: Several[Job], site: Site) -> Iterator[None]:
    """Tells every few seconds how many snapshots stand still, and how many the server is making."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(nodes, jobs, site, ended), name="watch metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(nodes: Sequence[Node], jobs: Several[Job], site: Site, ended: threading.Event) -> None:
    while not ended.wait(_EVERY):
        done = sum(job.frozen.is_set() for job in jobs)
        names = {job.item.collection.name for job in jobs}
        running = creations(nodes, names)
        told = "" if running is None else f", {running} being made"
        fields = {"source": site.name, "done": done, "total": len(jobs), "running": running}
        message = f"{site.name}: {done} of {len(jobs)} snapshots stand still{told}"
        site.emit(Event("snapshots_creating", site.clock.now(), message, fields=fields))


def creations(nodes: Sequence[Node], collections: Several[str]) -> int | None:
    """How many snapshots of these collections the nodes are making now; None where the key may not ask."""
    total = 0
    for node in nodes:
        try:
            text = node.server.text(at("metrics"))
        except (ServerError, InterruptedRunError):
            return None
        total += sum(int(count) for name, count in _RUNNING.findall(text) if _unescaped(name) in collections)
    return total


def _unescaped(name: str) -> str:
    """A label's value as it was before Prometheus' text format escaped it."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], name)
