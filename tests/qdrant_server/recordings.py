"""What a running server of version 1.18.3 answered: the exchanges under `tests/data/qdrant/answers`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent.parent / "data" / "qdrant"
NAMES = ("single-node", "auth", "custom-sharding", "damaged-snapshots", "disk-full", "cluster", "s3-snapshot-storage")


@dataclass(frozen=True)
class Exchange:
    """One request and what came back.

    Attributes:
        recording: name of the recording.
        number: its place there.
        node: which node of a cluster was asked.
        note: why it was asked.
        request: `method`, `path`, `headers`, and `json` or `multipart`.
        response: `status`, `headers`, and `json`, `text` or `sha256` with `bytes`.
    """

    recording: str
    number: int
    node: int
    note: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]

    @property
    def method(self) -> str:
        return str(self.request["method"])

    @property
    def path(self) -> str:
        return str(self.request["path"])

    @property
    def status(self) -> int:
        return int(self.response["status"])

    @property
    def reads(self) -> bool:
        """Whether asking again changes nothing, so that one may wait for an answer."""
        return self.method in ("GET", "HEAD") or self.path.endswith(("/count", "/scroll", "/points", "/query"))

    @property
    def creates(self) -> bool:
        """Whether it makes a snapshot, whose name has the second of its creation."""
        return self.method == "POST" and self.path.partition("?")[0].endswith("/snapshots")

    @property
    def uploads(self) -> bool:
        """Whether it sends a file."""
        return "multipart" in self.request

    def __str__(self) -> str:
        return f"{self.recording} {self.number} {self.method} {self.path} ({self.note})"


@cache
def exchanges(recording: str) -> tuple[Exchange, ...]:
    """The exchanges of one recording, in the order in which they happened."""
    document = json.loads((DATA / "answers" / f"{recording}.json").read_text())
    found = tuple(
        Exchange(recording, number, entry.get("node", 0), entry["note"] or "", entry["request"], entry["response"])
        for number, entry in enumerate(document["exchanges"])
    )
    return tuple(sorted(found, key=_moment)) if recording == "cluster" else found


def vanishes(exchange: Exchange) -> bool:
    """Whether the snapshot that was made is not in the next list of its folder: it was deleted without being written down."""
    folder, name = exchange.path.partition("?")[0], exchange.response["json"]["result"]["name"]
    later = [each for each in exchanges(exchange.recording) if each.node == exchange.node]
    for each in later[later.index(exchange) + 1 :]:
        if each.path == f"{folder}/{name}" and each.method == "DELETE":
            return False
        if each.path == folder and each.method == "GET" and each.status == 200:
            return all(entry["name"] != name for entry in each.response["json"]["result"])
    return False


def _moment(exchange: Exchange) -> tuple[float, bool, int, int]:
    """When it happened: the cluster's nodes were written down one after the other, though asked in turns.

    Within one second, what a snapshot's upload brings was asked for before.
    """
    second = parsedate_to_datetime(exchange.response["headers"]["date"]).timestamp()
    return second, exchange.uploads, exchange.node, exchange.number
