"""A capture: the whole dump, dumps of single tables, roles, and facts, all of one frozen moment.

The facts are asked for on the frozen transaction while `pg_dump` works: it is the server that computes them.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from recoup.errors import EmptySourceError
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Attributes, Member, Part, StreamPart, TreePart
from recoup.sources._base import Site
from recoup.sources._staged import StagedBytes, StagedFile
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Contents, Entry
from recoup.sources.postgres._choosing import Choice, alone
from recoup.sources.postgres._connection import Address, Ender, told
from recoup.sources.postgres._describing import record_of
from recoup.sources.postgres._dumping import (
    ArchiveDump,
    Dumper,
    GlobalsDump,
    PlainDump,
    dump_directory,
    sequences_in,
)
from recoup.sources.postgres._facts import describe, sequence_facts
from recoup.sources.postgres._freezing import Moment, frozen
from recoup.sources.postgres._options import Options
from recoup.sources.postgres._programs import Suite
from recoup.sources.postgres._record import (
    FACTS,
    GLOBALS,
    RECORD,
    TABLES,
    DatabaseRecord,
    FactsRecord,
    TableDump,
    encode,
    encode_facts,
)
from recoup.sources.postgres._relations import Relation, family, file_name, named, tables_in, vector_columns
from recoup.system.tempdirs import temporary_folder

_AT_ONCE = 1.0  # seconds in which an error that ended the snapshot is known
_ENDINGS = {"custom": ".dump", "directory": ".dir", "plain": ".sql"}


@dataclass
class PostgresCapture:
    """A database in a frozen moment.

    Attributes:
        moment: the frozen database.
        options: of the source.
        site: of the source.
        suite: the programs that dump.
        tables: those that get a dump of their own.
        leaving: what is done when the capture ends.
        record: what the dumps are of.
    """

    moment: Moment
    options: Options
    site: Site
    suite: Suite
    tables: Sequence[Relation]
    leaving: contextlib.ExitStack
    record: DatabaseRecord = field(init=False)
    _facts: Facts | None = None
    _asked: "Future[Facts] | None" = None
    _dumper: Dumper = field(init=False)
    _left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _notes: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        moment, options = self.moment, self.options
        self._dumper = Dumper(self.suite, moment.address, moment.snapshot, options.lock_wait_timeout, self._cause)
        dumps = [TableDump(one.schema, one.name, _table_part(one)) for one in self.tables]
        dump = _dump_part(moment.connection.info.dbname, options)
        self.record = record_of(moment, options, self.suite.version, dump, dumps)

    @property
    def frozen(self) -> Frozen:
        """The moment of the snapshot."""
        return Frozen(self.moment.time, self.moment.time)

    @property
    def method(self) -> str:
        """How it is dumped."""
        return f"pg_dump {self.suite.version}, {self.options.format} format, of a snapshot shared with the facts"

    @property
    def engine(self) -> str:
        """The server's version, and the database's encoding and collation."""
        record = self.record
        collation = record.locale or record.collate
        version = f" version {record.collation_version}" if record.collation_version else ""
        return f"PostgreSQL {record.server}, {record.encoding}, {record.provider} {collation}{version}"

    def parts(self) -> Iterator[Part]:
        """The record, the dumps, and at the end the facts.

        Raises:
            SourceError: a dump failed, or the server ended.
        """
        asked = self._asked = self._begin_to_ask()
        yield _text(RECORD, encode(self.record))
        sequences = yield from self._whole()
        for table in self.tables:
            yield from self._alone(table)
        if self.options.globals:
            yield StreamPart(GLOBALS, GlobalsDump(self._dumper, self.options.role_passwords))
        facts = asked.result()
        self._facts = dataclasses.replace(facts, values={**facts.values, **sequence_facts(sequences)})
        yield _text(FACTS, encode_facts(FactsRecord(self._facts, self._left_out)))

    def _begin_to_ask(self) -> "Future[Facts]":
        """Has the facts asked for in a thread, which ends with the capture."""
        pool = self.leaving.enter_context(ThreadPoolExecutor(1, thread_name_prefix="facts"))
        self.leaving.callback(Ender(self.moment.connection).kill)  # called before the pool waits for its thread
        return pool.submit(self._ask)

    def _cause(self) -> BaseException | None:
        """The error of the facts, with which the transaction and its snapshot ended; None where they go on."""
        try:
            return self._asked.exception(timeout=_AT_ONCE) if self._asked else None
        except TimeoutError:
            return None

    def _ask(self) -> Facts:
        options, moment = self.options, self.moment
        with told(moment.address.mask):
            facts = describe(
                moment.connection,
                options.digest,
                options.probes,
                self.site.seed,
                sequences=False,
                standby=moment.standby,
            )
            self._note_unprobed()
            return facts

    def _whole(self) -> Generator[Part, None, dict[str, str]]:
        """The whole dump; returns the sequences' values in it."""
        dumper, name, compression = self._dumper, self.record.dump, self._compression()
        if self.options.format == "custom":
            archive = ArchiveDump(dumper, compression, name)
            yield StreamPart(name, archive)
            return archive.sequences()
        if self.options.format == "plain":
            plain = PlainDump(dumper, name)
            yield StreamPart(name, plain)
            return plain.sequences()
        target = self.leaving.enter_context(temporary_folder("postgres", self.site.staging)) / "dump"
        contents = dump_directory(dumper, [*compression, f"--jobs={self.options.jobs}"], target, name)
        members = list(_members(target))
        yield TreePart(name, iter(members), sum(member.size for member in members))
        return sequences_in(contents.entries)

    def _compression(self) -> tuple[str, ...]:
        if self.site.compresses:
            return ("--compress=0",)
        return ("--compress=zstd",) if _programs.can_compress(self.suite, "zstd") else ()

    def _alone(self, table: Relation) -> Iterator[Part]:
        """A dump of one table with all that it needs, and without the rows of the others."""
        part = _table_part(table)
        wanted = {(one.schema, one.name) for one in family(table, self.moment.relations)}
        others = [one for one in self.moment.relations if one.kind in "rpm" and (one.schema, one.name) not in wanted]
        without = [f"--exclude-table-data={one.pattern}" for one in others]
        choices: list[Choice] = []

        def choose(contents: Contents) -> Sequence[Entry]:
            choices.append(alone(contents, wanted))
            return choices[-1].entries

        yield StreamPart(part, ArchiveDump(self._dumper, ("--no-blobs", *self._compression(), *without), part, choose))
        self._left_out[part] = tuple(entry.shown for entry in choices[-1].left_out)

    def _note_unprobed(self) -> None:
        keyed = {(one.schema, one.name) for one in self.moment.relations if one.key}
        for column in vector_columns(self.moment.connection) if self.options.probes else ():
            where = f"{column.schema}.{column.table}.{column.column}"
            if (column.schema, column.table) not in keyed:
                self._note("unverified", where, "its neighbours are not recorded: the table has no primary key")
            elif not column.dimensions:
                self._note("unverified", where, "its neighbours are not recorded: it takes vectors of any length")

    def _note(self, what: str, item: str, message: str) -> None:
        self._notes.append(Finding(what, shown(item), message, harmless=True))

    def facts(self) -> Facts:
        """What a correct copy must show."""
        return self._facts or Facts()

    def findings(self) -> Iterable[Finding]:
        """What the programs warned of, and what was left out by the nature of the server."""
        yield from self._notes
        for line in self._dumper.warnings:
            yield Finding("warning", self.record.dump, shown(line), harmless=True)
        if self.moment.standby:
            for table in tables_in(self.moment.relations):
                if table.unlogged:
                    message = "its rows are left out: it is unlogged, and the server is a standby"
                    yield Finding("skipped", f"table {shown(table.shown)}", message, harmless=True)

    def brackets(self) -> tuple[Bracket, ...]:
        """None: the facts come from the frozen moment itself."""
        return ()


@contextlib.contextmanager
def captured(address: Address, options: Options, site: Site) -> Iterator[PostgresCapture]:
    """Freezes a database until leaving.

    Raises:
        UnreachableError: nobody answers, or there is no such database.
        RefusedError: only programs older than the server are installed.
        SourceError: no programs are installed, a table that the settings name is not there, or one stays locked.
        EmptySourceError: there are no tables, and `allow_empty` is off.
    """
    with address.connected() as connection:
        suite = _programs.for_server(connection.info.server_version // 10000, programs_folder(options, site))
    with frozen(address, options.lock_wait_timeout, site.clock) as moment:
        require_tables(moment.relations, options, moment.address)
        with contextlib.ExitStack() as leaving:
            yield PostgresCapture(moment, options, site, suite, named(moment.relations, options.tables), leaving)


def programs_folder(options: Options, site: Site) -> Path | None:
    """The folder of programs that the settings name."""
    return None if options.programs is None else site.base / options.programs.expanduser()


def require_tables(found: Sequence[Relation], options: Options, address: Address) -> None:
    """Looks whether the tables that the settings name are there, and anything at all.

    Raises:
        SourceError: some are not, or a name without schema is that of several.
        EmptySourceError: there are no tables, and `allow_empty` is off.
    """
    if not options.allow_empty and not any(one.kind in "rp" for one in found):
        raise EmptySourceError(
            f"{address.shown} has no tables", "Is it the right database? If it may be empty, set allow_empty: true."
        )
    named(found, options.tables)


def _dump_part(database: str, options: Options) -> str:
    stem = file_name(database)
    name = f"{stem}{_ENDINGS[options.format]}"
    return f"%{ord(stem[0]):02X}{name[1:]}" if name == GLOBALS else name


def _table_part(table: Relation) -> str:
    return f"{TABLES}/{file_name(table.schema, table.name)}.dump"


def _text(name: str, data: bytes) -> StreamPart:
    return StreamPart(name, StagedBytes(data), len(data))


def _members(folder: Path) -> Iterator[Member]:
    """The files of a staged folder."""
    status = folder.stat()
    yield Member(".", "folder", Attributes(0o700, status.st_mtime_ns))
    for path in sorted(folder.iterdir()):
        status = path.stat()
        attributes = Attributes(0o600, status.st_mtime_ns)
        yield Member(path.name, "file", attributes, status.st_size, content=StagedFile(path))
