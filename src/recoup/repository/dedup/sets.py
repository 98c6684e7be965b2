"""The file of a set: an open header around the manifest, which is encrypted (`docs/format.md`, Sets)."""

import base64
import json
from typing import Any

import zstandard

from recoup.errors import DamagedError, RecoupError, RefusedError, WrongKeyError
from recoup.model.manifest import Manifest, decode
from recoup.model.structs import Struct
from recoup.repository.dedup.keys import KIND_MANIFEST, Keys, RunKey, record_verified
from recoup.repository.dedup.recipes import unpacked
from recoup.storage._base import Storage

FORMAT = "recoup-dedup-set"
VERSION = 1
_LARGEST = 256 * 1024 * 1024  # bytes of a manifest that is still reasonable
_LARGEST_FILE = 64 * 1024 * 1024  # bytes of a set's file: a list of a hundred million chunks has a tenth of that
_DAMAGED = "Run `recoup verify` to see what else is damaged; restore from another set."


class Header(Struct):
    """What stands open of a set.

    Attributes:
        run: which run stored it.
        counter: of the sealing of the manifest.
        key: the run's key, sealed.
        manifest: the manifest, sealed.
        recipes: BLAKE3 of the file of the recipes, hex.
        made_by: public key of the host that made it.
    """

    run: bytes
    counter: int
    key: bytes
    manifest: bytes
    recipes: str
    made_by: bytes


def identity(run: bytes, repository: str) -> bytes:
    """What the manifest and the recipes of a set are bound to."""
    return run + bytes.fromhex(repository)


def fetched(storage: Storage, key: str, error: type[RecoupError]) -> bytes:
    """A file of a set, which may be hostile: no more of it than such a file may have is taken into memory.

    Args:
        storage: where.
        key: of the file.
        error: what to raise when it is longer.

    Raises:
        FileNotFoundError: there is none.
    """
    data = bytearray()
    with storage.reader(key, 0, _LARGEST_FILE + 1) as reader:
        while piece := reader.read(_LARGEST_FILE + 1 - len(data)):
            data += piece
    if len(data) > _LARGEST_FILE:
        raise error(f"{key} is longer than any file of a set", _DAMAGED)
    return bytes(data)


def encode_set(manifest: bytes, run: bytes, counter: int, key: RunKey, recipes: str, keys: Keys) -> bytes:
    """The file of a set.

    Args:
        manifest: its JSON.
        run: the run that stored it.
        counter: another one for each manifest that this run seals.
        key: of the run.
        recipes: BLAKE3 of the file of the recipes, hex.
        keys: of the repository.
    """
    packed = zstandard.ZstdCompressor(level=9).compress(manifest)
    sealed = key.seal(KIND_MANIFEST, counter, packed, identity(run, keys.repository))
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "critical": [],
        "repository": keys.repository,
        "run": run.hex(),
        "counter": counter,
        "key": base64.b64encode(key.sealed).decode(),
        "manifest": base64.b64encode(sealed).decode(),
        "recipes": recipes,
        "made_by": keys.maker.hex(),
    }
    return (json.dumps(keys.signed(document), indent=1) + "\n").encode()


def decode_header(data: bytes, repository: str, origin: str) -> Header:
    """The open part of a set's file, which may be damaged or hostile; its signature is checked.

    Raises:
        RefusedError: it is none, of another repository, or has a version or a critical feature that is not known.
    """
    document = _document(data, origin)
    if document.get("version") != VERSION or document.get("critical") != []:
        raise RefusedError(
            f"{origin} has format version {document.get('version')!r} with {document.get('critical')!r}; "
            f"this Recoup reads version {VERSION}",
            "Use the Recoup that wrote it, or a newer one.",
        )
    if document.get("repository") != repository:
        raise RefusedError(f"{origin} belongs to another repository", _DAMAGED)
    try:
        made_by = bytes.fromhex(document["made_by"])
        header = Header(
            bytes.fromhex(document["run"]),
            _counter(document["counter"]),
            base64.b64decode(document["key"], validate=True),
            base64.b64decode(document["manifest"], validate=True),
            str(document["recipes"]),
            made_by,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedError(f"{origin} is damaged: {type(error).__name__}", _DAMAGED) from None
    if not record_verified(made_by, document) or len(header.run) != 12:
        raise RefusedError(f"{origin} is damaged: it is not what its maker signed", _DAMAGED)
    return header


def _counter(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**64:
        raise ValueError("that is no counter")
    return value


def _document(data: bytes, origin: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{origin} is not valid JSON (cut short or damaged): {error}", _DAMAGED) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RefusedError(f"{origin} is not a set of a dedup repository", _DAMAGED)
    return document


def open_manifest(header: Header, keys: Keys, origin: str) -> Manifest:
    """The manifest of a set.

    Args:
        header: of its file.
        keys: of the repository.
        origin: key of its file, which begins with the set's name.

    Raises:
        WrongKeyError: this host can only add sets.
        RefusedError: it is damaged, or that of another set, which somebody put in the place of this one.
    """
    try:
        key = keys.open_run(header.key, origin)
        packed = key.open(KIND_MANIFEST, header.counter, header.manifest, identity(header.run, keys.repository), origin)
        data = unpacked(packed, _LARGEST, origin)
    except WrongKeyError:
        raise
    except DamagedError as error:
        raise RefusedError(error.message, _DAMAGED) from None
    manifest = decode(data, origin)
    if manifest.name != origin.partition("/")[0]:
        raise RefusedError(f"{origin} is the manifest of the set {manifest.name}", _DAMAGED)
    return manifest
