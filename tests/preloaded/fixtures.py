"""The programs `python` and `recoup` that start quickly."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from preloaded import client


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Path]:
    """A folder with the programs `python` and `recoup`, for the begin of PATH and of argument lists: they do what those of this
    environment do, and have loaded Recoup already. Where signals to their process are what a test is about, it takes the others.
    """
    here = Path(sys.executable).parent
    if sys.platform != "linux":  # the server waits by pidfd_open(2), and forks what macOS forbids to fork
        yield here
        return
    folder = Path(tempfile.mkdtemp(prefix="loaded-"))
    server = _started(folder / "socket")
    try:
        write_programs(folder)
        yield folder
    finally:
        server.communicate()
        shutil.rmtree(folder)
    assert server.returncode == 0  # else commands have started slowly


def _started(place: Path) -> "subprocess.Popen[bytes]":
    """The server. Commands that come while it loads wait; it alone has the socket, so that they do not wait when it is gone."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen(16)
        return subprocess.Popen(
            [sys.executable, "-m", "preloaded.server", str(listening.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[1],
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )


def write_programs(folder: Path) -> None:
    """Writes both, beside the server's socket."""
    settings = client.of_python(dict(os.environ))
    begin, end = f"#!{sys.executable} -IS\n", f"\n\nmain({str(folder / 'socket')!r}, {settings!r})\n"
    for name in ("python", "recoup"):
        (folder / name).write_text(begin + Path(client.__file__).read_text() + end)
        (folder / name).chmod(0o700)
