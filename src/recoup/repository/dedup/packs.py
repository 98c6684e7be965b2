"""Packs: the files that chunks lie in (`docs/format.md`, Packs)."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import blake3
import zstandard

from recoup.errors import DamagedError, RefusedError
from recoup.repository.dedup.keys import KIND_CHUNK, KIND_DIRECTORY, SEALED_KEY_BYTES, Keys, RunKey
from recoup.repository.dedup.recipes import unpacked
from recoup.repository.dedup.rows import (
    MAX_ENCODED,
    MAX_PACK_ROWS,
    RUN_BYTES,
    TAG_BYTES,
    Row,
    Rows,
    decode_rows,
    encode_rows,
)
from recoup.storage._base import ByteReader, Storage

__all__ = [
    "FOLDER",
    "HEADER_BYTES",
    "MAX_PACK",
    "MAX_PACK_BASES",
    "PackRef",
    "PackWriter",
    "Packed",
    "Row",
    "Rows",
    "UnfinishedError",
    "decode_rows",
    "encode_rows",
    "opened_header",
    "read_directory",
]

FOLDER = "packs"
MAGIC = b"RCPPACK1"
END = b"RCPPEND1"
MAX_PACK = 128 * 1024 * 1024
"""Bytes of a pack's file; writers end one far before."""

MAX_PACK_BASES = 262_144
"""Bases of all chunks of a pack, about: their ids take as much of a directory, and of the index, as it may well have."""

_HEADER = struct.Struct(f"<8s{RUN_BYTES}sI{SEALED_KEY_BYTES}s")
HEADER_BYTES = _HEADER.size
"""Bytes before the first chunk."""

_TRAILER = struct.Struct("<I8s")
TRAILER_BYTES = _TRAILER.size
_NAME = re.compile(rf"([0-9a-f]{{{2 * RUN_BYTES}}})-([0-9a-f]{{8}})\Z")
_SUFFIX = ".pack"
_HINT = "Run `recoup verify` to see which sets it touches."
_NEWER = "Use the Recoup that wrote it, or a newer one."


@dataclass(frozen=True, slots=True, order=True)
class PackRef:
    """Which pack.

    Attributes:
        run: the run that wrote it.
        number: its number in that run.
    """

    run: bytes
    number: int

    @property
    def name(self) -> str:
        """As records name it: `<run>-<number>`."""
        return f"{self.run.hex()}-{self.number:08x}"

    @property
    def key(self) -> str:
        """Where it lies in the storage."""
        return f"{FOLDER}/{self.run.hex()[:2]}/{self.name}{_SUFFIX}"

    @classmethod
    def parse(cls, name: str) -> "PackRef | None":
        """The pack that a name spells exactly, or None."""
        found = _NAME.fullmatch(name)
        return cls(bytes.fromhex(found[1]), int(found[2], 16)) if found else None

    @classmethod
    def at(cls, key: str) -> "PackRef | None":
        """The pack that lies at a key of the storage, or None."""
        ref = cls.parse(key.rpartition("/")[2].removesuffix(_SUFFIX))
        return ref if ref is not None and ref.key == key else None


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack that was written, or read.

    Attributes:
        ref: which.
        size: bytes of its file.
        digest: BLAKE3 of its file.
        rows: of its chunks, in the order in which they lie.
    """

    ref: PackRef
    size: int
    digest: bytes
    rows: Rows


class UnfinishedError(DamagedError):
    """A pack does not end as packs do: most likely its writer was killed, so that no index file ever named it."""


class Copy(Protocol):
    """What takes the bytes of a pack besides the storage; it never fails."""

    def write(self, data: bytes) -> None:
        """Appends bytes."""
        ...

    def commit(self) -> None:
        """All of them came."""
        ...

    def abort(self) -> None:
        """No more will come."""
        ...


class PackWriter:
    """One pack being written. Nobody looks at it before an index names it.

    Args:
        storage: where.
        ref: which pack.
        key: of the run.
        copy: gets the same bytes, for this host alone.
    """

    def __init__(self, storage: Storage, ref: PackRef, key: RunKey, copy: "Copy | None" = None) -> None:
        self.size = 0
        self._copy = copy
        self._ref, self._key = ref, key
        self._rows: list[Row] = []
        self._bases = 0
        self._hash = blake3.blake3()
        self._writer = storage.writer(ref.key, hidden=True)
        self._append(beginning(ref, key))

    @property
    def full(self) -> bool:
        """Whether no more chunks fit, however few bytes it has."""
        return len(self._rows) >= MAX_PACK_ROWS or self._bases >= MAX_PACK_BASES

    def add(
        self,
        run: bytes,
        number: int,
        id: bytes,  # noqa: A002 - the format's name
        length: int,
        encoding: int,
        data: bytes | memoryview,
        bases: tuple[bytes, ...] = (),
        anchors: tuple[int, ...] = (),
    ) -> None:
        """Seals a chunk and appends it.

        Args:
            run: with `number`, the chunk's address, which may be of an earlier run.
            number: see `run`.
            id: of the chunk.
            length: plain bytes of the chunk.
            encoding: of `data`.
            data: the chunk, encoded.
            bases: ids of the chunks that it was encoded against.
            anchors: by which it is found as a base.
        """
        if self.full:
            raise ValueError("a pack with as many chunks as it can have is asked to take one more")
        sealed = self._key.seal(KIND_CHUNK, self._ref.number << 32 | len(self._rows), data, id)
        self._rows.append(Row(run, number, id, length, len(sealed), encoding, bases, anchors))
        self._bases += len(bases)
        self._append(sealed)

    def finish(self) -> Packed:
        """Ends the pack with its directory. Durable after the storage's `sync`."""
        rows = Rows.of(self._rows)
        self._append(ending(self._ref, self._key, rows))
        self._writer.commit()
        if self._copy is not None:
            self._copy.commit()
        return Packed(self._ref, self.size, self._hash.digest(), rows)

    def abort(self) -> None:
        """Leaves nothing behind."""
        self._writer.abort()
        if self._copy is not None:
            self._copy.abort()

    def _append(self, data: bytes) -> None:
        self._writer.write(data)
        if self._copy is not None:
            self._copy.write(data)
        self._hash.update(data)
        self.size += len(data)


def beginning(ref: PackRef, key: RunKey) -> bytes:
    """What stands before the chunks of a pack."""
    return _HEADER.pack(MAGIC, ref.run, ref.number, key.sealed)


def ending(ref: PackRef, key: RunKey, rows: Rows) -> bytes:
    """What stands behind the chunks of a pack: its directory."""
    directory = zstandard.ZstdCompressor(level=3).compress(encode_rows(rows))
    sealed = key.seal(KIND_DIRECTORY, ref.number, directory, _identity(ref))
    return sealed + _TRAILER.pack(len(sealed), END)


def opened_header(header: bytes, ref: PackRef, keys: Keys) -> RunKey:
    """The key of the run that wrote a pack, from the pack's first `HEADER_BYTES`.

    Raises:
        DamagedError: it is not the begin of that pack, or its key is not one of this repository.
        RefusedError: the pack has a version that is not known.
        WrongKeyError: this host can only add sets.
    """
    if len(header) != HEADER_BYTES:
        raise _damaged(ref, "it is cut short")
    magic, run, number, sealed = _HEADER.unpack(header)
    if magic != MAGIC:
        raise _unknown(ref, magic)
    if (run, number) != (ref.run, ref.number):
        raise _damaged(ref, "it says that it is another pack")
    return keys.open_run(sealed, ref.key)


def read_directory(
    storage: Storage, ref: PackRef, keys: Keys, harmed: Callable[[Row], None] = lambda _row: None
) -> Packed:
    """Reads a pack from its begin to its end, in order to rebuild an index that was lost.

    Args:
        storage: where.
        ref: which pack.
        keys: with the private key.
        harmed: hears of each chunk that is not as it was sealed; the others are.

    Raises:
        DamagedError: it is missing, its directory is not as it was sealed, or, as an UnfinishedError, it is cut short.
        RefusedError: it has a version or an encoding that is not known.
        WrongKeyError: this host can only add sets.
    """
    try:
        size = storage.size(ref.key)
        if not HEADER_BYTES + TAG_BYTES + TRAILER_BYTES <= size <= MAX_PACK:
            raise _unfinished(ref, f"it has {size:,} bytes")
        with storage.reader(ref.key, 0, HEADER_BYTES) as reader:
            key = opened_header(_exactly(reader, HEADER_BYTES, ref), ref, keys)
        end, rows = _directory(storage, ref, key, size)
        with storage.reader(ref.key, 0, size) as reader:
            digest = _digest(reader, ref, key, rows, size - end, harmed)
    except FileNotFoundError:
        raise DamagedError(f"{ref.key} is missing from the repository", _HINT) from None
    except OSError as error:
        raise DamagedError(f"{ref.key} cannot be read: {error.strerror or error}", _HINT) from None
    return Packed(ref, size, digest, rows)


def _directory(storage: Storage, ref: PackRef, key: RunKey, size: int) -> tuple[int, Rows]:
    """Where the chunks end, and their rows."""
    with storage.reader(ref.key, size - TRAILER_BYTES, TRAILER_BYTES) as reader:
        length, magic = _TRAILER.unpack(_exactly(reader, TRAILER_BYTES, ref))
    if magic != END:
        raise _unfinished(ref, "it does not end as a pack does")
    begin = size - TRAILER_BYTES - length
    if begin < HEADER_BYTES:
        raise _damaged(ref, "its directory is longer than it has room for")
    with storage.reader(ref.key, begin, length) as reader:
        sealed = _exactly(reader, length, ref)
    item = f"the directory of {ref.key}"
    packed = key.open(KIND_DIRECTORY, ref.number, sealed, _identity(ref), item)
    rows = decode_rows(unpacked(packed, MAX_ENCODED, item), item)
    if not 0 < len(rows) <= MAX_PACK_ROWS or HEADER_BYTES + int(rows.stored.sum(dtype="u8")) != begin:
        raise _damaged(ref, "its directory does not fit its length")
    return begin, rows


def _digest(
    reader: ByteReader, ref: PackRef, key: RunKey, rows: Rows, behind: int, harmed: Callable[[Row], None]
) -> bytes:
    """BLAKE3 of the file; on the way each chunk's seal is tried."""
    hasher = blake3.blake3(_exactly(reader, HEADER_BYTES, ref))
    for place, row in enumerate(rows):
        sealed = _exactly(reader, row.stored, ref)
        hasher.update(sealed)
        try:
            key.open(KIND_CHUNK, ref.number << 32 | place, sealed, row.id, ref.key)
        except DamagedError:
            harmed(row)
    return hasher.update(_exactly(reader, behind, ref)).digest()


def _exactly(reader: ByteReader, size: int, ref: PackRef) -> bytes:
    found = reader.read(size)
    while len(found) < size:
        more = reader.read(size - len(found))
        if not more:
            raise _damaged(ref, "it is cut short")
        found += more
    return found


def _identity(ref: PackRef) -> bytes:
    """What a directory is bound to."""
    return ref.run + ref.number.to_bytes(4, "little")


def _damaged(ref: PackRef, why: str) -> DamagedError:
    return DamagedError(f"{ref.key} is damaged: {why}", _HINT)


def _unfinished(ref: PackRef, why: str) -> UnfinishedError:
    error = _damaged(ref, why)
    return UnfinishedError(error.message, error.hint)


def _unknown(ref: PackRef, magic: bytes) -> DamagedError | RefusedError:
    if magic.startswith(MAGIC[:-1]):
        return RefusedError(f"{ref.key} is a pack of a version that this Recoup does not know", _NEWER)
    return _damaged(ref, "it does not begin as a pack does")
