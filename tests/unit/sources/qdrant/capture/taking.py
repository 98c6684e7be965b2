"""What goes into a server, and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from qdrant_server.running import Qdrant
from recoup.model.facts import Facts, outside
from recoup.model.manifest import Finding, Frozen
from recoup.model.part import StreamPart
from recoup.sources.qdrant._record import CollectionRecord, decode
from recoup.sources.qdrant.server import QdrantSource


@dataclass
class Kept:
    """What one capture gave."""

    files: dict[str, bytes] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    findings: tuple[Finding, ...] = ()
    doubts: list[str] = field(default_factory=list)
    method: str = ""
    frozen: Frozen | None = None

    @property
    def records(self) -> dict[str, CollectionRecord]:
        found = (decode(data, name) for name, data in self.files.items() if name.endswith("/collection.json"))
        return {record.name: record for record in found}

    @property
    def serious(self) -> list[str]:
        return [f"{finding.item}: {finding.message}" for finding in self.findings if not finding.harmless]


def keep(source: QdrantSource, meanwhile: Callable[[], object] | None = None) -> Kept:
    """Captures as a backup does.

    Args:
        source: whose.
        meanwhile: called when all stands still, before anything is read.
    """
    kept = Kept()
    with source.capture() as capture:
        if meanwhile:
            meanwhile()
        for part in capture.parts():
            assert isinstance(part, StreamPart)
            with part.content.open() as reader:
                data = b"".join(iter(lambda: reader.read(1 << 20), b""))
            assert part.size == len(data)
            kept.files[part.name] = data
        kept.facts, kept.findings = capture.facts(), tuple(capture.findings())
        kept.doubts = [str(line) for line in outside(kept.facts, capture.brackets())]
        kept.method, kept.frozen = capture.method, capture.frozen
    return kept


def points(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Points of four dimensions."""
    numbers = range(start, start + count)
    return [
        {"id": n, "vector": [1.0, n % 7, n % 11, n % 13], "payload": {"n": n, "kind": f"k{n % 3}"}} for n in numbers
    ]


def fill(server: Qdrant, name: str, count: int = 40, *, shards: int = 1, **settings: Any) -> None:
    """Makes a collection with points."""
    path = f"/collections/{quote(name, safe='')}"
    body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards} | settings
    server.ask("PUT", path, body)
    if count:
        server.ask("PUT", f"{path}/points", {"points": points(count)}, wait="true")


def left_on(server: Qdrant) -> list[str]:
    """Names of all snapshots that a server holds."""
    found = []
    for name in server.collections():
        path = f"/collections/{quote(name, safe='')}"
        lists = [f"{path}/snapshots"]
        lists += [
            f"{path}/shards/{one['shard_id']}/snapshots" for one in server.ask("GET", f"{path}/cluster")["local_shards"]
        ]
        found += [entry["name"] for folder in lists for entry in server.ask("GET", folder)]
    return found
