"""What reads a DuckDB database: runs in children, so that the engine stays away from our own process.

Apart from the plug, so that a child starts without loading what only the settings need.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import RestoreError
from recoup.model.facts import Value
from recoup.sources import _duckdb_blocks as blocks

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WHOLE = "database"
"""Subject of the facts of a whole database, beside those of its tables."""

_LIMIT = "150MB"  # of the reading engine; more only where a table or an index needs it


def fold(folder: str, name: str) -> None:
    """Runs in a child: opens a database that is ours and checkpoints it, which removes its logs."""
    with _opened(folder, name, read_only=False) as connection:
        connection.execute("CHECKPOINT")
    left = [suffix for suffix in blocks.LOGS if Path(name + suffix).exists()]
    if left:
        raise RestoreError(f"{name}{left[0]} is still there after a checkpoint")


def scan(folder: str, name: str) -> dict[str, dict[str, Value]]:
    """Runs in a child: reads a database whole and returns its facts.

    Facts are the same whichever version of DuckDB reads: counts, exact sums and lengths, names and types.
    """
    import duckdb

    try:
        return _scan(folder, name, _LIMIT)
    except duckdb.OutOfMemoryException:
        return _scan(folder, name, "")


def _scan(folder: str, name: str, limit: str) -> dict[str, dict[str, Value]]:
    with _opened(folder, name, read_only=True, limit=limit) as connection:
        found, objects = tables(connection), _objects(connection)
        facts = {f"table {schema}.{table}": _table_facts(connection, schema, table) for schema, table in found}
    whole: dict[str, Value] = {
        "tables": len(found),
        "schema": _digest(objects),
        "storage version": _storage_version(Path(folder) / name),
    }
    return {WHOLE: whole, **facts}


@contextlib.contextmanager
def _opened(folder: str, name: str, *, read_only: bool, limit: str = "") -> Iterator["DuckDBPyConnection"]:
    """Opens a database with nothing loaded, fetched or read from outside it."""
    import duckdb

    os.chdir(folder)  # a `?` or `:` on the way there would mean something else to DuckDB
    with tempfile.TemporaryDirectory(prefix="recoup-duckdb-") as spill:
        config: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "enable_external_access": "false",
            "temp_directory": spill,
            "threads": "2",
        }
        if limit:
            config["memory_limit"] = limit
        with contextlib.closing(duckdb.connect(f"./{name}", read_only=read_only, config=config)) as connection:
            yield connection


def _storage_version(file: Path) -> int:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return blocks.read_header(descriptor).storage_version
    finally:
        os.close(descriptor)


def tables(connection: "DuckDBPyConnection") -> list[tuple[str, str]]:
    """Schema and name of each table of the current database."""
    return connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() "
        "WHERE database_name = current_database() AND NOT internal AND NOT temporary ORDER BY ALL"
    ).fetchall()


_OBJECTS = {
    "schema": "SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND database_name = current_database()",
    "view": "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal AND database_name = current_database()",
    "index": "SELECT schema_name, table_name, index_name, is_unique FROM duckdb_indexes() "
    "WHERE database_name = current_database()",
    "sequence": "SELECT schema_name, sequence_name FROM duckdb_sequences() WHERE database_name = current_database()",
    "type": "SELECT schema_name, type_name FROM duckdb_types() WHERE NOT internal AND database_name = current_database()",
    "macro": "SELECT schema_name, function_name, function_type FROM duckdb_functions() "
    "WHERE NOT internal AND database_name = current_database()",
}


def _objects(connection: "DuckDBPyConnection") -> list[Any]:
    """All that a catalogue holds besides tables, by name; texts of definitions differ between versions."""
    return [
        [kind, *row]
        for kind, query in _OBJECTS.items()
        for row in connection.execute(f"{query} ORDER BY ALL").fetchall()
    ]


def _table_facts(connection: "DuckDBPyConnection", schema: str, table: str) -> dict[str, Value]:
    """Rows, schema and content of one table; every column that is stored is read."""
    name = f"{quoted(schema)}.{quoted(table)}"
    columns = connection.execute(f'SELECT column_name, column_type, "null" FROM (DESCRIBE {name})').fetchall()  # noqa: S608
    stored = _stored_columns(connection, schema, table, columns)
    values = ", ".join(["count(*)", *(part for column, kind in stored for part in _measures(quoted(column), kind))])
    row = connection.execute(f"SELECT {values} FROM {name}").fetchone() or (0,)  # noqa: S608
    measured = [str(value) for index, value in enumerate(row[1:]) if index % 3]  # every third one only reads
    return {"rows": row[0], "schema": _digest(columns), "content": _digest([row[0], *measured])}


def _stored_columns(
    connection: "DuckDBPyConnection", schema: str, table: str, columns: list[Any]
) -> list[tuple[str, str]]:
    """Columns with data of their own: a generated one may fail to compute, and is no data."""
    definition = connection.execute(
        "SELECT sql FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ? AND table_name = ?",
        [schema, table],
    ).fetchone()
    pairs = [(column, kind) for column, kind, _ in columns]
    if not definition or "GENERATED ALWAYS AS" not in str(definition[0]):
        return pairs
    name = f"{quoted(schema)}.{quoted(table)}"
    found = connection.execute("SELECT DISTINCT column_name FROM pragma_storage_info(?)", [name]).fetchall()
    real = {row[0] for row in found}
    return [pair for pair in pairs if pair[0] in real]


_WHOLE_NUMBERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")} | {
    "INTEGER",
    "UINTEGER",
}


def _measures(column: str, kind: str) -> tuple[str, str, str]:
    """What is asked of a column: one that makes the engine read and decode it all, then two that any version answers alike."""
    if kind in _WHOLE_NUMBERS:
        exact = f"sum({column}::HUGEINT)"
    elif kind == "BOOLEAN":
        exact = f"sum({column}::INTEGER)"
    elif kind in ("VARCHAR", "JSON"):
        exact = f"sum(strlen({column}))"
    elif kind == "BLOB":
        exact = f"sum(octet_length({column}))"
    elif kind in ("DOUBLE", "FLOAT"):
        exact = f"count_if({column} > 0)"  # sums depend on the order of the rows
    elif kind.endswith("[]"):
        exact = f"sum(len({column}))"
    else:
        exact = "NULL"
    return f"bit_xor(hash({column}))", f"count({column})", exact


def quoted(name: str) -> str:
    """A name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def _digest(value: object) -> str:
    """The first 128 bits of the SHA-256 of a JSON value, hex."""
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:32]
