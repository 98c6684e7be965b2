"""Index files: where chunks lie, and who says so (`docs/format.md`, Index)."""

import re
import secrets
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.model.names import shown
from recoup.repository.dedup.keys import KEY_BYTES, Keys, verify_signature
from recoup.repository.dedup.names import INDEX
from recoup.repository.dedup.packs import HEADER_BYTES, MAX_PACK, MAX_PACK_BASES, TRAILER_BYTES, Packed, PackRef
from recoup.repository.dedup.recipes import unpacked
from recoup.repository.dedup.rows import (
    MAX_ENCODED,
    MAX_PACK_ROWS,
    MAX_ROWS,
    RUN_BYTES,
    TAG_BYTES,
    Cursor,
    Rows,
    decode_rows,
    encode_rows,
)
from recoup.storage._base import Storage

FOLDER = INDEX
MAGIC = b"RCPINDX1"
MAX_FILE = 80 * 1024 * 1024
"""Bytes of an index file."""

_HEAD = struct.Struct(f"<8s{KEY_BYTES}s{KEY_BYTES}s")
_SIGNATURE, _NONCE = 64, 12
_COUNT, _SHORT = struct.Struct("<I"), struct.Struct("<H")
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{24}-[0-9]{4,8}\.idx\Z")
_SUFFIX = ".idx"
_LOST = "Chunks that it alone names cannot be read; `recoup repair` makes it anew from the packs."

PACK = np.dtype(
    [("run", "u1", RUN_BYTES), ("number", "<u4"), ("size", "<u8"), ("digest", "u1", 32), ("rows", "<u4")]
)  # not aligned: as it is stored


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is known of an index file besides its rows.

    Attributes:
        name: in its folder; empty for what the run under way has not named yet.
        made_by: who cut and sealed the chunks.
        signed_by: who signed the file.
        replaces: names of the index files that it stands for.
    """

    name: str
    made_by: bytes
    signed_by: bytes
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class IndexFile:
    """An index file that was read.

    Attributes:
        facts: who made it.
        packs: of `PACK`.
        rows: of all packs.
    """

    facts: FileFacts
    packs: NDArray[Any]
    rows: Rows


def index_name(moment: datetime, run: bytes, sequence: int) -> str:
    """What an index file is called in its folder."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{run.hex()}-{sequence:04d}{_SUFFIX}"


def is_index_name(name: str) -> bool:
    """Whether an index file may be called so."""
    return _NAME.fullmatch(name) is not None


def fits(packed: Iterable[Packed]) -> bool:
    """Whether a new index file may well have all these packs. With one pack more, it still has no more than any may have."""
    rows = [one.rows for one in packed]
    return sum(map(len, rows)) <= MAX_PACK_ROWS and sum(len(one.bases) for one in rows) <= 2 * MAX_PACK_BASES


def write_index(
    storage: Storage,
    keys: Keys,
    moment: datetime,
    run: bytes,
    sequence: int,
    packed: Sequence[Packed],
    replaces: Sequence[str] = (),
    made_by: bytes | None = None,
) -> str:
    """Stores an index of packs that are durable.

    Args:
        storage: where.
        keys: that seal and sign it.
        moment: for its name.
        run: for its name.
        sequence: for its name: another one for each of a run's files.
        packed: the packs, together at most `MAX_ROWS` rows.
        replaces: names of index files that this one stands for.
        made_by: who cut and sealed the chunks; this host when None. Only the owner signs what others made.

    Returns:
        Its name.

    Raises:
        FileExistsError: there is one of that name.
    """
    facts = FileFacts("", made_by or keys.maker, keys.maker, tuple(replaces))
    if sum(len(one.rows) for one in packed) > MAX_ROWS:
        raise ValueError(f"an index file is asked to have more than {MAX_ROWS:,} rows")
    name = index_name(moment, run, sequence)
    storage.put(f"{FOLDER}/{name}", encode_index(keys, facts, packed), if_absent=True)
    return name


def encode_index(keys: Keys, facts: FileFacts, packed: Sequence[Packed]) -> bytes:
    """An index file's bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = _HEAD.pack(MAGIC, facts.made_by, facts.signed_by)
    nonce = secrets.token_bytes(_NONCE)
    body = _body(packed, facts.replaces)
    if len(body) > MAX_ENCODED:
        raise ValueError(f"an index file is asked to have more than {MAX_ENCODED:,} bytes, which nobody would read")
    body = zstandard.ZstdCompressor(level=3).compress(body)
    sealed = AESGCM(keys.index_key).encrypt(nonce, body, head)
    return head + keys.sign(head + nonce + sealed) + nonce + sealed


def pack_table(packed: Sequence[Packed]) -> NDArray[Any]:
    """Packs as a column."""
    return np.array(
        [
            (tuple(one.ref.run), one.ref.number, one.size, tuple(one.digest), len(one.rows))
            for one in packed
        ],
        PACK,
    )  # fmt: skip


def _body(packed: Sequence[Packed], replaces: Sequence[str]) -> bytes:
    names = [name.encode() for name in replaces]
    return b"".join(
        (
            _COUNT.pack(len(packed)),
            pack_table(packed).tobytes(),
            _COUNT.pack(len(names)),
            *(_SHORT.pack(len(name)) + name for name in names),
            encode_rows(Rows.joined([one.rows for one in packed])),
        )
    )


def decode_index(data: bytes, keys: Keys, name: str) -> IndexFile:
    """Reads an index file, whose signature is checked; whom to believe is for the caller to say.

    Args:
        data: its bytes.
        keys: of the repository.
        name: in its folder.

    Raises:
        DamagedError: it is not what its maker stored.
        RefusedError: it has a version or an encoding that is not known.
    """
    item = f"{FOLDER}/{name}"
    made_by, signed_by = _signed(data, keys, item)
    cursor = Cursor(unpacked(_opened(keys, memoryview(data), item), MAX_ENCODED, item), item)
    packs = cursor.take(PACK, cursor.unpack(_COUNT)[0])
    replaces = tuple(_names(cursor))
    rows = decode_rows(cursor.rest(), item)
    _check_packs(packs, rows, cursor)
    return IndexFile(FileFacts(name, made_by, signed_by, replaces), packs, rows)


def _signed(data: bytes, keys: Keys, item: str) -> tuple[bytes, bytes]:
    """Who made and who signed it."""
    if len(data) > MAX_FILE:
        raise DamagedError(f"{shown(item)} is longer than any index file", _LOST)
    if len(data) < _HEAD.size + _SIGNATURE + _NONCE + TAG_BYTES:
        raise DamagedError(f"{shown(item)} is cut short", _LOST)
    magic, made_by, signed_by = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise _unknown(magic, item)
    behind = _HEAD.size + _SIGNATURE
    message = data[: _HEAD.size] + data[behind:]
    if not verify_signature(signed_by, data[_HEAD.size : behind], message):
        raise DamagedError(f"{shown(item)} is not what its maker signed", _LOST)
    if signed_by not in (made_by, keys.owner):
        raise DamagedError(f"{shown(item)} is signed by somebody who may not speak for its maker", _LOST)
    return made_by, signed_by


def _unknown(magic: bytes, item: str) -> RecoupError:
    if magic.startswith(MAGIC[:-1]):
        newer = "Use the Recoup that wrote it, or a newer one."
        return RefusedError(f"{shown(item)} is an index of a version that this Recoup does not know", newer)
    return DamagedError(f"{shown(item)} does not begin as an index file does", _LOST)


def _opened(keys: Keys, data: memoryview, item: str) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    at = _HEAD.size + _SIGNATURE
    try:
        return AESGCM(keys.index_key).decrypt(data[at : at + _NONCE], data[at + _NONCE :], data[: _HEAD.size])
    except InvalidTag:
        raise DamagedError(f"{shown(item)} was not sealed by this repository's index key", _LOST) from None


def _names(cursor: Cursor) -> "list[str]":
    (count,) = cursor.unpack(_COUNT)
    names = []
    for _ in range(count):
        (length,) = cursor.unpack(_SHORT)
        name = cursor.bytes(length).tobytes().decode("utf-8", "replace")
        if not is_index_name(name):
            raise cursor.wrong("it replaces something that is no index file")
        names.append(name)
    return names


def _check_packs(packs: NDArray[Any], rows: Rows, cursor: Cursor) -> None:
    if len(packs) > len(rows) or int(packs["rows"].sum(dtype=np.uint64)) != len(rows):
        raise cursor.wrong("its packs have other chunks than it says")
    if not len(packs):
        return
    if int(packs["rows"].min()) < 1 or int(packs["rows"].max()) > MAX_PACK_ROWS:
        raise cursor.wrong("it has a pack with an impossible number of chunks")
    begins = np.cumsum(packs["rows"], dtype=np.int64) - packs["rows"]
    stored = np.add.reduceat(rows.stored.astype(np.uint64), begins)
    room = packs["size"].astype(np.uint64)
    if int(room.max()) > MAX_PACK or (stored + HEADER_BYTES + TRAILER_BYTES + TAG_BYTES > room).any():
        raise cursor.wrong("it has a pack whose chunks do not fit its length")


def pack_ref(pack: Any) -> PackRef:
    """Which pack a row of `PACK` is of."""
    return PackRef(pack["run"].tobytes(), int(pack["number"]))
