"""Children: programs, and our own functions run in a process of their own.

Engines (SQLite, DuckDB, Qdrant's local mode) are opened in children only. A damaged file can then abort a child and not us,
memory comes back, and, above all, nothing here opens and closes a database file inside an application that has it open:
closing *any* descriptor of a file drops the POSIX locks of the whole process on it, and a second writer gets in.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from recoup.errors import InterruptedRunError, RecoupError


class Endable(Protocol):
    """What has to end when the user wants to stop."""

    def kill(self) -> None:
        """Ends it at once."""
        ...


_LIVING: "weakref.WeakSet[subprocess.Popen[bytes]]" = weakref.WeakSet()
_STOPPED: "weakref.WeakSet[subprocess.Popen[bytes]]" = weakref.WeakSet()
_OTHERS: "weakref.WeakSet[Endable]" = weakref.WeakSet()

_LIMIT = 64 * 1024 * 1024  # bytes of one message: the facts of a store with very many tables stay far below

OWN_MODULES = ("-P",)
"""Keeps Python from taking modules out of the present folder: a `calendar.py` there is not ours, nor the standard library's."""

_TIDYING = 10.0  # seconds that a program gets to tidy up when nobody reads on
_HURRY = 1.0  # seconds that a child gets when the user wants to stop


class ChildFailedError(RecoupError):
    """A child ended without an answer, or answered with an error.

    Attributes:
        kind: class name of the exception in the child; empty when it died.
        code: what it returned when it died; negative is the number of the signal that ended it.
    """

    def __init__(self, message: str, kind: str = "", hint: str = "", code: int = 0) -> None:
        super().__init__(message, hint)
        self.kind, self.code = kind, code


def _started(target: str) -> "subprocess.Popen[bytes]":
    """The process of a child, with pipes to it."""
    return subprocess.Popen(
        [sys.executable, *OWN_MODULES, "-m", "recoup.system.child", target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches us alone; we end the child in an orderly way
    )


class Child:
    """A function of ours in a process of its own, that answers questions until it is closed.

    The function is a generator: what it yields is the answer, what `yield` returns is the next question. The first answer
    comes after the start, without a question.

    Args:
        function: a module-level generator function; called with `arguments`.
        arguments: JSON values.
        patience: seconds that it may take to leave its `finally` blocks; with it the child is one that has to do something
            at the end in any case, and is never killed.
    """

    def __init__(self, function: Callable[..., Any], *arguments: object, patience: float | None = None) -> None:
        target = f"{function.__module__}:{function.__qualname__}"
        self._name = function.__qualname__.strip("_").replace("_", " ")
        self._process = _started(target)
        self._patience = patience
        if patience is None:
            _LIVING.add(self._process)
        self._send(list(arguments))

    def _send(self, message: object) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise ChildFailedError(f"{self._name}: no pipe to the child")
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()

    def answer(self) -> Any:
        """Waits for the next answer.

        Raises:
            ChildFailedError: the child raised, or died.
            InterruptedRunError: it was ended because the user wants to stop.
        """
        stdout = self._process.stdout
        line = stdout.readline(_LIMIT) if stdout else b""
        if not line:
            code = self._process.wait()
            if self._process in _STOPPED:
                raise InterruptedRunError("stopped")
            stderr = self._process.stderr.read() if self._process.stderr else b""
            last = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise ChildFailedError(f"{self._name} ended without an answer (exit {code}): {last[0]}", code=code)
        message = json.loads(line)
        if "error" in message:
            raise ChildFailedError(message["error"], message["kind"], message["hint"])
        return message["answer"]

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it at once; who waits for an answer gets an error."""
        if self._process.poll() is None:
            self._process.kill()

    def ask(self, question: object) -> Any:
        """Puts a question and waits for its answer."""
        self._send(question)
        return self.answer()

    def release(self) -> None:
        """Tells the child that nothing more comes, and waits until it has left its `finally` blocks, however long that takes."""
        with contextlib.suppress(BrokenPipeError, OSError):
            if self._process.stdin:
                self._process.stdin.close()
        self._process.wait()

    def close(self, wait: float = 5.0) -> None:
        """Ends the child; it leaves its `finally` blocks within `wait` seconds, else it is killed (see `patience`)."""
        process = self._process
        with contextlib.suppress(BrokenPipeError, OSError):
            if process.stdin:
                process.stdin.close()
        try:
            process.wait(timeout=wait if self._patience is None else self._patience)
        except subprocess.TimeoutExpired:
            if self._patience is None:
                process.kill()
                process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def end_all() -> None:
    """Kills every child and what was handed to `end_with_us`: the user wants to stop, and whoever waits gets an error at once."""
    for process in list(_LIVING):
        if process.poll() is None:
            _STOPPED.add(process)
            process.kill()
    for other in list(_OTHERS):
        other.kill()


def end_with_us(other: Endable) -> None:
    """Has `other` killed by `end_all` too (connections to a server, for example), as long as it is in use."""
    _OTHERS.add(other)


@contextlib.contextmanager
def child(function: Callable[..., Any], *arguments: object, patience: float | None = None) -> Iterator[Child]:
    """A `Child` that is closed on leaving."""
    process = Child(function, *arguments, patience=patience)
    try:
        yield process
    except KeyboardInterrupt:
        process.close(_HURRY)
        raise
    finally:
        process.close()


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Runs a plain module-level function in a child and returns its JSON answer.

    Raises:
        ChildFailedError: it raised, or the child died.
    """
    with child(function, *arguments) as process:
        return process.answer()


class Beside:
    """A program that runs beside us in a session of its own: Ctrl-C in our terminal does not reach it, and it outlives us when we
    are killed. It reads nothing, and writes where we do unless it is told otherwise.

    Args:
        command: argument list.
        descriptors: those that it inherits, by the same numbers.
        stdout: descriptor of a file that it writes to instead of ours.
        stderr: likewise.
        environ: its environment instead of ours.

    Raises:
        ChildFailedError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        descriptors: Sequence[int] = (),
        *,
        stdout: int | None = None,
        stderr: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        with _cannot_be_started(command):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environ,
                pass_fds=descriptors,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def poll(self) -> int | None:
        """What it returned, negative the number of the signal that ended it; None while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Asks it to end."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once, with all that is in its session."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Lets it run on by itself: when it ends, a thread takes its exit code, so that nobody has to ask for it."""
        threading.Thread(target=self._process.wait, name=f"wait for process {self.pid}", daemon=True).start()


@contextlib.contextmanager
def _cannot_be_started(command: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ChildFailedError(f"{command[0]} cannot be started ({error.strerror}).") from None


def code_of(command: Sequence[str], descriptors: Sequence[int] = ()) -> int:
    """Runs a program to its end, in our own session, reading and writing where we do.

    Args:
        command: argument list.
        descriptors: those that it inherits, by the same numbers.

    Returns:
        Its exit code; negative is the number of the signal that ended it.

    Raises:
        ChildFailedError: it cannot be started.
    """
    with _cannot_be_started(command):
        process = subprocess.Popen(command, pass_fds=descriptors)
    with process:
        return process.wait()


def reap(own: Collection[int]) -> None:
    """Takes the exit codes of children that nobody waits for: as the first process of a container we inherit what others leave.

    Args:
        own: ids of children whose codes somebody waits for.
    """
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitid(os.P_ALL, 0, flags)) is not None and found.si_pid not in own:
            os.waitpid(found.si_pid, 0)


def output_of(command: Sequence[str], timeout: float = 30.0) -> str:
    """What a program prints on stdout; empty when it is not there or fails.

    Args:
        command: argument list, never a shell string.
        timeout: seconds.
    """
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")


def answer_of(command: Sequence[str], folder: Path, timeout: float) -> str:
    """What a program prints on stdout, where it has to succeed. What it says on stderr is dropped: it may hold a secret.

    Args:
        command: argument list, never a shell string.
        folder: where it runs.
        timeout: seconds.

    Raises:
        ChildFailedError: it is not there, fails, takes too long, or its answer is not UTF-8.
    """
    name = command[0]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,  # the exit code is told below, without the program's own words
        )
    except subprocess.TimeoutExpired:
        raise ChildFailedError(f"the program {name} did not end within {timeout:g} seconds.") from None
    except OSError as error:
        raise ChildFailedError(f"the program {name} cannot be started ({error.strerror}).") from None
    except ValueError:
        raise ChildFailedError("the program's name or arguments hold a NUL character.") from None
    if done.returncode:
        raise ChildFailedError(f"the program {name} failed (exit {done.returncode}).")
    try:
        return done.stdout.decode()
    except UnicodeDecodeError:
        raise ChildFailedError(f"the program {name} answered with something else than UTF-8 text.") from None


class Printing:
    """A program whose lines are read as it prints them, in a session of its own. What it says on stderr is dropped: it may hold a
    secret.

    Args:
        command: argument list.
        patience: seconds from now on after which it is ended.

    Attributes:
        ran_out: whether its time was over before it ended.

    Raises:
        ChildFailedError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], patience: float) -> None:
        self.ran_out = False
        with _cannot_be_started(command):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._timer = threading.Timer(patience, self._run_out)
        self._timer.daemon = True
        self._timer.start()

    def lines(self) -> Iterator[bytes]:
        """Its lines, without their ends, as they come; a last one without an end is left out: it may be half.

        Raises:
            ChildFailedError: a line is longer than 64 MiB.
        """
        output = self._process.stdout
        while output is not None and (line := output.readline(_LIMIT)):
            if not line.endswith(b"\n"):
                if len(line) == _LIMIT:
                    raise ChildFailedError("the program printed a line that is too long to be read.")
                return
            yield line[:-1]

    def code(self) -> int:
        """Waits for its end; what it returned, negative the number of the signal that ended it."""
        return self._process.wait()

    def close(self) -> None:
        """Ends it, if it runs: by SIGTERM, so that it tidies up, and a few seconds later by SIGKILL."""
        self._timer.cancel()
        self._end()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _run_out(self) -> None:
        self.ran_out = self._process.poll() is None
        self._end()

    def _end(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=_TIDYING)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
