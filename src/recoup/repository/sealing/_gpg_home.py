"""A home folder for gpg that is ours alone, and the agent in it, which ends with us."""

import contextlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

from recoup.errors import NoOpenerError, RecoupError, WrongKeyError
from recoup.system.programs import Program, ProgramFailedError
from recoup.system.subprocesses import output_of
from recoup.system.tempdirs import temporary_folder

_LONGEST = 28  # bytes of a parent's path: that of a socket has at most 107 (unix(7); macOS 104), ours take the rest
_ALWAYS = ("--batch", "--no-tty", "--no-options", "--no-autostart", "--no-symkey-cache", "--pinentry-mode", "loopback")
_ENVIRONMENT = {"LC_ALL": "C", "GPG_TTY": None, "GPG_AGENT_INFO": None, "DISPLAY": None}
_MISSING = "Install it: `apt install gnupg`, `dnf install gnupg2`, `apk add gnupg`, `brew install gnupg`."


class Home:
    """A folder, mode 0700, in memory where there is such a place; removed with this object, at the latest at our end."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.folder = self._stack.enter_context(temporary_folder("gpg", _parent()))
        self._agent: Program | None = None
        self.end = weakref.finalize(self, self._stack.close)

    def run(self, arguments: Sequence[str], *, passphrase: bytes | None = None, feed: bool = False) -> Program:
        """Starts gpg in it.

        Args:
            arguments: options and command.
            passphrase: given over a descriptor, never by arguments.
            feed: whether we write to it.

        Raises:
            NoOpenerError: gpg is not installed.
        """
        command = ["gpg", *_ALWAYS, "--homedir", str(self.folder)]
        if passphrase is None:
            return _started([*command, *arguments], feed=feed)
        reading = _pipe_with(passphrase)
        try:
            given = ["--passphrase-fd", str(reading)]
            return _started([*command, *given, *arguments], feed=feed, descriptors=(reading,))
        finally:
            os.close(reading)

    def import_secret(self, data: bytes, origin: str) -> None:
        """Takes a secret key in, and starts the agent that gpg needs for it.

        Raises:
            WrongKeyError: it is none.
        """
        self._start_agent()
        with self.run(["--import"], feed=True) as program:
            try:
                with contextlib.suppress(BrokenPipeError):
                    program.write(data)
                program.end_input()
                while program.read(4096):
                    pass
                program.finish()
            except ProgramFailedError as error:
                raise WrongKeyError(
                    f"{origin} cannot be used as a key: {last_words(error.said) or error.message}", _EXPORTED
                ) from None
            if "secret keys read" not in program.said:
                raise WrongKeyError(f"{origin} holds no secret key", _EXPORTED)

    def _start_agent(self) -> None:
        """Starts the agent above a program that lives as long as our pipe to it; so it ends with us even after a kill."""
        options = ["--homedir", str(self.folder), "--no-options", "--allow-loopback-pinentry"]
        agent = _started(["gpg-agent", *options, "--daemon", "cat"], feed=True)
        self._stack.callback(agent.close)
        self._stack.callback(_end_agent, self.folder)
        agent.write(b"\n")
        agent.flush()
        if not agent.read(1):  # what we wrote comes back when the agent listens
            raise RecoupError(f"the agent of gpg does not start: {agent.said.strip()}", "Run `gpg-agent` to see why.")


_EXPORTED = "It has to be what `gpg --export-secret-keys KEY` writes."


def _end_agent(folder: Path) -> None:
    """Without a thread: at the interpreter's end none can be started."""
    for task in (["--kill", "gpg-agent"], ["--remove-socketdir"]):
        output_of(["gpgconf", "--homedir", str(folder), *task])


def _parent() -> Path:
    """Where homes are made: in memory where that exists; its path has to be short, for the sockets of the agent."""
    candidates = [Path("/dev/shm"), Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the folder itself is private
    fitting = (path for path in candidates if len(os.fsencode(path)) <= _LONGEST)
    return next((path for path in fitting if path.is_dir() and os.access(path, os.W_OK | os.X_OK)), candidates[1])


def _pipe_with(passphrase: bytes) -> int:
    """The reading end of a pipe that holds the passphrase, which is far smaller than a pipe."""
    reading, writing = os.pipe()
    try:
        os.write(writing, passphrase + b"\n")
    finally:
        os.close(writing)
    return reading


def _started(command: Sequence[str], *, feed: bool, descriptors: Sequence[int] = ()) -> Program:
    try:
        return Program(command, environment=_ENVIRONMENT, feed=feed, descriptors=descriptors)
    except ProgramFailedError as error:
        if error.code == 127:
            raise NoOpenerError(f"{command[0]} is not installed, and `encrypt: gpg:` needs it", _MISSING) from None
        raise


def fingerprint(home: Home, file: Path) -> str:
    """Fingerprint of the public key in a file.

    Raises:
        WrongKeyError: there is none.
    """
    try:
        with home.run(["--show-keys", "--with-colons", str(file)]) as program:
            listing = b"".join(iter(lambda: program.read(65536), b"")).decode(errors="replace")
            program.finish()
    except ProgramFailedError as error:
        raise WrongKeyError(
            f"{file} cannot be used as a public key: {last_words(error.said) or error.message}", _PUBLIC
        ) from None
    found = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]
    if not found:
        raise WrongKeyError(f"{file} holds no public key", _PUBLIC)
    return found[0]


_PUBLIC = "It has to be what `gpg --export KEY` writes."


def last_words(said: str) -> str:
    """The last line for people that gpg said, without its name."""
    lines = [line for line in said.strip().splitlines() if not line.startswith("[GNUPG:]")]
    return lines[-1].removeprefix("gpg: ") if lines else ""
