"""The frozen moment: a transaction whose snapshot is exported, with every table locked against being dropped or rewritten.

The locks (ACCESS SHARE, those of a SELECT) come before the snapshot. So a table that the snapshot shows is there, as it shows it,
until the transaction ends; `pg_dump` takes the same locks, and takes them at once.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from recoup.errors import SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.postgres._connection import Address, failure
from recoup.sources.postgres._facts import settle
from recoup.sources.postgres._relations import Relation, relations
from recoup.system.clock import Clock

if TYPE_CHECKING:
    import psycopg

_TRIES = 5  # tables may come and go between looking and locking
_BATCH = 500  # tables locked by one statement

_BLOCKERS = """
    SELECT c.relnamespace::regnamespace::text || '.' || c.relname, a.pid, a.usename, coalesce(a.application_name, ''),
        CASE WHEN l.granted THEN coalesce(a.state, 'its state is not shown to this role')
        ELSE 'itself waiting for process ' || array_to_string(pg_catalog.pg_blocking_pids(a.pid), ', ') END
    FROM pg_catalog.pg_locks AS l
    JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
    JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation' AND c.relkind IN ('r', 'p')
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
      AND c.relnamespace::regnamespace::text !~ '^pg_'
    ORDER BY 1, 2
"""
"""Who has a table for itself, or waits for that: whoever comes later waits behind it."""


class Moment(Struct):
    """A frozen database.

    Attributes:
        connection: the transaction is on it.
        address: of the very server, for other sessions.
        snapshot: id of the exported snapshot; good as long as the transaction lasts.
        time: when it was taken.
        server: the server's version as a number, 180001 for 18.1.
        standby: whether the server follows another one.
        relations: what the database holds.
    """

    connection: "psycopg.Connection[tuple[Any, ...]]"
    address: Address
    snapshot: str
    time: datetime
    server: int
    standby: bool
    relations: tuple[Relation, ...]


@contextlib.contextmanager
def frozen(address: Address, lock_wait: float, clock: Clock) -> Iterator[Moment]:
    """Freezes a database until leaving.

    Raises:
        UnreachableError: nobody answers, or there is no such database.
        SourceError: a table stays locked or may not be read, or the server exports no snapshot.
    """
    with address.connected() as connection:
        try:
            standby = _is_standby(connection)
            _begin_locked(connection, address, lock_wait, standby=standby)
            snapshot = _export(connection, standby=standby)
            time = clock.now()
            yield Moment(
                connection,
                address.pinned(connection),
                snapshot,
                time,
                connection.info.server_version,
                standby,
                relations(connection),
            )
        finally:
            with contextlib.suppress(Exception):  # the connection may be gone
                connection.rollback()


def _is_standby(connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    return bool(connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchall()[0][0])


def _begin_locked(
    connection: "psycopg.Connection[tuple[Any, ...]]", address: Address, lock_wait: float, *, standby: bool
) -> None:
    """Begins the transaction and locks all tables; nothing in it takes a snapshot yet."""
    for attempt in range(_TRIES):
        found = [one for one in relations(connection) if one.kind in "rp" and not (standby and one.unlogged)]
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for name, value in (
            ("lock_timeout", str(int(lock_wait * 1000))),
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
        ):
            connection.execute(sql.SQL("SET LOCAL {} = {}").format(sql.SQL(name), sql.Literal(value)))
        if connection.info.server_version >= 170000:
            connection.execute("SET LOCAL transaction_timeout = 0")
        _end_with_us(connection)
        try:
            _lock(connection, found)
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            connection.rollback()  # dropped meanwhile: look again
            if attempt == _TRIES - 1:
                raise failure(error, address.mask) from None
        except errors.LockNotAvailable:
            connection.rollback()
            raise _locked(connection, address, lock_wait) from None
        else:
            return


def _end_with_us(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """Has the server look every other second whether we still live while it works; not every system can."""
    connection.execute("SAVEPOINT trying")
    try:
        connection.execute("SET LOCAL client_connection_check_interval = '2s'")
    except errors.Error:
        connection.execute("ROLLBACK TO SAVEPOINT trying")
    connection.execute("RELEASE SAVEPOINT trying")


def _lock(connection: "psycopg.Connection[tuple[Any, ...]]", found: Sequence[Relation]) -> None:
    for start in range(0, len(found), _BATCH):
        names = [sql.SQL("ONLY {}").format(one.identifier) for one in found[start : start + _BATCH]]
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.SQL(", ").join(names)))


def _locked(connection: "psycopg.Connection[tuple[Any, ...]]", address: Address, lock_wait: float) -> SourceError:
    holders = [
        f"{shown(table)} by process {pid} (role {shown(str(role))}{f', {shown(name)}' if name else ''}, {state})"
        for table, pid, role, name, state in connection.execute(_BLOCKERS).fetchall()
    ]
    who = "; ".join(holders[:5]) or "a table, by somebody who has let go of it meanwhile"
    return SourceError(
        f"{address.shown}: locked for more than {lock_wait:g} s: {who}",
        "Wait until that has ended, end it, or raise `lock_wait_timeout`.",
    )


def _export(connection: "psycopg.Connection[tuple[Any, ...]]", *, standby: bool) -> str:
    try:
        settle(connection)
        return str(connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchall()[0][0])
    except errors.Error as error:
        if not standby:
            raise
        raise SourceError(
            f"this standby exports no snapshot: {' '.join(str(error).split())}",
            "Back up from the primary server, or raise max_standby_streaming_delay or set hot_standby_feedback here.",
        ) from None
