"""Captures of a server day after day, each with the set before it at hand."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from qdrant_server.running import PATIENCE, Qdrant
from recoup.errors import NoSuchSetError
from recoup.model.events import Event, News
from recoup.model.part import StreamPart
from recoup.sources._base import Past, Site
from recoup.sources._staged import StagedBytes
from recoup.sources.qdrant._record import CollectionRecord, ShardRecord
from recoup.sources.qdrant.server import Options, QdrantSource
from unit.sources.qdrant.capture.taking import Kept, keep, points

Change = Callable[[Kept], None]


@dataclass
class Days:
    """A source with `incremental`, captured as often as wanted.

    Attributes:
        site: without a past.
        options: the source's.
        news: what was told; emptied before each capture.
        last: the last capture, which the next one builds on.
    """

    site: Callable[[Callable[[], Past]], Site]
    options: Options
    news: list[News]
    last: Kept | None = None
    count: int = field(default=0)

    def recall(self) -> Past:
        if self.last is None:
            raise NoSuchSetError("there is no earlier set")
        parts = {name: StreamPart(name, StagedBytes(data), len(data)) for name, data in self.last.files.items()}
        return Past(f"backup_{self.count}", parts)

    def source(self) -> QdrantSource:
        return QdrantSource(self.options, self.site(self.recall))

    def next(self, meanwhile: Callable[[], object] | None = None) -> Kept:
        """One more capture, without a doubt."""
        self.news.clear()
        found = keep(self.source(), meanwhile)
        assert [one for one in found.findings if not one.harmless] == []
        assert found.doubts == []
        self.last, self.count = found, self.count + 1
        return found

    def told(self, name: str) -> list[Event]:
        return [one for one in self.news if isinstance(one, Event) and one.name == name]

    @property
    def reasons(self) -> list[str]:
        """Why shards were taken in full in the last capture."""
        return [str(one.fields["reason"]) for one in self.told("shard_taken_in_full")]

    @property
    def merges(self) -> list[int]:
        """How many steps each shard is from a full one."""
        assert self.last is not None
        return [grown(shard).merges for record in self.last.records.values() for shard in record.shards]


def grown(shard: ShardRecord) -> Any:
    assert shard.increment is not None
    return shard.increment


def record(kept: Kept, name: str = "docs") -> CollectionRecord:
    return kept.records[name]


def upsert(server: Qdrant, name: str, found: Sequence[dict[str, Any]]) -> None:
    server.ask("PUT", f"/collections/{quote(name, safe='')}/points", {"points": list(found)}, wait="true")


def live(day: int) -> list[dict[str, Any]]:
    """New points of a day, and some of the first with another payload."""
    new = points(12, 1000 + 100 * day)
    changed = [{**one, "payload": {"n": one["id"], "day": day}} for one in points(3, day)]
    return [*new, *changed]


def settle(server: Qdrant, name: str) -> None:
    """Waits until the optimizer has nothing to do."""
    latest = time.monotonic() + PATIENCE
    while server.ask("GET", f"/collections/{name}")["status"] != "green":
        assert time.monotonic() < latest
        time.sleep(0.05)
