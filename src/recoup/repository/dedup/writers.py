"""Hosts that may only add sets: their key files, and what the repository says of them (`docs/format.md`, Keys)."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recoup.errors import RecoupError, RefusedError, WrongKeyError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.repository.dedup.keys import KEY_BYTES, Keys, record_verified, signing_public
from recoup.repository.dedup.record import Record
from recoup.repository.dedup.slots import FOLDER, damaged, json_object, key_of, read_small
from recoup.repository.sealing._base import key_file
from recoup.storage._base import Storage
from recoup.system.atomicfile import create_file

WRITERS = f"{FOLDER}/writers"
ID = re.compile(r"[0-9a-f]{16}\Z")
_KEY_FORMAT, _RECORD_FORMAT, _VERSION = "recoup-writer-key", "recoup-writer", 1
_LARGEST = 64 * 1024  # bytes of a writer's record that is still reasonable
_AGAIN = "Make it again on a host that can read: `recoup key export --write-only FILE`."


class Writer(Struct):
    """A host that may only add sets.

    Attributes:
        id: 16 hex digits.
        verify: its Ed25519 public key: that of `Keys.maker` there.
        created: when it was let in (UTC).
        label: what people call it.
        removed: when it was shut out (UTC); None while it may add.
    """

    id: str
    verify: bytes
    created: datetime
    label: str
    removed: datetime | None = None


def writer_key(writer: str) -> str:
    """Where the record of a writer lies."""
    return f"{WRITERS}/{writer}.json"


def let_in(storage: Storage, keys: Keys, file: Path, label: str, moment: datetime) -> Writer:
    """Makes a key file for a host that may only add sets, and records that host.

    Args:
        storage: of the repository.
        keys: the owner's.
        file: where to write it, mode 0600; nothing may be there.
        label: what people call the host.
        moment: now (UTC).

    Raises:
        WrongKeyError: this host is itself one that can only add.
        RefusedError: there is something at `file`.
    """
    if not keys.can_read:
        raise WrongKeyError("a host with a writer key cannot let others in", "Use a host that can read the repository.")
    signing, writer = secrets.token_bytes(KEY_BYTES), secrets.token_hex(8)
    made = Writer(writer, signing_public(signing), moment.astimezone(UTC), label)
    create_file(file, _encode_key(keys, writer, signing))
    try:
        storage.put(writer_key(writer), _encode_record(keys, made), if_absent=True)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return made


def shut_out(storage: Storage, keys: Keys, writer: Writer, moment: datetime) -> None:
    """Records that a writer key does not count any more. The record stays: it says whose that host's older sets are.

    Args:
        storage: of the repository.
        keys: the owner's.
        writer: whose.
        moment: now (UTC).
    """
    storage.put(writer_key(writer.id), _encode_record(keys, replace(writer, removed=moment.astimezone(UTC))))


class Makers:
    """Who may have made the sets of a repository: the owner, and every host that was let in, those shut out since too.

    Args:
        storage: of the repository.
        record: of the repository.
    """

    def __init__(self, storage: Storage, record: Record) -> None:
        self._storage, self._record = storage, record
        self._known = frozenset((record.owner,))

    def require(self, made_by: bytes, origin: str) -> None:
        """Demands that a set's maker is one of them; looks for new ones before it says no.

        Args:
            made_by: the key that signed the set.
            origin: what to call the set in an error.

        Raises:
            RefusedError: it is not.
        """
        if made_by not in self._known:
            self._known |= {writer.verify for writer in writers(self._storage, self._record)[0]}
        if made_by not in self._known:
            raise RefusedError(
                f"{origin} was made by a host that was never let in, or whose record in {WRITERS} is lost",
                "Do not trust it. If the record was lost, bring it back from a copy of the repository.",
            )


def _encode_key(keys: Keys, writer: str, signing: bytes) -> bytes:
    fields = {
        "format": _KEY_FORMAT,
        "version": _VERSION,
        "repository": keys.repository,
        "writer": writer,
        "public": keys.public.hex(),
        "dedup": keys.dedup.hex(),
        "owner": keys.owner.hex(),
        "signing": signing.hex(),
    }
    return (json.dumps(fields, indent=1) + "\n").encode()


def _encode_record(keys: Keys, writer: Writer) -> bytes:
    fields = {
        "format": _RECORD_FORMAT,
        "version": _VERSION,
        "repository": keys.repository,
        "writer": writer.id,
        "verify": writer.verify.hex(),
        "created": writer.created.isoformat(),
        "label": writer.label,
        **({} if writer.removed is None else {"removed": writer.removed.isoformat()}),
    }
    return (json.dumps(keys.signed(fields), indent=1) + "\n").encode()


def writer_keys(storage: Storage, record: Record, file: Path) -> Keys:
    """The keys of a host that may only add sets.

    Args:
        storage: of the repository.
        record: of the repository.
        file: the writer's key file.

    Raises:
        WrongKeyError: the file cannot be read, belongs to another repository, or its host was shut out.
    """
    keys = _decode_key(key_file(file, "Look at `writer_key_file`."), file)
    if not record.fits(keys):
        raise WrongKeyError(f"the writer key in {file} is one of another repository than {storage.location}", _AGAIN)
    try:
        writer = decode_writer(read_small(storage, writer_key(keys.writer), _LARGEST), keys.writer, record)
    except FileNotFoundError:
        raise WrongKeyError(
            f"the writer key in {file} does not count any more: {storage.location} has no writer {keys.writer}", _AGAIN
        ) from None
    if writer.removed is not None:
        raise WrongKeyError(
            f"the writer key in {file} does not count any more: writer {keys.writer} was shut out on {writer.removed:%Y-%m-%d}",
            _AGAIN,
        )
    if writer.verify != keys.maker:
        raise WrongKeyError(f"the writer key in {file} is not the one that writer {keys.writer} was given", _AGAIN)
    return keys


def _decode_key(data: bytes, file: Path) -> Keys:
    try:
        fields = json_object(data, _KEY_FORMAT, _VERSION, str(file))
        public, dedup, owner, signing = (key_of(fields[name]) for name in ("public", "dedup", "owner", "signing"))
        repository, writer = str(fields["repository"]), checked_id(fields["writer"])
    except (RefusedError, ValueError, KeyError, TypeError):
        raise WrongKeyError(f"{file} is not a writer key, or is damaged", _AGAIN) from None
    return Keys(repository, public, dedup, owner, signing, None, writer)


def checked_id(value: Any) -> str:
    """A writer's id that was read from somewhere.

    Raises:
        ValueError, TypeError: it is none.
    """
    if not ID.match(value):
        raise ValueError(value)
    return str(value)


def decode_writer(data: bytes, writer: str, record: Record) -> Writer:
    """The record of a writer, which may be damaged or hostile.

    Raises:
        RefusedError: it is not what the owner signed.
    """
    origin = writer_key(writer)
    fields = json_object(data, _RECORD_FORMAT, _VERSION, origin)
    if not record_verified(record.owner, fields) or _names(fields) != (record.repository, writer):
        raise damaged(origin, "it is not signed by the owner of this repository")
    try:
        created = datetime.fromisoformat(fields["created"]).astimezone(UTC)
        removed = datetime.fromisoformat(fields["removed"]).astimezone(UTC) if "removed" in fields else None
        return Writer(writer, key_of(fields["verify"]), created, shown(str(fields["label"])), removed)
    except (ValueError, KeyError, TypeError, OverflowError):
        raise damaged(origin, "what it says cannot be read") from None


def _names(fields: Mapping[str, Any]) -> tuple[Any, Any]:
    return fields.get("repository"), fields.get("writer")


def writers(storage: Storage, record: Record) -> tuple[tuple[Writer, ...], tuple[RecoupError, ...]]:
    """All hosts that may only add sets, the oldest first, and what is wrong with other records."""
    found: list[Writer] = []
    problems: list[RecoupError] = []
    for item in storage.list(WRITERS):
        writer = item.key.removeprefix(f"{WRITERS}/").removesuffix(".json")
        if item.key != writer_key(writer) or not ID.match(writer) or item.link is not None:
            continue
        try:
            found.append(decode_writer(read_small(storage, item.key, _LARGEST), writer, record))
        except FileNotFoundError:
            continue  # removed meanwhile
        except RecoupError as error:
            problems.append(error)
    return tuple(sorted(found, key=lambda writer: (writer.created, writer.id))), tuple(problems)
