"""Is this snapshot whole? Asked while it streams, because nobody else does.

A stream that fails on the server still ends as a normal answer with a proper end of archive, and a snapshot that lacks a
segment restores without an error. Only the content shows it: the server writes `replica_state.json` and `shard_config.json`
behind all that a shard has, and `segment.json` and `version.info` behind all that a segment has.

The layout (`lib/collection/src/collection/snapshots.rs` and `lib/segment/src/segment/snapshot.rs` of Qdrant 1.18.3): a shard has
`segments/`, `wal/` and some JSON files; a segment is an archive of its own (`<id>.tar`, with `snapshot/files/...`) or, streamed,
a folder (`<id>/files/...`). A collection's snapshot has a folder for each shard, named by its number, then `version.info`,
`config.json`, `shard_key_mapping.json` and `payload_index.json`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from recoup.errors import DamagedError, RefusedError
from recoup.model.names import checked_relative, shown
from recoup.sources.qdrant._record import SegmentRecord
from recoup.sources.qdrant._tar import Archive, Bytes, Entry, Nested, Sink
from recoup.sources.qdrant._wal import UNREAD, WalFile, WalReading

Form = Literal["collection", "stored", "streamed", "partial"]
"""A whole collection (of one node); one shard as a stored file, as a stream, or what changed in it since another one."""

SEGMENT_MANIFEST = "segment_manifest.json"
"""What a segment in a partial snapshot consists of, the files that were left out included."""

_SHARD_ENDS = ("replica_state.json", "shard_config.json")
_COLLECTION_ENDS = ("version.info", "config.json", "shard_key_mapping.json", "payload_index.json")
_SEGMENT_ENDS = ("segment.json", "version.info")
_SHARD_FILES = (*_SHARD_ENDS, "newest_clocks.json", "oldest_clocks.json", "applied_seq.json")
_SEGMENT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHARD = re.compile(r"0|[1-9][0-9]{0,9}")
_WAL = re.compile(r"(open|closed)-[0-9]+")
_LARGEST_TEXT = 16 << 20  # bytes of a JSON file
_MOST_FILES = 500_000
_HOLLOW = 1 << 40  # bytes that files may claim whatever the snapshot's length,
_HOLLOWER = 4096  # and for each of its bytes: an empty page of a segment is 32 MiB of hole in one block


@dataclass
class ShardContents:
    """What a snapshot holds of one shard.

    Attributes:
        segments: segment id to its files, each with its length in bytes.
        wal: files of the write-ahead log.
        files: other files beside them, with their length in bytes.
        state: `replica_state.json`: whether this node has the shard's data, and which node has it in which state.
        partial: segment id to its `segment_manifest.json`, in a partial snapshot.
        nested: whether segments came as archives of their own.
        last: the file that came last.
    """

    segments: dict[str, dict[str, int]] = field(default_factory=dict)
    wal: dict[str, WalFile] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    partial: dict[str, Any] = field(default_factory=dict)
    nested: bool = False
    last: str = ""

    @property
    def local(self) -> bool:
        """Whether the data is in here; in a cluster, a node's snapshot has only the names of the other nodes' shards."""
        return bool(self.state.get("is_local"))

    @property
    def peer(self) -> int | None:
        """The peer id of the node that it was taken from."""
        peer = self.state.get("this_peer_id")
        return peer if isinstance(peer, int) else None

    @property
    def replicas(self) -> dict[str, str]:
        """Peer id to the state of its copy (`Active`, `Dead`, ...), as that node saw it."""
        peers = self.state.get("peers")
        return {str(peer): str(state) for peer, state in peers.items()} if isinstance(peers, dict) else {}

    @property
    def active(self) -> bool:
        """Whether the data in here was a good copy."""
        return self.local and self.replicas.get(str(self.peer)) == "Active"

    def records(self) -> dict[str, SegmentRecord]:
        """The segments as a set's record keeps them."""
        return {segment: SegmentRecord(dict(files)) for segment, files in self.segments.items()}


@dataclass
class Contents:
    """What a snapshot holds.

    Attributes:
        form: what kind of snapshot it is; None when nothing told.
        shards: by number. A shard's own snapshot does not know its number: it has the one that its reader gave it.
        config: a collection's `config.json`.
        payload_index: its `payload_index.json`: `{"schema": {field: parameters}}`.
        shard_keys: its `shard_key_mapping.json`, as shard key and shard numbers.
        version: its `version.info`: that of a part of Qdrant, the same for years of servers.
        files: other files at the top, with their length in bytes.
        bytes: length of the snapshot.
        unpacked: bytes of all files, holes included.
    """

    form: Form | None = None
    shards: dict[int, ShardContents] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    payload_index: Mapping[str, Any] | None = None
    shard_keys: tuple[tuple[str | int, tuple[int, ...]], ...] | None = None
    version: str = ""
    files: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    unpacked: int = 0


class Store(Protocol):
    """Where the files go that an engine needs."""

    def file(self, path: str, size: int, /) -> Sink:
        """A new file, by its safe relative path (`<shard>/segments/<id>/...`, `<shard>/wal/...`) and length in bytes."""
        ...


class SnapshotCheck:
    """A snapshot while it streams: fed in pieces of any size, with memory for its names only.

    Args:
        what: what it is called in errors.
        shard: the number of the shard, when it is the snapshot of one.
        store: where its files go, to be opened; nowhere by default.
        logs: whether write-ahead logs are read, too; that takes most of the time, and need be done only once.
    """

    def __init__(
        self, what: str = "the snapshot", shard: int = 0, store: Store | None = None, *, logs: bool = True
    ) -> None:
        self.contents = Contents()
        """What was seen so far; also when it turned out to be damaged."""
        self._what, self._shard, self._store, self._logs = what, shard, store, logs
        self._seen: set[str] = set()
        self._count = 0
        self._archive = Archive(self._member, what)

    def feed(self, data: Bytes) -> None:
        """Takes the next bytes.

        Raises:
            DamagedError: this is no snapshot, or a damaged one.
            RefusedError: it would unpack to more than it could honestly hold, or under names that lead outside.
        """
        self._archive.feed(data)

    def finish(self) -> Contents:
        """Says that nothing follows, and judges the whole.

        Raises:
            DamagedError: something is missing, or a log cannot be read.
        """
        self.contents.bytes = self._archive.position
        self._archive.finish()
        _require_whole(self.contents, self._what)
        return self.contents

    def _member(self, entry: Entry) -> Sink | None:
        self._count_in(entry)
        if not entry.name and entry.folder:
            return None
        path = checked_relative(entry.name)
        if entry.folder:
            return None
        first, _, rest = path.partition("/")
        if _SHARD.fullmatch(first) and rest:
            self._demand(collection=True, path=path)
            return self._of_shard(int(first), rest, entry.size)
        if first in ("segments", "wal") or (path in _SHARD_FILES):
            self._demand(collection=False, path=path)
            return self._of_shard(self._shard, path, entry.size)
        return self._of_collection(path, entry.size)

    def _count_in(self, entry: Entry) -> None:
        self._count += 1
        self.contents.unpacked += entry.size
        if self._count > _MOST_FILES:
            raise RefusedError(f"{shown(self._what)} holds more than {_MOST_FILES:,} files")
        if self.contents.unpacked > _HOLLOW + _HOLLOWER * self._archive.position:
            raise RefusedError(
                f"{shown(self._what)} would unpack to more than {self.contents.unpacked:,} bytes, nearly all of them holes",
                "No server writes such a snapshot. Look where it came from.",
            )

    def _demand(self, *, collection: bool, path: str) -> None:
        """Numbered folders make a collection, `segments/` at the top makes a shard; one cannot be in the other."""
        form = self.contents.form
        if form is None:
            self.contents.form = "collection" if collection else "stored"
        elif (form == "collection") != collection:
            raise self._damaged(f"holds {shown(path)} where it cannot be")

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{shown(self._what)} {what}")

    def _once(self, path: str) -> None:
        if path in self._seen:
            raise self._damaged(f"holds {shown(path)} twice")
        self._seen.add(path)

    def _of_collection(self, path: str, size: int) -> Sink | None:
        self._once(path)
        if path.endswith(".snapshot"):
            raise RefusedError(
                f"{shown(self._what)} is the snapshot of a whole storage: it holds the snapshots of its collections",
                "Take them out of it with `tar -xf`, and name the one of the collection.",
            )
        if path not in _COLLECTION_ENDS:
            self.contents.files[path] = size
            return None
        return self._text(path, size, lambda data: self._keep(path, data))

    def _keep(self, path: str, data: bytes) -> None:
        contents = self.contents
        if path == "version.info":
            contents.version = data.decode(errors="replace").strip()
        elif path == "shard_key_mapping.json":
            contents.shard_keys = self._shard_keys(self._parsed(path, data))
        elif path == "config.json":
            contents.config = self._object(path, data)
        else:
            contents.payload_index = self._object(path, data)
        contents.files[path] = len(data)

    def _of_shard(self, shard: int, path: str, size: int) -> Sink | None:
        contents = self.contents.shards.setdefault(shard, ShardContents())
        if _SHARD_ENDS[1] in contents.files:
            raise self._damaged(f"holds {shown(path)} behind what has to be the last file of shard {shard}")
        contents.last = path
        first, _, rest = path.partition("/")
        if first == "segments" and rest:
            return self._of_segments(shard, contents, rest, size)
        self._once(f"{shard}/{path}")
        if first == "wal" and rest:
            return self._of_wal(shard, contents, rest, size)
        if path == _SHARD_ENDS[0]:
            return self._text(path, size, lambda data: self._keep_state(contents, data))
        contents.files[path] = size
        return None

    def _keep_state(self, contents: ShardContents, data: bytes) -> None:
        contents.state = self._object(_SHARD_ENDS[0], data)
        contents.files[_SHARD_ENDS[0]] = len(data)

    def _of_segments(self, shard: int, contents: ShardContents, path: str, size: int) -> Sink | None:
        segment, _, rest = path.partition("/")
        if not rest and _SEGMENT.fullmatch(segment.removesuffix(".tar")) and segment.endswith(".tar"):
            return self._nested(shard, contents, segment.removesuffix(".tar"))
        if rest and _SEGMENT.fullmatch(segment):
            if self.contents.form == "stored":
                self.contents.form = "streamed"
            return self._segment_file(shard, contents, segment, rest, size)
        self._once(f"{shard}/segments/{path}")
        contents.files[f"segments/{path}"] = size
        return None

    def _nested(self, shard: int, contents: ShardContents, segment: str) -> Sink:
        if segment in contents.segments:
            raise self._damaged(f"holds segment {segment} of shard {shard} twice")
        contents.segments[segment] = {}
        contents.nested = True

        def begin(entry: Entry) -> Sink | None:
            self._count_in(entry)
            if entry.folder:
                return None
            path = checked_relative(entry.name).removeprefix("snapshot/")
            return self._segment_file(shard, contents, segment, path, entry.size)

        return Nested(Archive(begin, f"segment {segment} of shard {shard} in {self._what}", marked=False))

    def _segment_file(self, shard: int, contents: ShardContents, segment: str, path: str, size: int) -> Sink | None:
        path = path.removeprefix("files/")
        files = contents.segments.setdefault(segment, {})
        if path in files:
            raise self._damaged(f"holds {shown(path)} of segment {segment} of shard {shard} twice")
        files[path] = size
        if path == SEGMENT_MANIFEST:
            self.contents.form = "partial"
            return self._text(path, size, lambda data: self._keep_manifest(contents, segment, data))
        return self._stored(f"{shard}/segments/{segment}/{path}", size)

    def _keep_manifest(self, contents: ShardContents, segment: str, data: bytes) -> None:
        contents.partial[segment] = self._object(SEGMENT_MANIFEST, data)
        del contents.segments[segment][SEGMENT_MANIFEST]

    def _of_wal(self, shard: int, contents: ShardContents, name: str, size: int) -> Sink | None:
        kept = self._stored(f"{shard}/wal/{name}", size)
        if not _WAL.fullmatch(name):
            contents.files[f"wal/{name}"] = size
            return kept
        if not self._logs:
            contents.wal[name] = UNREAD
            return kept
        log = WalReading(size)

        def close() -> None:
            contents.wal[name] = log.result

        return _Several([log, *([kept] if kept else [])], close)

    def _stored(self, path: str, size: int) -> Sink | None:
        return self._store.file(checked_relative(path), size) if self._store else None

    def _text(self, path: str, size: int, keep: Callable[[bytes], None]) -> Sink:
        if size > _LARGEST_TEXT:
            raise self._damaged(f"holds a {path} of {size:,} bytes")
        return _Text(keep)

    def _parsed(self, path: str, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self._damaged(f"holds a {path} that is no JSON") from None

    def _object(self, path: str, data: bytes) -> dict[str, Any]:
        parsed = self._parsed(path, data)
        if not isinstance(parsed, dict):
            raise self._damaged(f"holds a {path} that is no JSON object")
        return parsed

    def _shard_keys(self, parsed: Any) -> tuple[tuple[str | int, tuple[int, ...]], ...]:
        """The mapping as versions wrote it: a list of objects, or (before 1.14) an object."""
        try:
            pairs = parsed.items() if isinstance(parsed, dict) else [(one["key"], one["shard_ids"]) for one in parsed]
            return tuple((key, tuple(sorted(int(shard) for shard in shards))) for key, shards in pairs)
        except (KeyError, TypeError, ValueError):
            raise self._damaged("holds a shard_key_mapping.json that is none") from None


class _Text:
    """Keeps a small file's content."""

    def __init__(self, keep: Callable[[bytes], None]) -> None:
        self._keep, self._data = keep, bytearray()

    def write(self, data: Bytes) -> None:
        self._data += data

    def hole(self, size: int) -> None:
        self._data += bytes(size)

    def close(self) -> None:
        self._keep(bytes(self._data))


class _Several:
    """Hands on to several sinks."""

    def __init__(self, sinks: list[Sink], done: Callable[[], None]) -> None:
        self._sinks, self._done = sinks, done

    def write(self, data: Bytes) -> None:
        for sink in self._sinks:
            sink.write(data)

    def hole(self, size: int) -> None:
        for sink in self._sinks:
            sink.hole(size)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        self._done()


def _require_whole(contents: Contents, what: str) -> None:
    faults = [*_faults(contents)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise DamagedError(
            f"{shown(what)} is not whole: {faults[0]}{more}",
            "Take it again; a server can end a snapshot early without an error.",
        )


def _faults(contents: Contents) -> list[str]:
    if contents.form is None:
        return ["it holds nothing of a Qdrant collection or shard"]
    faults = []
    for number, shard in sorted(contents.shards.items()):
        faults += [f"shard {number}: {fault}" for fault in _shard_faults(shard, contents)]
    if contents.form == "collection":
        faults += _collection_faults(contents)
    return faults


def _shard_faults(shard: ShardContents, contents: Contents) -> list[str]:
    faults = [f"{name} is missing" for name in _SHARD_ENDS if name not in shard.files]
    if not faults and (shard.last != _SHARD_ENDS[1] or [*shard.files][-2:] != [*_SHARD_ENDS]):
        faults.append(f"{_SHARD_ENDS[0]} and {_SHARD_ENDS[1]} are not its last files")
    if not faults and not shard.local and contents.form != "collection":
        faults.append("its node did not have the data")
    if shard.local:
        faults += [] if shard.segments else ["it has no segment"]
        faults += [] if shard.wal else ["it has no write-ahead log"]
    for segment, files in shard.segments.items():
        faults += [f"segment {segment} lacks {name}" for name in _SEGMENT_ENDS if name not in files]
    faults += [f"the write-ahead log {name} {log.fault}" for name, log in shard.wal.items() if log.state == "damaged"]
    return faults


def _collection_faults(contents: Contents) -> list[str]:
    faults = [f"{name} is missing" for name in _COLLECTION_ENDS if name not in contents.files]
    faults += [f"shard {number} is missing" for number in expected_shards(contents) if number not in contents.shards]
    return faults


def expected_shards(contents: Contents) -> tuple[int, ...]:
    """Numbers of the shards that a collection's own configuration tells of."""
    if contents.shard_keys:
        return tuple(sorted({shard for _, shards in contents.shard_keys for shard in shards}))
    params = (contents.config or {}).get("params")
    count = params.get("shard_number") if isinstance(params, dict) else None
    custom = isinstance(params, dict) and params.get("sharding_method") == "custom"
    return tuple(range(count)) if isinstance(count, int) and not custom else ()
