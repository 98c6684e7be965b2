"""Loads Recoup and what it uses, then forks for each command that comes by its socket. Ends with who started it.

Started as `python -m preloaded.server N`, with its listening socket as descriptor N, and a pipe as stdin that nobody writes to.
"""

import array
import atexit
import contextlib
import functools
import gc
import importlib
import io
import logging
import marshal
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preloaded import children

_OTHERS = (
    "botocore.session",
    "dotenv",
    "httpx",
    "obstore.store",
    "pathspec",
    "pyfastcdc",
    "qdrant_client",
    "rich.progress",
)
_ENGINES = ("duckdb", "psycopg", "pyrage", "qdrant_edge", "sqlite3")
_LEFT_OUT = ("recoup.__main__", "recoup.demo", "recoup.testing")


def load() -> None:
    """Loads what commands need. None of it starts a thread: only this one is there in a fork."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as Recoup's own start does
    import recoup

    names = [found.name for found in pkgutil.walk_packages(recoup.__path__, "recoup.")]
    for name in (*(name for name in names if not name.startswith(_LEFT_OUT)), *_OTHERS, *_ENGINES):
        importlib.import_module(name)
    assert os.listdir("/proc/self/task") == [str(os.getpid())]
    # the module of children is loaded, as others need it, and then run
    warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
    gc.collect()
    gc.freeze()  # a fork would copy all that its own collections look at


Order = tuple[dict[str, Any], Sequence[int]]
"""What the client says of itself, and its descriptors."""


class Served:
    """A command that runs in a fork.

    Attributes:
        client: who waits for its end, and passes signals on.
        pid: its process.
    """

    def __init__(self, client: socket.socket, pid: int, *, child: bool) -> None:
        self.client, self.pid, self._child = client, pid, child
        self.ended = os.pidfd_open(pid)
        self._tell(pid)

    def _tell(self, number: int) -> None:
        with contextlib.suppress(OSError):
            self.client.sendall(number.to_bytes(4, "little", signed=True))

    def finish(self) -> None:
        """Tells how it ended."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._tell(status)
        self.close()

    def signalled(self) -> bool:
        """Passes signals on; False when there is nobody any more who could send one. A client that was killed takes its command
        along, and a child is not killed: it sees itself that nobody is there.
        """
        try:
            numbers = self.client.recv(16)
        except ConnectionError:  # killed before it read what we told it
            numbers = b""
        for number in numbers or (() if self._child else (signal.SIGKILL,)):
            os.kill(self.pid, number)
        return bool(numbers)

    def close(self) -> None:
        os.close(self.ended)
        self.client.close()


def received(client: socket.socket) -> Order:
    """An order as it was sent."""
    descriptors = array.array("i")
    data, extra, _, _ = client.recvmsg(4, socket.CMSG_SPACE(3 * descriptors.itemsize))
    for _level, _kind, told in extra:
        descriptors.frombytes(told)
    with client.makefile("rb") as rest:
        return marshal.loads(rest.read(int.from_bytes(data, "little"))), descriptors


def become(order: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Makes this process what a new one would be."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if "session" in order:
        os.setsid()
    os.chdir(order["cwd"])
    os.umask(order["umask"])
    for kind, limits in order["limits"].items():
        resource.setrlimit(kind, limits)
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    for number in order["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    _take_streams()
    # what modules have registered comes after what the command registers now, as in a new process
    atexit._clear()
    atexit.register(logging.shutdown)
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


def _take_streams() -> None:
    """Opens the three streams anew, for those that are there remember of what kind their descriptors were."""
    reading = io.BufferedReader(io.FileIO(0, "r", closefd=False))
    sys.stdin = io.TextIOWrapper(reading, sys.stdin.encoding, sys.stdin.errors)
    for name, number in (("stdout", 1), ("stderr", 2)):
        before = getattr(sys, name)
        writing = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        lines = number == 2 or os.isatty(number)
        stream = io.TextIOWrapper(writing, before.encoding, before.errors, newline="\n", line_buffering=lines)
        setattr(sys, name, stream)


def run(argv: list[str]) -> None:
    """Does what Python does with these arguments."""
    if argv[:2] == ["-P", "-m"]:
        sys.argv = argv[2:]
        del sys.path[0]
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
    elif argv[0] == "-m":
        sys.argv, sys.path[0] = argv[1:], os.getcwd()
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    elif argv[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *argv[2:]], ""
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(argv[1], "<string>", "exec"), main.__dict__)
    else:
        sys.argv, sys.path[0] = argv, os.path.dirname(os.path.abspath(argv[0]))
        runpy.run_path(argv[0], run_name="__main__")


def leave(argv: list[str]) -> None:
    """Runs it and ends, without Python's own unloading: it would copy most of what the server has loaded."""
    code: int | None = 0
    try:
        run(argv)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


class Server:
    """The process that forks.

    Args:
        listening: its socket.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(0, selectors.EVENT_READ)
        self._waiting.register(listening, selectors.EVENT_READ)
        self._served: set[Served] = set()

    def serve(self) -> Order | None:
        """Serves until stdin ends, and returns None; in each fork returns its order."""
        while True:
            for key, _ in self._waiting.select():
                if key.fd == 0:
                    return None
                if key.fileobj is self._listening:
                    if (order := self._fork()) is not None:
                        return order
                elif key.data not in self._served:  # it has ended meanwhile
                    continue
                elif key.fd == key.data.ended:
                    self._finish(key.data)
                elif not key.data.signalled():
                    self._waiting.unregister(key.fd)

    def _fork(self) -> Order | None:
        client, _address = self._listening.accept()
        try:
            order = received(client)
        except (ConnectionError, EOFError):  # it was killed before it had said all
            client.close()
            return None
        pid = os.fork()
        if not pid:
            client.close()
            self._leave()
            return order
        for descriptor in order[1]:
            os.close(descriptor)
        served = Served(client, pid, child="session" in order[0])
        self._served.add(served)
        self._waiting.register(served.ended, selectors.EVENT_READ, served)
        self._waiting.register(client, selectors.EVENT_READ, served)
        return None

    def _finish(self, served: Served) -> None:
        for held in (served.ended, served.client):
            with contextlib.suppress(KeyError):
                self._waiting.unregister(held)
        self._served.remove(served)
        served.finish()

    def _leave(self) -> None:
        """Closes in a fork what is the server's."""
        self._waiting.close()
        self._listening.close()
        for served in self._served:
            served.close()


def main() -> None:
    """Serves, and in each fork is the command."""
    load()
    from recoup.system import async_children, subprocesses

    with socket.socket(fileno=int(sys.argv[1])) as listening:
        place = Path(listening.getsockname())
        order = Server(listening).serve()
    if order is None:
        os._exit(0)  # Python's own unloading would look at all that is loaded
    else:
        become(*order)
        subprocesses._started = functools.partial(children.start, place, subprocesses._started)
        async_children._PYTHON = (str(place.with_name("python")), *subprocesses.OWN_MODULES)
        leave(order[0]["argv"])


if __name__ == "__main__":
    main()
