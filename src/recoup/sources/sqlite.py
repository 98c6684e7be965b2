"""An SQLite database, captured while its application goes on.

In WAL mode a read transaction is the freeze: the online backup runs on that same connection, later, while writers go on. With
a rollback journal a held read makes writers wait, so there the copy is staged inside the freeze and the read is let go of at
once. All of it happens in a child process, as `_sqlite_files` explains: this process never opens the database.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from recoup.errors import DamagedError, RestoreError, SourceError
from recoup.model.facts import Bracket, Facts
from recoup.model.manifest import Finding, Frozen
from recoup.model.names import shown
from recoup.model.part import Attributes, Part, StreamPart
from recoup.sources import _placing, _sqlite_files
from recoup.sources._base import Existing, NoRestoreOptions, Placement, Site, Source, SourceOptions
from recoup.sources._sqlite_files import SIDE_FILES, errors_of_child
from recoup.sources._staged import StagedFile
from recoup.system.subprocesses import Child, ChildFailedError, call, child
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import write_stream


class Options(SourceOptions):
    """Settings of an SQLite database."""

    path: Path = Field(description="The database file.")
    busy_timeout: float = Field(30.0, ge=0, description="Seconds to wait for a writer that holds the database.")


RestoreOptions = NoRestoreOptions


@dataclass
class SqliteCapture:
    """A database held by a child: inside a read transaction (WAL), or already copied (rollback journal)."""

    frozen: Frozen
    method: str
    engine: str
    part: StreamPart
    copy: Path
    child: Child
    described: Mapping[str, Mapping[str, Any]] | None = None

    def take(self) -> None:
        """Copies what the transaction shows, ends it, and checks the copy."""
        with errors_of_child():
            self.described = self.child.ask("copy")

    def parts(self) -> Iterator[Part]:
        """The database as one file, complete without side files."""
        if self.described is None:
            self.take()
        yield dataclasses.replace(self.part, size=self.copy.stat().st_size)

    def facts(self) -> Facts:
        """Rows of each table, the schema, and SQLite's own integrity check."""
        return Facts(self.described or {})

    def findings(self) -> Iterable[Finding]:
        """What could not be counted or checked, because the application brings modules or collations of its own."""
        for subject, values in (self.described or {}).items():
            if values.get("rows", 0) is None:
                message = "its rows were not counted: it needs a module that only the application has"
                yield Finding("unverified", subject, message, harmless=True)
            if str(values.get("integrity", "")).startswith(_sqlite_files.UNCHECKED):
                yield Finding("unverified", subject, f"integrity check: {values['integrity']}", harmless=True)

    def brackets(self) -> tuple[Bracket, ...]:
        """None: the copy is of the frozen view itself, and is compared with it."""
        return ()


class SqliteSource:
    """One SQLite database file."""

    exact = False

    def __init__(self, options: Options, site: Site) -> None:
        self.options: SourceOptions = options
        self._options = options
        self._site = site
        self._path = Path(os.path.abspath(site.base / options.path.expanduser()))  # noqa: PTH100 - links stay

    def check(self) -> None:
        """Opens it and reads its definitions.

        Raises:
            SourceError: it is not there, not readable, or not a database.
        """
        self._require_file()
        with errors_of_child():
            call(_sqlite_files.look, self._real_name(), self._options.busy_timeout)

    def present(self) -> bool:
        """Whether there is something of that name."""
        return self._path.exists()

    def estimate(self) -> int:
        """Bytes of the file and its log."""
        return sum(_size(place) for place in (Path(self._real_name()), Path(self._real_name() + "-wal")))

    def settings(self) -> Mapping[str, Any]:
        """All settings; none is a secret."""
        return self._options.model_dump(mode="json", exclude={"kind"})

    @contextlib.contextmanager
    def capture(self) -> Iterator[SqliteCapture]:
        """Freezes the database by a read transaction.

        Raises:
            SourceError: it cannot be read, or is damaged.
            EmptySourceError: it has no tables.
        """
        self._require_file()
        folder = Path(tempfile.mkdtemp(prefix="sqlite-", dir=self._site.staging))
        try:
            copy = folder / "copy"
            options = self._options
            with child(
                _sqlite_files.hold, self._real_name(), str(copy), options.busy_timeout, options.allow_empty
            ) as process:
                yield self._frozen(process, copy)
        finally:
            remove_tree(folder)

    def _frozen(self, process: Child, copy: Path) -> SqliteCapture:
        with errors_of_child():
            state = process.answer()
        now = self._site.clock.now()
        in_wal = state["journal"] == "wal"
        method = "online backup in a read transaction" + ("" if in_wal else ", staged while writers waited")
        status = self._path.stat()
        attributes = Attributes(status.st_mode & 0o7777, status.st_mtime_ns)
        part = StreamPart(self._path.name, StagedFile(copy), attributes=attributes)
        capture = SqliteCapture(Frozen(now, now), method, state["engine"], part, copy, process)
        if not in_wal:
            capture.take()
        return capture

    def recover(self) -> tuple[str, ...]:
        """Finishes or takes back a killed restore."""
        return _placing.recover(self._path)

    def existing(self) -> Existing:
        """What a restore to the configured path would replace."""
        if not self._path.exists():
            return Existing(str(self._path), present=False, description="nothing", consequence="It is created.")
        description = f"database file of {self.estimate():,} bytes"
        consequence = "It is kept beside the restored one, as NAME.before-restore-TIME, with its -wal folded in."
        return Existing(str(self._path), present=True, description=description, consequence=consequence)

    def restore(self, parts: Iterable[Part], options: BaseModel) -> Placement:  # noqa: ARG002 - it has none
        """Writes the database beside its place, checks it, and swaps.

        Raises:
            BusyError: somebody has the present database open.
            DamagedError: the stored bytes are wrong.
            RestoreError: it failed; the place is as it was.
        """
        return _placing.place(
            self._path,
            now=self._site.clock.now(),
            write=lambda staged: _write_only(parts, staged),
            check=_require_whole,
            side_files=SIDE_FILES,
            settle=_settle,
        )

    def facts(self) -> Facts:
        """Rows of each table, the schema, and SQLite's own integrity check.

        Raises:
            SourceError: it cannot be read.
        """
        self._require_file()
        with errors_of_child():
            return Facts(call(_sqlite_files.describe, self._real_name(), self._options.busy_timeout))

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[Source]:
        """A twin whose database is not there yet."""
        inner = Path(tempfile.mkdtemp(prefix="sqlite-", dir=folder))
        options = self._options.model_copy(update={"path": inner / self._path.name})
        try:
            yield SqliteSource(options, dataclasses.replace(self._site, base=inner))
        finally:
            remove_tree(inner)

    def _require_file(self) -> None:
        if not self._path.exists():
            raise SourceError(
                f"{shown(str(self._path))} is not there", "See whether the path in the configuration is right."
            )
        if not self._path.is_file():
            raise SourceError(f"{shown(str(self._path))} is not a file", "`kind: files` backs up folders.")

    def _real_name(self) -> str:
        """SQLite names side files after the file that a link leads to."""
        return str(self._path.resolve())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _write_only(parts: Iterable[Part], staged: Path) -> None:
    """Writes the one part that a capture of this kind has."""
    remaining = iter(parts)
    part = next(remaining, None)
    if not isinstance(part, StreamPart):
        raise DamagedError("the set holds no database file of this source")
    write_stream(part, staged)
    if next(remaining, None) is not None:
        raise DamagedError("the set holds more than the one database file of this source")


def _require_whole(staged: Path) -> None:
    try:
        call(_sqlite_files.require_whole, str(staged))
    except ChildFailedError as error:
        raise RestoreError(f"what was restored is not sound: {error.message}", error.hint) from None


def _settle(target: Path) -> None:
    # Where the present database is too damaged for that, its side files move away with it, as they are.
    with contextlib.suppress(ChildFailedError):
        call(_sqlite_files.settle, str(target))


def connect(options: Options, site: Site) -> SqliteSource:
    """The source that the settings describe."""
    return SqliteSource(options, site)
