"""Restoring a whole database: into a new one beside the present one, checked against the facts, then swapped."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from psycopg import errors

from recoup.errors import DamagedError, HarmedError, RecoupError, RestoreError, SourceError
from recoup.model.facts import Facts
from recoup.model.names import shown
from recoup.model.part import Part, StreamPart
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.sources._base import Existing, Placement, Site
from recoup.sources.postgres import _preflight
from recoup.sources.postgres._connection import Address, failure
from recoup.sources.postgres._options import Digest
from recoup.sources.postgres._preflight import Needs
from recoup.sources.postgres._record import FACTS, RECORD, DatabaseRecord, read_facts, read_record
from recoup.sources.postgres._restore_checking import facts_of, require_equal
from recoup.sources.postgres._restore_filling import Filler, suite_for
from recoup.sources.postgres._restore_intents import Intents, any_left, left_behind
from recoup.sources.postgres._restore_options import RestoreOptions
from recoup.sources.postgres._restore_server import Form, Server, beside, maintaining
from recoup.sources.postgres._swapping import Belongings, Patience, drop_present, give, rename

COMPARED = "rows, content, sequences, indexes and neighbours of vectors are compared with what the backup saw"


class Undertaking(Struct):
    """A restore of a whole database, decided but not begun.

    Attributes:
        server: where it goes.
        name: the database's name there.
        present: whether there is one.
        form: what the new one is created with.
        belongings: what it is given.
        options: as the person wants it.
        compared: what is looked at before it takes its name, for people.
    """

    server: Server
    name: str
    present: bool
    form: Form
    belongings: Belongings
    options: RestoreOptions
    compared: str = COMPARED

    @property
    def steps(self) -> tuple[str, ...]:
        """What will be done, in order, a sentence each."""
        name, swaps = shown(self.name), self.options.mode == "swap"
        first = [] if swaps or not self.present else [f"the database {name} is dropped"]
        sessions = "sessions in it are ended" if self.options.terminate else "nobody may be in it then"
        last = [f"it becomes {name}"]
        if self.present and swaps:
            last = [f"{name} becomes {name}_before_TIME and the new one {name}, in one transaction; {sessions}"]
            last += ["the old one is dropped"] if self.options.drop_old else ["the old one is kept"]
        return (
            *first,
            f"a database {name}_restore_TIME is made",
            "the dump is restored into it; any error of PostgreSQL ends the restore",
            self.compared,
            *(["owner, rights, settings and comment are carried over"] if self.belongings != Belongings() else []),
            *last,
        )

    @property
    def existing(self) -> Existing:
        """For the plan."""
        target = self.server.at(self.name).shown
        if not self.present:
            return Existing(target, present=False, description="nothing", consequence="It is made.", steps=self.steps)
        size, sessions = self.server.size(self.name), len(self.server.sessions(self.name))
        bytes_ = f" of {size:,} bytes" if size is not None else ""
        description = f"database{bytes_}, {sessions} session{'s'[: sessions != 1]}"
        return Existing(target, present=True, description=description, consequence=self._consequence, steps=self.steps)

    @property
    def _consequence(self) -> str:
        if self.options.mode == "drop-create":
            return "It is dropped first: until the restore has ended, there is no database of this name."
        kept = "dropped afterwards" if self.options.drop_old else "kept as NAME_before_TIME"
        return f"The restored database takes its name from one moment to the next; the present one is {kept}."


def undertake(
    server: Server,
    name: str,
    needs: Needs,
    options: RestoreOptions,
    form: Form,
    belongings: Belongings | None,
    compared: str = COMPARED,
) -> Undertaking:
    """Decides how a database is restored, and looks for what would stop it.

    Args:
        server: where it goes.
        name: the database's name there.
        needs: of the dump.
        options: as the person wants it.
        form: what the dumped database was created with.
        belongings: those of the dumped one, given where there is none now.
        compared: what is looked at before it takes its name, for people.

    Raises:
        RestoreError: the server cannot take it.
        BusyError: somebody uses the present one, and would have to go.
    """
    present = server.has(name)
    _preflight.require(server, name, needs, replaces=present)
    if present:
        _preflight.require_left(server, name, terminate=options.terminate)
        belongings = Belongings.of_present(server, name)
        _preflight.require_settable(server, name, sorted({role for role, _ in belongings.settings if role}))
    belongings = belongings or Belongings()
    form = dataclasses.replace(form, owner=belongings.owner)
    return Undertaking(server, name, present, form, belongings, options, compared)


def form_of(record: DatabaseRecord) -> Form:
    """What a captured database was created with."""
    return Form(record.encoding, record.provider, record.collate, record.ctype, record.locale)


def first_record(parts: Iterator[Part]) -> DatabaseRecord:
    """The record, which comes first.

    Raises:
        DamagedError: it does not.
    """
    part = next(parts, None)
    if not isinstance(part, StreamPart) or part.name != RECORD:
        raise DamagedError(f"the set holds no database of this source: {RECORD} is missing")
    return read_record(part)


def foresee(parts: Iterable[Part], options: RestoreOptions, address: Address, folder: Path | None) -> Existing:
    """What a restore would meet and do; reads the record alone.

    Raises:
        RestoreError: the server cannot take it.
        BusyError: somebody uses the present database.
    """
    record = first_record(iter(parts))
    with refusing(), maintaining(address, options.maintenance) as server:
        suite_for(record.program, server.major, folder, "psql" if record.dump_format == "plain" else "pg_restore")
        return _undertaken(server, record, options, address).existing


def _undertaken(server: Server, record: DatabaseRecord, options: RestoreOptions, address: Address) -> Undertaking:
    form, belongings = form_of(record), Belongings.of_record(record)
    return undertake(server, address.database, Needs.of_record(record), options, form, belongings)


def restore_database(
    parts: Iterable[Part], options: RestoreOptions, address: Address, site: Site, folder: Path | None, jobs: int
) -> Placement:
    """Restores a whole database.

    Args:
        parts: as captured.
        options: as the person wants it.
        address: of the database that it is to become.
        site: of the source.
        folder: the only place to look for programs in, where the settings say one.
        jobs: tables restored at the same time.

    Raises:
        BusyError: somebody uses the present database.
        DamagedError: the stored bytes are wrong.
        RestoreError: it failed; the present database is as it was.
    """
    remaining = iter(parts)
    record = first_record(remaining)
    with refusing(), maintaining(address, options.maintenance) as server:
        plain = record.dump_format == "plain"
        suite = suite_for(record.program, server.major, folder, "psql" if plain else "pg_restore")
        undertaking = _undertaken(server, record, options, address)

        def fill(into: Address) -> None:
            facts = fill_whole(remaining, record, Filler(suite, into, server.major, site.staging, jobs))
            require_equal(facts, facts_of(into, facts, digest_of(record)), shown(record.name))

        return carry_out(undertaking, fill, site)


def digest_of(record: DatabaseRecord) -> Digest:
    """How much of the content the facts digest.

    Raises:
        DamagedError: the record says something that is not known.
    """
    if record.digest not in ("all", "sample", "none"):
        raise DamagedError(f"{RECORD} names a digest that is not known: {shown(record.digest)}")
    return record.digest  # type: ignore[return-value] # one of them


def fill_whole(parts: Iterator[Part], record: DatabaseRecord, filler: Filler) -> Facts:
    """Restores the whole dump of a set, and returns what it has to show.

    Raises:
        DamagedError: the set lacks the dump or the facts.
    """
    filled, facts = False, None
    for part in parts:
        if part.name == record.dump:
            filler.fill(part)
            filled = True
        elif part.name == FACTS and isinstance(part, StreamPart):
            facts = read_facts(part).facts
    if not filled or facts is None:
        raise DamagedError(f"the set lacks {shown(FACTS if filled else record.dump)}")
    return facts


def carry_out(undertaking: Undertaking, fill: Callable[[Address], None], site: Site) -> Placement:
    """Makes a database, has it filled and checked, and puts it in its place.

    Args:
        undertaking: what was decided.
        fill: restores into a database, and raises where it is not whole.
        site: of the source.
    """
    server, options, name = undertaking.server, undertaking.options, undertaking.name
    patience = Patience(options.terminate, options.wait, site.clock)
    intents = Intents(server.identifier)
    replaced = undertaking.present
    if replaced and options.mode == "drop-create":
        try:
            intents.dropped(name)
            drop_present(server, name, patience)
            with _without(name):
                _fill_new(undertaking, fill, intents, patience, site, kept="")
        finally:
            intents.settle(name)
        return Placement(server.at(name).shown)
    kept = beside(name, "before", site.clock.now()) if replaced else ""
    _fill_new(undertaking, fill, intents, patience, site, kept)
    if kept and options.drop_old:
        with contextlib.suppress(errors.Error):  # the restore is done: what cannot be dropped is kept, and said to be
            server.drop(kept)
            kept = ""
    return Placement(server.at(name).shown, kept)


def _fill_new(
    undertaking: Undertaking,
    fill: Callable[[Address], None],
    intents: Intents,
    patience: Patience,
    site: Site,
    kept: str,
) -> None:
    """Makes the new database, and gives it the name; the present one gets the name `kept`, if that is not empty."""
    server, name = undertaking.server, undertaking.name
    with temporary_database(server, name, "restore", undertaking.form, intents, site) as scratch:
        fill(server.at(scratch))
        with server.at(scratch).connected() as connection:
            connection.execute("ANALYZE")
        give(server, scratch, undertaking.belongings)
        if kept:
            rename(server, [(name, kept), (scratch, name)], patience)
        else:
            rename(server, [(scratch, name)], dataclasses.replace(patience, terminate=True))
        intents.settle(scratch)


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """Says that the present database is gone, where what follows fails.

    Raises:
        HarmedError: it failed.
    """
    try:
        yield
    except (RecoupError, errors.Error) as error:
        told = error if isinstance(error, RecoupError) else failure(error, Masker())
        raise HarmedError(
            f"{told.message}. The database {shown(name)} was dropped before, as mode drop-create does: it is not there now",
            f"{told.hint} Restore again.".strip(),
        ) from error


@contextlib.contextmanager
def temporary_database(server: Server, name: str, word: str, form: Form, intents: Intents, site: Site) -> Iterator[str]:
    """A new, empty database beside another one; dropped after an error, unless it has another name by then.

    Args:
        server: where.
        name: of the other one.
        word: what it is for, in its name.
        form: what it is created with.
        intents: where it is written down.
        site: of the source.
    """
    made = beside(name, word, site.clock.now())
    intents.make(made)
    try:
        server.create(made, form)
        yield made
    except BaseException:
        with contextlib.suppress(Exception):  # the server may be gone: then the next run drops it
            server.remove(made)
            intents.settle(made)
        raise


def recover(address: Address, door: str = "") -> tuple[str, ...]:
    """Drops the temporary databases that killed restores and drills left on a server; a sentence for each."""
    if not any_left():
        return ()
    with contextlib.suppress(SourceError), maintaining(address, door) as server:
        return tuple(left_on(server))
    return ()


def left_on(server: Server, *, dry_run: bool = False) -> Iterator[str]:
    """Drops what killed runs of this account left on a server; a sentence for each."""
    for left in left_behind(server.identifier):
        for name in (one for one in left.made if server.has(one)):
            if not dry_run:
                server.remove(name)
            yield f"the half-made database {shown(name)} of a killed run was dropped"
        for name in (one for one in left.dropped if not server.has(one)):
            yield f"there is no database {shown(name)}: a killed restore had dropped it; restore it again"
        if not dry_run:
            left.forget()


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turns what a source says into what a restore says.

    Raises:
        RestoreError: the server refused something, or is gone.
    """
    try:
        yield
    except SourceError as error:
        raise RestoreError(error.message, error.hint) from error
