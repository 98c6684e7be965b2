"""What would stop a capture: missing rights, each with what is missing, and programs that are too old or not there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoup.errors import SourceError
from recoup.model.names import shown
from recoup.sources.postgres import _programs
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._relations import OF_USERS

if TYPE_CHECKING:
    import psycopg

_NAMED = 5  # of each kind, in the message

_UNREADABLE = f"""
    SELECT n.nspname || '.' || c.relname,
        CASE WHEN NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN 'USAGE on its schema' ELSE 'SELECT' END
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND {OF_USERS}
      AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
        WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
        ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
    ORDER BY 1
"""  # noqa: S608 - no value comes into it

_GUARDED = f"""
    SELECT n.nspname || '.' || c.relname
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid) AND {OF_USERS}
    ORDER BY 1
"""  # noqa: S608 - no value comes into it

_OBJECTS = """
    SELECT count(*) FROM pg_catalog.pg_largeobject_metadata AS l
    WHERE NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
      AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(l.lomacl) AS a
        WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
"""

_PASSWORDS = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')"


def require_rights(
    connection: "psycopg.Connection[tuple[Any, ...]]", address: Address, *, passwords: bool, objects: bool = True
) -> None:
    """Looks whether the role may read all that a dump reads.

    Args:
        connection: of the role.
        address: for the message.
        passwords: whether the roles' password hashes are wanted.
        objects: whether large objects are dumped.

    Raises:
        SourceError: it may not; all that is missing is named.
    """
    role = shown(str(connection.execute("SELECT current_user").fetchall()[0][0]))
    missing = [*_tables(connection, role), *_rows(connection, role)]
    if objects:
        missing += _large_objects(connection, role)
    if passwords and not connection.execute(_PASSWORDS).fetchall()[0][0]:
        missing.append(("the roles' password hashes", "Connect as a superuser, or leave out `role_passwords`."))
    if missing:
        what = "; ".join(text for text, _ in missing)
        hints = " ".join(dict.fromkeys(hint for _, hint in missing))
        raise SourceError(f"the role {role} may not read everything of {address.shown}: {what}", hints)


def _tables(connection: "psycopg.Connection[tuple[Any, ...]]", role: str) -> Iterator[tuple[str, str]]:
    found = [f"{shown(name)} (needs {needs})" for name, needs in connection.execute(_UNREADABLE).fetchall()]
    if found:
        yield _list(found), f'GRANT pg_read_all_data TO "{role}" gives the rights to read all tables and sequences.'


def _rows(connection: "psycopg.Connection[tuple[Any, ...]]", role: str) -> Iterator[tuple[str, str]]:
    found = [shown(name) for (name,) in connection.execute(_GUARDED).fetchall()]
    if found:
        yield (
            f"row security hides rows of {_list(found)}",
            f'ALTER ROLE "{role}" BYPASSRLS lets it read all rows; a dump of some of them would be refused.',
        )


def _large_objects(connection: "psycopg.Connection[tuple[Any, ...]]", role: str) -> Iterator[tuple[str, str]]:
    count = connection.execute(_OBJECTS).fetchall()[0][0]
    if count:
        yield (
            f"{count:,} large objects",
            f'pg_read_all_data does not cover large objects: GRANT SELECT ON LARGE OBJECT n TO "{role}" for each, '
            "or back up as their owner or as a superuser.",
        )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def require_programs(major: int, folder: Path | None, *, globals_too: bool) -> None:
    """Looks whether there are programs for a server of this major version.

    Raises:
        RefusedError: there are only older ones.
        SourceError: there are none.
    """
    suite = _programs.for_server(major, folder)
    if globals_too and not _programs.has(suite, "pg_dumpall"):
        raise SourceError(f"there is no pg_dumpall in {suite.folder}", _programs.how_to_install(major))
