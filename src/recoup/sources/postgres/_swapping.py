"""A restored database takes the place of the present one: what belongs to the database itself is carried over, then the names
change in one transaction, so that at every moment there is a whole database under the name.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import errors, sql

from recoup.errors import BusyError, SourceError
from recoup.model.structs import Struct
from recoup.sources.postgres._preflight import busy, require_alone
from recoup.sources.postgres._record import DatabaseRecord
from recoup.sources.postgres._restore_server import Server
from recoup.system.clock import Clock

_PAUSE = 0.1  # seconds

_PRESENT = """
    SELECT r.rolname, d.datacl::text[], coalesce(shobj_description(d.oid, 'pg_database'), ''), d.datconnlimit
    FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_roles AS r ON r.oid = d.datdba WHERE d.datname = %s
"""
_SETTINGS = """
    SELECT coalesce(r.rolname, ''), s.setconfig
    FROM pg_catalog.pg_db_role_setting AS s
    JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
    WHERE d.datname = %s ORDER BY 1
"""
_GRANTS = """
    SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
    FROM pg_catalog.aclexplode(%s::text[]::aclitem[]) AS a LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
"""
_LISTS = {"search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"}
"""Settings that are lists of names: quoting their text as a whole would make one name of it."""

_ENTRY = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,"]+))\s*(?:,|$)')


class Belongings(Struct):
    """What belongs to a database and stands in no dump of it.

    Attributes:
        owner: role; empty for the one that restores.
        acl: rights as `aclitem` texts; None for the default.
        comment: on the database.
        settings: role (empty for all) and `NAME=value`.
        limit: most connections; -1 for no limit.
    """

    owner: str = ""
    acl: tuple[str, ...] | None = None
    comment: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    limit: int = -1

    @classmethod
    def of_record(cls, record: DatabaseRecord) -> "Belongings":
        """As they were when it was captured."""
        return cls(record.owner, record.acl, record.comment, tuple(("", one) for one in record.settings))

    @classmethod
    def of_present(cls, server: Server, name: str) -> "Belongings":
        """As they are now."""
        owner, acl, comment, limit = server.connection.execute(_PRESENT.encode(), [name]).fetchall()[0]
        rows = server.connection.execute(_SETTINGS.encode(), [name]).fetchall()
        settings = tuple((role, one) for role, all_of_it in rows for one in all_of_it)
        return cls(owner, None if acl is None else tuple(acl), comment, settings, limit)


def give(server: Server, name: str, belongings: Belongings) -> None:
    """Gives a database its owner, rights, settings and comment."""
    connection, database = server.connection, sql.Identifier(name)

    def alter(command: str, **values: sql.Composable) -> None:
        connection.execute(sql.SQL(command).format(database=database, **values))

    if belongings.comment:
        alter("COMMENT ON DATABASE {database} IS {text}", text=sql.Literal(belongings.comment))
    if belongings.limit >= 0:
        alter("ALTER DATABASE {database} CONNECTION LIMIT {limit}", limit=sql.Literal(belongings.limit))
    for role, setting in belongings.settings:
        _set(alter, role, setting)
    if belongings.owner:
        alter("ALTER DATABASE {database} OWNER TO {owner}", owner=sql.Identifier(belongings.owner))
    if belongings.acl is not None:
        _grant(server, alter, belongings)


def _set(alter: Any, role: str, setting: str) -> None:
    key, _, value = setting.partition("=")
    entries = _entries(value) if key.lower() in _LISTS else [value]
    names = {
        "key": sql.SQL(".").join(map(sql.Identifier, key.split("."))),
        "value": sql.SQL(", ").join(map(sql.Literal, entries)),
    }
    if role:
        alter("ALTER ROLE {role} IN DATABASE {database} SET {key} = {value}", role=sql.Identifier(role), **names)
    else:
        alter("ALTER DATABASE {database} SET {key} = {value}", **names)


def _entries(text: str) -> list[str]:
    """The names of a list."""
    return [bare.strip() if bare else quoted.replace('""', '"') for quoted, bare in _ENTRY.findall(text)]


def _grant(server: Server, alter: Any, belongings: Belongings) -> None:
    owner = sql.Identifier(belongings.owner) if belongings.owner else sql.SQL("CURRENT_USER")
    alter("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner}", owner=owner)
    for role, right, grantable in server.connection.execute(_GRANTS.encode(), [list(belongings.acl or ())]).fetchall():
        alter(
            "GRANT {right} ON DATABASE {database} TO {role}{more}",
            right=sql.SQL(right),
            role=sql.Identifier(role) if role else sql.SQL("PUBLIC"),
            more=sql.SQL(" WITH GRANT OPTION" if grantable else ""),
        )


class Patience(Struct):
    """What is done about sessions in the way.

    Attributes:
        terminate: end them.
        wait: seconds to wait for their end.
        clock: time.
    """

    terminate: bool
    wait: float
    clock: Clock


def rename(server: Server, pairs: Sequence[tuple[str, str]], patience: Patience) -> None:
    """Renames databases in one transaction: all or none.

    While it happens nobody can connect to them: the server locks a database before it looks who is in it.

    Args:
        server: it.
        pairs: old name, new name.
        patience: about those who use the first one.

    Raises:
        BusyError: they are still in use; nothing was renamed.
    """
    until = patience.clock.monotonic() + patience.wait
    old = pairs[0][0]
    while True:
        _wait(server, old, until, patience)
        try:
            with _ending(server, old, on=patience.terminate), server.connection.transaction():
                for before, after in pairs:
                    command = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    server.connection.execute(command.format(sql.Identifier(before), sql.Identifier(after)))
        except errors.ObjectInUse as error:
            if patience.clock.monotonic() >= until:
                raise busy(server, old, server.sessions(old) or [str(error.diag.message_detail)]) from None
        else:
            return


def drop_present(server: Server, name: str, patience: Patience) -> None:
    """Drops a database that is to be made anew.

    Raises:
        BusyError: it is in use.
    """
    _wait(server, name, patience.clock.monotonic() + patience.wait, patience)
    try:
        server.drop(name, force=patience.terminate)
    except errors.ObjectInUse:
        raise busy(server, name, server.sessions(name)) from None


def _wait(server: Server, name: str, until: float, patience: Patience) -> None:
    """Waits until nobody uses a database; with `terminate` there is nothing to wait for."""
    while True:
        try:
            require_alone(server, name, terminate=patience.terminate)
        except BusyError:
            if patience.clock.monotonic() >= until:
                raise
            patience.clock.sleep(_PAUSE)
        else:
            return


@contextlib.contextmanager
def _ending(server: Server, name: str, *, on: bool) -> Iterator[None]:
    """Ends the sessions of a database as long as the server waits for that: no new ones come then."""
    if not on:
        yield
        return
    stop = threading.Event()
    worker = threading.Thread(target=_end_sessions, args=(server, name, stop), name="sessions", daemon=True)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def _end_sessions(server: Server, name: str, stop: threading.Event) -> None:
    query = (
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
        " WHERE datname = %s AND backend_type = 'client backend'"
    )
    with contextlib.suppress(SourceError), server.address.connected() as connection:
        while not stop.is_set():
            connection.execute(query, [name])
            stop.wait(_PAUSE)
