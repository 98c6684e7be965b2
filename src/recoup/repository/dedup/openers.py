"""What a person has to open a keyslot with: a passphrase, a key file, an age identity (`docs/format.md`, Keys)."""

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from recoup.errors import WrongKeyError
from recoup.model.structs import Struct
from recoup.repository.dedup.keys import KEY_BYTES, derived
from recoup.repository.dedup.slots import Slot, bound_to
from recoup.repository.sealing._base import key_file, seal_bytes
from recoup.repository.sealing.age import AgeSealing, recipients_of

SCRYPT = {"n": 65536, "r": 8, "p": 1}
"""Parameters of new slots: 64 MiB and about 0.15 s."""

_SALT = 32  # bytes
_NONCE = 12  # bytes
_SHORTEST_KEY_FILE = 32  # bytes
_MAXMEM = 1024**3 + 64 * 1024**2  # bytes: what the largest allowed parameters take, and some
_ONE = threading.Lock()  # each stretching takes 64 MiB
_LOOK = "Look at the path and permissions of the file."


class Opener(Protocol):
    """One way to open a keyslot, with its secret."""

    @property
    def method(self) -> str:
        """That of the slots it makes and opens."""
        ...

    @property
    def can_open(self) -> bool:
        """False where it can make a slot alone."""
        ...

    def lock(self, repository: str, slot: str, body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Seals what a slot holds.

        Args:
            repository: the repository's id.
            slot: the slot's id.
            body: what to seal.

        Returns:
            The details of the method, and the sealed bytes.

        Raises:
            WrongKeyError: the secret or public key cannot be read.
        """
        ...

    def unlock(self, slot: Slot) -> bytes | None:
        """What a slot of this method holds; None when this does not open it.

        Raises:
            WrongKeyError: the secret cannot be read.
        """
        ...

    def __str__(self) -> str:
        """What to call it, without the secret."""
        ...


class Passphrase(Struct):
    """A passphrase, from a file or typed.

    Attributes:
        file: holds it; line ends behind it do not belong to it.
        typed: the same, typed by a person; wins.
    """

    file: Path | None = None
    typed: str = field(default="", repr=False)
    method = "passphrase"
    can_open = True

    def lock(self, repository: str, slot: str, body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Seals under a key that is stretched by scrypt."""
        details = {"salt": secrets.token_bytes(_SALT), **SCRYPT}
        return details, _sealed(self._stretched(details), repository, slot, body)

    def unlock(self, slot: Slot) -> bytes | None:
        """Opens a slot; takes what its parameters take."""
        return _opened(self._stretched(slot.details), slot)

    def _stretched(self, details: Mapping[str, Any]) -> bytes:
        return _scrypt(self._secret, details["salt"], details["n"], details["r"], details["p"])

    @cached_property
    def _secret(self) -> bytes:
        data = self.typed.encode() if self.file is None or self.typed else key_file(self.file, _LOOK)
        stripped = data.rstrip(b"\r\n")
        if not stripped:
            raise WrongKeyError(f"{self} is empty", "A passphrase has at least one character; long ones are better.")
        try:
            stripped.decode()
        except UnicodeDecodeError:
            raise WrongKeyError(f"{self} is not UTF-8 text", "Is this the right file?") from None
        return stripped

    def __str__(self) -> str:
        return "the passphrase" if self.file is None or self.typed else f"the passphrase in {self.file}"


class KeyFile(Struct):
    """A file of at least 32 bytes that nobody can guess. All of its bytes count, line ends too.

    Attributes:
        file: the file.
    """

    file: Path
    method = "key-file"
    can_open = True

    def lock(self, repository: str, slot: str, body: bytes) -> tuple[Mapping[str, Any], bytes]:
        """Seals under a key that is derived from the file."""
        return {}, _sealed(self._key, repository, slot, body)

    def unlock(self, slot: Slot) -> bytes | None:
        """Opens a slot."""
        return _opened(self._key, slot)

    @cached_property
    def _key(self) -> bytes:
        data = key_file(self.file, _LOOK)
        if len(data) < _SHORTEST_KEY_FILE:
            raise WrongKeyError(
                f"{self} has {len(data)} bytes, and a key file has at least {_SHORTEST_KEY_FILE}",
                "For a passphrase use `password_file`.",
            )
        return derived("key file", data)

    def __str__(self) -> str:
        return f"the key file {self.file}"


class AgeKeys(Struct):
    """Public keys of age, and the identity that opens what is sealed to them.

    Attributes:
        recipients: `age1...`, `ssh-...`, or absolute paths of files of such; empty for that of the identity.
        identity_file: of the secret key; None where slots are only made.
    """

    recipients: tuple[str, ...] = ()
    identity_file: Path | None = None
    method = "age"

    @property
    def can_open(self) -> bool:
        """Whether there is an identity."""
        return self.identity_file is not None

    def lock(self, repository: str, slot: str, body: bytes) -> tuple[Mapping[str, Any], bytes]:  # noqa: ARG002 - age cannot bind them
        """Seals to the recipients."""
        sealing = self._sealing
        return {"recipients": list(sealing.recipients)}, seal_bytes(sealing, body)

    def unlock(self, slot: Slot) -> bytes | None:
        """Opens a slot."""
        if self.identity_file is None:
            return None
        sealing = AgeSealing((), self.identity_file)
        sealing.require_identity()
        try:
            return b"".join(sealing.opened(iter((slot.sealed,)), slot.key))
        except WrongKeyError:
            return None

    @property
    def _sealing(self) -> AgeSealing:
        keys = self.recipients or (() if self.identity_file is None else recipients_of(self.identity_file))
        return AgeSealing(keys, self.identity_file)

    def __str__(self) -> str:
        if self.identity_file is not None:
            return f"the age identity in {self.identity_file}"
        return f"the age recipients {', '.join(self.recipients)}"


def _sealed(key: bytes, repository: str, slot: str, body: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, body, bound_to(repository, slot))


def _opened(key: bytes, slot: Slot) -> bytes | None:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, sealed = slot.sealed[:_NONCE], slot.sealed[_NONCE:]
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound_to(slot.repository, slot.id))
    except (InvalidTag, ValueError):  # the second one: cut short
        return None


def _scrypt(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    """In a thread: it may take long with a slot's own parameters, and Ctrl-C is to end the waiting at once."""
    found: list[bytes | Exception] = []

    def work() -> None:
        try:
            with _ONE:
                found.append(hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=_MAXMEM, dklen=KEY_BYTES))
        except (MemoryError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=work, name="scrypt", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise WrongKeyError(f"scrypt with n {n}, r {r}, p {p} cannot be computed here: {found[0]}") from None
    return found[0]
