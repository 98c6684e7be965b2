"""The layout of Qdrant's snapshots: which members in which order, as the real files have them."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qdrant_server.standin.sparsely import stored_size
from qdrant_server.standin.tar_writing import Member

COLLECTION_VERSION = b"0.4.2"
"""`version.info` of a collection: of Qdrant's crate `collection`, not of the server."""

_SHARD_CONFIG = b'{"type":"ReplicaSet"}'


def segment_folders(frozen: Path) -> list[Path]:
    """A frozen shard's segments, the small ones first."""
    return sorted((frozen / "segments").iterdir(), key=lambda folder: (_stored(folder), folder.name))


def _stored(folder: Path) -> int:
    return sum(stored_size(file) for file in files_below(folder))


def files_below(folder: Path) -> list[Path]:
    return [Path(place) / name for place, _, names in sorted(os.walk(folder)) for name in sorted(names)]


def segment_files(folder: Path, prefix: str, chosen: Sequence[str] | None = None) -> list[Member]:
    """The members of one segment.

    Args:
        folder: the segment.
        prefix: what their names begin with.
        chosen: names of the files to take; None: all.
    """
    found = ((file, file.relative_to(folder).as_posix()) for file in files_below(folder))
    return [Member(f"{prefix}{name}", file=file) for file, name in found if chosen is None or name in chosen]


def regular_segments(frozen: Path, prefix: str) -> list[Member]:
    """Each segment as a tar of its own, as stored snapshots have them."""
    return [
        Member(f"{prefix}segments/{folder.name}.tar", nested=segment_files(folder, "snapshot/files/"))
        for folder in segment_folders(frozen)
    ]


def streamed_segments(frozen: Path) -> list[Member]:
    """The segments' files one by one, as streams have them."""
    return [
        member
        for folder in segment_folders(frozen)
        for member in segment_files(folder, f"segments/{folder.name}/files/")
    ]


def shard_tail(replicas: Mapping[str, Any], prefix: str = "") -> list[Member]:
    """The two members that each shard ends with."""
    text = json.dumps(replicas, separators=(",", ":")).encode()
    return [
        Member(f"{prefix}replica_state.json", data=text),
        Member(f"{prefix}shard_config.json", data=_SHARD_CONFIG),
    ]


def wal_members(frozen: Path, prefix: str = "") -> list[Member]:
    """The WAL's files with operations in them first."""
    names = sorted(entry.name for entry in (frozen / "wal").iterdir() if not entry.name.startswith("."))
    names.sort(key=lambda name: name == "first-index")
    return [Member(f"{prefix}wal/{name}", file=frozen / "wal" / name) for name in names]


def clocks_member(peer: int, ticks: int, prefix: str = "") -> Member:
    """The clocks that order writes of several nodes."""
    clock = {"peer_id": peer, "clock_id": 0, "current_tick": ticks, "token": 5495438581262594240 + peer % 997}
    return Member(f"{prefix}newest_clocks.json", data=json.dumps({"clocks": [clock]}, separators=(",", ":")).encode())


def single_shard(segments: Iterable[Member], frozen: Path, clocks: Member, replicas: Mapping[str, Any]) -> list[Member]:
    """The snapshot of one shard, with its segments in either form."""
    return [*segments, clocks, Member("wal/"), *wal_members(frozen), *shard_tail(replicas)]


def collection_tail(config: Mapping[str, Any], keys: Sequence[Any], schema: Mapping[str, Any]) -> list[Member]:
    """What a collection's snapshot ends with."""
    documents = {
        "version.info": COLLECTION_VERSION,
        "config.json": _compact({**config, "uuid": None}),
        "shard_key_mapping.json": _compact(keys),
        "payload_index.json": _compact({"schema": schema}),
    }
    return [Member(name, data=data) for name, data in documents.items()]


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
