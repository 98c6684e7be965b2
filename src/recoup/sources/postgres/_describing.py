"""The record of a frozen database: what pg_dump leaves out, or what has to be known before anything is restored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recoup.sources.postgres._connection import version_text
from recoup.sources.postgres._freezing import Moment
from recoup.sources.postgres._options import Options
from recoup.sources.postgres._record import DatabaseRecord, Extension, TableDump

if TYPE_CHECKING:
    import psycopg

_DATABASE = """
    SELECT d.datname, pg_encoding_to_char(d.encoding), d.datlocprovider::text, d.datcollate, d.datctype,
        coalesce(d.{locale}, ''), coalesce(d.datcollversion, ''), d.datacl::text[],
        coalesce(shobj_description(d.oid, 'pg_database'), ''), pg_database_size(d.oid),
        (SELECT coalesce(array_agg(one ORDER BY n), '{{}}')
         FROM pg_db_role_setting AS s, unnest(s.setconfig) WITH ORDINALITY AS entries (one, n)
         WHERE s.setdatabase = d.oid AND s.setrole = 0),
        (SELECT rolname FROM pg_roles WHERE oid = d.datdba)
    FROM pg_database AS d WHERE d.datname = current_database()
"""

_EXTENSIONS = """
    SELECT e.extname, e.extversion, n.nspname
    FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace ORDER BY e.extname COLLATE "C"
"""

_ROLES = """
    WITH used (role) AS (
        SELECT d.refobjid FROM pg_shdepend AS d
        WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype IN ('o', 'a', 'r')
          AND (d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
               OR (d.classid = 'pg_database'::regclass
                   AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
        UNION
        SELECT c.relowner FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND NOT EXISTS (
            SELECT FROM pg_depend AS m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.deptype = 'e'))
    SELECT DISTINCT r.rolname FROM used JOIN pg_roles AS r ON r.oid = used.role
    WHERE r.rolname !~ '^pg_' ORDER BY r.rolname
"""  # owners, rights, policies; what the superuser that initdb made owns is in no list of dependencies

_SIZES = """
    SELECT c.oid::bigint, pg_total_relation_size(c.oid) FROM pg_class AS c WHERE c.relkind IN ('r', 'm')
"""

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def record_of(moment: Moment, options: Options, program: str, dump: str, tables: Sequence[TableDump]) -> DatabaseRecord:
    """The record, asked of the frozen moment.

    Args:
        moment: it.
        options: of the source.
        program: version of the `pg_dump`.
        dump: name of the part with the whole dump.
        tables: the dumps of single tables.
    """
    connection = moment.connection
    column = "datlocale" if moment.server >= 170000 else "daticulocale"
    found = connection.execute(_DATABASE.format(locale=column).encode()).fetchall()[0]
    name, encoding, provider, collate, ctype, locale, version, acl, comment, size, settings, owner = found
    return DatabaseRecord(
        name=name,
        server=version_text(moment.server),
        program=program,
        dump=dump,
        dump_format=options.format,
        encoding=encoding,
        provider=_PROVIDERS.get(provider, provider),
        collate=collate,
        ctype=ctype,
        locale=locale,
        collation_version=version,
        owner=owner,
        comment=comment,
        settings=tuple(settings),
        acl=None if acl is None else tuple(acl),
        bytes=size,
        extensions=tuple(Extension(*one) for one in connection.execute(_EXTENSIONS).fetchall()),
        roles=tuple(sorted({owner, *(role for (role,) in connection.execute(_ROLES).fetchall())})),
        tables=tuple(tables),
        globals=options.globals,
        digest=options.digest,
        sizes=_sizes(connection, moment),
    )


def _sizes(connection: "psycopg.Connection[tuple[Any, ...]]", moment: Moment) -> dict[str, int]:
    sizes = dict(connection.execute(_SIZES).fetchall())
    return {one.shown: int(sizes[one.oid] or 0) for one in moment.relations if one.oid in sizes}
