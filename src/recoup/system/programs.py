"""Programs of the system that run beside us, read from and written to as streams: `pg_dump`, `gpg`, a command of the user's.

Arguments are lists, never a shell string. Secrets go by the environment, a private file or an inherited descriptor, never by
arguments, which everybody on the machine can read. What a program says on stderr is kept, bounded, for the error message.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, Self

from recoup.errors import RecoupError
from recoup.model.structs import Struct
from recoup.system.subprocesses import end_with_us

_SAID = 64 * 1024  # bytes of stderr that are kept: the last ones
_GRACE = 5.0  # seconds between asking a program to end and killing it


class ProgramFailedError(RecoupError):
    """A program could not be started, or ended with an exit code other than 0.

    Attributes:
        code: its exit code; negative is the number of the signal that ended it; 127 where it could not be started.
        said: the end of what it said on stderr. It may hold secrets: mask it before it is shown.
    """

    def __init__(self, message: str, code: int, said: str = "", hint: str = "") -> None:
        super().__init__(message, hint)
        self.code, self.said = code, said


class Program:
    """One running program.

    Args:
        command: argument list.
        environment: variables to set beside ours; None as a value takes one away.
        folder: where it runs; our own folder by default.
        feed: whether we write to its stdin (`write`, `end_input`); else it reads nothing.
        descriptors: file descriptors that it inherits under the same numbers.

    Raises:
        ProgramFailedError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str | None] | None = None,
        folder: Path | None = None,
        feed: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = Path(command[0]).name
        self._said = b""
        try:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=_environment(environment or {}),
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=tuple(descriptors),
                start_new_session=True,  # Ctrl-C reaches us alone; we end the program in an orderly way
            )
        except OSError as error:
            sentence = f"the program {self.name} cannot be started: {error.strerror}"
            raise ProgramFailedError(sentence, 127, hint="See whether it is installed and may be run.") from None
        except ValueError:
            raise ProgramFailedError(f"an argument of {self.name} holds a NUL character", 127) from None
        end_with_us(self._process)
        self._listener = threading.Thread(target=self._listen, name=f"stderr of {self.name}", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def said(self) -> str:
        """The end of what it has said on stderr so far. It may hold secrets."""
        return self._said.decode(errors="replace")

    def read(self, size: int, /) -> bytes:
        """The next at most `size` bytes of its stdout; empty at the end, which says nothing about its exit code."""
        return _reader(self._process.stdout).read1(size)

    def write(self, data: bytes | memoryview, /) -> None:
        """Writes to its stdin. Somebody has to read its stdout meanwhile, or both wait for ever.

        Raises:
            BrokenPipeError: it no longer reads; `finish` tells why.
        """
        if self._process.stdin is None:
            raise BrokenPipeError(f"{self.name} reads nothing")
        self._process.stdin.write(data)

    def flush(self) -> None:
        """Hands on to its stdin what was written and still waits here."""
        if self._process.stdin:
            self._process.stdin.flush()

    def end_input(self) -> None:
        """Tells it that nothing more comes."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def finish(self) -> None:
        """Waits for its end; its stdout has to be read to the end before.

        Raises:
            ProgramFailedError: its exit code is not 0.
        """
        self.end_input()
        code = self._process.wait()
        self._listener.join()
        if code:
            how = f"exit {code}" if code > 0 else f"signal {-code}"
            last = self.said.strip().splitlines()[-1:] or ["it said nothing"]
            raise ProgramFailedError(f"{self.name} failed ({how}): {last[0]}", code, self.said)

    def kill(self) -> None:
        """Ends it at once; who writes to it gets a `BrokenPipeError`."""
        if self._process.poll() is None:
            self._process.kill()

    def close(self) -> None:
        """Ends it if it still runs: asks first, kills it after five seconds."""
        process = self._process
        with contextlib.suppress(BrokenPipeError, OSError):
            if process.stdin:
                process.stdin.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._listener.join()
        if process.stdout:
            process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        stderr = _reader(self._process.stderr)
        with stderr, contextlib.suppress(ValueError, OSError):
            while data := stderr.read1(4096):
                self._said = (self._said + data)[-_SAID:]


def _reader(pipe: IO[bytes] | None) -> BufferedReader:
    if not isinstance(pipe, BufferedReader):
        raise TypeError("not a pipe that is read from")
    return pipe


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    merged: dict[str, str | None] = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def output(
    command: Sequence[str],
    *,
    environment: Mapping[str, str | None] | None = None,
    folder: Path | None = None,
    limit: int = 16 * 1024 * 1024,
) -> bytes:
    """What a program prints on stdout.

    Args:
        command: argument list.
        environment: variables to set beside ours; None takes one away.
        folder: where it runs.
        limit: bytes of output that are still reasonable.

    Raises:
        ProgramFailedError: it cannot be started, fails, or prints more than `limit`.
    """
    with Program(command, environment=environment, folder=folder) as program:
        found = b"".join(_up_to(program, limit))
        program.finish()
        return found


def _up_to(program: Program, limit: int) -> Iterator[bytes]:
    taken = 0
    while data := program.read(1 << 20):
        taken += len(data)
        if taken > limit:
            raise ProgramFailedError(f"{program.name} printed more than {limit:,} bytes", 0)
        yield data


class Ended(Struct):
    """How a program ended.

    Attributes:
        code: its exit code; negative is the number of the signal that ended it.
        said: the end of what it said on stdout and stderr. It may hold secrets.
    """

    code: int
    said: str


def ended(command: Sequence[str], *, folder: Path | None = None, timeout: float) -> Ended:
    """Runs a program that may leave others running behind it, as the start of a service does: only its own end is waited for.

    Args:
        command: argument list.
        folder: where it runs; our own folder by default.
        timeout: seconds; then it is killed with all that it started in its own session.

    Raises:
        ProgramFailedError: it cannot be started, or did not end in time. Any exit code is an answer.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,  # a file: who stays behind and holds it open keeps nobody waiting, as with a pipe
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            sentence = f"the program {name} cannot be started: {error.strerror}"
            raise ProgramFailedError(sentence, 127, hint="See whether it is installed and may be run.") from None
        except ValueError:
            raise ProgramFailedError(f"an argument of {name} holds a NUL character", 127) from None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            sentence = f"the program {name} did not end within {timeout:g} seconds"
            raise ProgramFailedError(sentence, -signal.SIGKILL, _end_of(said)) from None
        return Ended(code, _end_of(said))


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _SAID))
    return file.read(_SAID).decode(errors="replace").strip()
