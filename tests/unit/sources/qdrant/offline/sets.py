"""Backup sets with real snapshots in them, as a capture makes them; and the same with something wrong."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_server.standin import layout
from qdrant_server.standin.tar_writing import tar
from recoup.model.facts import Facts
from recoup.model.part import Part, StreamPart
from recoup.sources._base import SourceOptions
from recoup.sources.qdrant._described import describe, recorded, subject
from recoup.sources.qdrant._record import (
    POINTS,
    CollectionRecord,
    Method,
    ShardRecord,
    encode,
    folder_of,
    record_part,
    shard_part,
)
from recoup.sources.qdrant._shard_tar import SnapshotCheck
from recoup.sources.qdrant._unpacking import unpack
from unit.operations.scripted import NOW, ScriptedCapture, ScriptedSource, content

SEED = 7
PEER = 4667856484918545
REPLICAS = {"is_local": True, "this_peer_id": PEER, "peers": {str(PEER): "Active"}}


@dataclass(frozen=True)
class Made:
    """A collection in a set.

    Attributes:
        record: its record.
        files: part name to bytes.
        facts: what a correct copy shows.
    """

    record: CollectionRecord
    files: Mapping[str, bytes]
    facts: Facts

    def parts(self) -> Iterator[Part]:
        """As a repository yields them."""
        yield StreamPart(record_part(self.record.name), content(encode(self.record)))
        for name, data in self.files.items():
            yield StreamPart(name, content(data), len(data))

    def source(self) -> ScriptedSource:
        """A source that yields it."""
        capture = ScriptedCapture(self.parts, shown=self.facts)
        return ScriptedSource([capture], options=SourceOptions(kind="qdrant"))

    def with_file(self, part: str, data: bytes) -> "Made":
        """The same with another file under a part's name."""
        return replace(self, files={**self.files, part: data})

    def without_file(self, part: str) -> "Made":
        """The same without one part."""
        return replace(self, files={name: data for name, data in self.files.items() if name != part})

    def recorded_again(self) -> "Made":
        """The same with segments recorded as they are now in the files: what a server would have given at the capture."""
        shards = []
        for shard in self.record.shards:
            contents = read(self.files[shard.part], shard.id)
            shards.append(replace(shard, segments=contents.shards[shard.id].records()))
        return replace(self, record=replace(self.record, shards=tuple(shards)))


def read(data: bytes, shard: int = 0) -> Any:
    """What a whole snapshot holds."""
    check = SnapshotCheck("it", shard)
    check.feed(data)
    return check.finish()


def made(
    name: str,
    files: Mapping[str, tuple[bytes, int]],
    config: Mapping[str, Any],
    method: Method = "stored",
    schema: Mapping[str, Any] | None = None,
) -> Made:
    """A set of snapshots that are sound.

    Args:
        name: of the collection.
        files: part name to bytes and shard number.
        config: of the collection.
        method: how it was captured.
        schema: its payload indexes.
    """
    shards, folders = [], {}
    with tempfile.TemporaryDirectory() as place:
        for number, (part, (data, shard)) in enumerate(files.items()):
            folder = Path(place) / str(number)
            contents = unpack(io.BytesIO(data), folder, part, shard)
            for one, held in contents.shards.items():
                if held.active and one not in folders:
                    folders[one] = folder / str(one)
                    shards.append((one, part, held.records()))
        found = describe(name, folders, SEED)
    records = tuple(
        ShardRecord(one, NOW, NOW, found.points[one], found.ids[one], part, segments=segments)
        for one, part, segments in sorted(shards)
    )
    record = CollectionRecord(
        name, method, "1.18.3", config, schema or {}, ("current",), records, probes=found.probes, seed=SEED
    )
    about = subject(name)
    values = {**found.values, about: {**found.values[about], **recorded(record)}}
    return Made(record, {part: data for part, (data, _) in files.items()}, Facts(values, found.probes, SEED))


def docs(plain: Callable[[str], bytes], truth: Mapping[str, Any], how: str = "stored") -> Made:
    """The collection `docs` of the recorded server, shard by shard."""
    said = truth["docs-collection"]
    files = {shard_part("docs", shard): (plain(f"docs-shard{shard}-{how}"), shard) for shard in (0, 1)}
    method: Method = "stream" if how == "streamed" else "stored"
    return made("docs", files, said["config"], method, said["payload_schema"])


def nodes(plain: Callable[[str], bytes], number: int = 3) -> Made:
    """The cluster's collection, one snapshot from each node."""
    data = [plain(f"cluster-node{node}-collection") for node in range(3)]
    files = {f"cluster/cluster-{node}-2026-11-20-02-00-00.snapshot": (data[node], 0) for node in range(number)}
    return made("cluster", files, read(data[0]).config, "collection")


def scrolled(data: bytes, config: Mapping[str, Any], points: int, ids: str) -> Made:
    """A collection as a file of points."""
    part = f"{folder_of('docs')}/{POINTS}"
    record = CollectionRecord(
        "docs", "scroll", "1.18.3", config, {}, (), (ShardRecord(0, NOW, NOW, points, ids, part),)
    )
    return Made(record, {part: data}, Facts())


def changed(data: bytes, change: Callable[[Any], None]) -> bytes:
    """A shard's snapshot after an operation of the engine on it."""
    with tempfile.TemporaryDirectory() as place:
        unpack(io.BytesIO(data), Path(place))
        frozen = Path(place) / "0"
        shard = edge.EdgeShard.load(str(frozen))
        change(shard)
        shard.flush()
        shard.close()
        for log in (frozen / "wal").iterdir():
            log.unlink()
        with (frozen / "wal" / "closed-19").open("wb") as file:
            file.write(b"wal\0seed")
            file.truncate(32 << 20)
        members = layout.single_shard(
            layout.regular_segments(frozen, ""), frozen, layout.clocks_member(PEER, 13), REPLICAS
        )
        return b"".join(tar(members))


def sha256(data: bytes) -> str:
    """Of some bytes."""
    return hashlib.sha256(data).hexdigest()
