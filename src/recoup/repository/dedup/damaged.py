"""Damage records: which chunks were found damaged, so that they are stored again (`docs/format.md`, Damage and removal)."""

import re
import secrets
import struct
from collections.abc import Iterable
from datetime import UTC, datetime

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.model.structs import Struct
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.keys import Keys
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.remembered import read_all
from recoup.repository.dedup.rows import ID_BYTES, RUN_BYTES, TAG_BYTES
from recoup.storage._base import Storage

FOLDER = "damaged"
MAGIC = b"RCPDAMG1"
_ROW = struct.Struct(f"<{RUN_BYTES}sI{ID_BYTES}s")
_MOST = 131_072  # chunks of one record
_NONCE = 12
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}\.bad")
_HINT = "Chunks that it named may be taken for sound until `recoup verify` finds them again."

Damaged = tuple[PackRef, bytes]
"""A pack, and the id of a chunk that cannot be read there."""


class DamageRecord(Struct):
    """What one verification found.

    Attributes:
        name: of the record, in its folder.
        chunks: which chunks, in which packs.
    """

    name: str
    chunks: frozenset[Damaged]


def write_damaged(storage: Storage, keys: Keys, moment: datetime, chunks: Iterable[Damaged]) -> list[str]:
    """Stores which chunks are damaged; returns the names of the records, none when no chunk is."""
    rows = sorted(set(chunks))
    names = []
    for begin in range(0, len(rows), _MOST):
        name = f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}.bad"
        storage.put(f"{FOLDER}/{name}", encode_damaged(keys, rows[begin : begin + _MOST]), if_absent=True)
        names.append(name)
    return names


def read_damaged(
    storage: Storage, keys: Keys, problems: list[RecoupError], cache: Cache | None = None
) -> list[DamageRecord]:
    """All damage records.

    Args:
        storage: where.
        keys: of the repository.
        problems: hears of records that cannot be read.
        cache: keeps what was read.
    """

    def decode(data: bytes, name: str) -> DamageRecord:
        return DamageRecord(name, decode_damaged(keys, data, f"{FOLDER}/{name}"))

    return read_all(storage, FOLDER, _NAME, decode, cache, problems)


def encode_damaged(keys: Keys, chunks: Iterable[Damaged]) -> bytes:
    """A damage record's bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    plain = b"".join(_ROW.pack(ref.run, ref.number, identity) for ref, identity in chunks)
    nonce = secrets.token_bytes(_NONCE)
    return MAGIC + nonce + AESGCM(keys.index_key).encrypt(nonce, plain, MAGIC)


def decode_damaged(keys: Keys, data: bytes, item: str) -> frozenset[Damaged]:
    """Reads a damage record.

    Raises:
        DamagedError: it is not what was stored.
        RefusedError: its version is not known.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    magic, nonce, sealed = data[: len(MAGIC)], data[len(MAGIC) : len(MAGIC) + _NONCE], data[len(MAGIC) + _NONCE :]
    if magic != MAGIC and magic[:-1] == MAGIC[:-1] and len(magic) == len(MAGIC):
        raise RefusedError(f"{item} is of a version that this Recoup does not know", "Use a newer one.")
    if magic != MAGIC or len(sealed) < TAG_BYTES:
        raise DamagedError(f"{item} is damaged", _HINT)
    try:
        plain = AESGCM(keys.index_key).decrypt(nonce, sealed, MAGIC)
    except InvalidTag:
        raise DamagedError(f"{item} is damaged", _HINT) from None
    if len(plain) % _ROW.size:
        raise DamagedError(f"{item} is damaged: it is cut short", _HINT)
    return frozenset((PackRef(run, number), identity) for run, number, identity in _ROW.iter_unpack(plain))
