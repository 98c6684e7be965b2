"""History records: what prunes condemned and removed, signed by the owner (`docs/format.md`, Damage and removal)."""

import contextlib
import json
import math
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.model.structs import Struct
from recoup.repository.dedup.cache import Cache
from recoup.repository.dedup.keys import Keys, record_verified
from recoup.repository.dedup.options import GRACE
from recoup.repository.dedup.packs import PackRef
from recoup.repository.dedup.remembered import LARGEST, read_all
from recoup.storage._base import Storage

FOLDER = "history"
FORMAT = "recoup-history"
VERSION = 1
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}\.json")
_HINT = "What it said is not known to this run; a prune tells anew what it condemns."


class Record(Struct):
    """What one step of a prune did, or another verb that removes sets.

    Attributes:
        time: when, UTC.
        condemned: packs that nothing uses any more, to be removed after the grace time.
        rescued: packs that were condemned, and are used after all.
        removed_packs: packs that were removed.
        removed_index: names of index files that were removed.
        removed_sets: names of sets that were removed.
        grace: how long condemned packs stay at least.
        name: of the record, in its folder.
        removed_history: names of history records that this one stands for, and that were removed.
    """

    time: datetime
    condemned: tuple[PackRef, ...] = ()
    rescued: tuple[PackRef, ...] = ()
    removed_packs: tuple[PackRef, ...] = ()
    removed_index: tuple[str, ...] = ()
    removed_sets: tuple[str, ...] = ()
    grace: timedelta = GRACE
    name: str = ""
    removed_history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Condemned:
    """That a pack is to be removed.

    Attributes:
        since: when it was condemned, UTC.
        grace: how long it stays at least.
    """

    since: datetime
    grace: timedelta


def write_record(storage: Storage, keys: Keys, record: Record) -> str:
    """Stores a record; returns its name.

    Args:
        storage: where.
        keys: the owner's: nobody else's records are believed.
        record: what was done; its name is made here.
    """
    data = encode_record(keys, record)
    if len(data) > LARGEST:
        raise ValueError("a history record is asked to tell too much")
    name = f"{record.time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}.json"
    storage.put(f"{FOLDER}/{name}", data, if_absent=True)
    return name


def read_records(storage: Storage, keys: Keys, problems: list[RecoupError], cache: Cache | None = None) -> list[Record]:
    """All records that the owner signed, the oldest first.

    Args:
        storage: where.
        keys: of the repository.
        problems: hears of records that cannot be believed.
        cache: keeps what was read.
    """
    records = read_all(storage, FOLDER, _NAME, partial(decode_record, keys), cache, problems)
    return sorted(records, key=lambda record: (record.time, record.name))


def newer_records(storage: Storage, keys: Keys, known: Iterable[Record]) -> list[Record]:
    """The records that came since others were read; what the owner did not sign is nobody's word.

    Args:
        storage: where.
        keys: of the repository.
        known: the records that were read.
    """
    names = {record.name for record in known}
    found = (one.key.removeprefix(f"{FOLDER}/") for one in storage.list(FOLDER) if one.link is None)
    records = []
    for name in sorted(name for name in found if _NAME.fullmatch(name) and name not in names):
        with contextlib.suppress(FileNotFoundError, DamagedError):
            records.append(decode_record(keys, storage.get(f"{FOLDER}/{name}"), name))
    return sorted(records, key=lambda record: (record.time, record.name))


def condemned_since(records: Iterable[Record]) -> dict[PackRef, Condemned]:
    """The packs that are condemned now, and since when. Those that were removed stay so: an index may name them a while longer.

    Args:
        records: all, the oldest first.
    """
    since: dict[PackRef, Condemned] = {}
    for record in records:
        for ref in record.rescued:
            since.pop(ref, None)
        for ref in record.condemned:
            since.setdefault(ref, Condemned(record.time, record.grace))
    return since


def encode_record(keys: Keys, record: Record) -> bytes:
    """A record's bytes, signed."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "repository": keys.repository,
        "time": record.time.astimezone(UTC).isoformat(),
        "condemned": [ref.name for ref in record.condemned],
        "rescued": [ref.name for ref in record.rescued],
        "removed_packs": [ref.name for ref in record.removed_packs],
        "removed_index": list(record.removed_index),
        "removed_sets": list(record.removed_sets),
        "removed_history": list(record.removed_history),
        "grace": math.ceil(record.grace.total_seconds()),  # whole: what is signed has to read the same everywhere
    }
    return (json.dumps(keys.signed(document)) + "\n").encode()


def decode_record(keys: Keys, data: bytes, name: str) -> Record:
    """Reads a record.

    Raises:
        DamagedError: it is not what the owner signed for this repository.
        RefusedError: its version is not known.
    """
    item = f"{FOLDER}/{name}"
    document = _document(data, item)
    if document.get("version") != VERSION:
        raise RefusedError(f"{item} is of a version that this Recoup does not know", "Use a newer one.")
    if document.get("repository") != keys.repository or not record_verified(keys.owner, document):
        raise DamagedError(f"{item} is not what the owner of this repository signed", _HINT)
    try:
        time = datetime.fromisoformat(document["time"]).astimezone(UTC)
        condemned, rescued, removed = (_refs(document[key]) for key in ("condemned", "rescued", "removed_packs"))
        index, sets = (tuple(map(str, document[key])) for key in ("removed_index", "removed_sets"))
        records = tuple(map(str, document.get("removed_history", ())))
        grace = timedelta(seconds=float(document["grace"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"{item} is damaged: {type(error).__name__}", _HINT) from None
    return Record(time, condemned, rescued, removed, index, sets, grace, name, records)


def _document(data: bytes, item: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise DamagedError(f"{item} is damaged: it is no JSON", _HINT) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DamagedError(f"{item} is no history record", _HINT)
    return document


def _refs(names: Sequence[str]) -> tuple[PackRef, ...]:
    found = [PackRef.parse(name) for name in names]
    if None in found:
        raise ValueError("no pack is called so")
    return tuple(ref for ref in found if ref is not None)
