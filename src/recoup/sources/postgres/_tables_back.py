"""Restoring some tables: into a scratch database, checked, then brought over into the present one in a single transaction.

The tables that are there move into a schema of their own before, with their indexes, keys and sequences; foreign keys of other
tables that lead to them are made anew. What cannot be carried over by itself (views, for example) is named, and nothing is done.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql

from recoup.errors import BusyError, DamagedError, RestoreError
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.structs import Struct
from recoup.sources._base import Existing, Placement, Site
from recoup.sources.postgres import _preflight, _programs
from recoup.sources.postgres._archive import Contents, Entry, Intake, read_contents
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._contents import Chosen, for_tables
from recoup.sources.postgres._preflight import Needs
from recoup.sources.postgres._programs import Suite
from recoup.sources.postgres._record import FACTS, DatabaseRecord, read_facts
from recoup.sources.postgres._relations import Relation, family, relations
from recoup.sources.postgres._restore import digest_of, first_record, form_of, refusing, temporary_database
from recoup.sources.postgres._restore_checking import facts_of, of_tables, probes_in, require_equal
from recoup.sources.postgres._restore_filling import Filler, suite_for
from recoup.sources.postgres._restore_intents import Intents
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres._restore_server import Form, Server, Session, beside, listed, maintaining
from recoup.sources.postgres._tables_statements import Carrier

if TYPE_CHECKING:
    import psycopg

_IN_SCRATCH = ("rows", "digest", "digest of a sample", "columns")
"""What a table shows wherever it is; keys to tables that stay behind come later."""

_DEPENDENTS = """
    SELECT 'view ' || r.ev_class::regclass::text
    FROM pg_depend AS d JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s) AND r.ev_class <> ALL (%(oids)s)
    UNION
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d
    WHERE d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass) AND d.refclassid = 'pg_type'::regclass
      AND d.refobjid IN (SELECT reltype FROM pg_class WHERE oid = ANY (%(oids)s)) AND d.deptype = 'n'
    UNION
    SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s)
    UNION
    SELECT 'table ' || inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = ANY (%(oids)s) AND inhrelid <> ALL (%(oids)s)
    UNION
    SELECT 'table ' || inhparent::regclass::text FROM pg_inherits
    WHERE inhrelid = ANY (%(oids)s) AND inhparent <> ALL (%(oids)s)
    UNION
    SELECT 'publication ' || p.pubname FROM pg_publication_rel AS m JOIN pg_publication AS p ON p.oid = m.prpubid
    WHERE m.prrelid = ANY (%(oids)s)
    ORDER BY 1
"""

_KEYS = """
    SELECT n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = ANY (%(oids)s) AND k.conrelid <> ALL (%(oids)s)
    ORDER BY 1, 2, 3
"""

_HOLDERS = """
    SELECT DISTINCT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''), coalesce(a.client_addr::text, 'local'),
        coalesce(a.state, ''), coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8
    FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND l.locktype = 'relation' AND l.relation = ANY (%(oids)s) AND a.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 6 DESC
"""


def foresee(parts: Iterable[Part], options: RestoreOptions, address: Address, folder: Path | None) -> Existing:
    """What a restore of tables would meet and do; reads the record alone.

    Raises:
        RestoreError: the database cannot take them, or something depends on those that are there.
    """
    record = first_record(iter(parts))
    with refusing(), maintaining(address, options.maintenance) as server:
        _require(server, record, address)
        _suite(record, server, folder)
        with address.connected() as connection:
            present = _present(relations(connection), [_split(name, record) for name in options.tables])
            _require_free(connection, present)
    names = ", ".join(shown(one.shown) for one in present)
    return Existing(
        address.shown,
        present=bool(present),
        description=f"tables {names}" if names else "no tables of these names",
        consequence="They move into a schema of their own; the restored ones take their place in one transaction."
        if names
        else "They are made, in one transaction.",
        steps=(
            "a scratch database is made, and the tables with what they need are restored into it and compared",
            *([f"{names}: locked, and moved into a schema recoup_before_TIME"] if names else []),
            "the tables come over with keys, indexes, triggers, owner and rights, and are compared again",
            "foreign keys that lead to them are made anew; if one does not hold, nothing is changed",
            *(["the old ones are dropped"] if options.drop_old and names else []),
        ),
    )


def _split(name: str, record: DatabaseRecord) -> tuple[str, str]:
    """Schema (empty where it is not told) and name; a name with dots is told by the record's tables."""
    if name in record.sizes:
        known = [one for one in record.tables if f"{one.schema}.{one.name}" == name]
        if known:
            return known[0].schema, known[0].name
        schema, _, rest = name.partition(".")
        return schema, rest
    return "", name


def _suite(record: DatabaseRecord, server: Server, folder: Path | None) -> Suite:
    return suite_for(record.program, server.major, folder, "psql" if record.dump_format == "plain" else "pg_restore")


def _form(record: DatabaseRecord) -> Form:
    return replace(form_of(record), owner=record.owner)


def _require(server: Server, record: DatabaseRecord, address: Address) -> None:
    if not server.has(address.database):
        raise RestoreError(
            f"there is no database {shown(address.database)} that tables could be put into",
            "Leave out --tables to restore the whole one, or make an empty one.",
        )
    _preflight.require(server, address.database, Needs.of_record(record), replaces=False)


def restore_tables(
    parts: Iterable[Part], options: RestoreOptions, address: Address, site: Site, folder: Path | None, jobs: int
) -> Placement:
    """Restores some tables.

    Args:
        parts: as captured.
        options: as the person wants it; which tables, among others.
        address: of the database that they come into.
        site: of the source.
        folder: the only place to look for programs in, where the settings say one.
        jobs: tables restored at the same time.

    Raises:
        BusyError: somebody holds a table that has to give way.
        DamagedError: the stored bytes are wrong.
        RestoreError: it failed, or something depends on what is there; the database is as it was.
    """
    remaining = iter(parts)
    record = first_record(remaining)
    with refusing(), maintaining(address, options.maintenance) as server:
        _require(server, record, address)
        suite = _suite(record, server, folder)
        intents = Intents(server.identifier)
        with temporary_database(server, address.database, "tables", _form(record), intents, site) as scratch:
            filler = Filler(suite, server.at(scratch), server.major, site.staging, jobs)
            chosen, facts = _filled(remaining, record, filler, options.tables)
            bringing = _Bringing(server.at(scratch), address, chosen, facts, record, options, site)
            kept = bringing.run()
            server.drop(scratch)
            intents.settle(scratch)
    return Placement(f"{address.shown}: {', '.join(shown(one) for one in chosen.names)}", kept)


def _filled(
    parts: Iterator[Part], record: DatabaseRecord, filler: Filler, names: Sequence[str]
) -> tuple[Chosen, Facts]:
    """Restores the tables of the whole dump into a scratch database, and compares what came in."""
    seen: list[Chosen] = []

    def choose(contents: Contents) -> Sequence[Entry]:
        seen.append(for_tables(contents, names))
        return seen[-1].entries

    facts: Facts | None = None
    for part in parts:
        if part.name == record.dump:
            filler.fill(part, choose)
            if not seen:  # plain: all of it came in, and the server tells what there is
                choose(_contents_of(filler))
        elif part.name == FACTS and isinstance(part, StreamPart):
            facts = read_facts(part).facts
    if not seen or facts is None:
        raise DamagedError(f"the set lacks {shown(FACTS if seen else record.dump)}")
    chosen = seen[-1]
    expected = of_tables(facts, chosen.names)
    found = facts_of(filler.address, expected, digest_of(record), chosen.names)
    require_equal(_bare(expected), _bare(found), "what came into the scratch database")
    return chosen, expected


def _bare(facts: Facts) -> Facts:
    values = {
        subject: {name: value for name, value in of.items() if name in _IN_SCRATCH}
        for subject, of in facts.values.items()
        if subject.startswith("table ")
    }
    return replace(facts, values=values)


def _contents_of(filler: Filler) -> Contents:
    """The table of contents that a dump of the scratch database would have."""
    with _programs.running(filler.suite, "pg_dump", ["--format=custom"], filler.address) as program:
        return read_contents(Intake(program.read, "the scratch database"))


class _Bringing(Struct):
    """Tables on their way from the scratch database into the present one."""

    scratch: Address
    address: Address
    chosen: Chosen
    expected: Facts
    record: DatabaseRecord
    options: RestoreOptions
    site: Site

    def run(self) -> str:
        """Brings them over; returns where the old ones are kept, empty where there are none."""
        with self.scratch.connected() as source, self.address.connected() as target, target.transaction():
            encoding = "UTF8" if self.record.encoding == "SQL_ASCII" else self.record.encoding
            for connection in (source, target):
                connection.execute(sql.SQL("SET client_encoding TO {}").format(sql.Literal(encoding)))
            target.execute(f"SET LOCAL lock_timeout = {int(self.options.wait * 1000)}".encode())
            target.execute("SET LOCAL search_path = ''")
            target.execute("SET LOCAL check_function_bodies = off")
            present = _present(relations(target), self.chosen.tables)
            keys, kept = self._out_of_the_way(target, present)
            self._put(source, target, keys)
            self._check(target)
            if kept and self.options.drop_old:
                target.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(kept)))
                return ""
        return f"schema {kept}" if kept else ""

    def _out_of_the_way(
        self, target: "psycopg.Connection[tuple[Any, ...]]", present: Sequence[Relation]
    ) -> tuple[list[tuple[str, str, str, str]], str]:
        """Moves the present tables away; returns the foreign keys that led to them, and their new schema."""
        if not present:
            return [], ""
        self._lock(target, present)
        _require_free(target, present)
        keys = target.execute(_KEYS.encode(), {"oids": [one.oid for one in present]}).fetchall()
        for schema, table, name, _ in keys:
            command = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            target.execute(command.format(sql.Identifier(schema, table), sql.Identifier(name)))
        kept = beside("recoup", "before", self.site.clock.now())
        target.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(kept)))
        for one in present:
            target.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(one.identifier, sql.Identifier(kept)))
        return [(str(a), str(b), str(c), str(d)) for a, b, c, d in keys], kept

    def _lock(self, target: "psycopg.Connection[tuple[Any, ...]]", present: Sequence[Relation]) -> None:
        oids = {"oids": [one.oid for one in present]}
        if self.options.terminate:
            for row in target.execute(_HOLDERS.encode(), oids).fetchall():
                target.execute("SELECT pg_terminate_backend(%s)", [row[0]])
        try:
            with target.transaction():
                names = sql.SQL(", ").join(one.identifier for one in present)
                target.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        except errors.LockNotAvailable:
            holders = [Session(*row) for row in target.execute(_HOLDERS.encode(), oids).fetchall()]
            raise BusyError(
                f"the tables are in use for more than {self.options.wait:g} s: {listed(holders) or 'by somebody'}",
                "Wait until that has ended, raise --wait, or let --terminate end the sessions.",
            ) from None

    def _put(
        self,
        source: "psycopg.Connection[tuple[Any, ...]]",
        target: "psycopg.Connection[tuple[Any, ...]]",
        keys: Sequence[tuple[str, str, str, str]],
    ) -> None:
        carrier = Carrier(source, target)
        for entry in self.chosen.statements:
            carrier.carry(entry)
        for entry in self.chosen.left_out:
            carrier.carry(entry)
        for schema, table, name, definition in keys:
            command = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(
                sql.Identifier(schema, table), sql.Identifier(name)
            )
            carrier.run(f"the foreign key {name} of {schema}.{table}", command, definition)

    def _check(self, target: "psycopg.Connection[tuple[Any, ...]]") -> None:
        from recoup.sources.postgres._facts import describe, settle

        settle(target)
        found = describe(
            target,
            digest_of(self.record),
            probes_in(self.expected),
            self.expected.seed or 0,
            only=self.chosen.names,
        )
        require_equal(self.expected, found, "what came into the database")


def _present(found: Sequence[Relation], tables: Sequence[tuple[str, str]]) -> tuple[Relation, ...]:
    """The tables that are there under these names, with all their partitions."""
    named = [
        one
        for one in found
        if one.kind in "rp" and any(one.name == name and schema in ("", one.schema) for schema, name in tables)
    ]
    return tuple({one.oid: one for table in named for one in family(table, found)}.values())


def _require_free(connection: "psycopg.Connection[tuple[Any, ...]]", present: Sequence[Relation]) -> None:
    """Looks for what would go on leading to the old tables.

    Raises:
        RestoreError: there is such a thing; all of it is named.
    """
    found = connection.execute(_DEPENDENTS.encode(), {"oids": [one.oid for one in present]}).fetchall()
    if found:
        raise RestoreError(
            "these depend on the tables that are there, and would not see the restored ones: "
            f"{listed([shown(one) for (one,) in found], 20)}",
            "Drop them first and make them again afterwards, or restore the whole database under another name: "
            "--target SOURCE=URL.",
        )
