"""A server while databases of it are made, renamed and dropped: a connection that leads to none of these."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from recoup.errors import RestoreError, SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._relations import relations

if TYPE_CHECKING:
    import psycopg

_DOORS = ("postgres", "template1")
_LONGEST = 63  # bytes of a name
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}

_SESSIONS = """
    SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), coalesce(client_addr::text, 'local'),
        coalesce(state, ''), coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8
    FROM pg_catalog.pg_stat_activity
    WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'
    ORDER BY xact_start NULLS LAST, pid
"""

_FORM = """
    SELECT pg_encoding_to_char(encoding), datlocprovider::text, datcollate, datctype, coalesce({locale}, '')
    FROM pg_catalog.pg_database WHERE datname = %s
"""


class Session(Struct):
    """Somebody who is connected to a database.

    Attributes:
        pid: number of the server's process.
        user: role.
        application: as it calls itself.
        client: its address.
        state: what it does.
        age: seconds since its transaction began; 0 outside of one.
    """

    pid: int
    user: str
    application: str
    client: str
    state: str
    age: float

    def __str__(self) -> str:
        name = f", {shown(self.application)}" if self.application else ""
        age = f", in a transaction for {self.age:.0f} s" if self.age else ""
        return f"process {self.pid} (role {shown(self.user)}{name}, from {self.client}, {self.state or 'idle'}{age})"


class Form(Struct):
    """What a database is created with.

    Attributes:
        encoding: e.g. `UTF8`.
        provider: of collations: `libc`, `icu` or `builtin`; empty for the server's default.
        collate, ctype: locales of the operating system.
        locale: of another provider.
        owner: role that owns it, and with it the schema `public`; empty for the one that makes it.
    """

    encoding: str
    provider: str = ""
    collate: str = ""
    ctype: str = ""
    locale: str = ""
    owner: str = ""

    def clause(self, major: int) -> sql.Composed:
        """As CREATE DATABASE wants it.

        Args:
            major: the server's version.
        """
        words = [sql.SQL("ENCODING {}").format(sql.Literal(self.encoding))]
        if self.provider:
            words.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.Literal(self.provider)))
            words.append(sql.SQL("LC_COLLATE {}").format(sql.Literal(self.collate)))
            words.append(sql.SQL("LC_CTYPE {}").format(sql.Literal(self.ctype)))
        if self.provider == "icu" and self.locale:
            words.append(sql.SQL("ICU_LOCALE {}").format(sql.Literal(self.locale)))
        if self.provider == "builtin" and major >= 17:
            words.append(sql.SQL("BUILTIN_LOCALE {}").format(sql.Literal(self.locale)))
        if self.owner:
            words.append(sql.SQL("OWNER {}").format(sql.Identifier(self.owner)))
        return sql.SQL(" ").join(words)


class Server(Struct):
    """A server.

    Attributes:
        address: of the database that the connection leads to, on the very server.
        connection: in autocommit mode.
    """

    address: Address
    connection: "psycopg.Connection[tuple[Any, ...]]"

    def value(self, query: str, *arguments: Any) -> Any:
        """The first value that a query answers; None without a row."""
        row = self.connection.execute(query.encode(), arguments or None).fetchone()
        return row[0] if row else None

    @property
    def major(self) -> int:
        """Its major version."""
        return self.connection.info.server_version // 10000

    @property
    def identifier(self) -> str:
        """By which this server, and copies of it, are known."""
        return str(self.value("SELECT system_identifier FROM pg_catalog.pg_control_system()"))

    def has(self, name: str) -> bool:
        """Whether there is a database of that name."""
        return self.value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", name) is not None

    def size(self, name: str) -> int | None:
        """Bytes of a database; None where we may not know."""
        try:
            return int(self.value("SELECT pg_catalog.pg_database_size(%s::name)", name) or 0)
        except errors.InsufficientPrivilege:
            return None

    def sessions(self, name: str) -> tuple[Session, ...]:
        """Who is connected to a database, the longest transaction first."""
        return tuple(Session(*row) for row in self.connection.execute(_SESSIONS, [name]).fetchall())

    def form(self, name: str) -> Form:
        """What a database was created with."""
        column = "datlocale" if self.major >= 17 else "daticulocale"
        row = self.connection.execute(_FORM.format(locale=column).encode(), [name]).fetchall()[0]
        return Form(row[0], _PROVIDERS.get(row[1], ""), *row[2:])

    def create(self, name: str, form: Form) -> None:
        """Makes an empty database.

        Raises:
            RestoreError: the server cannot make it.
        """
        command = sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}")
        try:
            self.connection.execute(command.format(sql.Identifier(name), form.clause(self.major)))
        except (errors.WrongObjectType, errors.InvalidParameterValue, errors.FeatureNotSupported) as error:
            raise RestoreError(
                f"{self.address.shown} cannot make a database with {form.provider} collation "
                f"{shown(form.locale or form.collate)} and encoding {form.encoding}: {error.diag.message_primary}",
                "Install that locale on the server.",
            ) from None

    def drop(self, name: str, *, force: bool = True) -> None:
        """Drops a database, if it is there.

        Args:
            name: the database.
            force: end the sessions in it.
        """
        command = sql.SQL("DROP DATABASE IF EXISTS {}" + (" WITH (FORCE)" if force else ""))
        with contextlib.suppress(errors.InvalidCatalogName):
            self.connection.execute(command.format(sql.Identifier(name)))

    def remove(self, name: str) -> None:
        """Drops a half-made database: its tables first, so that this works on a full disk.

        Before a server drops a database it writes down what waits for the disk, and marks it as none that can be used.
        """
        with contextlib.suppress(SourceError), self.at(name).connected() as connection:
            for table in (one for one in relations(connection) if one.kind == "r"):
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(table.identifier))
        self.drop(name)

    def at(self, name: str) -> Address:
        """Another database of this server."""
        return self.address.with_database(name)


@contextlib.contextmanager
def maintaining(address: Address, door: str = "") -> Iterator[Server]:
    """The server of a database that need not be there yet.

    Args:
        address: of the database.
        door: the database to connect to; by default `postgres`, else `template1`.

    Raises:
        SourceError: nobody answers, or lets us in.
    """
    refusals: list[SourceError] = []
    with contextlib.ExitStack() as stack:
        for name in (door,) if door else [name for name in _DOORS if name != address.database]:
            other = address.with_database(name)
            try:
                connection = stack.enter_context(other.connected())
            except SourceError as error:
                refusals.append(error)
                continue
            yield Server(other.pinned(connection), connection)
            return
    raise refusals[0]


def beside(name: str, word: str, now: datetime) -> str:
    """A name for a database or schema beside another one: `NAME_WORD_YYYYMMDD_HHMMSS_XXXX`, the end random.

    The name is cut where the whole would be longer than PostgreSQL takes.
    """
    ending = f"_{word}_{now.astimezone(UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(2)}"
    stem = name.encode()[: _LONGEST - len(ending)].decode(errors="ignore")
    return f"{stem}{ending}"


def listed(texts: Sequence[object], most: int = 5) -> str:
    """Some of them, for a message."""
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return "; ".join(str(text) for text in texts[:most]) + more
