"""The shards of one collection, gathered from the files that hold them into folders that the engine can load."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recoup.errors import DamagedError, RefusedError
from recoup.model.names import shown
from recoup.model.part import StreamPart
from recoup.sources._staged import Readable
from recoup.sources.qdrant._pieces import Pieces
from recoup.sources.qdrant._points_shard import build
from recoup.sources.qdrant._record import CollectionRecord, ShardKey, ShardRecord, decode
from recoup.sources.qdrant._shard_tar import Contents, ShardContents, expected_shards
from recoup.sources.qdrant._unpacking import unpack
from recoup.system.subprocesses import ChildFailedError, call

_READ = 1 << 20  # bytes read at once
_LARGEST_RECORD = 256 << 20  # bytes: the names of half a million files


@dataclass
class Gathering:
    """Where the shards of a collection come together. In a cluster several files may hold a shard: one good copy is taken.

    Attributes:
        root: a folder of our own.
        collection: its name, for errors.
        record: what a set keeps beside the snapshots; None for bare files.
        contents: name of a file to what it holds.
        folders: shard number to the folder that the engine can load.
        keys: shard number to its shard key, where there are such keys.
    """

    root: Path
    collection: str
    record: CollectionRecord | None = None
    contents: dict[str, Contents] = field(default_factory=dict)
    folders: dict[int, Path] = field(default_factory=dict)
    keys: dict[int, ShardKey | None] = field(default_factory=dict)
    _active: set[int] = field(default_factory=set)

    def add_snapshot(self, name: str, reader: Readable, shard: int = 0, *, logs: bool = True) -> None:
        """Unpacks a snapshot, and takes the shards out of it that are still wanted.

        Args:
            name: of the part, or of the file.
            reader: its bytes.
            shard: the shard's number, when it is the snapshot of one.
            logs: whether write-ahead logs are checked, too; False where these bytes were checked before.

        Raises:
            DamagedError: it is not whole, or does not hold what is recorded.
            RefusedError: it is unsafe.
            NoSpaceError: the disk is full.
        """
        folder = self.root / f"{len(self.contents)}"
        contents = unpack(reader, folder, name, shard, logs=logs)
        self.contents[name] = contents
        for lacking in differences(self.record, name, contents):
            raise DamagedError(
                f"{shown(name)} {lacking}", "Restore from another set; `recoup verify` finds damaged ones."
            )
        self._refuse_parts(name, contents)
        for key, numbers in contents.shard_keys or ():
            self.keys |= dict.fromkeys(numbers, key)
        for number, held in contents.shards.items():
            if held.local and self._wants(number, name, held):
                self.folders[number] = folder / str(number)
                self._active |= {number} if held.active else set()

    def _refuse_parts(self, name: str, contents: Contents) -> None:
        """What changed since another snapshot is no shard by itself."""
        for held in contents.shards.values():
            if left_out(held):
                raise RefusedError(
                    f"{shown(name)} is a partial snapshot: it holds only what changed since another one",
                    "It can be used together with that other one on a server alone.",
                )

    def _wants(self, number: int, name: str, held: ShardContents) -> bool:
        if self.record:
            return any(shard.id == number and shard.part == name for shard in self.record.shards)
        return number not in self.folders or (held.active and number not in self._active)

    def add_points(self, path: Path) -> None:
        """Makes shards of a file of points.

        Raises:
            DamagedError: it is not whole, or the engine refuses what it holds.
            RefusedError: its format is newer.
        """
        folder = self.root / "points"
        try:
            answer = call(build, str(path), str(folder))
        except ChildFailedError as error:
            kind = RefusedError if error.kind == "RefusedError" else DamagedError
            raise kind(error.message, error.hint) from None
        for number, made in enumerate(answer["shards"]):
            shard = self._first_of(made["key"], number)
            self.folders[shard] = folder / str(number)
            self.keys[shard] = made["key"]

    def _first_of(self, key: ShardKey | None, number: int) -> int:
        """The number under which the record has the points of a shard key: that of the key's first shard."""
        shards = self.record.shards if self.record else ()
        return next((shard.id for shard in shards if _same(shard.key, key)), number)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of shards that belong to the collection, and that no file held."""
        if self.record and self.record.method == "scroll":
            return self.lacking
        wanted = {*self.lacking, *_configured(self.record)} if self.record else set[int]()
        for contents in self.contents.values():
            wanted |= {*expected_shards(contents), *contents.shards}
        return tuple(sorted(wanted - set(self.folders)))

    @property
    def lacking(self) -> tuple[int, ...]:
        """Numbers of shards that the record tells of, and that no file held: less than `missing` where a capture had failed."""
        if self.record is None or (self.record.method == "scroll" and self.folders):  # one file has all points
            return ()
        return tuple(shard.id for shard in self.record.shards if shard.id not in self.folders)

    def shard_of(self, part: str) -> int:
        """The number of the shard whose snapshot a part is; 0 for a part that knows its shards."""
        return next((shard.id for shard in self.record.shards if shard.part == part), 0) if self.record else 0

    def shard_keys(self) -> Mapping[int, ShardKey | None]:
        """Shard number to its shard key, from the record or from the files."""
        return {shard.id: shard.key for shard in self.record.shards} if self.record else self.keys


def gather(pieces: Pieces, root: Path) -> Gathering:
    """Gathers the shards of a collection from its files.

    Args:
        pieces: the files.
        root: a folder of our own.

    Raises:
        DamagedError: a file is not whole, or does not hold what is recorded.
        RefusedError: one is unsafe, or a partial snapshot.
        UsageError: one cannot be read.
        NoSpaceError: the disk is full.
    """
    gathered = Gathering(root, pieces.collection, pieces.record)
    for piece in pieces.pieces:
        if piece.points:
            gathered.add_points(piece.path)
        else:
            with piece.open() as reader:
                gathered.add_snapshot(piece.name, reader, piece.shard)
    return gathered


def _configured(record: CollectionRecord) -> range:
    """Numbers of the shards that a collection without shard keys has."""
    params = record.config.get("params")
    count = params.get("shard_number") if isinstance(params, dict) else None
    custom = isinstance(params, dict) and params.get("sharding_method") == "custom"
    return range(count if isinstance(count, int) and not custom else 0)


def read_record(part: StreamPart) -> CollectionRecord:
    """The record that a part is.

    Raises:
        DamagedError: the stored bytes are wrong, or no record.
        RefusedError: its version is higher than this Recoup knows.
    """
    data = bytearray()
    with part.content.open() as reader:
        while piece := reader.read(_READ):
            data += piece
            if len(data) > _LARGEST_RECORD:
                raise DamagedError(f"{shown(part.name)} has more than {_LARGEST_RECORD:,} bytes: it is no record")
    return decode(bytes(data), part.name)


def _same(one: ShardKey | None, other: ShardKey | None) -> bool:
    return one == other and type(one) is type(other)


def left_out(held: ShardContents) -> list[str]:
    """Files that the manifests of a partial snapshot name, and that it does not hold."""
    lacking = []
    for segment, manifest in held.partial.items():
        files = manifest.get("file_versions")
        names = files if isinstance(files, dict) else {}
        lacking += [f"{segment}/{name}" for name in names if name not in held.segments.get(segment, {})]
    return lacking


def differences(record: CollectionRecord | None, part: str, contents: Contents) -> Iterator[str]:
    """What a part does not hold as it was captured; each one sentence that begins behind the part's name.

    Args:
        record: of its collection; None compares nothing.
        part: its name.
        contents: what it holds.
    """
    for shard in record.shards if record else ():
        if shard.part == part:
            yield from _shard_differences(shard, contents.shards.get(shard.id))


def _shard_differences(shard: ShardRecord, held: ShardContents | None) -> Iterator[str]:
    if held is None or not held.local:
        yield f"does not hold shard {shard.id}"
        return
    for segment, recorded in shard.segments.items():
        files = held.segments.get(segment)
        if files is None:
            yield f"lacks segment {segment} of shard {shard.id}"
            continue
        for name, size in recorded.files.items():
            if files.get(name) != size:
                found = f"{files[name]:,} instead of {size:,} bytes of" if name in files else "lacks"
                verb = found if name not in files else f"holds {found}"
                yield f"{verb} {shown(name)} in segment {segment} of shard {shard.id}"
    for segment in held.segments.keys() - shard.segments.keys():
        yield f"holds segment {segment} of shard {shard.id}, which was not there at the backup"
