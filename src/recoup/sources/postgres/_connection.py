"""Where a database is, and connections to it: for ourselves (psycopg), and for the programs that PostgreSQL brings.

A password is never part of `Address.conninfo`, which programs get as an argument: they get it by PGPASSWORD.
"""

import contextlib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import RefusedError, SourceError
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sources.postgres._options import ADDRESS, Options
from recoup.system.host import is_this_machine
from recoup.system.subprocesses import end_with_us

if TYPE_CHECKING:
    import psycopg

_DRIVER = re.compile(r"^(postgres(?:ql)?)\+\w+://")
_SECRET = ("password", "sslpassword", "oauth_client_secret")
_APPLICATION = "recoup"
OLDEST = 15
"""The oldest major version that is supported."""


class UnreachableError(SourceError):
    """Nobody answers there, or there is no database of that name."""


class Address(Struct):
    """A database of a server.

    Attributes:
        parameters: libpq's connection parameters, without any that is secret.
        secrets: those that are, by libpq's name.
        timeout: seconds to wait for a connection.
    """

    parameters: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: int = 10

    @classmethod
    def of(cls, options: Options, base: Path | None = None) -> "Address":
        """The address that the settings say.

        Args:
            options: the settings.
            base: folder that a password file's relative path is relative to.

        Raises:
            SourceError: the URL is none that libpq understands.
        """
        own = {
            "host": options.host,
            "port": "" if options.port is None else str(options.port),
            "user": options.user,
            "dbname": options.database,
            "service": options.service,
            "passfile": "" if options.passfile is None else str((base or Path()) / options.passfile.expanduser()),
            "password": "" if options.password is None else options.password.get_secret_value(),
        }
        found = {**{name: value for name, value in own.items() if value}, **_parsed(options.url)}
        return cls(
            {name: value for name, value in found.items() if name not in _SECRET},
            {name: value for name, value in found.items() if name in _SECRET},
            options.connect_timeout,
        )

    @classmethod
    def at(cls, url: str, timeout: int = 10) -> "Address":
        """The address that a URL says.

        Raises:
            SourceError: it is none that libpq understands.
        """
        found = _parsed(url)
        return cls(
            {name: value for name, value in found.items() if name not in _SECRET},
            {name: value for name, value in found.items() if name in _SECRET},
            timeout,
        )

    def with_database(self, name: str) -> "Address":
        """Another database of the same server."""
        return replace(self, parameters={**self.parameters, "dbname": name})

    @property
    def database(self) -> str:
        """The database's name as far as the settings tell it; libpq takes the role's name where there is none."""
        return self.parameters.get("dbname") or os.environ.get("PGDATABASE") or self.user

    @property
    def user(self) -> str:
        """The role's name as far as the settings tell it; else empty."""
        return self.parameters.get("user") or os.environ.get("PGUSER") or ""

    @property
    def shown(self) -> str:
        """For people: `postgresql://USER@HOST:PORT/NAME`, or the service's name."""
        known = self.parameters
        user = f"{known['user']}@" if "user" in known else ""
        port = f":{known['port']}" if "port" in known else ""
        host = known.get("host") or (f"(service {known['service']})" if "service" in known else "")
        return f"postgresql://{user}{host}{port}/{known.get('dbname', '')}"

    @cached_property
    def mask(self) -> Masker:
        """Takes this address's secrets out of a text."""
        return Masker(self.secrets.values())

    # --- for programs ------------------------------------------------------------------------------------------------

    @property
    def conninfo(self) -> str:
        """Everything but the secrets, as one argument for `--dbname`."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", **self._all)

    @property
    def _all(self) -> dict[str, str]:
        return {"connect_timeout": str(self.timeout), "application_name": _APPLICATION, **self.parameters}

    def environment(self) -> dict[str, str | None]:
        """Variables for a program: the password, untranslated messages, and nothing that would change what it reads."""
        variables: dict[str, str | None] = {"LC_ALL": "C", "PGOPTIONS": None, "PGTZ": None, "PGDATESTYLE": None}
        if password := self.secrets.get("password"):
            variables["PGPASSWORD"] = password
        if phrase := self.secrets.get("sslpassword"):
            variables["PGSSLPASSWORD"] = phrase
        return variables

    # --- for ourselves -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connected(self) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
        """A connection in autocommit mode, closed on leaving; whoever waits in it gets an error when the user wants to stop.

        Raises:
            UnreachableError: nobody answers, or there is no such database.
            SourceError: the server does not let us in; or, inside, it ended the connection or refused a statement.
        """
        connection = self._connect()
        ender = Ender(connection)  # held here: who ends all knows it only weakly
        end_with_us(ender)
        try:
            with told(self.mask):
                yield connection
        finally:
            connection.close()

    @property
    def with_secrets(self) -> str:
        """With the secrets: never to be shown, or given to a program."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo("", **self._all, **self.secrets, client_encoding="utf8")

    def _connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        import psycopg

        try:
            connection = psycopg.connect(self.with_secrets, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            raise self._refused(error) from None
        if connection.info.server_version < OLDEST * 10000:
            found = version_text(connection.info.server_version)
            connection.close()
            raise RefusedError(
                f"{self.shown} is PostgreSQL {found}; {OLDEST} is the oldest that is supported",
                "Dump it with its own pg_dump, or upgrade it.",
            )
        return connection

    def _refused(self, error: Exception) -> SourceError:
        said = self.mask("; ".join(line.strip() for line in str(error).splitlines() if line.strip()))
        if not self.answers():
            return UnreachableError(
                f"nobody answers at {self.shown}: {said}", "See whether the server runs, and host and port are right."
            )
        if self._is_missing():
            return UnreachableError(f"there is no database {self.database!r} at {self.shown}", "Is its name right?")
        return SourceError(
            f"{self.shown} does not let us in: {said}", "Check user and password, and the server's pg_hba.conf."
        )

    def answers(self) -> bool:
        """Whether a server accepts connections there; asks without logging in."""
        from psycopg import pq

        return pq.PGconn.ping(self.conninfo.encode()) == pq.Ping.OK

    def _is_missing(self) -> bool:
        """Whether the server has no such database, as far as it lets us look."""
        import psycopg

        for other in ("postgres", "template1"):
            try:
                with psycopg.connect(self.with_database(other).with_secrets) as connection:
                    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self.database])
                    return found.fetchone() is None
            except psycopg.Error:
                continue
        return False

    def pinned(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> "Address":
        """The same server as the one that a connection reached, where the address leaves a choice; with the database's name."""
        info = connection.info
        found = {"host": info.host, "port": str(info.port), "user": info.user, "dbname": info.dbname}
        if info.hostaddr and not info.host.startswith(("/", "@")):
            found["hostaddr"] = info.hostaddr
        return replace(self, parameters={**self.parameters, **{key: value for key, value in found.items() if value}})

    # --- where it is -------------------------------------------------------------------------------------------------

    def require_allowed(self, *, allow_remote: bool) -> None:
        """Refuses a host of the network where only this machine may be contacted.

        Raises:
            RefusedError: it is not this machine, or may not be, and `allow_remote` is off.
        """
        if allow_remote:
            return
        known = self.parameters
        hosts = known.get("hostaddr") or known.get("host") or os.environ.get("PGHOSTADDR") or os.environ.get("PGHOST")
        hidden = not hosts and ("service" in known or "PGSERVICE" in os.environ)
        if hidden or not all(_is_here(host.strip()) for host in (hosts or "").split(",")):
            raise RefusedError(
                f"{self.shown} is not this machine, or may not be, and allow_remote is false",
                "Set `allow_remote: true` if this host may be contacted, or name a `host` of this machine.",
            )


class Ender:
    """Ends a connection when the user wants to stop: what it waits for, and whatever it would be asked next.

    Args:
        connection: an open one.
    """

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def kill(self) -> None:
        """Cancels the present statement and cuts the line, so that no other follows; whoever waits gets an error."""
        if self._connection.closed:
            return
        with contextlib.suppress(Exception):
            self._connection.cancel_safe(timeout=1.0)
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(self._connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def recorded(options: Options) -> dict[str, Any]:
    """The settings for the manifest: the address as parameters, and no password."""
    settings = options.model_dump(mode="json", exclude={"kind", "scratch_url", *ADDRESS})
    known = Address.of(options).parameters
    for key, parameter in (("host", "host"), ("user", "user"), ("database", "dbname"), ("service", "service")):
        if parameter in known:
            settings[key] = known[parameter]
    if known.get("port", "").isdecimal():
        settings["port"] = int(known["port"])
    if options.passfile is not None:
        settings["passfile"] = str(options.passfile)
    return settings


@contextlib.contextmanager
def told(mask: Masker) -> "Iterator[None]":
    """Turns an error of the server into one that a person reads.

    Raises:
        SourceError: the server refused a statement, or ended the connection.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise failure(error, mask) from error


def failure(error: Exception, mask: Masker) -> SourceError:
    """What a person reads of an error of the server."""
    diagnosis = getattr(error, "diag", None)
    said = (diagnosis.message_primary if diagnosis else None) or " ".join(str(error).split()) or type(error).__name__
    detail = f" ({diagnosis.message_detail})" if diagnosis and diagnosis.message_detail else ""
    hint = str(diagnosis.message_hint or "") if diagnosis else ""
    return SourceError(f"PostgreSQL: {mask(said + detail)}", mask(hint))


def version_text(number: int) -> str:
    """`18.1` for 180001, as the server numbers its versions."""
    return f"{number // 10000}.{number % 10000}"


def _parsed(url: str) -> dict[str, str]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        found = conninfo_to_dict(_DRIVER.sub(r"\1://", url))
    except ProgrammingError:  # its message may repeat the URL
        raise SourceError(
            "the URL of the database is none that libpq understands",
            "Write postgresql://USER@HOST:PORT/NAME; special characters are percent-encoded.",
        ) from None
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _is_here(host: str) -> bool:
    """Whether it is this machine; libpq takes none, a path and `@name` for a socket of it."""
    return not host or host.startswith(("/", "@")) or is_this_machine(host)
