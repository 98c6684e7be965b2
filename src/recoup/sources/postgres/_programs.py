"""The programs that PostgreSQL brings: where they are, which major versions there are, and running them.

A `pg_dump` reads servers of its own major version and of older ones; what it writes is read by a `pg_restore` that is not older.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from recoup.errors import RefusedError, SourceError
from recoup.model.secrets import Masker
from recoup.sources.postgres._connection import Address
from recoup.system.programs import Program, ProgramFailedError, output

_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # the project's packages for Red Hat and its relatives
    "/usr/lib/postgresql*/bin",  # openSUSE, Alpine's older layout
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/opt/libpq/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
)
_VERSION = re.compile(rb"\(PostgreSQL\) (\d+)(?:\.(\d+)|\w*)")
_LINES = 3  # of what a program said, shown to the person


@dataclass(frozen=True, order=True)
class Suite:
    """The programs of one folder, all of one version.

    Attributes:
        major: e.g. 18.
        minor: e.g. 1; 0 for one that is not released.
        folder: where they are.
    """

    major: int
    minor: int
    folder: Path

    @property
    def version(self) -> str:
        """As people write it."""
        return f"{self.major}.{self.minor}"

    def program(self, name: str) -> str:
        """The path of one of them, e.g. `pg_dump`."""
        return str(self.folder / name)


def suites(needed: str, folder: Path | None = None) -> tuple[Suite, ...]:
    """Where a program is installed: oldest version first, and of one version the one on PATH first.

    Args:
        needed: its name, e.g. `pg_dump`.
        folder: the only place to look in, where the settings say one.
    """
    places = [folder] if folder is not None else [*_on_path(), *_usual()]
    found: dict[int, Suite] = {}
    for place in places:
        if (version := _version(place / needed)) and version[0] not in found:
            found[version[0]] = Suite(*version, place)
    return tuple(found[major] for major in sorted(found))


def _on_path() -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry and Path(entry).is_absolute():
            yield Path(entry)


def _usual() -> Iterator[Path]:
    for pattern in _FOLDERS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))


def _version(program: Path) -> tuple[int, int] | None:
    """The version of a program; None for what is none, or is only a script that chooses one by rules of its own (Debian)."""
    try:
        status = program.stat()
    except OSError:
        return None
    if program.resolve().name != program.name:
        return None
    return _asked(str(program), status.st_mtime_ns)


@lru_cache(maxsize=256)
def _asked(program: str, _changed: int) -> tuple[int, int] | None:
    try:
        found = _VERSION.search(output([program, "--version"], environment={"LC_ALL": "C"}))
    except ProgramFailedError:
        return None
    return (int(found[1]), int(found[2] or 0)) if found else None


def has(suite: Suite, name: str) -> bool:
    """Whether a folder has another one of the programs, too."""
    return _version(suite.folder / name) is not None


def for_server(major: int, folder: Path | None = None, needed: str = "pg_dump") -> Suite:
    """The programs to use with a server: of its own major version, else of the next newer one.

    Args:
        major: the server's.
        folder: the only place to look in, where the settings say one.
        needed: the program that has to be there.

    Raises:
        RefusedError: there are only older ones.
        SourceError: there is none.
    """
    found = suites(needed, folder)
    for suite in found:
        if suite.major >= major:
            return suite
    if not found:
        where = f"in {folder}" if folder else "on this machine, neither on PATH nor where packages put it"
        raise SourceError(f"there is no {needed} {where}", how_to_install(major))
    newest = found[-1]
    raise RefusedError(
        f"the newest {needed} here is of version {newest.version} ({newest.folder}); "
        f"a server of version {major} needs one of version {major} or newer",
        how_to_install(major),
    )


def newest(needed: str = "pg_restore", folder: Path | None = None) -> Suite | None:
    """The newest one that there is; None where there is none."""
    return max(suites(needed, folder), default=None)


def how_to_install(major: int) -> str:
    """Names the packages that have the programs."""
    return (
        f"Install the package postgresql-client-{major} (Debian, Ubuntu; from apt.postgresql.org where the system's is "
        f"older), postgresql{major} (Red Hat, from yum.postgresql.org), postgresql{major}-client (Alpine), or "
        f"`brew install postgresql@{major}`; or name their folder in the setting `programs`."
    )


@contextlib.contextmanager
def running(
    suite: Suite, name: str, arguments: Sequence[str], address: Address | None = None, *, feed: bool = False
) -> Iterator[Program]:
    """One of the programs, ended on leaving. The address goes to it as `--dbname` without secrets, these by its environment.

    Raises:
        ProgramFailedError: it cannot be started; `said_by` makes a sentence of it.
    """
    command = [suite.program(name), *arguments]
    if address is not None:
        command += ["--no-password", f"--dbname={address.conninfo}"]
    environment = address.environment() if address else {"LC_ALL": "C"}
    with Program(command, environment=environment, feed=feed) as program:
        yield program


def said_by(error: ProgramFailedError, mask: Masker) -> str:
    """What a program that failed said, for the person: its last lines that are no mere detail, without secrets."""
    lines = [line.strip() for line in error.said.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("pg_dump: detail: Command was", "pg_dump: hint:"))]
    return mask(" / ".join(telling[-_LINES:])) or error.message


def can_compress(suite: Suite, method: str) -> bool:
    """Whether a `pg_dump` was built with a compression method, `zstd` or `lz4`; methods came with version 16."""
    return suite.major >= 16 and _can_compress(suite.program("pg_dump"), method)


@lru_cache(maxsize=64)
def _can_compress(program: str, method: str) -> bool:
    """Asked without a server: the method is judged before anything is connected to, and the place below cannot exist."""
    command = [program, f"--compress={method}", "--format=custom", "--dbname=host=/dev/null/nowhere", "--no-password"]
    try:
        output(command, environment={"LC_ALL": "C"})
    except ProgramFailedError as error:
        return "not support" not in error.said and "/dev/null/nowhere" in error.said
    return False
