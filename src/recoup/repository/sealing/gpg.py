"""Sealing by the program gpg (OpenPGP), which `gpg --decrypt` opens: with a passphrase, or to public keys."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from recoup.errors import RecoupError, StorageError, WrongKeyError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.repository.sealing import _gpg_home
from recoup.repository.sealing._base import NO_IDENTITY, Method, Seal, key_file
from recoup.repository.sealing._gpg_home import Home
from recoup.repository.sealing._pipe import Taken
from recoup.system.programs import Program, ProgramFailedError

_BLOCK = 1024 * 1024

_LONGEST = 255  # bytes of a passphrase that every gpg takes

STRETCHED = 65_011_712
"""Bytes that are hashed to make a key of a passphrase: the most that OpenPGP has (RFC 4880, 3.7.1.3), about 0.2 s."""


class GpgSealing(Struct):
    """Sealing by gpg.

    Attributes:
        passphrase_file: without recipients: the passphrase is its first line. With them: that of the secret key.
        recipients_files: files of public keys, as `gpg --export` writes them.
        identity_file: file of the secret key, as `gpg --export-secret-keys` writes it; None on a host that only seals.
        base: folder that relative paths are relative to.
        stretched: bytes that are hashed to make a key of the passphrase.
    """

    passphrase_file: Path | None = None
    recipients_files: tuple[Path, ...] = ()
    identity_file: Path | None = None
    base: Path = Path()
    stretched: int = STRETCHED

    @property
    def method(self) -> Method:
        """The format."""
        return "gpg"

    @property
    def can_open(self) -> bool:
        """Whether a passphrase or a secret key is configured."""
        return self.identity_file is not None if self.recipients_files else self.passphrase_file is not None

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files of passphrase and secret key."""
        return tuple(self.base / path for path in (self.passphrase_file, self.identity_file) if path is not None)

    @cached_property
    def recipients(self) -> tuple[str, ...]:
        """Fingerprints of the public keys."""
        return tuple(_gpg_home.fingerprint(self._home, self.base / path) for path in self.recipients_files)

    @cached_property
    def _passphrase(self) -> bytes | None:
        """The first line of the passphrase's file, as gpg's own option --passphrase-file takes it."""
        if self.passphrase_file is None:
            return None
        path = self.base / self.passphrase_file
        line = key_file(path).split(b"\n")[0].rstrip(b"\r")
        if not line:
            raise WrongKeyError(f"the passphrase file {path} is empty", "Its first line has to be the passphrase.")
        if len(line) > _LONGEST:
            raise WrongKeyError(f"the first line of {path} is longer than {_LONGEST} bytes", "Is this the right file?")
        return line

    @cached_property
    def _home(self) -> Home:
        return Home()

    @cached_property
    def _opening_home(self) -> Home:
        """A home that has the secret key, and an agent that ends with us."""
        if self.identity_file is None:
            raise WrongKeyError("there is no secret key of gpg on this host to open it with", NO_IDENTITY)
        home = Home()
        home.import_secret(key_file(self.base / self.identity_file), str(self.base / self.identity_file))
        return home

    def seal(self, take: Callable[[bytes], None]) -> Seal:
        """Begins to seal a stream."""
        if not self.recipients_files:
            passphrase = self._passphrase
            if passphrase is None:
                raise WrongKeyError("neither a passphrase nor a public key is configured for gpg", NO_IDENTITY)
            return _GpgSeal(self._home.run(self._symmetric, passphrase=passphrase, feed=True), take)
        if not self.recipients:  # each of them is a key, or an error names its file
            raise WrongKeyError("no public key is configured for gpg", NO_IDENTITY)
        return _GpgSeal(self._home.run(self._public, feed=True), take)

    @property
    def _symmetric(self) -> list[str]:
        stretching = ["--s2k-mode", "3", "--s2k-digest-algo", "SHA512", "--s2k-count", str(self.stretched)]
        return ["--symmetric", "--cipher-algo", "AES256", "--compress-algo", "none", *stretching]

    @property
    def _public(self) -> list[str]:
        files = [word for path in self.recipients_files for word in ("--recipient-file", str(self.base / path))]
        return ["--encrypt", "--trust-model", "always", "--compress-algo", "none", *files]

    def opened(self, chunks: Iterator[bytes], item: str) -> Iterator[bytes]:
        """The plain bytes of a sealed stream."""
        home = self._opening_home if self.recipients_files else self._home
        passphrase = self._passphrase
        if passphrase is None and not self.recipients_files:
            raise WrongKeyError("there is no passphrase on this host to open it with", NO_IDENTITY)
        program = home.run(["--status-fd", "2", "--decrypt"], passphrase=passphrase, feed=True)
        opening = _Opening(program, Taken(chunks))
        try:
            yield from opening
            opening.judge(item)
        finally:
            opening.close()


def _kill(program: Program) -> None:
    """At once: closing its input could wait for it, while it waits for us."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(program.pid, signal.SIGKILL)


class _GpgSeal:
    """The program takes plain bytes; what it sealed is read in a thread and handed on."""

    def __init__(self, program: Program, take: Callable[[bytes], None]) -> None:
        self._program, self._take = program, take
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="seal", daemon=True)
        self._thread.start()

    def write(self, data: bytes | memoryview, /) -> None:
        """Takes plain bytes."""
        try:
            self._program.write(data)
        except BrokenPipeError:
            self.finish()
            raise StorageError("gpg ended before all was sealed") from None

    def finish(self) -> None:
        """Ends the stream."""
        self._program.end_input()
        self._thread.join()
        try:
            self._program.finish()
        except ProgramFailedError as error:
            if self._error is None:
                self._error = StorageError(f"what was to be stored could not be sealed: {error.message}", error.hint)
        self._close()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Ends it without a result."""
        if not self._ended:
            _kill(self._program)
            self._thread.join()
            self._close()

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            self._program.close()

    def _work(self) -> None:
        try:
            while data := self._program.read(_BLOCK):
                self._take(data)
        except BaseException as error:  # noqa: BLE001 - told to whoever writes
            self._error = error
            _kill(self._program)


class _Opening:
    """A thread feeds the program; what it opened is read from it."""

    def __init__(self, program: Program, stored: Taken) -> None:
        self._program, self._stored = program, stored
        self._fed = False
        self._thread = threading.Thread(target=self._feed, name="open", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while data := self._program.read(_BLOCK):
            yield data

    def judge(self, item: str) -> None:
        """Tells what went wrong: damage of what is stored before all else."""
        self._thread.join()
        self._stored.drain()
        if self._stored.error is not None:
            raise self._stored.error
        try:
            self._program.finish()
        except ProgramFailedError:
            self._fed = False
        said = self._program.said
        if not self._fed or _OKAY not in said:  # what is cut short in its first packet lets it end with exit code 0
            words = _gpg_home.last_words(said) or "it said nothing"
            raise WrongKeyError(f"{shown(item)} cannot be opened with the key that is configured: {words}", _HINT)

    def close(self) -> None:
        _kill(self._program)
        self._thread.join()
        self._program.close()
        self._stored.close()

    def _feed(self) -> None:
        try:
            while (data := self._stored.next()) is not None:
                self._program.write(data)
            self._program.end_input()
            self._fed = True
        except (RecoupError, OSError):
            self._program.end_input()  # its own end, or damage that is kept for the judgement


_OKAY = "[GNUPG:] DECRYPTION_OKAY"  # GnuPG, doc/DETAILS: only after the integrity of all of it was checked

_HINT = "Look which key belongs to it: `recoup key check`, and the fingerprints that the manifest names."
