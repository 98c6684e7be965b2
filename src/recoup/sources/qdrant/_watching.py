"""How far a server is with the snapshots that it makes, from its `/metrics`, where the key may read them."""

import contextlib
import threading
from collections.abc import Collection as Several
from collections.abc import Iterator, Sequence

from recoup.model.events import Event
from recoup.sources._base import Site
from recoup.sources.qdrant._inventory import Node
from recoup.sources.qdrant._job import Job
from recoup.sources.qdrant._metrics import creations

_EVERY = 5.0  # seconds between two pieces of news


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
        running = creations([node.server for node in nodes], names)
        told = "" if running is None else f", {running} being made"
        fields = {"source": site.name, "done": done, "total": len(jobs), "running": running}
        message = f"{site.name}: {done} of {len(jobs)} snapshots stand still{told}"
        site.emit(Event("snapshots_creating", site.clock.now(), message, fields=fields))
