"""What `recoup-repository.json` says of a dedup repository (`docs/format.md`)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from recoup.errors import NoRepositoryError, RefusedError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.repository.dedup.keys import Keys
from recoup.storage._base import Storage

PATH = "recoup-repository.json"
LAYOUT = "dedup"
VERSION = 1
_ID = re.compile(r"[0-9a-f]{32}\Z")
_KEY = re.compile(r"[0-9a-f]{64}\Z")


class Record(Struct):
    """What stands open of a repository, and whoever opens its keys compares with them.

    Attributes:
        repository: its id, 32 hex digits.
        public: the X25519 key that seals the keys of runs.
        owner: the owner's Ed25519 key.
    """

    repository: str
    public: bytes
    owner: bytes

    @classmethod
    def of(cls, keys: Keys) -> "Record":
        """That of a repository with these keys."""
        return cls(keys.repository, keys.public, keys.owner)

    @property
    def shape(self) -> Mapping[str, Any]:
        """What the dedup layout adds to the file."""
        return {"critical": [], "public": self.public.hex(), "owner": self.owner.hex()}

    def has_keys_of(self, other: "Record") -> bool:
        """Whether another repository has the same keys."""
        return (self.public, self.owner) == (other.public, other.owner)

    def fits(self, keys: Keys) -> bool:
        """Whether keys are those of this repository."""
        return Record.of(keys) == self


def decode_record(data: bytes, location: str) -> Record:
    """The file's content.

    Args:
        data: the file.
        location: of the repository, for errors.

    Raises:
        RefusedError: it is damaged, has another layout, or a version or feature that this Recoup does not know.
    """
    fields = _fields(data, location)
    if fields.get("version") != VERSION:
        raise RefusedError(f"{location} has format version {fields.get('version')!r}, not {VERSION}", _NEWER)
    if fields.get("layout") != LAYOUT:
        raise RefusedError(
            f"{location} has no keyslots: its layout is {shown(str(fields.get('layout')))!r}, not {LAYOUT!r}",
            "Files of other layouts are encrypted by `encrypt:`; `recoup key check` proves its keys.",
        )
    if fields.get("critical") != []:
        raise RefusedError(f"{location} needs features of a newer Recoup: {shown(str(fields.get('critical')))}", _NEWER)
    texts = [fields.get(name) for name in ("id", "public", "owner")]
    if not all(isinstance(text, str) and form.match(text) for text, form in zip(texts, (_ID, _KEY, _KEY), strict=True)):
        raise RefusedError(f"{PATH} of {location} is damaged: it does not name the repository and its keys", _MEND)
    repository, public, owner = map(str, texts)
    return Record(repository, bytes.fromhex(public), bytes.fromhex(owner))


_NEWER = "Use the Recoup that made it, or a newer one."
_MEND = "Take it from a copy of the repository; it is the same in each."


def _fields(data: bytes, location: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("format") != "recoup-repository":
        raise RefusedError(f"{PATH} of {location} is damaged", _MEND)
    return fields


def read_record(storage: Storage) -> Record:
    """What a repository says of itself.

    Raises:
        NoRepositoryError: there is none.
        RefusedError: see `decode_record`.
    """
    try:
        data = storage.get(PATH)
    except FileNotFoundError:
        raise NoRepositoryError(
            f"there is no repository at {storage.location}", "Make it with `recoup init`."
        ) from None
    return decode_record(data, storage.location)
