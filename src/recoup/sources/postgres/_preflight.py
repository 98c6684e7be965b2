"""What would stop a restore, looked for before anything is made: roles and extensions, rights, versions, sessions in the way."""

import contextlib
from collections.abc import Iterator, Sequence

from recoup.errors import BusyError, RestoreError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources.postgres._archive import Contents
from recoup.sources.postgres._record import GLOBALS, DatabaseRecord
from recoup.sources.postgres._restore_server import Server, listed

_ROLE = "SELECT rolsuper, rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user"
_OWNS = """
    SELECT pg_catalog.pg_has_role(datdba, 'USAGE') FROM pg_catalog.pg_database WHERE datname = %s
"""
_MAY_BECOME = "SELECT pg_catalog.pg_has_role(rolname, 'MEMBER') FROM pg_catalog.pg_roles WHERE rolname = %s"
_EXTENSION = """
    SELECT coalesce((SELECT bool_or(v.trusted) FROM pg_catalog.pg_available_extension_versions AS v
                     WHERE v.name = e.name AND v.version = e.default_version), false)
    FROM pg_catalog.pg_available_extensions AS e WHERE e.name = %s
"""
_PREPARED = "SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = %s"

_LOOKS = 20  # a tenth of a second apart


class Needs(Struct):
    """What a dump needs on the server that it goes to.

    Attributes:
        major: version of the server that it is of; 0 where nobody knows.
        extensions: their names.
        roles: names of roles that own something or have rights.
        owner: the role that owns the database; empty for the one that restores.
        globals: whether the set has the roles' definitions.
    """

    major: int
    extensions: tuple[str, ...]
    roles: tuple[str, ...]
    owner: str = ""
    globals: bool = False

    @classmethod
    def of_record(cls, record: DatabaseRecord) -> "Needs":
        """Those of a captured database."""
        names = tuple(one.name for one in record.extensions)
        return cls(_major(record.server), names, record.roles, record.owner, record.globals)

    @classmethod
    def of_contents(cls, contents: Contents) -> "Needs":
        """Those of an archive that nobody wrote a record of."""
        names = tuple(sorted({one.tag for one in contents.entries if one.description == "EXTENSION"}))
        roles = tuple(sorted({one.owner for one in contents.entries if one.owner}))
        return cls(_major(contents.server), names, roles)


def _major(version: str) -> int:
    first = version.partition(".")[0]
    digits = "".join(one for one in first if one.isdecimal())
    return int(digits) if digits else 0


def require(
    server: Server, name: str, needs: Needs, *, replaces: bool, makes: bool = True, ownerless: bool = False
) -> None:
    """Looks for all that would stop a restore, and says all of it.

    Args:
        server: where it goes.
        name: the database.
        needs: of the dump.
        replaces: whether the database that is there is to give way.
        makes: whether a database is made.
        ownerless: whether owners and rights are left out.

    Raises:
        RestoreError: something would.
    """
    problems = list(_problems(server, name, needs, replaces=replaces, makes=makes, ownerless=ownerless))
    if problems:
        what = "; ".join(text for text, _ in problems)
        hints = " ".join(dict.fromkeys(hint for _, hint in problems))
        raise RestoreError(f"{server.at(name).shown} cannot take the restore: {what}", hints)


def _problems(
    server: Server, name: str, needs: Needs, *, replaces: bool, makes: bool, ownerless: bool
) -> Iterator[tuple[str, str]]:
    if server.value("SELECT pg_catalog.pg_is_in_recovery()"):
        yield "it is a standby, which takes no changes", "Restore to the primary server."
        return
    if needs.major > server.major:
        yield (
            f"the dump is of a server of version {needs.major}, this one is of version {server.major}",
            f"A dump goes into a server of the same version or a newer one: restore to version {needs.major} or newer.",
        )
    superuser, creates = server.connection.execute(_ROLE.encode()).fetchall()[0]
    if makes and not (superuser or creates):
        role = shown(str(server.value("SELECT current_user")))
        yield f"the role {role} may not make databases", f'ALTER ROLE "{role}" CREATEDB gives the right.'
    if replaces and server.value(_OWNS, name) is False:
        yield (
            f"the role {shown(str(server.value('SELECT current_user')))} does not own the database {shown(name)}",
            "Restore as its owner, as a member of that role, or as a superuser.",
        )
    yield from _extensions(server, needs.extensions, superuser=superuser)
    if not ownerless:
        yield from _roles(server, needs, superuser=superuser)


def _extensions(server: Server, names: Sequence[str], *, superuser: bool) -> Iterator[tuple[str, str]]:
    found = {name: server.value(_EXTENSION, name) for name in names if name != "plpgsql"}
    if missing := [shown(name) for name, trusted in found.items() if trusted is None]:
        hint = "Install them on the server (for `vector`: the package postgresql-N-pgvector, or pgvector from source)."
        yield f"extensions are not installed on the server: {listed(missing)}", hint
    if closed := [shown(name) for name, trusted in found.items() if trusted is False and not superuser]:
        yield f"only a superuser may create the extensions {listed(closed)}", "Restore as a superuser."


def _roles(server: Server, needs: Needs, *, superuser: bool) -> Iterator[tuple[str, str]]:
    names = dict.fromkeys([*needs.roles, *([needs.owner] if needs.owner else [])])
    found = {name: server.value(_MAY_BECOME, name) for name in names}
    if missing := [shown(name) for name, member in found.items() if member is None]:
        where = f"their definitions are in the set's {GLOBALS}" if needs.globals else "CREATE ROLE makes them"
        yield f"roles are not there: {listed(missing, 20)}", f"Make them first: {where}."
    if strange := [shown(name) for name, member in found.items() if member is False]:
        role = shown(str(server.value("SELECT current_user")))
        if not superuser:
            yield (
                f"the role {role} is no member of the roles {listed(strange, 20)}, so it cannot give them what they own",
                f'GRANT each of them TO "{role}", or restore as a superuser.',
            )


def require_settable(server: Server, name: str, roles: Sequence[str]) -> None:
    """Looks whether settings of roles in a database could be carried over.

    Raises:
        RestoreError: there are some, and only a superuser may.
    """
    superuser, _ = server.connection.execute(_ROLE.encode()).fetchall()[0]
    if roles and not superuser:
        raise RestoreError(
            f"{server.at(name).shown} has settings of its own for the roles {listed([shown(one) for one in roles])}, "
            "which only a superuser can carry over",
            "Restore as a superuser, or ALTER ROLE ... IN DATABASE ... RESET ALL first.",
        )


def missing_roles(server: Server, needs: Needs) -> tuple[str, ...]:
    """Roles that the dump needs and that are not there."""
    names = dict.fromkeys([*needs.roles, *([needs.owner] if needs.owner else [])])
    return tuple(name for name in names if server.value(_MAY_BECOME, name) is None)


def require_alone(server: Server, name: str, *, terminate: bool) -> None:
    """Looks whether a database could be renamed or dropped now.

    Raises:
        BusyError: somebody uses it; everybody who does is named.
    """
    if prepared := server.value(_PREPARED, name):
        raise BusyError(
            f"{server.at(name).shown} has {prepared} prepared transactions",
            "COMMIT PREPARED or ROLLBACK PREPARED each; pg_prepared_xacts lists them.",
        )
    if not terminate and (found := server.sessions(name)):
        raise busy(server, name, found)


def require_left(server: Server, name: str, *, terminate: bool) -> None:
    """Looks the same before a restore begins, with a little patience.

    A session whose client has just left is listed until its process has ended, such as that of a backup a moment ago.

    Raises:
        BusyError: somebody stays.
    """
    for _ in range(_LOOKS - 1):
        with contextlib.suppress(BusyError):
            return require_alone(server, name, terminate=terminate)
        server.value("SELECT pg_catalog.pg_sleep(0.1)")
    return require_alone(server, name, terminate=terminate)


def busy(server: Server, name: str, found: Sequence[object]) -> BusyError:
    """Says who uses a database."""
    return BusyError(
        f"{server.at(name).shown} is in use by {len(found)} session{'s'[: len(found) != 1]}: {listed(found, 10)}",
        "Stop the application, or let --terminate end the sessions.",
    )
