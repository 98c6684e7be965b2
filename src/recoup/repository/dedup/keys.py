"""The keys of a dedup repository, and sealing by them, as `docs/format.md` says under "Keys".

Everything that opens or judges stored bytes is derived from two secrets: the private key, which opens the keys of runs, and
the dedup key, which names chunks. A write-only host has the second one alone.
"""

import hashlib
import hmac
import json
import secrets
import struct
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recoup.errors import DamagedError, WrongKeyError
from recoup.model.structs import Struct

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KIND_CHUNK, KIND_DIRECTORY, KIND_MANIFEST, KIND_RECIPES = 1, 2, 3, 4
"""What a run key seals; each kind has nonces of its own."""

KEY_BYTES = 32
"""Bytes of every key, public or secret."""

SEALED_KEY_BYTES = 80
"""Bytes of a run's key, sealed: an X25519 public key, the key, and the tag of AES-256-GCM."""

_CONTEXT = "recoup dedup v1 "
_RUN_INFO = b"recoup dedup v1 run"
_NONCE = struct.Struct("<B3xQ")  # kind, three zero bytes, counter: 12 bytes
_NO_NONCE = bytes(12)  # each key is used once with it
_ONLY_ADDS = (
    "This host has a writer key, which can add sets and read none; use a host with a passphrase, key file or identity."
)


def derived(context: str, key: bytes) -> bytes:
    """32 bytes by BLAKE3's key derivation.

    Args:
        context: what they are for, without the words that all contexts begin with.
        key: what they come from.
    """
    from blake3 import blake3

    return blake3(key, derive_key_context=_CONTEXT + context).digest()


class RunKey:
    """AES-256-GCM under the key of one run. It may be used by several threads at once.

    No nonce may be used twice for two plain texts: whoever seals counts up within each kind.

    Args:
        key: 32 random bytes.
        sealed: the same, as they lie in what is stored.
    """

    __slots__ = ("_aead", "sealed")

    def __init__(self, key: bytes, sealed: bytes) -> None:
        self.sealed = sealed
        self._aead = _aead(key)

    def seal(self, kind: int, counter: int, data: bytes | memoryview, identity: bytes) -> bytes:
        """Sealed bytes: 16 more than there were.

        Args:
            kind: one of the `KIND_` numbers.
            counter: never the same twice for one kind, below 2**64.
            data: plain bytes.
            identity: what it is; it opens as nothing else.
        """
        return self._aead.encrypt(_NONCE.pack(kind, counter), data, bytes((kind,)) + identity)

    def open(self, kind: int, counter: int, data: bytes | memoryview, identity: bytes, item: str) -> bytes:
        """The plain bytes.

        Args:
            kind: as it was sealed.
            counter: as it was sealed.
            data: what is stored.
            identity: as it was sealed.
            item: what to call it in an error.

        Raises:
            DamagedError: it is not what this key sealed with these numbers.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(_NONCE.pack(kind, counter), data, bytes((kind,)) + identity)
        except (InvalidTag, ValueError):  # the second one: shorter than a tag
            raise DamagedError(f"{item} is not what was stored: it fails the test of its encryption", _VERIFY) from None


_VERIFY = "Run `recoup verify` to see which sets it touches."


class Keys(Struct):
    """What a host has of a repository's keys.

    Attributes:
        repository: the repository's id, 32 hex digits.
        public: X25519 key that seals the keys of runs.
        dedup: names chunks and opens index files.
        owner: the owner's Ed25519 public key.
        signing: Ed25519 seed of this host's signatures.
        private: opens the keys of runs; None on a write-only host.
        writer: the id of a write-only host; empty for the owner.
    """

    repository: str
    public: bytes
    dedup: bytes = field(repr=False)
    owner: bytes
    signing: bytes = field(repr=False)
    private: bytes | None = field(default=None, repr=False)
    writer: str = ""

    @property
    def can_read(self) -> bool:
        """Whether this host can open what is stored."""
        return self.private is not None

    def are_those_of(self, other: "Keys") -> bool:
        """Whether two repositories have the same keys: what is stored in the one can be read in the other."""
        return (self.public, self.dedup, self.owner) == (other.public, other.dedup, other.owner)

    @cached_property
    def chunk_key(self) -> bytes:
        """Key of the BLAKE3 that gives chunks their ids."""
        return derived("chunk", self.dedup)

    @cached_property
    def stream_key(self) -> bytes:
        """Key of the BLAKE3 that gives streams their roots."""
        return derived("stream", self.dedup)

    @cached_property
    def index_key(self) -> bytes:
        """AES-256 key of index files and of lists of damaged chunks."""
        return derived("index", self.dedup)

    @cached_property
    def anchor_key(self) -> bytes:
        """Key of the BLAKE3 that gives anchors."""
        return derived("anchor", self.dedup)

    @cached_property
    def cut_seed(self) -> int:
        """Seed of the cutting, below 2**64."""
        return int.from_bytes(derived("cut", self.dedup)[:8], "little")

    @cached_property
    def maker(self) -> bytes:
        """Public half of this host's signing key."""
        return signing_public(self.signing)

    def sign(self, data: bytes) -> bytes:
        """This host's Ed25519 signature, 64 bytes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.signing).sign(data)

    def signed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A JSON object with this host's `signature` over all its other keys."""
        return {**record, "signature": self.sign(canonical(record)).hex()}

    def new_run(self) -> RunKey:
        """A new random key, sealed to the repository's public key. A host that can only add sets can do it."""
        key = secrets.token_bytes(KEY_BYTES)
        return RunKey(key, _sealed_to(self.public, key))

    def open_run(self, sealed: bytes, item: str) -> RunKey:
        """The key of a run that was stored.

        Args:
            sealed: what is stored, 80 bytes.
            item: what it belongs to, for an error.

        Raises:
            WrongKeyError: this host has no private key.
            DamagedError: it was not sealed to this repository's key, or is not what was stored.
        """
        if self.private is None:
            raise WrongKeyError(f"{item} cannot be read on this host", _ONLY_ADDS)
        return RunKey(_opened_by(self.private, self.public, sealed, item), sealed)

    def believes(self, made_by: bytes, signed_by: bytes, host: bytes | None = None) -> bool:
        """Whether a writer may take chunks for stored that an index file names, whose signature was checked before.

        Args:
            made_by: who cut and sealed the chunks: it has to be the host or the owner.
            signed_by: who signed the file: the same, or the owner.
            host: the writer's public key; this host when None.
        """
        return made_by in (host or self.maker, self.owner) and signed_by in (made_by, self.owner)


def new_keys(repository: str) -> Keys:
    """Random keys of a new repository.

    Args:
        repository: its id.
    """
    return owner_keys(repository, secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES))


def owner_keys(repository: str, private: bytes, dedup: bytes) -> Keys:
    """All that follows from the two secrets that a keyslot holds.

    Args:
        repository: the repository's id.
        private: the X25519 private key.
        dedup: the dedup key.
    """
    signing = derived("owner", private)
    return Keys(repository, _public(private), dedup, signing_public(signing), signing, private)


def signing_public(seed: bytes) -> bytes:
    """The Ed25519 public key of a seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def verify_signature(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether an Ed25519 signature over `data` is that of `key`; False for whatever is no key or no signature."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(record: Mapping[str, Any]) -> bytes:
    """What is signed of a JSON object: its UTF-8 JSON without `signature`, keys sorted, without spaces.

    Raises:
        ValueError: it has something that JSON or UTF-8 cannot say.
    """
    kept = {key: value for key, value in record.items() if key != "signature"}
    return json.dumps(kept, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def record_verified(key: bytes, record: Mapping[str, Any]) -> bool:
    """Whether the `signature` of a JSON object is that of `key`; False for anything odd in it."""
    try:
        return verify_signature(key, bytes.fromhex(record["signature"]), canonical(record))
    except (KeyError, TypeError, ValueError):
        return False


def _aead(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _public(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _shared(private: bytes, public: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def _sealed_to(public: bytes, key: bytes) -> bytes:
    once = secrets.token_bytes(KEY_BYTES)
    sender = _public(once)
    wrapping = _wrapping_key(_shared(once, public), sender + public)
    return sender + _aead(wrapping).encrypt(_NO_NONCE, key, None)


def _opened_by(private: bytes, public: bytes, sealed: bytes, item: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    if len(sealed) != SEALED_KEY_BYTES:  # a shorter key would be one of AES-128
        raise _foreign_key(item)
    sender = sealed[:KEY_BYTES]
    try:
        wrapping = _wrapping_key(_shared(private, sender), sender + public)
        return _aead(wrapping).decrypt(_NO_NONCE, sealed[KEY_BYTES:], None)
    except (InvalidTag, ValueError):  # the second one: a public key of low order
        raise _foreign_key(item) from None


def _foreign_key(item: str) -> DamagedError:
    return DamagedError(
        f"the key in {item} is not one that was sealed for this repository",
        "It is damaged, or came from another repository. Run `recoup verify` to see which sets it touches.",
    )


def _wrapping_key(shared: bytes, salt: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) for one block of 32 bytes."""
    extracted = hmac.digest(salt, shared, hashlib.sha256)
    return hmac.digest(extracted, _RUN_INFO + b"\x01", hashlib.sha256)
