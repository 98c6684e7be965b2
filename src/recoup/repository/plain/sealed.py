"""What an encrypted set has besides its parts: its key and facts, and an open header where the manifest is encrypted, too."""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from recoup.errors import RefusedError, WrongKeyError
from recoup.model.facts import Facts
from recoup.model.manifest import Manifest, Sealed, SourceRecord, StoredFile
from recoup.model.names import checked_relative
from recoup.model.structs import Struct
from recoup.repository.sealing._base import SUFFIX, Sealing

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
"""Version of the sealed file and of the header."""

_KEY = 32  # bytes: as many as SHA-256 has
_DAMAGED = "Run `recoup verify` to see what else is damaged; restore from another set."


def sealed_path(path: str, method: Sealed) -> str:
    """A file's path when it is sealed."""
    return path + SUFFIX[method]


class Secrets(Struct):
    """What only those may know who can open the set.

    Attributes:
        key: of the HMACs of plain contents.
        facts: source name to its facts, whole.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(_KEY), repr=False)
    facts: Mapping[str, Facts] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON."""
        facts = _facts_adapter().dump_python(dict(self.facts), mode="json")
        document = {"format": "recoup-sealed", "version": VERSION, "key": self.key.hex(), "facts": facts}
        return (json.dumps(document, indent=1) + "\n").encode()


def decode_secrets(data: bytes, origin: str) -> Secrets:
    """The secrets of a set.

    Raises:
        RefusedError: they are not, or have a version that this Recoup does not know.
    """
    document = _document(data, origin, "recoup-sealed")
    try:
        key = bytes.fromhex(document["key"])
        facts = _facts_adapter().validate_python(document["facts"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{origin} is damaged: {type(error).__name__}", _DAMAGED) from None
    if len(key) != _KEY:
        raise RefusedError(f"{origin} is damaged: its key has {len(key)} bytes", _DAMAGED)
    return Secrets(key, facts)


def _facts_adapter() -> "TypeAdapter[dict[str, Facts]]":
    from pydantic import TypeAdapter

    return TypeAdapter(dict[str, Facts])


def _document(data: bytes, origin: str, kind: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{origin} is not valid JSON (cut short or damaged): {error}", _DAMAGED) from None
    if not isinstance(document, dict) or document.get("format") != kind:
        raise RefusedError(f"{origin} is not what its name says", _DAMAGED)
    if document.get("version") != VERSION:
        raise RefusedError(
            f"{origin} has format version {document.get('version')!r}; this Recoup reads version {VERSION}",
            "Use the Recoup that wrote it, or a newer one.",
        )
    return document


def open_part(manifest: Manifest) -> Manifest:
    """The manifest without what has to be secret: facts that are texts (digests among them), and probes."""
    return replace(manifest, sources={name: _open_record(record) for name, record in manifest.sources.items()})


def _open_record(record: SourceRecord) -> SourceRecord:
    if record.facts is None:
        return record
    values = {
        subject: {name: value for name, value in named.items() if not isinstance(value, str)}
        for subject, named in record.facts.values.items()
    }
    return replace(record, facts=Facts(values))


def facts_of(manifest: Manifest) -> dict[str, Facts]:
    """The facts of all sources that have some."""
    return {name: record.facts for name, record in manifest.sources.items() if record.facts is not None}


def whole(manifest: Manifest, found: Secrets) -> Manifest:
    """The manifest with its secret facts."""
    sources = {
        name: replace(record, facts=found.facts.get(name, record.facts)) for name, record in manifest.sources.items()
    }
    return replace(manifest, sources=sources)


class Header(Struct):
    """What stands open of an encrypted manifest.

    Attributes:
        method: its format.
        recipients: who can open it.
        manifest: its file.
    """

    method: Sealed
    recipients: tuple[str, ...]
    manifest: StoredFile

    def encode(self) -> bytes:
        """As JSON."""
        document = {
            "format": _HEADER,
            "version": VERSION,
            "method": self.method,
            "recipients": list(self.recipients),
            "manifest": {
                "path": self.manifest.path,
                "bytes": self.manifest.bytes,
                "sha256": self.manifest.sha256,
            },
        }
        return (json.dumps(document, indent=1) + "\n").encode()


_HEADER = "recoup-sealed-set"


def is_header(data: bytes) -> bool:
    """Whether it is a header, and not a manifest."""
    return _HEADER.encode() in data[:100]


def decode_header(data: bytes, origin: str) -> Header:
    """A header that may be damaged or hostile.

    Raises:
        RefusedError: it is none, or has a version that this Recoup does not know.
        UnsafePathError: a name in it would lead out of its folder.
    """
    document = _document(data, origin, _HEADER)
    try:
        method, named = document["method"], document["manifest"]
        file = StoredFile(checked_relative(str(named["path"])), int(named["bytes"]), str(named["sha256"]))
        recipients = tuple(map(str, document["recipients"]))
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{origin} is damaged: {type(error).__name__}", _DAMAGED) from None
    if method not in SUFFIX or file.bytes < 0:
        raise RefusedError(f"{origin} is encrypted by a method that this Recoup does not know", _DAMAGED)
    return Header(method, recipients, file)


def unsealed(sealing: Sealing | None, method: Sealed, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
    """The plain bytes of a file of a set.

    Raises:
        WrongKeyError: what is configured does not open it.
    """
    if sealing is None or sealing.method != method:
        configured = (
            "nothing is configured to open it" if sealing is None else f"the configuration has {sealing.method}"
        )
        raise WrongKeyError(
            f"{item} is encrypted by {method}, and {configured}",
            f"Set `encrypt: {{{method}: ...}}` of the repository as it was when the set was made.",
        )
    return sealing.opened(chunks, item)


def stored_file(path: str, data: bytes) -> StoredFile:
    """A file of a set that holds `data`."""
    return StoredFile(path, len(data), hashlib.sha256(data).hexdigest())
