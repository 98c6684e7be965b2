"""A database of a running PostgreSQL server, version 15 or newer.

What is frozen and how stands in `_freezing`; the dumps are those of `pg_dump` (`_dumping`), the facts come from the same snapshot
(`_facts`).
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, SecretStr

from recoup.errors import SourceError
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part
from recoup.sources._base import Existing, Placement, Site, Source, SourceOptions, Symptom
from recoup.sources.postgres._connection import Address, UnreachableError, recorded
from recoup.sources.postgres._options import Options
from recoup.sources.postgres._restore_options import DrillOptions, RestoreOptions

if TYPE_CHECKING:
    from recoup.sources.postgres._capture import PostgresCapture

__all__ = ["Options", "PostgresSource", "connect"]

_SIZE = """
    SELECT coalesce(sum(pg_catalog.pg_table_size(c.oid)), 0)::bigint
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'S') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""
_ABOUT = "SELECT current_user, pg_catalog.current_setting('server_version'), pg_catalog.pg_is_in_recovery()"
_LEAST = 100_000  # bytes of a dump of nothing, roughly


class PostgresSource:
    """One database."""

    exact = False

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site

    @property
    def address(self) -> Address:
        """Where the database is.

        Raises:
            SourceError: the URL is none.
            RefusedError: it is not this machine, and `allow_remote` is off.
        """
        address = Address.of(self._options, self._site.base)
        address.require_allowed(allow_remote=self._site.allow_remote)
        return address

    # --- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Connects, and looks for programs, the named tables, and rights that are missing.

        Raises:
            SourceError: what stops a capture.
            RefusedError: only programs older than the server are installed, or the server is too old.
        """
        from recoup.sources.postgres import _checking
        from recoup.sources.postgres._capture import programs_folder, require_tables
        from recoup.sources.postgres._relations import relations

        options, address = self._options, self.address
        with address.connected() as connection:
            major = connection.info.server_version // 10000
            _checking.require_programs(major, programs_folder(options, self._site), globals_too=options.globals)
            require_tables(relations(connection), options.model_copy(update={"allow_empty": True}), address)
            _checking.require_rights(connection, address, passwords=options.role_passwords)

    def present(self) -> bool:
        """Whether a server answers that has the database."""
        try:
            with self.address.connected():
                return True
        except UnreachableError:
            return False

    def diagnose(self) -> Iterator[Symptom]:
        """The server's version, and the role; what that may not read, `check` names.

        Raises:
            SourceError: nobody answers.
        """
        with self.address.connected() as connection:
            role, version, standby = connection.execute(_ABOUT).fetchall()[0]
        kind = "a standby, " if standby else ""
        yield Symptom("ok", f"PostgreSQL {version}, {kind}answers; the role {shown(role)} may read all that is dumped")

    def estimate(self) -> int:
        """Bytes of all tables, from the server's own book-keeping; those with a dump of their own count twice."""
        from recoup.sources.postgres._relations import family, named, relations

        with self.address.connected() as connection:
            whole = int(connection.execute(_SIZE).fetchall()[0][0])
            found = relations(connection) if self._options.tables else ()
            again = [one.oid for table in named(found, self._options.tables) for one in family(table, found)]
            query = (
                "SELECT coalesce(sum(pg_catalog.pg_table_size(oid::regclass)), 0)::bigint FROM unnest(%s::oid[]) AS oid"
            )
            return _LEAST + whole + int(connection.execute(query, [again]).fetchall()[0][0])

    def settings(self) -> Mapping[str, Any]:
        """The settings, with the address as parameters, and without password."""
        return recorded(self._options)

    # --- capture -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def capture(self) -> "Iterator[PostgresCapture]":
        """Freezes the database by a transaction whose snapshot the dumps share.

        Raises:
            SourceError: it cannot be captured.
            EmptySourceError: it has no tables, and `allow_empty` is off.
            RefusedError: only programs older than the server are installed.
        """
        from recoup.sources.postgres._capture import captured

        with captured(self.address, self._options, self._site) as capture:
            yield capture

    def facts(self) -> Facts:
        """What the database shows now."""
        from recoup.sources.postgres._facts import describe, steady

        options = self._options
        with self.address.connected() as connection, steady(connection):
            standby = bool(connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchall()[0][0])
            return describe(connection, options.digest, options.probes, self._site.seed, standby=standby)

    # --- restore -----------------------------------------------------------------------------------------------------

    def recover(self) -> tuple[str, ...]:
        """Drops the databases that killed restores and drills had made on this server."""
        from recoup.sources.postgres._restore import recover

        return recover(self.address)

    def existing(self) -> Existing:
        """The database; what a restore does depends on the set (`foresee`)."""
        shown = self.address.shown
        if not self.present():
            return Existing(shown, present=False, description="no such database", consequence="It is made.")
        consequence = "A restored one takes its name; this one is kept as NAME_before_TIME."
        return Existing(shown, present=True, description="database", consequence=consequence)

    def foresee(self, parts: Iterable[Part], options: BaseModel) -> Existing:
        """What a restore of these parts would meet and do.

        Raises:
            RestoreError: the server cannot take it.
            BusyError: somebody uses what is there.
        """
        from recoup.sources.postgres import _restore, _tables_back

        chosen = restore_options(options)
        if chosen.tables:
            return _tables_back.foresee(parts, chosen, self.address, self.programs)
        return _restore.foresee(parts, chosen, self.address, self.programs)

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:
        """Puts the database, or some tables of it, in the place of what is there.

        Raises:
            BusyError: somebody uses what is there.
            DamagedError: the stored bytes are wrong.
            RestoreError: it failed; what is there is as it was.
        """
        from recoup.sources.postgres import _restore, _tables_back

        chosen, jobs = restore_options(options), self._options.jobs
        if chosen.tables:
            return _tables_back.restore_tables(parts, chosen, self.address, self._site, self.programs, jobs)
        return _restore.restore_database(parts, chosen, self.address, self._site, self.programs, jobs)

    @property
    def programs(self) -> Path | None:
        """The folder of programs that the settings name."""
        folder = self._options.programs
        return None if folder is None else self._site.base / folder.expanduser()

    def scratch(self, folder: Path) -> contextlib.AbstractContextManager[Source]:
        """A twin in a temporary database, on a server that the settings allow for it."""
        from recoup.sources.postgres._twin import scratch

        return scratch(self._options, self._site, self.address, self.programs, folder)

    def drilled(self, options: DrillOptions) -> Self:
        """The same source, with a drill made where the options say."""
        changes: dict[str, Any] = {}
        if options.scratch_url:
            changes["scratch_url"] = SecretStr(options.scratch_url)
        if options.drill_here is not None:
            changes["drill_here"] = options.drill_here
        return type(self)(self._options.model_copy(update=changes), self._site)


def restore_options(options: BaseModel) -> RestoreOptions:
    """Options of this plug.

    Raises:
        SourceError: they are those of another one.
    """
    if not isinstance(options, RestoreOptions):
        raise SourceError(f"{type(options).__name__} are no options of a restore to PostgreSQL")
    return options


def drilled(source: PostgresSource, options: DrillOptions) -> PostgresSource:
    """The source whose drill is made where the options say."""
    return source.drilled(options)


def connect(options: Options, site: Site) -> PostgresSource:
    """The source that the settings describe."""
    return PostgresSource(options, site)
