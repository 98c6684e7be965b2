"""What every way of sealing promises, and the proof that what it seals can be opened again."""

import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, Protocol

from recoup.errors import WrongKeyError

Method = Literal["gpg", "age"]

SUFFIX: dict[Method, str] = {"gpg": ".gpg", "age": ".age"}
"""What stands behind the name of a sealed file, behind everything else."""


NO_IDENTITY = (
    "Set `identity_file` under `encrypt:`; for one command: --set repositories.NAME.encrypt.METHOD.identity_file=FILE."
)
"""What to do on a host that can only seal."""

_LARGEST_KEY_FILE = 1024 * 1024  # bytes


class Seal(Protocol):
    """One stream being sealed. What comes out goes, in a thread, to the function that `Sealing.seal` was given."""

    def write(self, data: bytes | memoryview, /) -> None:
        """Takes plain bytes.

        Raises:
            OSError: what comes out could not be taken (the error of whoever takes it).
            StorageError: the sealing itself failed.
        """
        ...

    def finish(self) -> None:
        """Ends the stream; all of it has come out then. Raises as `write` does."""
        ...

    def abort(self) -> None:
        """Ends it without a result. Harmless after the end."""
        ...


class Sealing(Protocol):
    """One way of sealing with its keys.

    Attributes:
        method: the format.
        recipients: who can open it, as public keys or fingerprints; empty for a passphrase.
        can_open: whether a secret to open it with is configured on this host.
        secret_files: the files that hold a secret.
    """

    @property
    def method(self) -> Method: ...

    @property
    def recipients(self) -> tuple[str, ...]: ...

    @property
    def can_open(self) -> bool: ...

    @property
    def secret_files(self) -> tuple[Path, ...]: ...

    def seal(self, take: Callable[[bytes], None]) -> Seal:
        """Begins to seal a stream.

        Raises:
            WrongKeyError: a key or passphrase is missing or cannot be read.
            RecoupError: the program that it takes is not installed.
        """
        ...

    def opened(self, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
        """The plain bytes of a sealed stream. They are sound only when the end was reached.

        Args:
            chunks: what is stored. When it cannot be opened they are read to their end all the same, so that an error of
                theirs (damage) is the one that is told.
            item: what to call it in an error.

        Raises:
            WrongKeyError: the key does not open it, or there is none on this host.
        """
        ...


def seal_bytes(sealing: Sealing, data: bytes) -> bytes:
    """A few bytes sealed. Raises as `Sealing.seal` and `Seal.write` do."""
    pieces: list[bytes] = []
    seal = sealing.seal(pieces.append)
    try:
        seal.write(data)
        seal.finish()
    finally:
        seal.abort()
    return b"".join(pieces)


def prove(sealing: Sealing) -> bool:
    """Seals a probe and opens it again.

    Returns:
        True when it came back; False when this host can seal and has nothing to open it with.

    Raises:
        WrongKeyError: what is configured to open does not open what is sealed here, or a key cannot be read.
        RecoupError: the program that it takes is not installed, or fails.
    """
    probe = secrets.token_bytes(64)
    stored = seal_bytes(sealing, probe)
    if not sealing.can_open:
        return False
    if b"".join(sealing.opened(iter((stored,)), "the probe")) != probe:
        raise WrongKeyError("what was sealed as a probe came back as something else", "Do not use these keys.")
    return True


def key_file(
    path: Path, hint: str = "Look at the path in the configuration or command, and at its permissions."
) -> bytes:
    """What a key file holds.

    Args:
        path: the file.
        hint: what to do when it cannot be read.

    Raises:
        WrongKeyError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_KEY_FILE + 1)
    except OSError as error:
        raise WrongKeyError(f"the key file {path} cannot be read: {error.strerror or error}", hint) from None
    if len(data) > _LARGEST_KEY_FILE:
        raise WrongKeyError(f"the key file {path} is larger than 1 MiB, which no key is", "Is this the right file?")
    return data


def open_to_all(files: Iterable[Path]) -> tuple[str, ...]:
    """A sentence for each file with a secret that everybody on the machine can read or write."""
    found = []
    for path in files:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # told when it is used
        if mode & (stat.S_IROTH | stat.S_IWOTH):
            found.append(f"{path} holds a secret and is open to everyone: `chmod 600 {path}`.")
    return tuple(found)
