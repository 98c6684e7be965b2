"""What goes into a server, and what comes out of it."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from qdrant_server.running import Qdrant
from recoup.model.facts import Facts, outside
from recoup.model.manifest import Finding, Frozen
from recoup.model.part import Part, StreamPart
from recoup.sources._base import Capture
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
    engine: str = ""

    @property
    def records(self) -> dict[str, CollectionRecord]:
        found = (decode(data, name) for name, data in self.files.items() if name.endswith("/collection.json"))
        return {record.name: record for record in found}

    @property
    def serious(self) -> list[str]:
        return [f"{finding.item}: {finding.message}" for finding in self.findings if not finding.harmless]

    def show(self, capture: Capture) -> None:
        """Takes in what a capture tells when its parts were read."""
        self.facts, self.findings = capture.facts(), tuple(capture.findings())
        self.doubts = [str(line) for line in outside(self.facts, capture.brackets())]
        self.method, self.frozen, self.engine = capture.method, capture.frozen, capture.engine


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
            kept.files[part.name] = content(part)
        kept.show(capture)
    return kept


def content(part: Part) -> bytes:
    """The bytes of a part, which are as many as it says."""
    assert isinstance(part, StreamPart)
    with part.content.open() as reader:
        data = b"".join(iter(lambda: reader.read(1 << 20), b""))
    assert part.size == len(data)
    return data


Pieces = Sequence[Mapping[str, Any]]
Noted = Mapping[str, Any] | str


def take(source: QdrantSource, piece: Mapping[str, Any], files: dict[str, bytes]) -> Mapping[str, Any]:
    """Takes a piece as a worker does, and returns its note as it comes over a network."""
    with source.piece(json.loads(json.dumps(piece))) as capture:
        for part in capture.parts():
            files[part.name] = content(part)
        note: Mapping[str, Any] = json.loads(json.dumps(capture.note()))
    return note


def keep_joined(source: QdrantSource, pieces: Pieces, notes: Sequence[Noted], files: Mapping[str, bytes]) -> Kept:
    """Joins what was taken in pieces: of each folder the record first."""
    kept = Kept()
    with source.joined(pieces, notes) as capture:
        for part in capture.parts():
            folder = f"{part.name.rpartition('/')[0]}/"
            kept.files[part.name] = content(part)
            kept.files |= {name: data for name, data in files.items() if name.startswith(folder)}
        kept.show(capture)
    return kept


def keep_in_pieces(
    source: QdrantSource, meanwhile: Callable[[int], object] | None = None, seed: int | None = None
) -> Kept:
    """Captures as a fleet does, one piece after the other.

    Args:
        source: whose.
        meanwhile: called with the number of each piece before it is taken.
        seed: that the workers' own sources have.
    """
    options, site = source.given
    worker = source if seed is None else QdrantSource(options, dataclasses.replace(site, seed=seed))
    pieces, files, notes = source.pieces(), dict[str, bytes](), []
    for number, piece in enumerate(pieces):
        if meanwhile:
            meanwhile(number)
        notes.append(take(worker, piece, files))
    return keep_joined(source, pieces, notes, files)


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
