"""The manifest: what one backup set claims. `docs/format.md` describes its JSON form; the schema comes from these types."""

import base64
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from recoup.errors import RefusedError
from recoup.model.facts import Facts
from recoup.model.names import SetName, checked_relative
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
"""Version of the manifest format that this Recoup writes; it reads this one and refuses higher ones."""

Compression = Literal["none", "zstd", "gzip"]
Pack = Literal["tree", "tar", "tar.zst", "tar.gz", "chunks"]
Sealed = Literal["gpg", "age"]
Outcome = Literal["complete", "suspicious", "incomplete"]
SourceOutcome = Literal["complete", "suspicious", "incomplete", "failed", "absent"]


class Frozen(Struct):
    """When a source stood still.

    Attributes:
        first: the moment (UTC), or the beginning of the interval in which it was read.
        last: equal to `first` for a moment, else the end of the interval.
    """

    first: datetime
    last: datetime

    @property
    def is_moment(self) -> bool:
        """False when the source could not be frozen at one moment, so that its parts come from an interval."""
        return self.first == self.last


class MemberList(Struct):
    """The list of a tree's members: one JSON object a line, in the order of the tree.

    Attributes:
        path: the list's own file, relative to the set.
        count: lines.
        sha256: SHA-256 of the file's bytes, hex.
        bytes: length of the file in bytes.
    """

    path: str
    count: int
    sha256: str
    bytes: int


class StoredFile(Struct):
    """A file of a set that is no part.

    Attributes:
        path: relative to the set.
        bytes: its length, as it lies there.
        sha256: SHA-256 of it, as it lies there, hex.
    """

    path: str
    bytes: int
    sha256: str


class Sealing(Struct):
    """How an encrypted set is opened (`docs/format.md`, Encrypted sets).

    Attributes:
        method: the format of its files.
        recipients: who can open it: public keys of age, fingerprints of OpenPGP; empty for a passphrase.
        keys: the file with the set's key and its facts, itself encrypted.
    """

    method: Sealed
    recipients: tuple[str, ...]
    keys: StoredFile


class StoredAttributes(Struct):
    """What comes back of a file at restore, besides its content.

    Attributes:
        mode: its permission bits.
        mtime_ns: when it was changed, in nanoseconds since 1970.
        xattrs: extended attributes, name to value in base64.
    """

    mode: int
    mtime_ns: int
    xattrs: Mapping[str, str] = field(default_factory=dict)


class StoredPart(Struct):
    """One part as it lies in the repository.

    Attributes:
        name: the part's name inside its source; `.` for a source that is one folder.
        kind: `stream` or `tree`.
        path: file (or folder, for pack `tree`) relative to the set.
        bytes: what the part holds, plain; for a tree the sum of its files.
        stored_bytes: what it takes in the repository.
        sha256: SHA-256 of the stored file, hex; for pack `tree` that of the member list; in a dedup repository the stream's root.
        content_sha256: SHA-256 of a stream's plain bytes, hex; empty for a tree, and where it is encrypted.
        compression: of a stream.
        pack: of a tree.
        attributes: of a stream that is a file.
        members: of a tree.
        sealed: how it is encrypted; None for an open one.
        content_hmac: HMAC-SHA256 of an encrypted stream's plain bytes under the set's key, hex; empty for all others.
    """

    name: str
    kind: Literal["stream", "tree"]
    path: str
    bytes: int
    stored_bytes: int
    sha256: str
    content_sha256: str = ""
    compression: Compression = "none"
    pack: Pack | None = None
    attributes: StoredAttributes | None = None
    members: MemberList | None = None
    sealed: Sealed | None = None
    content_hmac: str = ""


class Finding(Struct):
    """Something that a person has to know about one item of a source: unreadable, changed, skipped.

    Attributes:
        what: `unreadable`, `changed`, `skipped`, `suspicious`, ...
        item: the file, table or collection.
        message: one sentence.
        harmless: True when it does not make the source incomplete (a skipped socket).
    """

    what: str
    item: str
    message: str
    harmless: bool = False


class SourceRecord(Struct):
    """What a set holds of one source.

    Attributes:
        kind: the plug.
        outcome: `complete`, `suspicious` (facts contradict the live source), `incomplete` (some items missing),
            `failed` (nothing stored) or `absent` (optional, and not there).
        error: why it failed; empty otherwise.
        settings: the source's settings without secrets.
        engine: name and version of what wrote the data, where known.
        method: how it was captured.
        frozen: when it stood still; None when it failed or is absent.
        facts: what a correct copy must show; None when it failed or is absent.
        parts: what is stored.
        findings: items to know of, at most 100 of them.
        finding_count: how many there were.
    """

    kind: str
    outcome: SourceOutcome
    error: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""
    method: str = ""
    frozen: Frozen | None = None
    facts: Facts | None = None
    parts: tuple[StoredPart, ...] = ()
    findings: tuple[Finding, ...] = ()
    finding_count: int = 0

    @property
    def bytes(self) -> int:
        """Plain bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """Bytes that the parts take in the repository."""
        return sum(part.stored_bytes for part in self.parts)

    @property
    def good(self) -> bool:
        """True when what is stored is all that there was."""
        return self.outcome in ("complete", "absent")


class Host(Struct):
    """The machine that made the set.

    Attributes:
        name: as it calls itself.
        system: its operating system and kind of processor.
    """

    name: str
    system: str


class Manifest(Struct):
    """One backup set. It exists when its manifest does; the manifest never changes afterwards.

    Attributes:
        id: random, 32 hex digits.
        name: the set's name in its repository.
        stack: the configured stack.
        host: where it was made.
        recoup: Recoup's version.
        python: Python's version.
        started: when the run began (UTC).
        finished: when the last part was stored (UTC).
        outcome: `complete`; `suspicious` (not good for retention until accepted); `incomplete` (a source failed or lacks items).
        requested: names of the sources that this run was asked for, sorted; the retention group.
        sources: by name.
        time_zone: IANA name or offset of the host, for people.
        tags: given by the user.
        note: given by the user.
        sealing: how to open it; None for an open set.
        format: what tells that this is a manifest.
        version: of the format.
    """

    id: str
    name: str
    stack: str
    host: Host
    recoup: str
    python: str
    started: datetime
    finished: datetime
    outcome: Outcome
    requested: tuple[str, ...]
    sources: Mapping[str, SourceRecord]
    time_zone: str = "UTC"
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    sealing: Sealing | None = None
    format: Literal["recoup-set"] = "recoup-set"
    version: int = VERSION

    @property
    def bytes(self) -> int:
        """Plain bytes of all parts."""
        return sum(source.bytes for source in self.sources.values())

    @property
    def stored_bytes(self) -> int:
        """Bytes that the parts take in the repository."""
        return sum(source.stored_bytes for source in self.sources.values())

    @property
    def moments(self) -> tuple[Frozen, ...]:
        """When the captured sources stood still, those that were frozen at a moment."""
        frozen = (source.frozen for source in self.sources.values())
        return tuple(f for f in frozen if f and f.is_moment)

    @property
    def spread_ms(self) -> int | None:
        """Milliseconds between the first and the last freeze; None when no source was frozen at a moment."""
        moments = [f.first for f in self.moments]
        if not moments:
            return None
        return round((max(moments) - min(moments)).total_seconds() * 1000)


def outcome_of(sources: Mapping[str, SourceRecord]) -> Outcome:
    """The set's outcome from its sources' outcomes: the worst one counts."""
    outcomes = {source.outcome for source in sources.values()}
    if outcomes & {"failed", "incomplete"}:
        return "incomplete"
    return "suspicious" if "suspicious" in outcomes else "complete"


@lru_cache(maxsize=1)
def _adapter() -> "TypeAdapter[Manifest]":
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="ignore"))(Manifest))


def schema() -> dict[str, Any]:
    """JSON schema of the manifest, as published."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}


def encode(manifest: Manifest) -> bytes:
    """The manifest as UTF-8 JSON with the computed totals, indented, ending with a newline."""
    import json

    fields = _adapter().dump_python(manifest, mode="json")
    totals = {
        "parts": sum(len(s.parts) for s in manifest.sources.values()),
        "bytes": manifest.bytes,
        "stored_bytes": manifest.stored_bytes,
    }
    document = {
        "format": fields.pop("format"),
        "version": fields.pop("version"),
        **fields,
        "totals": totals,
        "freeze_spread_ms": manifest.spread_ms,
    }
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


def decode(data: bytes, origin: str) -> Manifest:
    """Reads a manifest that may be damaged or hostile.

    Args:
        data: the JSON.
        origin: what to call it in an error.

    Raises:
        RefusedError: it is no manifest, is cut short, or has a version that this Recoup does not know.
        UnsafePathError: a name in it would lead out of its folder.
    """
    manifest = _read_at_once(data) or _read_with_care(data, origin)
    _check_names(manifest)
    _check_times(manifest, origin)
    _check_attributes(manifest, origin)
    return manifest


def _read_at_once(data: bytes) -> Manifest | None:
    """A manifest as `encode` writes it, in one step: three times as fast, which a list of many sets feels."""
    from pydantic import ValidationError

    if not data.startswith(_BEGINNING):
        return None
    try:
        manifest = _adapter().validate_json(data)
    except ValidationError:
        return None
    return manifest if manifest.version == VERSION else None


def _read_with_care(data: bytes, origin: str) -> Manifest:
    import json

    from pydantic import ValidationError

    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{origin} is not valid JSON (cut short or damaged): {error}", _DAMAGED_HINT) from None
    if not isinstance(document, dict) or document.get("format") != "recoup-set":
        raise RefusedError(f"{origin} is not a manifest of a backup set", _DAMAGED_HINT)
    if document.get("version") != VERSION:
        raise RefusedError(
            f"{origin} has format version {document.get('version')!r}; this Recoup reads version {VERSION}",
            "Use the Recoup that wrote it, or a newer one.",
        )
    try:
        return _adapter().validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise RefusedError(f"{origin} is damaged at {where}: {first['msg']}", _DAMAGED_HINT) from None


_BEGINNING = b'{\n "format": "recoup-set",\n "version": %d,\n' % VERSION
_DAMAGED_HINT = "Run `recoup verify` to see what else is damaged; restore from another set."


def _check_times(manifest: Manifest, origin: str) -> None:
    frozen = [record.frozen for record in manifest.sources.values() if record.frozen]
    times = [manifest.started, manifest.finished, *(t for f in frozen for t in (f.first, f.last))]
    if any(time.tzinfo is None for time in times):
        raise RefusedError(f"{origin} is damaged: it has a time without a time zone", _DAMAGED_HINT)


def _check_attributes(manifest: Manifest, origin: str) -> None:
    for stored in (part.attributes for source in manifest.sources.values() for part in source.parts):
        if stored is not None and not _is_sound(stored):
            raise RefusedError(f"{origin} is damaged: a part has attributes that no file has", _DAMAGED_HINT)


def _is_sound(stored: StoredAttributes) -> bool:
    try:
        for value in stored.xattrs.values():
            base64.b64decode(value, validate=True)
    except ValueError:
        return False
    return -(2**63) <= stored.mtime_ns < 2**63  # nanoseconds as the kernel takes them


def _check_names(manifest: Manifest) -> None:
    if SetName.parse(manifest.name) is None:
        checked_relative(manifest.name)
    if manifest.sealing is not None:
        checked_relative(manifest.sealing.keys.path)
    for name, source in manifest.sources.items():
        checked_relative(name)
        for part in source.parts:
            checked_relative(part.path)
            if not (part.kind == "tree" and part.name == "."):
                checked_relative(part.name)
            if part.members:
                checked_relative(part.members.path)
