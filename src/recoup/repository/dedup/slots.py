"""A keyslot's file (`docs/format.md`, Keys). What is read may be damaged or hostile."""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from recoup.errors import RefusedError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.repository.dedup.keys import KEY_BYTES
from recoup.storage._base import Storage

FOLDER = "keys"
FORMAT = "recoup-key"
VERSION = 1
LARGEST = 1024 * 1024  # bytes of a slot's file that is still reasonable: each age recipient takes some hundred
ID = re.compile(r"[0-9a-f]{16}\Z")

_SALT = 32  # bytes
_MOST_N, _MOST_R, _MOST_P, _MOST_MEMORY = 1_048_576, 32, 16, 1024**3
_LONGEST = 200  # characters of a label


class Slot(Struct):
    """What opens the keys of a repository, sealed.

    Attributes:
        repository: the repository's id.
        id: 16 hex digits.
        created: when (UTC).
        label: what people call it.
        method: `passphrase`, `key-file`, `age`; another one is of a newer Recoup, and opens nothing here.
        details: what belongs to the method: `salt`, `n`, `r`, `p`, or `recipients`.
        sealed: the keys, sealed.
    """

    repository: str
    id: str
    created: datetime
    label: str
    method: str
    details: Mapping[str, Any]
    sealed: bytes

    @property
    def key(self) -> str:
        """Where it lies."""
        return slot_key(self.id)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Public keys of age; empty for another method."""
        return tuple(self.details.get("recipients", ()))


def slot_key(slot: str) -> str:
    """Where the slot of an id lies."""
    return f"{FOLDER}/{slot}.json"


def bound_to(repository: str, slot: str) -> bytes:
    """What the sealed keys are bound to, where the method can bind them."""
    return f"{FORMAT}{repository}{slot}".encode()


def encode_slot(slot: Slot) -> bytes:
    """The file of a slot."""
    details = {name: _text(value) if isinstance(value, bytes) else value for name, value in slot.details.items()}
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "repository": slot.repository,
        "id": slot.id,
        "created": slot.created.isoformat(),
        "label": slot.label,
        "method": slot.method,
        **details,
        "sealed": _text(slot.sealed),
    }
    return (json.dumps(fields, indent=1) + "\n").encode()


def decode_slot(data: bytes, slot: str) -> Slot:
    """The slot in a file.

    Args:
        data: the file.
        slot: its id, as the file's name says.

    Raises:
        RefusedError: it is damaged, of an unknown version, or asks for more memory or time than is reasonable.
    """
    origin = slot_key(slot)
    fields = json_object(data, FORMAT, VERSION, origin)
    try:
        if fields["id"] != slot:
            raise damaged(origin, "it is the slot of another name")
        method = shown(_string(fields["method"]))
        details = _details(method, fields, origin)
        created = datetime.fromisoformat(_string(fields["created"])).astimezone(UTC)
        label = shown(_string(fields["label"])[:_LONGEST])
        sealed = _bytes(fields["sealed"])
        return Slot(_string(fields["repository"]), slot, created, label, method, details, sealed)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise damaged(origin, f"{type(error).__name__} in what it says") from None


def json_object(data: bytes, form: str, version: int, origin: str) -> Mapping[str, Any]:
    """A JSON object of one of our formats.

    Args:
        data: the file.
        form: what its `format` has to be.
        version: the only known version.
        origin: what to call it in an error.

    Raises:
        RefusedError: it is none, or of another version.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise damaged(origin, "it is not valid JSON (cut short?)") from None
    if not isinstance(fields, dict) or fields.get("format") != form:
        raise damaged(origin, f"it is not a {form}")
    if fields.get("version") != version:
        raise RefusedError(
            f"{origin} has format version {shown(str(fields.get('version'))[:20])}; this Recoup reads version {version}",
            "Use the Recoup that wrote it, or a newer one.",
        )
    return fields


def read_small(storage: Storage, key: str, largest: int) -> bytes:
    """A small object that somebody else may have written.

    Args:
        storage: where.
        key: its key.
        largest: bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        RefusedError: it is larger.
    """
    data = bytearray()
    with storage.reader(key) as reader:
        while len(data) <= largest and (piece := reader.read(largest + 1 - len(data))):
            data += piece
    if len(data) > largest:
        raise damaged(key, f"it has more than {largest} bytes")
    return bytes(data)


def damaged(origin: str, why: str) -> RefusedError:
    """The error about a file of keys that is not what was written."""
    return RefusedError(f"{origin} is damaged: {why}", "Take it from a copy of the repository, or use another keyslot.")


def _details(method: str, fields: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    if method == "passphrase":
        n, r, p = (_number(fields[name]) for name in ("n", "r", "p"))
        _refuse_excess(n, r, p, origin)
        return {"salt": _salt(fields["salt"]), "n": n, "r": r, "p": p}
    if method == "age":
        return {"recipients": [shown(_string(text)) for text in _list(fields["recipients"])]}
    return {}


def _refuse_excess(n: int, r: int, p: int, origin: str) -> None:
    """A slot must not make whoever opens it run out of memory or time."""
    if n < 2 or n & (n - 1) or r < 1 or p < 1:
        raise damaged(origin, f"scrypt has no parameters n {n}, r {r}, p {p}")
    if n > _MOST_N or r > _MOST_R or p > _MOST_P or 128 * n * r > _MOST_MEMORY:
        raise RefusedError(
            f"{origin} asks for scrypt with n {n}, r {r}, p {p}, which is more than is allowed",
            "No Recoup makes such a slot: somebody else wrote it. Use another one, and look who can write to the repository.",
        )


def key_of(value: object) -> bytes:
    """A key that is written in hex.

    Raises:
        ValueError, TypeError: it is none.
    """
    key = bytes.fromhex(_string(value))
    if len(key) != KEY_BYTES:
        raise ValueError(len(key))
    return key


def _salt(value: object) -> bytes:
    salt = _bytes(value)
    if len(salt) != _SALT:
        raise ValueError(len(salt))
    return salt


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    if not 0 <= value < 2**32:
        raise ValueError(value)
    return value


def _bytes(value: object) -> bytes:
    return base64.b64decode(_string(value), validate=True)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
