"""What a database holds, from its catalog: tables, sequences, vector columns, and the names that they have in facts and parts.

Schemas of the system and members of extensions are left out: `pg_dump` leaves them to CREATE EXTENSION.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

_OF_USERS = """
    n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS member
        WHERE member.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND member.objid = c.oid AND member.deptype = 'e')
"""

_RELATIONS = f"""
    SELECT n.nspname, c.relname, c.oid::bigint, c.relkind::text, c.relispartition, c.relpersistence::text,
        (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname)
         FROM pg_catalog.pg_attribute AS a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'),
        (SELECT pg_catalog.array_agg(a.attname::text ORDER BY pg_catalog.array_position(i.indkey::int2[], a.attnum))
         FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f', 'S') AND {_OF_USERS}
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
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND t.typname IN ('vector', 'halfvec', 'sparsevec') AND {_OF_USERS}
    ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attname COLLATE "C"
"""  # noqa: S608 - no value comes into it

_METRICS = {"_l2_ops": "<->", "_ip_ops": "<#>", "_cosine_ops": "<=>", "_l1_ops": "<+>"}


@dataclass(frozen=True)
class Relation:
    """A table, partitioned table, view, materialized view, foreign table or sequence.

    Attributes:
        schema: its schema.
        name: its name there.
        oid: its number in this database.
        kind: as in `pg_class.relkind`: `r` table, `p` partitioned table, `m` materialized view, `v` view, `f` foreign table,
            `S` sequence.
        partition: whether it is a partition of another table.
        unlogged: whether a crash empties it.
        columns: names of the stored columns, sorted.
        key: names of the primary key's columns in its order; empty without one.
    """

    schema: str
    name: str
    oid: int
    kind: str
    partition: bool = False
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


@dataclass(frozen=True)
class VectorColumn:
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
        Relation(schema, name, oid, kind, partition, persistence == "u", tuple(columns or ()), tuple(key or ()))
        for schema, name, oid, kind, partition, persistence, columns, key in connection.execute(_RELATIONS).fetchall()
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


def file_name(name: str) -> str:
    """A name of a database, schema or table as part of a file's name: percent-encoded as in a URL, dots too."""
    return quote(name, safe="").replace(".", "%2E")
