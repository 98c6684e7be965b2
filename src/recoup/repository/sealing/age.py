"""Sealing by age (age-encryption.org/v1), which `age -d -i IDENTITY` opens. The library streams, so memory stays bounded."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recoup.errors import StorageError, WrongKeyError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.repository.sealing._base import NO_IDENTITY, Method, Seal, key_file
from recoup.repository.sealing._pipe import Pipe, StoppedError, Taken

_BLOCK = 1024 * 1024


class AgeSealing(Struct):
    """Sealing to age recipients.

    Attributes:
        keys: recipients: `age1...`, `ssh-ed25519 ...`, `ssh-rsa ...`, or paths of files that hold such lines.
        identity_file: file of the secret key to open with; None on a host that only seals.
        base: folder that relative paths are relative to.
    """

    keys: tuple[str, ...]
    identity_file: Path | None = None
    base: Path = Path()

    @property
    def method(self) -> Method:
        """The format."""
        return "age"

    @property
    def can_open(self) -> bool:
        """Whether an identity is configured."""
        return self.identity_file is not None

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The identity's file."""
        return () if self.identity_file is None else (self.base / self.identity_file,)

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """The public keys, those that are in files among them."""
        found = tuple(line for key in self.keys for line in self._lines_of(key))
        if not found:
            raise WrongKeyError("no public key is configured for age", "Make one with `age-keygen -o FILE`.")
        return found

    def _lines_of(self, key: str) -> list[str]:
        return [key.strip()] if key.startswith(("age1", "ssh-")) else _lines(self.base / key)

    @cached_property
    def _recipients(self) -> list[Any]:
        return [_recipient(text) for text in self.recipients]

    @cached_property
    def _identities(self) -> list[Any]:
        if self.identity_file is None:
            raise WrongKeyError("there is no age identity on this host to open it with", NO_IDENTITY)
        return _identities(self.base / self.identity_file)

    def require_identity(self) -> None:
        """Reads the identity.

        Raises:
            WrongKeyError: there is none, or it cannot be read.
        """
        _ = self._identities

    def seal(self, take: Callable[[bytes], None]) -> Seal:
        """Begins to seal a stream."""
        return _AgeSeal(self._recipients, take)

    def opened(self, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
        """The plain bytes of a sealed stream."""
        opening = _Opening(Taken(chunks), self._identities)
        try:
            yield from opening
        finally:
            opening.close()
        opening.judge(item)


def recipients_of(identity_file: Path) -> tuple[str, ...]:
    """The public keys that belong to an identity.

    Args:
        identity_file: as `age-keygen` writes it.

    Raises:
        WrongKeyError: it cannot be read, or is a private SSH key.
    """
    from pyrage import x25519

    identities = _identities(identity_file)
    if not all(isinstance(identity, x25519.Identity) for identity in identities):
        raise WrongKeyError(
            f"{identity_file} is a private SSH key, from which no public key is derived here",
            "Name the public key under `recipients`.",
        )
    return tuple(str(identity.to_public()) for identity in identities)


def _lines(path: Path) -> list[str]:
    """The lines of a key file that are no comments."""
    try:
        text = key_file(path).decode()
    except UnicodeDecodeError:
        raise WrongKeyError(f"the key file {path} is not a text", "Is this the right file?") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _recipient(text: str) -> Any:
    from pyrage import RecipientError, ssh, x25519

    try:
        return (ssh if text.startswith("ssh-") else x25519).Recipient.from_str(text)
    except RecipientError:
        raise WrongKeyError(
            f"{shown(text[:20])!r}... is not a public key of age",
            "Allowed: age1..., ssh-ed25519 ..., ssh-rsa ..., or the path of a file that holds such lines.",
        ) from None


def _identities(path: Path) -> list[Any]:
    from pyrage import IdentityError, ssh, x25519

    lines = _lines(path)
    try:
        if lines and lines[0].startswith("-----BEGIN"):
            return [ssh.Identity.from_buffer(key_file(path))]
        found = [x25519.Identity.from_str(line) for line in lines]
    except IdentityError:
        found = []
    if not found:
        raise WrongKeyError(
            f"{path} holds no age identity that can be used",
            "Allowed: a file that `age-keygen` made, or a private SSH key without a passphrase.",
        )
    return found


@dataclass
class _Writer:
    """What the library writes to."""

    write: Callable[[bytes], object]

    def flush(self) -> None:
        """Does nothing: what was written has gone."""


class _AgeSeal:
    """Plain bytes go through a pipe to the library, which works in a thread and hands on what it sealed."""

    def __init__(self, recipients: list[Any], take: Callable[[bytes], None]) -> None:
        self._pipe, self._take = Pipe(), take
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(recipients,), name="seal", daemon=True)
        self._thread.start()

    def write(self, data: bytes | memoryview, /) -> None:
        """Takes plain bytes."""
        try:
            self._pipe.write(data)
        except StoppedError:
            self.finish()

    def finish(self) -> None:
        """Ends the stream."""
        self._pipe.end()
        self._thread.join()
        if isinstance(self._error, OSError):
            raise self._error
        if self._error is not None:
            raise StorageError(f"age could not seal what was to be stored: {self._error}")

    def abort(self) -> None:
        """Ends it without a result."""
        self._pipe.stop()
        self._thread.join()

    def _work(self, recipients: list[Any]) -> None:
        import pyrage

        try:
            pyrage.encrypt_io(self._pipe, _Writer(self._handed_on), recipients)
        except BaseException as error:  # noqa: BLE001 - told to whoever writes; the library panics by a BaseException
            self._error = self._error or error
            self._pipe.stop()

    def _handed_on(self, data: bytes) -> int:
        try:
            self._take(data)
        except BaseException as error:
            self._error = error
            raise
        return len(data)


class _Opening:
    """The library opens in a thread and its plain bytes come through a pipe."""

    def __init__(self, stored: Taken, identities: list[Any]) -> None:
        self._pipe, self._stored = Pipe(), stored
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(identities,), name="open", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while data := self._pipe.read(_BLOCK):
            yield data

    def close(self) -> None:
        self._pipe.stop()
        self._thread.join()

    def judge(self, item: str) -> None:
        """Tells what went wrong: damage of what is stored before all else."""
        if self._stored.error is not None:
            raise self._stored.error
        if self._error is not None:
            raise WrongKeyError(
                f"{shown(item)} cannot be opened with the age identity that is configured: {self._error}",
                "Look which identity belongs to it: `recoup key check`, and the public keys that the manifest names.",
            )

    def _work(self, identities: list[Any]) -> None:
        import pyrage

        try:
            pyrage.decrypt_io(self._stored, self._pipe, identities)
        except BaseException as error:  # noqa: BLE001 - judged at the end; the library panics by a BaseException
            self._error = error
            if not self._pipe.stopped:
                self._stored.drain()
        finally:
            self._stored.close()
            self._pipe.end()
