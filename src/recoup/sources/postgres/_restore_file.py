"""Restoring a dump that any tool took by hand: a file in custom format, a folder in directory format, or SQL text.

Nobody wrote facts down for such a dump. An archive is decoded to its end before anything is made, and the rows that are in it are
counted, and counted again in the restored database; of SQL text only its end can be told, and only where `pg_dump` wrote it.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

from recoup.errors import DamagedError, RefusedError, UsageError
from recoup.model.names import shown
from recoup.model.structs import Struct
from recoup.sources._base import Existing, Placement, Site
from recoup.sources.postgres._archive import MAGIC, Contents, Intake, read_contents
from recoup.sources.postgres._blocks import count_file, read_blocks
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._plain import PlainWatch
from recoup.sources.postgres._preflight import Needs
from recoup.sources.postgres._restore import Undertaking, carry_out, refusing, undertake
from recoup.sources.postgres._restore_checking import require_rows
from recoup.sources.postgres._restore_filling import Filler, suite_for
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres._restore_server import Form, Server, maintaining
from recoup.system.clock import SystemClock
from recoup.system.tempdirs import temporary_folder

Kind = Literal["custom", "directory", "plain"]

_PIECE = 1 << 20  # bytes
_HEAD = b"\n-- PostgreSQL database dump\n"
_CLUSTER = b"\n-- PostgreSQL database cluster dump\n"
_ENCODING = re.compile(rb"SET client_encoding = '([^']+)'")
_COMMANDS = re.compile(
    rb"\\(?:connect|c|!|i|ir|include|include_relative|o|out|w|write|g|gexec|copy|setenv|cd|password)(?!\w)"
)
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd", b"BZ": "bzip2", b"\xfd7": "xz", b"PK": "zip"}
_ENDINGS = ("", ".gz", ".zst", ".lz4")


class _SqlWatch(PlainWatch):
    """Refuses what would lead `psql` to another database, to files, or to the machine's shell."""

    def _look(self, line: bytes) -> None:
        if line.startswith(b"\\") and _COMMANDS.match(line):
            command = shown(line[:40].decode(errors="replace"))
            raise RefusedError(
                f"the SQL text has the command {command} of psql, which leads out of the database that it is restored to",
                "Look at the file; take the line out, or run it by hand with psql. For a dump made by `pg_dump --create`, "
                "take out its first statements.",
            )
        super()._look(line)


class Dump(Struct):
    """A dump on this machine, looked at.

    Attributes:
        path: file or folder.
        kind: its format.
        needs: what it needs on the server.
        encoding: of the database that it is of.
        program: version of the `pg_dump` that wrote it; empty where nobody knows.
        rows: `SCHEMA.NAME` to rows; empty for SQL text.
        whole: whether its own end was seen; False for SQL text that does not say where it ends.
    """

    path: Path
    kind: Kind
    needs: Needs
    encoding: str
    program: str
    rows: Mapping[str, int]
    whole: bool


def look(path: Path) -> Dump:
    """Reads a dump to its end.

    Raises:
        UsageError: it is not there, or no dump.
        DamagedError: it ends in the middle, or is damaged.
        RefusedError: it is SQL text that leads out of its database.
    """
    try:
        if path.is_dir():
            return _look_into_folder(path)
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(0)
            if head.startswith(MAGIC):
                return _look_into_archive(path, file)
            _require_text(path, head)
            return _look_into_text(path, file)
    except FileNotFoundError:
        raise UsageError(f"{shown(str(path))} is not there") from None
    except OSError as error:
        raise UsageError(f"{shown(str(path))} cannot be read: {error.strerror}") from None


def _look_into_folder(path: Path) -> Dump:
    what = shown(path.name)
    if not (path / "toc.dat").is_file():
        raise UsageError(f"{shown(str(path))} is a folder without toc.dat", "A dump in directory format has one.")
    with (path / "toc.dat").open("rb") as file:
        contents = read_contents(Intake(file.read, what))
    counted = {}
    for entry in contents.entries:
        if entry.data and entry.description == "TABLE DATA":
            found = [
                entry.file + end for end in _ENDINGS if "/" not in entry.file and (path / (entry.file + end)).is_file()
            ]
            if not found:
                raise DamagedError(f"{what}: the data of {entry.shown} are missing")
            with (path / found[0]).open("rb") as file:
                counted[entry.id] = count_file(file.read, found[0], f"{what}: the data of {entry.shown}")
    return _archive(path, "directory", contents, counted)


def _look_into_archive(path: Path, file: IO[bytes]) -> Dump:
    intake = Intake(file.read, shown(path.name))
    contents = read_contents(intake)
    return _archive(path, "custom", contents, read_blocks(intake, contents))


def _archive(path: Path, kind: Kind, contents: Contents, counted: Mapping[int, int]) -> Dump:
    rows = {
        f"{entry.schema}.{entry.tag}": counted[entry.id]
        for entry in contents.entries
        if entry.description == "TABLE DATA" and entry.id in counted and contents.compression != "lz4"
    }
    told = [entry.definition.encode() for entry in contents.entries if entry.description == "ENCODING"]
    encoding = _ENCODING.search(told[0]) if told else None
    name = encoding[1].decode() if encoding else "UTF8"
    return Dump(path, kind, Needs.of_contents(contents), name, contents.program.split()[0], rows, whole=True)


def _require_text(path: Path, head: bytes) -> None:
    if packed := _PACKED.get(head[:2]):
        raise UsageError(f"{shown(path.name)} is compressed ({packed})", "Decompress it first.")
    if head[257:262] == b"ustar":
        raise UsageError(f"{shown(path.name)} is a tar", "Unpack it into a folder, if it is a dump in tar format.")
    if any(one.startswith(head) for one in (MAGIC, b"--" + _HEAD)):
        raise DamagedError(f"{shown(path.name)} is cut off: it has {len(head)} bytes")
    if b"\0" in head or not head.strip():
        raise UsageError(f"{shown(path.name)} is neither a dump of pg_dump nor SQL text")


def _look_into_text(path: Path, file: IO[bytes]) -> Dump:
    head = file.read(1 << 16)
    file.seek(0)
    if _CLUSTER in head:
        raise RefusedError(
            f"{shown(path.name)} is a dump of a whole server (pg_dumpall), with several databases",
            "Restore it by hand: psql --set ON_ERROR_STOP=1 --file FILE.",
        )
    watch, ours = _SqlWatch(), _HEAD in b"\n" + head
    while data := file.read(_PIECE):
        watch.feed(data)
    if ours and not watch.complete:
        raise DamagedError(f"{shown(path.name)} does not end as a dump ends", "It was cut off: take another copy.")
    encoding = _ENCODING.search(head)
    program = re.search(rb"-- Dumped by pg_dump version (\d+(?:\.\d+)?)", head)
    server = re.search(rb"-- Dumped from database version (\d+)", head)
    needs = Needs(int(server[1]) if server else 0, (), ())
    name = encoding[1].decode() if encoding else "UTF8"
    return Dump(path, "plain", needs, name, program[1].decode() if program else "", {}, whole=ours)


class FileRestore(Struct):
    """A restore of such a dump, decided but not begun.

    Attributes:
        dump: what is restored.
        undertaking: what is done.
        fill: restores into a database, and compares the rows.
        site: where copies go, and time.
    """

    dump: Dump
    undertaking: Undertaking
    fill: Callable[[Address], None]
    site: Site

    @property
    def plan(self) -> Existing:
        """For the person who agrees."""
        return self.undertaking.existing

    @property
    def doubt(self) -> str:
        """What nothing proves; empty where the rows of every table are counted."""
        if self.dump.rows:
            return ""
        if self.dump.kind != "plain":
            return "The dump holds no rows that could be counted."
        end = "" if self.dump.whole else " It also does not say where it ends, so it may be cut off."
        return f"SQL text does not say how many rows it has: nothing was compared.{end}"

    def run(self) -> Placement:
        """Restores.

        Raises:
            BusyError: somebody uses what is there.
            RestoreError: it failed; what is there is as it was.
        """
        with refusing():
            return carry_out(self.undertaking, self.fill, self.site)


@contextlib.contextmanager
def planned(
    path: Path, url: str, options: RestoreOptions, *, jobs: int = 1, ownerless: bool = False
) -> Iterator[FileRestore]:
    """Looks at a dump and at the server that it is for.

    Args:
        path: file or folder.
        url: of the database that it is to become; it need not be there.
        options: as the person wants it.
        jobs: tables restored at the same time.
        ownerless: leave out owners and rights.

    Raises:
        UsageError: it is no dump, or the options do not fit it.
        DamagedError: it is damaged.
        RestoreError: the server cannot take it.
    """
    dump = look(path)
    if ownerless and dump.kind == "plain":
        raise UsageError("owners cannot be left out of SQL text", "Take the dump with pg_dump --no-owner --no-acl.")
    address = Address.at(url)
    with (
        temporary_folder("postgres") as staging,
        refusing(),
        maintaining(address, options.maintenance) as server,
    ):
        site = Site("file", Path.cwd(), staging, SystemClock())
        yield _decided(dump, address, server, options, site, jobs, ownerless=ownerless)


def _decided(
    dump: Dump, address: Address, server: Server, options: RestoreOptions, site: Site, jobs: int, *, ownerless: bool
) -> FileRestore:
    if not address.parameters.get("dbname"):
        raise UsageError("the URL names no database", "Write postgresql://USER@HOST:PORT/NAME.")
    suite = suite_for(dump.program, server.major, None, "psql" if dump.kind == "plain" else "pg_restore")
    name = address.database
    form = server.form(name) if server.has(name) else Form(dump.encoding)
    needs = Needs(dump.needs.major, dump.needs.extensions, ()) if ownerless else dump.needs
    compared = "SQL text does not say what it holds: nothing is compared"
    if dump.kind != "plain":
        compared = "the rows of each table are counted and compared with those in the dump"
    undertaking = undertake(server, name, needs, options, form, None, compared)

    def fill(into: Address) -> None:
        filler = Filler(suite, into, server.major, site.staging, jobs, ownerless)
        if dump.kind == "plain":
            with dump.path.open("rb") as file:
                filler.run_sql(file.read, shown(dump.path.name), whole=dump.whole)
        else:
            filler.fill_from(dump.path)
        require_rows(into, dump.rows, shown(dump.path.name))

    return FileRestore(dump, undertaking, fill, site)


def clean(url: str, *, dry_run: bool = False) -> tuple[str, ...]:
    """Drops the temporary databases that killed runs left on a server; a sentence for each.

    Args:
        url: of any database there.
        dry_run: say what there is, drop nothing.
    """
    from recoup.sources.postgres._restore import left_on
    from recoup.sources.postgres._twin import old_ones

    address = Address.at(url)
    with refusing(), maintaining(address) as server:
        done = list(left_on(server, dry_run=dry_run))
        for name in old_ones(server, SystemClock().now()):
            if not dry_run:
                server.drop(name, force=False)
            done.append(f"the temporary database {shown(name)} of a drill was dropped")
    return tuple(done)
