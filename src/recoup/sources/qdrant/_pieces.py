"""Files that hold a collection or parts of one: a set's folder, or snapshots that any tool made; compressed or not."""

import contextlib
import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from recoup.errors import DamagedError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._staged import Readable
from recoup.sources.qdrant._points_file import is_points
from recoup.sources.qdrant._record import POINTS, RECORD, CollectionRecord, collection_of, decode

ENDINGS = (".snapshot", ".snapshot.zst", ".snapshot.gz")
"""How the names of snapshots end that are looked for in a folder."""

_OF_SHARD = re.compile(r"(?P<collection>.+)-shard-(?P<shard>[0-9]+)-[0-9]{4}(?:-[0-9]{2}){5}")
_OF_COLLECTION = re.compile(r"(?P<collection>.+?)(?:-[0-9]{6,})?-[0-9]{4}(?:-[0-9]{2}){5}")  # peer ids are long
_OUR_SHARD = re.compile(r"shard-(?P<shard>[0-9]+)")
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
_WINDOW = 1 << 27  # bytes that a hostile file may make the decompressor keep


class Piece(Struct):
    """One file.

    Attributes:
        path: where it is.
        part: name of the part of a set that it is; empty for a file by itself.
        shard: the shard's number, when it is a shard's snapshot.
        points: whether it is a file of points instead of a snapshot.
    """

    path: Path
    part: str = ""
    shard: int = 0
    points: bool = False

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return self.part or self.path.name

    @contextlib.contextmanager
    def open(self) -> Iterator[Readable]:
        """Its plain bytes, decompressed on the way.

        Raises:
            UsageError: it cannot be read.
            DamagedError: it cannot be decompressed.
        """
        try:
            with self.path.open("rb") as file:
                yield _plain(file, self.name)
        except OSError as error:
            raise UsageError(f"{shown(str(self.path))} cannot be read: {error.strerror}") from None


class Pieces(Struct):
    """All that there is of one collection.

    Attributes:
        collection: its name, as its record or its files' names tell.
        record: what a set keeps beside the snapshots; None for bare files.
        pieces: its files.
    """

    collection: str
    record: CollectionRecord | None
    pieces: tuple[Piece, ...]


def found(paths: Sequence[Path]) -> tuple[Pieces, ...]:
    """The collections that files and folders hold.

    Args:
        paths: snapshots of one collection (of several nodes or shards), or a file of points, or one folder: that of a collection
            in a set, or of a source.

    Raises:
        UsageError: nothing is there.
        DamagedError: a record is damaged.
    """
    folders = [path for path in paths if path.is_dir()]
    if folders and len(paths) > 1:
        raise UsageError("a folder has to be named alone", "It holds all that belongs together.")
    if folders:
        return _of_folder(folders[0])
    for path in paths:
        if not path.exists():
            raise UsageError(f"{shown(str(path))} is not there")
    return (_bare([*paths]),)


def _of_folder(folder: Path) -> tuple[Pieces, ...]:
    if (folder / RECORD).is_file():
        return (_recorded(folder),)
    below = [path.parent for path in sorted(folder.glob(f"*/{RECORD}"))]
    if below:
        return tuple(_recorded(one) for one in below)
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(ENDINGS)]
    if not files:
        raise UsageError(
            f"{shown(str(folder))} holds neither a {RECORD} nor snapshots", "Name the folder of a collection in a set."
        )
    return (_bare(files),)


def _recorded(folder: Path) -> Pieces:
    """A collection as a set keeps it; the folder may have another name by now."""
    path = folder / RECORD
    record = decode(path.read_bytes(), str(path))
    pieces = {}
    for shard in record.shards:
        if shard.part in pieces:
            continue
        file = folder / Path(shard.part).name
        for candidate in (file, *(file.with_name(f"{file.name}{ending}") for ending in (".zst", ".gz"))):
            if candidate.is_file():
                pieces[shard.part] = Piece(candidate, shard.part, shard.id, file.name == POINTS)
                break
    return Pieces(record.name, record, tuple(pieces.values()))


def _bare(paths: Sequence[Path]) -> Pieces:
    pieces: list[Piece] = []
    names = [_stem(path) for path in paths]
    for path, name in zip(paths, names, strict=True):
        told = _OF_SHARD.fullmatch(name) or _OUR_SHARD.fullmatch(name)
        taken = {piece.shard for piece in pieces}
        free = next(number for number in range(len(paths) + 1) if number not in taken)
        shard = int(told["shard"]) if told else free
        pieces.append(Piece(path, shard=shard, points=_is_points(path)))
    if any(piece.points for piece in pieces) and len(pieces) > 1:
        raise UsageError("a file of points has to be named alone", "It holds all points of its collection.")
    return Pieces(_collection_name(paths[0], names[0]), None, tuple(pieces))


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".zst", ".gz", ".snapshot"):
        name = name.removesuffix(ending)
    return name


def _collection_name(path: Path, stem: str) -> str:
    told = _OF_SHARD.fullmatch(stem) or _OF_COLLECTION.fullmatch(stem)
    if told:
        return told["collection"]
    ours = path.name == POINTS or _OUR_SHARD.fullmatch(stem)
    return collection_of(path.absolute().parent.name) if ours else stem


def _is_points(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_points(file)
    except OSError:
        return False  # whoever reads it says what is wrong


class _Decompressed:
    """Turns a decompressor's own errors into ours."""

    def __init__(self, stream: BinaryIO, what: str) -> None:
        self._stream, self._what = stream, what

    def read(self, size: int) -> bytes:
        import zlib

        import zstandard

        try:
            return self._stream.read(size)
        except (EOFError, zlib.error, zstandard.ZstdError, gzip.BadGzipFile) as error:
            raise DamagedError(f"{shown(self._what)} cannot be decompressed: {error}") from None


def _plain(file: BinaryIO, what: str) -> Readable:
    beginning = file.read(4)
    file.seek(0)
    if beginning == _ZSTD:
        import zstandard

        stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            file, read_across_frames=True, closefd=False
        )
        return _Decompressed(cast("BinaryIO", stream), what)
    if beginning.startswith(_GZIP):
        return _Decompressed(cast("BinaryIO", gzip.GzipFile(fileobj=file)), what)
    return file
