"""DuckDB databases: one file and its logs, captured while an application writes to them.

DuckDB locks its file against every other process, readers too, and a read-only handle of ours would in turn lock the
application out. So a live file is never opened by the engine: its blocks are followed until they stand still
(`_duckdb_blocks` tells how, why that is safe and where it is not), and the engine opens the copy alone: read-only, so that the
log is replayed in memory and stays as it is, and every column of every table is read.

All of that runs in child processes. In a process that has the database open itself, opening and closing the file would drop
the POSIX locks that keep a second writer out: never open a live file here.
"""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from recoup.errors import DamagedError, EmptySourceError, RestoreError, SourceError
from recoup.model.events import Progress
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Attributes, Part, StreamPart
from recoup.model.structs import Struct
from recoup.sources import _duckdb_blocks as blocks
from recoup.sources import _duckdb_reading as reading
from recoup.sources import _placing
from recoup.sources._base import Existing, NoRestoreOptions, Placement, Site, Source, SourceOptions
from recoup.sources._staged import StagedFile
from recoup.system.mounts import filesystem_type, is_network
from recoup.system.subprocesses import ChildFailedError, call, child
from recoup.system.unpacking import write_stream

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_IN_PROCESS = (
    "Capture it in the application's own process with recoup.capture_duckdb, and back up the file that this writes."
)


class Options(SourceOptions):
    """Settings of a DuckDB database."""

    path: Path = Field(description="The database file; its logs lie beside it.")
    max_rate: float = Field(
        0,
        ge=0,
        description="Bytes per second to read from the live file at most, but for catching up with changes; 0: no limit.",
    )
    patience: float = Field(
        120, ge=0, description="Seconds to follow the changes of a busy database before the capture fails."
    )


RestoreOptions = NoRestoreOptions


class DuckDB:
    """One database file.

    Args:
        options: its settings.
        site: what it is handed.
    """

    exact = False  # a log is folded into the file when it is restored

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site
        self._path = Path(os.path.abspath(site.base / options.path.expanduser()))  # noqa: PTH100 - links stay

    def check(self) -> None:
        """Looks whether it can be captured, without touching its locks.

        Raises:
            SourceError: it is missing, no DuckDB database, encrypted, or on a network file system.
        """
        self._check_place()
        answer = self._ask_child(blocks.inspect, str(self._path))
        if answer["step"] == "unfit":
            raise self._unfit(answer)

    def _check_place(self) -> None:
        if not self._path.exists():
            raise SourceError(
                f"{self._path} does not exist", "Is the path right? A missing one can be `optional: true`."
            )
        if not self._path.is_file():
            raise SourceError(f"{self._path} is not a file")
        if "?" in self._path.name:
            raise SourceError(
                f"{self._path} has a question mark in its name, so DuckDB keeps its log under another name",
                "Rename it while nobody has it open.",
            )
        kind = filesystem_type(self._path)
        if is_network(kind):
            raise SourceError(
                f"{self._path} lies on a network file system ({kind}), where another machine may be writing",
                _IN_PROCESS,
            )

    def present(self) -> bool:
        """False when there is no such file."""
        return os.path.lexists(self._path)

    def estimate(self) -> int:
        """Bytes of the file and its logs."""
        paths = (_beside(self._path, suffix) for suffix in ("", *blocks.LOGS))
        return sum(path.stat().st_size for path in paths if path.is_file())

    def settings(self) -> Mapping[str, Any]:
        """The path, as configured."""
        return {"path": str(self._options.path)}

    @contextlib.contextmanager
    def capture(self) -> Iterator["_Captured"]:
        """Copies the database to the site's staging folder and reads the copy whole.

        It is frozen at the moment when the last pass over the file began: the copy holds everything that was committed
        by then, and nothing that was committed after that pass had measured the logs.

        Raises:
            SourceError: it cannot be copied, keeps changing, or the copy is damaged.
            EmptySourceError: it has no tables, and `allow_empty` is off.
        """
        self._check_place()
        folder = Path(tempfile.mkdtemp(prefix="duckdb-", dir=self._site.staging))
        try:
            moment, still = self._follow(folder)
            facts = self._facts_of(folder / blocks.COPY, self._path)
            if not facts.values[reading.WHOLE]["tables"] and not self.options.allow_empty:
                raise EmptySourceError(
                    f"{self._path} has no tables", "Is the path right? If so, set `allow_empty: true`."
                )
            yield _Captured(self._path.name, folder, Frozen(moment, moment), still, facts)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _follow(self, folder: Path) -> tuple[datetime, blocks.Step]:
        """Asks for passes until the copy is complete; returns the moment before the last one, and its last step."""
        clock, deadline, pause = self._site.clock, None, 0.001
        told: Progress | None = None
        with self._explained(), child(blocks.follow, str(self._path), str(folder), self._options.max_rate) as copier:
            step, moment = copier.answer(), clock.now()
            while step["step"] != "still":
                if step["step"] == "unfit":
                    raise self._unfit(step)
                if step["step"] == "reading":
                    told = Progress(f"capture {self._site.name}", step["done"], step["total"])
                    self._site.emit(told)
                elif step["step"] == "moving":
                    if deadline is None:
                        deadline = clock.monotonic() + self._options.patience
                    elif clock.monotonic() > deadline:
                        raise self._restless(step)
                    clock.sleep(pause)
                    pause = min(2 * pause, 0.05)
                if step["step"] != "reading":
                    moment = clock.now()
                step = copier.ask("go on")
            if told:
                self._site.emit(Progress(told.work, told.total or told.done, told.total, finished=True))
            return moment, step

    def _unfit(self, step: blocks.Step) -> SourceError:
        hint = step["hint"]
        if not step["message"].startswith("it "):
            return SourceError(f"{self._path}: {step['message']}", hint)
        return SourceError(f"{self._path} cannot be captured: {step['message']}", hint)

    def _restless(self, step: blocks.Step) -> SourceError:
        return SourceError(
            f"{self._path} did not stand still for {self._options.patience:g} s: {step['what']} changed in every pass",
            f"Back it up when less is written, or give it more `patience`. {_IN_PROCESS}",
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ChildFailedError as error:
            raise SourceError(f"{self._path}: {error.message}", error.hint) from None

    def _ask_child(self, function: Any, *arguments: object) -> Any:
        with self._explained():
            return call(function, *arguments)

    def _facts_of(self, file: Path, named: Path) -> Facts:
        try:
            answer = call(reading.scan, str(file.parent), file.name)
        except ChildFailedError as error:
            raise SourceError(f"{named} could not be read whole: {error.message}", _why(error)) from None
        return Facts(answer)

    def facts(self) -> Facts:
        """What the database at this source's own place shows: rows, schema and content of each table.

        Raises:
            SourceError: it cannot be read, or somebody has it open.
        """
        self._check_place()
        return self._facts_of(self._path, self._path)

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin inside `folder`."""
        place = folder / "twin.duckdb"
        try:
            yield DuckDB(self._options.model_copy(update={"path": place}), self._site)
        finally:
            for suffix in ("", *blocks.LOGS):
                _beside(place, suffix).unlink(missing_ok=True)

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back what a killed restore left."""
        return _placing.recover(self._path)

    def existing(self) -> Existing:
        """What is at the database's place now."""
        if not self.present():
            return Existing(str(self._path), False, "nothing", "It will be created.")
        size = self.estimate()
        return Existing(
            str(self._path),
            True,
            f"database of {size:,} bytes",
            "It is kept beside the restored one, as <name>.before-restore-<time>.",
        )

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - it has none
        """Puts the database in its place; the log is folded in, so that one file is swapped.

        Raises:
            BusyError: somebody has the database open.
            DamagedError: the stored bytes are wrong.
            RestoreError: the restored database cannot be opened and read; what was there stays.
        """

        def write(staged: Path) -> None:
            _write_parts(parts, staged)
            _fold(staged)

        def check(staged: Path) -> None:
            try:
                call(reading.scan, str(staged.parent), staged.name)
            except ChildFailedError as error:
                raise RestoreError(f"the restored {self._path} cannot be read: {error.message}") from None

        now = self._site.clock.now()
        return _placing.place(
            self._path, now=now, write=write, check=check, side_files=blocks.LOGS, settle=_fold_if_possible
        )


class _Captured(Struct):
    """A copied database."""

    name: str
    folder: Path
    frozen: Frozen
    step: blocks.Step
    shown: Facts

    @property
    def method(self) -> str:
        """How the copy was made."""
        passes = self.step["passes"]
        return f"{self.step['method']}, {passes} {'pass' if passes == 1 else 'passes'}"

    @property
    def engine(self) -> str:
        """The DuckDB that made the file."""
        return f"DuckDB {self.step['engine']}".strip()

    def parts(self) -> Iterator[Part]:
        """The file, then its logs."""
        for suffix, attributes in self.step["files"].items():
            path = self.folder / (blocks.COPY + suffix)
            yield StreamPart(self.name + suffix, StagedFile(path), path.stat().st_size, Attributes(**attributes))

    def facts(self) -> Facts:
        """What the copy shows."""
        return self.shown

    def findings(self) -> Iterable[Finding]:
        """None: it is all there, or the capture has failed."""
        return ()

    def brackets(self) -> tuple[Bracket, ...]:
        """None: nobody outside can ask the live database, and the copy is one state of it."""
        return ()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _write_parts(parts: Iterable[Part], staged: Path) -> None:
    """Writes the database as `staged` and its logs beside it, whatever the parts' names begin with."""
    written = set()
    for part in parts:
        if not isinstance(part, StreamPart):
            raise RestoreError(f"{shown(part.name)} is a folder, not a DuckDB database")
        suffix = next((suffix for suffix in reversed(blocks.LOGS) if part.name.endswith(suffix)), "")
        if suffix in written:
            raise RestoreError(f"{shown(part.name)} is a second database where one is expected")
        write_stream(part, _beside(staged, suffix))
        written.add(suffix)
    if "" not in written:
        raise DamagedError("the set holds no database of this source")


def _fold(file: Path) -> None:
    """Folds the logs beside a file of ours into it; harmless where there are none."""
    if any(_beside(file, suffix).exists() for suffix in blocks.LOGS):
        try:
            call(reading.fold, str(file.parent), file.name)
        except ChildFailedError as error:
            raise RestoreError(f"the log of {file.name} cannot be replayed: {error.message}") from None


def _fold_if_possible(present: Path) -> None:
    """Folds the logs of what is about to be kept; a damaged one is kept as it is."""
    with contextlib.suppress(RestoreError):
        _fold(present)


def capture_duckdb(connection: "DuckDBPyConnection", path: str | os.PathLike[str]) -> Facts:
    """Writes a consistent copy of an application's database to a new file, through the application's own connection.

    For databases that nobody outside can copy: on a network file system, encrypted, or written to without a pause. Run it in
    the application's process, as often as backups are wanted, and back up the file that it writes. It sees what was
    committed when it began; an open transaction of `connection` goes on undisturbed and is not part of it. Views, sequences,
    macros and indices come along; the copy is not encrypted.

    Args:
        connection: an open connection; the database that it began with is copied.
        path: where the copy goes, in one step when it is complete; an earlier copy there is replaced.

    Returns:
        what the copy shows: rows, schema and content of each table.

    Raises:
        SourceError: the copy could not be made or does not agree with the original; nothing was written at `path`.
    """
    import duckdb

    target = Path(os.path.abspath(path))  # noqa: PTH100 - links stay
    with contextlib.closing(connection.cursor()) as cursor:
        _refuse_target(cursor, target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            counts = _copy_through(cursor, folder / blocks.COPY)
            facts = Facts(call(reading.scan, str(folder), blocks.COPY))  # in a child, like everything that opens a file
            found = {subject: values["rows"] for subject, values in facts.values.items() if subject != reading.WHOLE}
            if found != counts:
                raise SourceError(f"the copy of {target.name} does not hold the rows of the original")
            (folder / blocks.COPY).replace(target)
        except duckdb.Error as error:
            raise SourceError(f"DuckDB could not copy to {target}: {error}") from None
        except ChildFailedError as error:
            raise SourceError(f"the copy of {target.name} cannot be read: {error.message}") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return facts


def _refuse_target(cursor: "DuckDBPyConnection", target: Path) -> None:
    """Keeps a copy from replacing a database in use.

    Raises:
        SourceError: the target is attached, or a log lies beside it.
    """
    attached = cursor.execute("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    if target.resolve() in {Path(path).resolve() for (path,) in attached}:
        raise SourceError(f"{target} is the database itself", "Name another file for the copy.")
    for suffix in blocks.LOGS:
        if _beside(target, suffix).exists():
            raise SourceError(
                f"{_beside(target, suffix)} would be replayed into the copy",
                "Remove it, or name another file for the copy.",
            )


def _copy_through(cursor: "DuckDBPyConnection", file: Path) -> dict[str, int]:
    """Copies in one transaction; returns the rows that this transaction saw, by subject."""
    row = cursor.execute("SELECT current_database()").fetchone()
    name, alias = str(row[0] if row else ""), f"recoup_{os.getpid()}_{abs(hash(file)):x}"
    quoted_path = str(file).replace("'", "''")
    cursor.execute(f"ATTACH '{quoted_path}' AS {alias}")
    try:
        cursor.execute("BEGIN")
        try:
            counts = {}
            for schema, table in reading.tables(cursor):
                place = f"{reading.quoted(name)}.{reading.quoted(schema)}.{reading.quoted(table)}"
                found = cursor.execute(f"SELECT count(*) FROM {place}").fetchone()  # noqa: S608
                counts[f"table {schema}.{table}"] = int(found[0]) if found else 0
            cursor.execute(f"COPY FROM DATABASE {reading.quoted(name)} TO {alias}")
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
    finally:
        cursor.execute(f"DETACH {alias}")
    return counts


def _why(error: ChildFailedError) -> str:
    """What to do about a file that could not be read whole."""
    if error.code == -signal.SIGKILL:
        return "Something ended the process that read it, perhaps the system for want of memory: look into its log."
    return "The database is damaged, or made by a newer DuckDB than the one that is installed here."


def connect(options: Options, site: Site) -> Source:
    """The source."""
    return DuckDB(options, site)
