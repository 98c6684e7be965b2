"""A small service for tests: `start`, `stop`, `serve`; its folder has `port`, `pid`, and `where`, which names its data directory.

It keeps `journal` there open and refuses to run on a directory with `poison` in it. Files in its folder change what it does:
`refuse-start` and `refuse-stop` make that command fail, `deaf` keeps it running, `back` starts it again after each stop, and
`kill-at` names a step (`stop-begin`, `stop-end`, `start-begin`, `start-end`) at which the process in `victim` is killed, once.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_LIFE = 240  # seconds: a test that was killed leaves nobody behind for ever


def main(verb: str, root: Path) -> int:
    """One command."""
    with (root / "calls").open("a") as calls:
        calls.write(f"{verb}\n")
    if verb == "serve":
        return serve(root)
    strike(root, f"{verb}-begin")
    sys.stdout.write(f"{verb} was asked for\n")
    if (root / f"refuse-{verb}").exists():
        sys.stderr.write("bad configuration\n")
        return 7
    stop(root) if verb == "stop" else start(root)
    strike(root, f"{verb}-end")
    return 0


def strike(root: Path, step: str) -> None:
    """Kills the victim when its step has come."""
    wanted = root / "kill-at"
    if wanted.exists() and wanted.read_text() == step:
        wanted.unlink()
        os.kill(int((root / "victim").read_text()), signal.SIGKILL)


def start(root: Path) -> None:
    """Begins to serve, in a process of its own that keeps our outputs open, as services started by hand do."""
    if not alive(root):
        subprocess.Popen([sys.executable, "-I", "-S", __file__, "serve", str(root)], start_new_session=True)


def stop(root: Path) -> None:
    """Asks it to end, and does not wait."""
    if (root / "deaf").exists():
        return
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((root / "pid").read_text()), signal.SIGTERM)
    if (root / "back").exists():
        subprocess.Popen([sys.executable, "-I", "-S", __file__, "return", str(root)], start_new_session=True)


def alive(root: Path) -> bool:
    """Whether it takes connections."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", int((root / "port").read_text()))) == 0


def serve(root: Path) -> int:
    """Answers every connection with a page, until it is asked to end."""
    if (data_of(root) / "poison").exists():
        sys.stderr.write("the directory is not usable\n")
        return 3
    ending: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: ending.append(number))
    with socket.socket() as server, (data_of(root) / "journal").open("w") as journal:
        journal.write("begun\n")
        journal.flush()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int((root / "port").read_text())))
        server.listen()
        server.settimeout(0.05)
        (root / "pid.new").write_text(str(os.getpid()))
        (root / "pid.new").replace(root / "pid")
        until = time.monotonic() + _LIFE
        while not ending and (root / "port").exists() and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                answer(server)
        journal.seek(0)
        journal.write("ended\n")  # what has to be there when it is really stopped
    (root / "pid").unlink(missing_ok=True)
    return 0


def answer(server: socket.socket) -> None:
    """One connection."""
    client, _ = server.accept()
    with client, contextlib.suppress(OSError):
        client.settimeout(0.5)
        if client.recv(1000):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def data_of(root: Path) -> Path:
    """Its data directory."""
    return Path((root / "where").read_text())


def come_back(root: Path) -> int:
    """Starts it again when it has ended, as a supervisor does."""
    while alive(root) or (root / "pid").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    start(root)
    return 0


if __name__ == "__main__":
    command, folder = sys.argv[1], Path(sys.argv[2])
    sys.exit(come_back(folder) if command == "return" else main(command, folder))
