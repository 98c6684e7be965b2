"""Filling an empty database: a dump streamed into `pg_restore` or `psql`, of which every error is a failure."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from recoup.errors import DamagedError, RestoreError
from recoup.model.names import shown
from recoup.model.part import Part, Reader, TreePart
from recoup.model.structs import Struct
from recoup.sources.postgres import _programs
from recoup.sources.postgres._archive import Contents, Entry, Intake, read_contents
from recoup.sources.postgres._connection import Address
from recoup.sources.postgres._plain import PlainWatch
from recoup.sources.postgres._programs import Suite
from recoup.sources.postgres._restore_detour import KNOWN_SINCE, carried, without_setting
from recoup.system.programs import Program, ProgramFailedError
from recoup.system.tempdirs import temporary_folder
from recoup.system.unpacking import write_stream, write_tree

_PIECE = 1 << 20  # bytes handed on at once
_PSQL = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-")

Choose = Callable[[Contents], Sequence[Entry]]


class Filler(Struct):
    """How dumps get into one database.

    Attributes:
        suite: the programs.
        address: the database.
        server: major version of its server.
        staging: folder for copies of what cannot be streamed.
        jobs: tables restored at the same time; more than 1 needs a copy of the dump.
        ownerless: leave out owners and rights, where their roles are not there.
    """

    suite: Suite
    address: Address
    server: int
    staging: Path
    jobs: int = 1
    ownerless: bool = False

    def fill(self, part: Part, choose: Choose | None = None) -> None:
        """Restores one part, whatever its format.

        Args:
            part: a dump in custom, directory or plain format; the last one is told by its name.
            choose: the entries of an archive to restore; all by default.

        Raises:
            DamagedError: the stored bytes are wrong, or end in the middle.
            RestoreError: PostgreSQL refused something.
        """
        if isinstance(part, TreePart):
            with temporary_folder("postgres", self.staging) as folder:
                write_tree(part, folder / "dump")
                self.fill_from(folder / "dump", choose)
        elif part.name.endswith(".sql"):
            with part.content.open() as reader:
                self.run_sql(reader.read, shown(part.name))
        elif self.jobs > 1:
            with temporary_folder("postgres", self.staging) as folder:
                write_stream(part, folder / "dump")
                self.fill_from(folder / "dump", choose)
        else:
            with part.content.open() as reader:
                self._stream(reader, shown(part.name), choose)

    def fill_from(self, path: Path, choose: Choose | None = None) -> None:
        """Restores from a file in custom format, or a folder in directory format, several tables at the same time."""
        several = self.jobs > 1 and not self._by_script
        arguments = [*self._arguments, *([f"--jobs={self.jobs}"] if several else [])]
        with contextlib.ExitStack() as stack:
            if choose is not None:
                folder = stack.enter_context(temporary_folder("postgres", self.staging))
                arguments.append(f"--use-list={_list_file(folder / 'list', path, choose)}")
            if self._by_script:
                self._run_script([*arguments, str(path)])
                return
            with self._running("pg_restore", [*arguments, str(path)]) as program:
                _end(program)

    @property
    def _by_script(self) -> bool:
        """Whether `pg_restore` would begin by a setting that the server does not know; `_restore_detour` tells more."""
        return self.server < KNOWN_SINCE <= self.suite.major

    def _run_script(self, arguments: Sequence[str], feed: Callable[[Program], None] | None = None) -> None:
        """Has `pg_restore` write its script, and `psql` run it."""
        with (
            self._running("pg_restore", [*arguments, "--file=-"], feed=feed is not None, connected=False) as writer,
            self._running("psql", _PSQL, feed=True) as runner,
        ):
            with carried(writer, runner):
                if feed is not None:
                    feed(writer)
                writer.end_input()
            writer.finish()
            _end(runner)

    @property
    def _arguments(self) -> list[str]:
        return ["--exit-on-error", *(["--no-owner", "--no-privileges"] if self.ownerless else [])]

    def _stream(self, reader: Reader, what: str, choose: Choose | None) -> None:
        intake = Intake(reader.read, what)
        contents = read_contents(intake)
        head = contents.encoded(contents.entries if choose is None else choose(contents))

        def feed(program: Program) -> None:
            gone = _hand(program, head)
            while data := intake.some():
                gone = gone or _hand(program, data)

        if self._by_script:
            self._run_script(self._arguments, feed)
            return
        with self._running("pg_restore", self._arguments, feed=True) as program:
            feed(program)
            _end(program)

    def run_sql(self, read: Callable[[int], bytes], what: str, *, whole: bool = True) -> None:
        """Runs SQL as `psql` does, up to the first error.

        Args:
            read: gives the text.
            what: what it is called in errors.
            whole: whether it has to end as a dump of `pg_dump` ends.

        Raises:
            DamagedError: it ends in the middle.
            RestoreError: PostgreSQL refused a statement.
        """
        watch = PlainWatch()
        read = read if self.server >= KNOWN_SINCE else without_setting(read)
        with self._running("psql", _PSQL, feed=True) as program:
            gone = False
            while data := read(_PIECE):
                watch.feed(data)
                gone = gone or _hand(program, data)
            if whole and not watch.complete:
                raise DamagedError(f"{what} does not end as a dump ends")
            _end(program)

    @contextlib.contextmanager
    def _running(
        self, name: str, arguments: Sequence[str], *, feed: bool = False, connected: bool = True
    ) -> Iterator[Program]:
        address = self.address if connected else None
        try:
            with _programs.running(self.suite, name, arguments, address, feed=feed) as program:
                yield program
        except ProgramFailedError as error:
            raise _told(name, error, self.address) from None


def _told(name: str, error: ProgramFailedError, address: Address) -> RestoreError:
    """The first thing that went wrong: with --exit-on-error nothing but it counts."""
    said = address.mask(error.said)
    first = [line.strip() for line in said.splitlines() if "ERROR:" in line or "error:" in line]
    detail = [line.strip() for line in said.splitlines() if line.strip().startswith(("DETAIL:", "HINT:"))]
    sentence = " / ".join([*first[:2], *detail[:2]]) or _programs.said_by(error, address.mask)
    hint = "Free space on the server's disk." if "No space left" in said else ""
    return RestoreError(f"{name} failed: {shown(sentence)}", hint)


def _hand(program: Program, data: bytes) -> bool:
    """Hands on bytes; True when nobody takes them any more, which `finish` judges."""
    try:
        program.write(data)
    except BrokenPipeError:
        return True
    return False


def _end(program: Program) -> None:
    program.end_input()
    while program.read(_PIECE):
        pass
    program.finish()


def _list_file(target: Path, dump: Path, choose: Choose) -> Path:
    """A table of contents for `--use-list`, which looks at the numbers alone."""
    source = dump / "toc.dat" if dump.is_dir() else dump
    with source.open("rb") as file:
        contents = read_contents(Intake(file.read, shown(dump.name)))
    target.write_text("".join(f"{entry.id}; 0 0\n" for entry in choose(contents)))
    return target


def suite_for(program: str, server: int, folder: Path | None, needed: str = "pg_restore") -> Suite:
    """The programs for a restore: not older than what dumped; of them those that talk to the server themselves (see
    `_restore_detour`), of the server's version or the next one.

    Args:
        program: version of the `pg_dump`, e.g. `18.1`; empty where nobody knows.
        server: major version of the target server.
        folder: the only place to look in, where the settings say one.
        needed: the program that has to be there.

    Raises:
        RestoreError: there is none that could.
    """
    wrote = program.partition(".")[0]
    least = int(wrote) if wrote.isdecimal() else 0
    found = [suite for suite in _programs.suites(needed, folder) if suite.major >= least]
    direct = [suite for suite in found if server >= KNOWN_SINCE or suite.major < KNOWN_SINCE]
    fitting = direct or [suite for suite in found if _programs.has(suite, "psql")]
    if fitting:
        near = [suite for suite in fitting if suite.major >= server]
        return near[0] if near else fitting[-1]
    if found:
        raise RestoreError(
            f"a server of version {server} takes what {needed} {found[0].version} writes only by psql, which is not in "
            f"{found[0].folder}",
            "Install psql beside it.",
        )
    raise RestoreError(
        f"there is no {needed} of version {max(least, 1)} or newer here", _programs.how_to_install(least)
    )
