"""A real full snapshot, the real partial one of some changes later, and what they make together."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_server.surgery import END, Member, members
from recoup.sources.qdrant._merging import Base, merged
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck

BIG = "4232aefd-df7f-447a-a229-f7ba39156b8e"
"""The segment with an index."""

SMALL = "8cf237db-d767-4359-9fd5-58feb537583b"
"""The one that takes new points."""

MANIFEST = "files/segment_manifest.json"


def checked(data: bytes) -> Contents:
    """What a snapshot holds, when it is whole."""
    check = SnapshotCheck("it")
    check.feed(data)
    return check.finish()


def member(data: bytes, name: str) -> bytes:
    """A member as it stands in an archive."""
    return next(data[one.start : one.end] for one in members(data) if one.name == name)


def text(data: bytes, name: str) -> bytes:
    """The content of a member without holes."""
    return next(data[one.content : one.content + one.size] for one in members(data) if one.name == name)


def small(name: str, content: bytes) -> bytes:
    """A member, made anew."""
    from qdrant_server.standin.tar_writing import Member as Made

    return b"".join(Made(name, data=content).written())


def rebuilt(data: bytes, change: Callable[[Member, bytes], bytes]) -> bytes:
    """The archive with each member changed, left out or doubled."""
    return b"".join(change(one, data[one.start : one.end]) for one in members(data)) + END


@dataclass
class Pair:
    """A full snapshot with the manifest of its files, and the partial one that came for that manifest.

    Attributes:
        full: bytes, without manifests.
        partial: bytes.
        known: what was sent.
        folder: for the partial one's file.
    """

    full: bytes
    partial: bytes
    known: Mapping[str, Any]
    folder: Path
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def base(self) -> Base:
        """What a set's record says of the full one."""
        return Base(self.known, self.lengths or checked(self.full).shards[0].segments)

    def merged(self, piece: int = 1 << 20) -> bytes:
        """What both make, the full one read in pieces of some size."""
        path = self.folder / "partial"
        path.write_bytes(self.partial)
        return b"".join(merged(self.base, Slow(self.full, piece), path, checked(self.partial).shards[0]))

    def manifests(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Changes the manifest of the big segment in the partial snapshot."""

        def one(entry: Member, data: bytes) -> bytes:
            if entry.name != f"segments/{BIG}/{MANIFEST}":
                return data
            told = json.loads(text(self.partial, entry.name))
            change(told)
            return small(entry.name, json.dumps(told).encode())

        self.partial = rebuilt(self.partial, one)


class Slow(io.BytesIO):
    """Gives so many bytes at once."""

    def __init__(self, data: bytes, piece: int) -> None:
        super().__init__(data)
        self._piece = piece

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self._piece, size or 0))


def without_manifests(data: bytes) -> bytes:
    """A partial snapshot of everything as an ordinary stream has it."""
    return rebuilt(data, lambda entry, found: b"" if entry.name.endswith(MANIFEST) else found)
