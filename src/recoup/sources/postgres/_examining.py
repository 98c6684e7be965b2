"""What `recoup verify` asks of a database's dumps besides the hashes: are they whole, and do they hold what the facts say?

Every dump is decoded to its end, its rows are counted and compared with the facts; `pg_restore` decodes it once more where it is
installed and can. No server is needed.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recoup.errors import DamagedError, RecoupError
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part, Reader, StreamPart, TreePart
from recoup.model.reports import Damage
from recoup.model.secrets import Masker
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Contents, Intake, read_contents
from recoup.sources.postgres._blocks import Counted, count_file, read_blocks
from recoup.sources.postgres._plain import PlainWatch
from recoup.sources.postgres._record import FACTS, GLOBALS, RECORD, DatabaseRecord, TableDump, read_facts, read_record
from recoup.system.programs import Program, ProgramFailedError
from recoup.system.tempdirs import temporary_folder
from recoup.system.unpacking import write_tree

_READ = 1 << 20  # bytes read at once
_ENDINGS = ("", ".gz", ".zst", ".lz4")


@dataclass
class _Look:
    """What was seen of a source so far."""

    record: DatabaseRecord | None = None
    facts: Facts | None = None
    seen: set[str] = field(default_factory=set)
    rows: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Part to the rows of each table (`SCHEMA.NAME`) in it."""


def examine(parts: Iterable[Part]) -> Iterator[Damage]:
    """Looks at all parts of a source, each once; what is wrong comes as it is found.

    Args:
        parts: as stored; a part whose bytes are not those that were stored is passed over here, as the hashes tell it.
    """
    look = _Look()
    for part in parts:
        look.seen.add(part.name)
        try:
            _see(part, look)
        except (RecoupError, OSError) as error:
            yield Damage(part.name, "content", _said(part.name, error))
    yield from _absent(look)
    yield from _other_rows(look)


def _see(part: Part, look: _Look) -> None:
    if part.name == RECORD and isinstance(part, StreamPart):
        look.record = read_record(part)
    elif part.name == FACTS and isinstance(part, StreamPart):
        look.facts = read_facts(part).facts
    elif look.record is None:
        raise DamagedError(f"{shown(part.name)} comes without {RECORD}")
    elif isinstance(part, TreePart):
        _see_directory(part, look, look.record)
    elif part.name == GLOBALS or part.name.endswith(".sql"):
        _see_plain(part)
    else:
        _see_archive(part, look, look.record)


def _see_plain(part: StreamPart) -> None:
    watch = PlainWatch()
    with part.content.open() as reader:
        while data := reader.read(_READ):
            watch.feed(data)
    if not watch.complete:
        raise DamagedError(f"{shown(part.name)} does not end as a dump ends")


def _see_archive(part: StreamPart, look: _Look, record: DatabaseRecord) -> None:
    what = shown(part.name)
    with part.content.open() as reader, _restoring(record, ()) as opinion:

        def read(size: int) -> bytes:
            data = reader.read(size)
            opinion.feed(data)
            return data

        intake = Intake(read, what)
        contents = read_contents(intake)
        counted = read_blocks(intake, contents)
        _drain(reader)
        opinion.finish(what)
    _require_right(part.name, contents, record)
    look.rows[part.name] = _by_table(contents, counted)


def _drain(reader: Reader) -> None:
    """Nothing is left, but only the end tells whether the stored bytes were right."""
    while reader.read(_READ):
        pass


def _see_directory(part: TreePart, look: _Look, record: DatabaseRecord) -> None:
    what = shown(part.name)
    with temporary_folder("verify") as folder:
        place = folder / "dump"
        write_tree(part, place)
        with _open(place / "toc.dat", what) as read:
            contents = read_contents(Intake(read, what))
        counted = Counted()
        for entry in contents.entries:
            if entry.data and entry.description == "TABLE DATA":
                counted[entry.id] = _count(place, entry.file, f"{what}: the data of {entry.shown}")
        with _restoring(record, (str(place),)) as opinion:
            opinion.finish(what)
    _require_right(part.name, contents, record)
    look.rows[part.name] = _by_table(contents, counted)


@contextlib.contextmanager
def _open(path: Path, what: str) -> Iterator[Callable[[int], bytes]]:
    if not path.is_file():
        raise DamagedError(f"{what} has no file {shown(path.name)}")
    with path.open("rb") as file:
        yield file.read


def _count(folder: Path, name: str, what: str) -> int:
    found = [name + ending for ending in _ENDINGS if "/" not in name and (folder / (name + ending)).is_file()]
    if not found:
        raise DamagedError(f"{what} are missing")
    with _open(folder / found[0], what) as read:
        return count_file(read, found[0], what)


def _require_right(name: str, contents: Contents, record: DatabaseRecord) -> None:
    if contents.database != record.name:
        raise DamagedError(
            f"{shown(name)} is a dump of the database {shown(contents.database)}, not of {shown(record.name)}"
        )


def _by_table(contents: Contents, counted: Counted) -> dict[str, int]:
    return {
        f"{entry.schema}.{entry.tag}": counted[entry.id]
        for entry in contents.entries
        if entry.description == "TABLE DATA" and entry.id in counted
    }


# --- against the record and the facts ------------------------------------------------------------------------------------


def _absent(look: _Look) -> Iterator[Damage]:
    if look.record is None:
        if RECORD not in look.seen:
            yield Damage(RECORD, "missing", f"{RECORD} is missing, which says what the dumps are of")
        return
    wanted = [look.record.dump, *(table.part for table in look.record.tables), FACTS]
    wanted += [GLOBALS] if look.record.globals else []
    for name in sorted({*wanted} - look.seen):
        yield Damage(name, "missing", f"{shown(name)} is missing, which {RECORD} names")
    for name in sorted(look.seen - {*wanted, RECORD}):
        yield Damage(name, "content", f"{shown(name)} is nothing that {RECORD} names")


def _other_rows(look: _Look) -> Iterator[Damage]:
    """Where a dump holds other tables or rows than were counted in the frozen moment."""
    if look.record is None or look.facts is None:
        return
    tables = {table.part: table for table in look.record.tables}
    expected = {
        subject.removeprefix("table "): values.get("rows")
        for subject, values in look.facts.values.items()
        if subject.startswith("table ")
    }
    for part, found in look.rows.items():
        wanted = _own(tables[part], found, expected) if part in tables else expected
        for table in sorted({*wanted, *found}):
            if found.get(table) != wanted.get(table) and (found.get(table) or wanted.get(table) != 0):
                yield Damage(
                    part,
                    "content",
                    f"{shown(part)} holds {_rows(found.get(table))} of {shown(table)}; "
                    f"counted were {_rows(wanted.get(table))}",
                )


def _own(
    table: TableDump, found: Mapping[str, int], expected: Mapping[str, "int | str | bool | None"]
) -> dict[str, "int | str | bool | None"]:
    """What a table's own dump has to hold: itself, or, where it is partitioned, the partitions that it has."""
    name = f"{table.schema}.{table.name}"
    names = [name] if name in expected else list(found)
    return {one: expected.get(one) for one in names}


def _rows(count: "int | str | bool | None") -> str:
    return f"{count:,} rows" if isinstance(count, int) else "nothing"


# --- the second opinion --------------------------------------------------------------------------------------------------


class _Opinion:
    """A `pg_restore` that decodes the same bytes; or nothing, where none is installed that could."""

    def __init__(self, program: Program | None) -> None:
        self._program = program
        self._gone = False

    def feed(self, data: bytes) -> None:
        """Hands it the next bytes."""
        if self._program is None or self._gone:
            return
        try:
            self._program.write(data)
        except BrokenPipeError:
            self._gone = True

    def finish(self, what: str) -> None:
        """Asks for its verdict.

        Raises:
            DamagedError: it could not read everything.
        """
        if self._program is None:
            return
        try:
            self._program.end_input()
            while self._program.read(_READ):
                pass
            self._program.finish()
        except ProgramFailedError as error:
            if "does not support compression" in error.said:
                return
            said = _programs.said_by(error, Masker())
            raise DamagedError(f"{what} cannot be read by pg_restore: {shown(said)}") from None


@contextlib.contextmanager
def _restoring(record: DatabaseRecord, arguments: tuple[str, ...]) -> Iterator[_Opinion]:
    suite = _programs.newest()
    wrote = record.program.partition(".")[0]
    if suite is None or not wrote.isdecimal() or suite.major < int(wrote):
        yield _Opinion(None)
        return
    with _programs.running(suite, "pg_restore", ["--file=/dev/null", *arguments], feed=not arguments) as program:
        yield _Opinion(program)


def _said(name: str, error: RecoupError | OSError) -> str:
    return error.message if isinstance(error, RecoupError) else f"{shown(name)} cannot be read: {error}"
