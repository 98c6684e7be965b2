"""What a correct copy of a database must show: rows and content of every table, sequences, definitions, vectors' neighbours.

All is asked of the server in one transaction (`steady`), by settings that make its texts independent of the role, the database
and the machine. The digest of a table: of each row, the MD5 of the text of its columns in the order of their names; both halves
of all of these, as signed 64-bit numbers, are summed up, modulo 2^64. It depends on no order of rows and adds up.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from recoup.model.facts import Facts, Probe, Value
from recoup.sources.postgres._options import Digest
from recoup.sources.postgres._relations import Relation, VectorColumn, relations, tables_in, vector_columns

if TYPE_CHECKING:
    import psycopg

NEIGHBOURS = 10
SAMPLED_FROM = 10_000
"""Rows up to which `digest: sample` takes all of a table."""

_SETTINGS = {
    "search_path": "pg_catalog",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
    "row_security": "off",  # an error, not fewer rows
    "enable_indexscan": "off",  # an index of vectors answers roughly
    "enable_indexonlyscan": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "max_parallel_workers_per_gather": "0",  # the server has other work
}
_MODULUS = 1 << 64

_DATABASE = """
    SELECT
        (SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database
         WHERE datname = pg_catalog.current_database()),
        (SELECT pg_catalog.string_agg(extname, ', ' ORDER BY extname COLLATE "C") FROM pg_catalog.pg_extension),
        (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata),
        (SELECT count(*) FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS (
             SELECT FROM pg_catalog.pg_depend AS d
             WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i')))
"""

_DEFINITION = """
    SELECT
        (SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(pg_catalog.concat_ws(' ', pg_catalog.quote_ident(a.attname),
            pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
            d.adbin IS NOT NULL), E'\\n' ORDER BY a.attname COLLATE "C"), ''))
         FROM pg_catalog.pg_attribute AS a
         LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT count(*) FROM pg_catalog.pg_index WHERE indrelid = %(oid)s AND indisvalid),
        (SELECT count(*) FROM pg_catalog.pg_constraint WHERE conrelid = %(oid)s AND contype <> 'n'),
        (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal)
"""  # not-null constraints are counted from version 18 on only; they are in the columns


@contextlib.contextmanager
def steady(connection: "psycopg.Connection[tuple[Any, ...]]") -> Iterator[None]:
    """A read-only transaction that sees one moment, with settings under which texts are the same everywhere."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        settle(connection)
        yield
    finally:
        with contextlib.suppress(Exception):  # the connection may be gone
            connection.rollback()


def settle(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """Makes the settings, for the present transaction."""
    pairs = [sql.SQL("pg_catalog.set_config({}, {}, true)").format(*pair) for pair in _SETTINGS.items()]
    connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(pairs)))


def describe(
    connection: "psycopg.Connection[tuple[Any, ...]]",
    digest: Digest,
    probes: int,
    seed: int,
    *,
    sequences: bool = True,
    standby: bool = False,
    only: Collection[str] | None = None,
) -> Facts:
    """All facts of the database that the connection leads to; to be called inside `steady`.

    Args:
        connection: of a role that may read everything.
        digest: how much of the content is digested.
        probes: rows of each vector column whose neighbours are found.
        seed: of their choice.
        sequences: whether their values are read too. They move on whatever a transaction sees, so those of a dump are read
            from the dump.
        standby: True on a server that follows another one: there, unlogged tables are empty and cannot be read.
        only: the facts about these tables alone, as `SCHEMA.NAME`; by default about all, the sequences and the database.
    """
    found = relations(connection)
    values: dict[str, Mapping[str, Value]] = {} if only is not None else {"database": _database(connection, found)}
    for table in tables_in(found):
        if only is not None and table.shown not in only:
            continue
        values[f"table {table.shown}"] = _table(connection, table, digest, empty=standby and table.unlogged)
    if sequences and only is None:
        values.update(sequence_facts(read_sequences(connection, found)))
    asked: list[Probe] = []
    keys = {(relation.schema, relation.name): relation for relation in found}
    for column in vector_columns(connection):
        if only is not None and f"{column.schema}.{column.table}" not in only:
            continue
        table = keys[column.schema, column.table]
        values[column.subject] = _vectors(connection, column)
        asked += _probes(connection, table, column, probes, seed)
    return Facts(values, tuple(asked), seed if asked else None)


def _database(connection: "psycopg.Connection[tuple[Any, ...]]", found: Sequence[Relation]) -> dict[str, Value]:
    encoding, extensions, objects, functions = connection.execute(_DATABASE).fetchall()[0]
    counted = {"tables": "rp", "views": "v", "materialized views": "m", "foreign tables": "f", "sequences": "S"}
    return {
        "encoding": encoding,
        "extensions": extensions,
        "large objects": objects,
        "functions": functions,
        **{name: sum(relation.kind in kinds for relation in found) for name, kinds in counted.items()},
    }


def _table(
    connection: "psycopg.Connection[tuple[Any, ...]]", table: Relation, digest: Digest, *, empty: bool
) -> dict[str, Value]:
    columns, indexes, constraints, triggers = connection.execute(_DEFINITION, {"oid": table.oid}).fetchall()[0]
    return {
        **(_nothing(digest) if empty else _content(connection, table, digest)),
        "columns": columns,
        "indexes": indexes,
        "constraints": constraints,
        "triggers": triggers,
    }


def _content(connection: "psycopg.Connection[tuple[Any, ...]]", table: Relation, digest: Digest) -> dict[str, Value]:
    if digest == "all":
        rows, content = _digest(connection, table, sql.SQL("true"))
        return {"rows": rows, "digest": content}
    rows = connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(table.identifier)).fetchall()[0][0]
    if digest == "none":
        return {"rows": rows}
    chosen: sql.Composable = sql.SQL("true")
    if rows > SAMPLED_FROM and table.key:
        chosen = sql.SQL("starts_with(md5({}), '0')").format(row_text(table.key))
    return {"rows": rows, "digest of a sample": _digest(connection, table, chosen)[1]}


def _nothing(digest: Digest) -> dict[str, Value]:
    """What `_content` says of a table without rows."""
    if digest == "none":
        return {"rows": 0}
    return {"rows": 0, "digest" if digest == "all" else "digest of a sample": f"{0:032x}"}


def _digest(
    connection: "psycopg.Connection[tuple[Any, ...]]", table: Relation, chosen: sql.Composable
) -> tuple[int, str]:
    """Rows, and the digest of those chosen."""
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || left(h, 16))::bit(64)::bigint), 0),"
        " coalesce(sum(('x' || right(h, 16))::bit(64)::bigint), 0)"
        " FROM (SELECT md5({}) AS h FROM ONLY {} WHERE {} OFFSET 0) AS hashed"
    ).format(row_text(table.columns), table.identifier, chosen)
    rows, high, low = connection.execute(query).fetchall()[0]
    return rows, f"{int(high) % _MODULUS:016x}{int(low) % _MODULUS:016x}"


def row_text(columns: Sequence[str]) -> sql.Composed:
    """Some columns of a row as one text."""
    return sql.SQL("(ROW({})::text)").format(sql.SQL(", ").join(map(sql.Identifier, columns)))


# --- sequences -----------------------------------------------------------------------------------------------------------


def sequence_value(value: int, *, called: bool) -> str:
    """A sequence's state: the last value that it gave, or the first one that it will give."""
    return str(value) if called else f"{value}, not given yet"


def sequence_facts(values: Mapping[str, str]) -> dict[str, dict[str, Value]]:
    """Name (`SCHEMA.NAME`) to state, as facts."""
    return {f"sequence {name}": {"value": value} for name, value in values.items()}


def read_sequences(connection: "psycopg.Connection[tuple[Any, ...]]", found: Sequence[Relation]) -> dict[str, str]:
    """Each sequence's state now."""
    values = {}
    for relation in found:
        if relation.kind == "S":
            query = sql.SQL("SELECT last_value, is_called FROM {}").format(relation.identifier)
            value, called = connection.execute(query).fetchall()[0]
            values[relation.shown] = sequence_value(value, called=called)
    return values


# --- vectors -------------------------------------------------------------------------------------------------------------


def _vectors(connection: "psycopg.Connection[tuple[Any, ...]]", column: VectorColumn) -> dict[str, Value]:
    query = sql.SQL("SELECT count({}) FROM {}").format(sql.Identifier(column.column), _place(column))
    return {
        "type": f"{column.type}({column.dimensions})" if column.dimensions else column.type,
        "indexes": ", ".join(column.indexes) or "none",
        "vectors": connection.execute(query).fetchall()[0][0],
    }


def _place(column: VectorColumn) -> sql.Identifier:
    return sql.Identifier(column.schema, column.table)


def _probes(
    connection: "psycopg.Connection[tuple[Any, ...]]", table: Relation, column: VectorColumn, count: int, seed: int
) -> Iterator[Probe]:
    """Some rows with their exact neighbours; none without a primary key, or where vectors of any length stand together."""
    if not count or not table.key or not column.dimensions:
        return
    key = row_text(table.key) if len(table.key) > 1 else sql.SQL("{}::text").format(sql.Identifier(table.key[0]))
    vector = sql.Identifier(column.column)
    choose = sql.SQL(
        "SELECT {key}, {vector}::text FROM {table} WHERE {vector} IS NOT NULL"
        ' ORDER BY md5({key} || {seed}), {key} COLLATE "C" LIMIT {count}'
    ).format(key=key, vector=vector, table=_place(column), seed=sql.Literal(f" {seed}"), count=sql.Literal(count))
    nearest = sql.SQL(
        "SELECT {key} FROM {table} WHERE {vector} IS NOT NULL AND {key} <> %s"
        ' ORDER BY {vector} {operator} %s::{type}, {key} COLLATE "C" LIMIT {count}'
    ).format(
        key=key,
        table=_place(column),
        vector=vector,
        operator=column.operator,
        type=sql.Identifier(column.home, column.type),
        count=sql.Literal(NEIGHBOURS),
    )
    name = f"{column.schema}.{column.table}"
    for point, text in connection.execute(choose).fetchall():
        found = connection.execute(nearest, [point, text]).fetchall()
        yield Probe(name, column.column, point, tuple(one for (one,) in found))
