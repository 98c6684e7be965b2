"""What a database holds, from its catalog: tables, sequences, vector columns, and the names that they have in facts and parts.

Schemas of the system and members of extensions are left out: `pg_dump` leaves them to CREATE EXTENSION.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from psycopg import sql

from recoup.errors import SourceError
from recoup.model.names import shown
from recoup.model.structs import Struct

if TYPE_CHECKING:
    import psycopg

OF_USERS = """
    n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS member
        WHERE member.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND member.objid = c.oid AND member.deptype = 'e')
"""
"""Condition on `c` of pg_class and `n` of pg_namespace."""

_RELATIONS = f"""
    SELECT n.nspname, c.relname, c.oid::bigint, c.relkind::text, c.relpersistence::text,
        (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname)
         FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'),
        (SELECT pg_catalog.array_agg(a.attname::text ORDER BY pg_catalog.array_position(i.indkey::int2[], a.attnum))
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid),
        (SELECT h.inhparent::bigint FROM pg_catalog.pg_inherits AS h WHERE c.relispartition AND h.inhrelid = c.oid)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND {OF_USERS}
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""  # noqa: S608 - no value comes into it

_VECTORS = f"""
    SELECT n.nspname, c.relname, a.attname, t.typname, a.atttypmod, tn.nspname,
        (SELECT pg_catalog.array_agg(am.amname || ' ' || o.opcname ORDER BY am.amname, o.opcname)
         FROM pg_catalog.pg_index AS i
         JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
         JOIN pg_catalog.pg_am AS am ON am.oid = ic.relam
         JOIN pg_catalog.pg_opclass AS o ON o.oid = i.indclass[0]
         WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
        AND d.deptype = 'e'
    JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'vector'
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND t.typname IN ('vector', 'halfvec', 'sparsevec') AND {OF_USERS}
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attname COLLATE "C"
"""  # noqa: S608 - no value comes into it

_LONGEST = 200  # bytes of a file's name without its ending
_LISTED = 20  # tables that an error names

_METRICS = {"_l2_ops": "<->", "_ip_ops": "<#>", "_cosine_ops": "<=>", "_l1_ops": "<+>"}


class Relation(Struct):
    """A table, partitioned table, view, materialized view, foreign table or sequence.

    Attributes:
        schema: its schema.
        name: its name there.
        oid: its number in this database.
        kind: as in `pg_class.relkind`: `r` table, `p` partitioned table, `m` materialized view, `v` view, `f` foreign table,
            `S` sequence.
        parent: number of the table that it is a partition of; 0 where it is none.
        unlogged: whether a crash empties it.
        columns: names of the stored columns, sorted.
        key: names of the primary key's columns in its order; empty without one.
    """

    schema: str
    name: str
    oid: int
    kind: str
    parent: int = 0
    unlogged: bool = False
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """`SCHEMA.NAME`, for people and as the subject of facts."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """For SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def pattern(self) -> str:
        """For the options of `pg_dump` that take patterns: nothing in it is special."""
        return ".".join('"' + name.replace('"', '""') + '"' for name in (self.schema, self.name))


class VectorColumn(Struct):
    """A column of one of pgvector's types.

    Attributes:
        schema: of its table.
        table: its table.
        column: its name.
        type: `vector`, `halfvec` or `sparsevec`.
        dimensions: as declared; 0 where the column takes any.
        home: schema of the extension, where the operators are.
        indexes: access method and operator class of each index on it, sorted.
    """

    schema: str
    table: str
    column: str
    type: str
    dimensions: int
    home: str
    indexes: tuple[str, ...]

    @property
    def subject(self) -> str:
        """As facts name it."""
        return f"vectors {self.schema}.{self.table}.{self.column}"

    @property
    def operator(self) -> sql.Composed:
        """The distance by which its first index sorts; Euclidean where it has none."""
        found = (sign for name in self.indexes for ending, sign in _METRICS.items() if name.endswith(ending))
        return sql.SQL("OPERATOR({}.{})").format(sql.Identifier(self.home), sql.SQL(next(found, "<->")))


def relations(connection: "psycopg.Connection[tuple[Any, ...]]") -> tuple[Relation, ...]:
    """All of the users' relations, by schema and name."""
    return tuple(
        Relation(schema, name, oid, kind, parent or 0, persistence == "u", tuple(columns or ()), tuple(key or ()))
        for schema, name, oid, kind, persistence, columns, key, parent in connection.execute(_RELATIONS).fetchall()
    )


def vector_columns(connection: "psycopg.Connection[tuple[Any, ...]]") -> tuple[VectorColumn, ...]:
    """All columns of pgvector's types; those of a partitioned table once."""
    return tuple(
        VectorColumn(schema, table, column, kind, max(0, modifier), home, tuple(indexes or ()))
        for schema, table, column, kind, modifier, home, indexes in connection.execute(_VECTORS).fetchall()
    )


def tables_in(found: Sequence[Relation]) -> tuple[Relation, ...]:
    """Those that have rows of their own: tables, and partitions that are not partitioned themselves."""
    return tuple(relation for relation in found if relation.kind == "r")


def family(table: Relation, found: Sequence[Relation]) -> tuple[Relation, ...]:
    """A table and its partitions, at any depth."""
    kept, oids = [table], {table.oid}
    while more := [one for one in found if one.parent in oids and one.oid not in oids]:
        kept += more
        oids.update(one.oid for one in more)
    return tuple(kept)


def named(found: Sequence[Relation], names: Sequence[str]) -> tuple[Relation, ...]:
    """The tables of these names, `NAME` or `SCHEMA.NAME`, in their order.

    Raises:
        SourceError: some are not there, or are the name of several.
    """
    tables = [relation for relation in found if relation.kind in "rp"]
    chosen: dict[int, Relation] = {}
    missing: list[str] = []
    several: list[str] = []
    for name in names:
        same = [one for one in tables if one.shown == name] or [one for one in tables if one.name == name]
        if len(same) == 1:
            chosen[same[0].oid] = same[0]
        else:
            (several if same else missing).append(shown(name))
    if missing:
        there = ", ".join(shown(one.shown) for one in tables[:_LISTED]) or "none"
        more = f" and {len(tables) - _LISTED} more" if len(tables) > _LISTED else ""
        raise SourceError(
            f"these tables are named in `tables` and are not there: {', '.join(missing)}", f"There are: {there}{more}."
        )
    if several:
        raise SourceError(f"several schemas have a table {', '.join(several)}", "Name it as SCHEMA.NAME.")
    return tuple(chosen.values())


def file_name(*names: str) -> str:
    """Names of a database, or of a schema and a table, as a file's name without its ending.

    Percent-encoded as in a URL, dots too, and joined by dots. One that is longer than 200 bytes is cut to 183 and gets `~` and 16
    hex digits of the SHA-256 of the whole.
    """
    whole = ".".join(quote(name, safe="").replace(".", "%2E") for name in names)
    if len(whole) <= _LONGEST:
        return whole
    return f"{whole[: _LONGEST - 17]}~{hashlib.sha256(whole.encode()).hexdigest()[:16]}"
