"""`pg_dump` and `pg_dumpall` as the content of parts: streamed, and never half: a program that fails fails the part."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recoup.errors import DamagedError, SourceError
from recoup.model.part import Reader
from recoup.model.structs import Struct
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Contents, Entry, Intake, read_contents
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._facts import sequence_value
from recoup.sources.postgres._plain import PlainWatch
from recoup.sources.postgres._programs import Suite
from recoup.system.programs import Program, ProgramFailedError

_SETVAL = re.compile(r"setval\(.*, (-?\d+), (true|false)\);\s*\Z", re.DOTALL)


class Dumper(Struct):
    """How the programs are called for one capture.

    Attributes:
        suite: the programs.
        address: the database, on the very server that exported the snapshot.
        snapshot: the snapshot's id.
        lock_wait: seconds that a dump waits for a locked table.
        cause: why the snapshot is gone, if it is; asked where a program failed.
        warnings: what programs said that ended well.
    """

    suite: Suite
    address: Address
    snapshot: str
    lock_wait: float
    cause: Callable[[], BaseException | None] = lambda: None
    warnings: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def pg_dump(self, *arguments: str) -> Iterator[Program]:
        """A dump of the snapshot on its way."""
        common = [f"--snapshot={self.snapshot}", f"--lock-wait-timeout={int(self.lock_wait * 1000)}"]
        with self.running("pg_dump", [*common, *arguments]) as program:
            yield program

    @contextlib.contextmanager
    def running(self, name: str, arguments: Sequence[str]) -> Iterator[Program]:
        """A program on its way.

        Raises:
            SourceError: it cannot be started, or failed, or what it depends on did.
        """
        try:
            with _programs.running(self.suite, name, arguments, self.address) as program:
                yield program
        except ProgramFailedError as error:
            if cause := self.cause():
                raise cause from None
            said = _programs.said_by(error, self.address.mask)
            raise SourceError(f"{name} failed: {said}", "Nothing of this source is kept.") from None

    def finish(self, program: Program) -> None:
        """Waits for the end of a program whose output was read to its end.

        Raises:
            ProgramFailedError: it failed.
        """
        program.finish()
        said = (line.strip() for line in self.address.mask(program.said).splitlines())
        self.warnings.extend(line for line in said if line and line not in self.warnings)


class StreamReader:
    """Reads what a program writes; ends only when the program ended well.

    Args:
        read: gives the next bytes.
        finish: called once at the end; raises where the program failed.
    """

    changed = False

    def __init__(self, read: Callable[[int], bytes], finish: Callable[[], None]) -> None:
        self._read, self._finish = read, finish
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """The next bytes.

        Raises:
            ProgramFailedError: the program failed; what was read so far is worth nothing.
        """
        if self._ended:
            return b""
        data = self._read(size)
        if not data:
            self._ended = True
            self._finish()
        return data


@dataclass
class ArchiveDump:
    """A dump in custom format as a part's content.

    Attributes:
        dumper: how it is made.
        arguments: for `pg_dump`, besides those of every dump.
        what: what it is called in errors.
        choose: the entries to keep, of those that `pg_dump` writes.
        contents: what `pg_dump` wrote, once it is read.
    """

    dumper: Dumper
    arguments: tuple[str, ...]
    what: str
    choose: Callable[[Contents], Sequence[Entry]] = lambda contents: contents.entries
    contents: Contents | None = None
    local_path: None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[Reader]:
        """Starts a dump."""
        with self.dumper.pg_dump("--format=custom", *self.arguments) as program:
            intake = Intake(program.read, self.what)
            try:
                self.contents = read_contents(intake)
            except DamagedError:
                program.finish()  # where it failed, that is the reason
                raise
            yield _after(self.contents.encoded(self.choose(self.contents)), intake, self.dumper, program)

    def sequences(self) -> dict[str, str]:
        """The sequences' states as they are in the dump."""
        return sequences_in(self.contents.entries if self.contents else ())


def _after(head: bytes, intake: Intake, dumper: Dumper, program: Program) -> StreamReader:
    """Reads the head first, then what follows in a dump."""
    waiting = [head]

    def read(_size: int) -> bytes:
        return waiting.pop() if waiting else intake.some()

    return StreamReader(read, lambda: dumper.finish(program))


def sequences_in(entries: Sequence[Entry]) -> dict[str, str]:
    """The sequences' states that an archive sets."""
    found = {}
    for entry in entries:
        if entry.description == "SEQUENCE SET" and (state := _SETVAL.search(entry.definition)):
            found[f"{entry.schema}.{entry.tag}"] = sequence_value(int(state[1]), called=state[2] == "true")
    return found


@dataclass
class PlainDump:
    """A dump in plain format as a part's content.

    Attributes:
        dumper: how it is made.
        what: what it is called in errors.
        watch: what was seen in it, once it is read.
    """

    dumper: Dumper
    what: str
    watch: PlainWatch = field(default_factory=PlainWatch)
    local_path: None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[Reader]:
        """Starts a dump."""
        self.watch = PlainWatch()
        with self.dumper.pg_dump("--format=plain") as program:

            def read(size: int) -> bytes:
                data = program.read(size)
                self.watch.feed(data)
                return data

            def finish() -> None:
                self.dumper.finish(program)
                if not self.watch.complete:
                    raise SourceError(f"{self.what} ended without the line that ends a dump")

            yield StreamReader(read, finish)

    def sequences(self) -> dict[str, str]:
        """The sequences' states as they are in the dump."""
        return {name: sequence_value(value, called=called) for name, (value, called) in self.watch.sequences.items()}


class GlobalsDump(Struct):
    """The roles and tablespaces of a server, as SQL.

    Attributes:
        dumper: how it is made.
        passwords: whether the roles' password hashes are in it.
    """

    dumper: Dumper
    passwords: bool
    local_path: None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[Reader]:
        """Starts a dump."""
        arguments = ["--globals-only", *([] if self.passwords else ["--no-role-passwords"])]
        with self.dumper.running("pg_dumpall", arguments) as program:
            yield StreamReader(program.read, lambda: self.dumper.finish(program))


def dump_directory(dumper: Dumper, arguments: Sequence[str], folder: Path, what: str) -> Contents:
    """Dumps in directory format into a folder that is not there yet, and returns what is in it.

    Raises:
        SourceError: it failed.
    """
    with dumper.pg_dump("--format=directory", f"--file={folder}", *arguments) as program:
        while program.read(1 << 16):
            pass
        dumper.finish(program)
    with (folder / "toc.dat").open("rb") as file:
        return read_contents(Intake(file.read, what))
