"""Restore: into a new folder as files, or in place, safely. The plan says what will happen to what is there."""

import contextlib
import errno
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel

from recoup.errors import DamagedError, ExitCode, HarmedError, NoSpaceError, RecoupError, RestoreError, UsageError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.manifest import Manifest
from recoup.model.marks import Mark
from recoup.model.names import SetName, shown
from recoup.model.part import Part, StreamPart, TreePart
from recoup.model.reports import RestoredSource, RestoreReport
from recoup.model.structs import Struct
from recoup.operations import contents
from recoup.operations._fingerprint import Fingerprint, watched
from recoup.repository._base import Repository
from recoup.sources._base import Foreseeing, Placement, Source
from recoup.system.clock import Clock
from recoup.system.filesystem import free_bytes
from recoup.system.tempdirs import beside, remove_tree
from recoup.system.unpacking import Overwrite, write_part, write_stream, write_tree

Mode = Literal["files", "place"]
"""`files`: written as files below a folder. `place`: put where the store lives, by its own plug."""


class Row(Struct):
    """One source in the plan.

    Attributes:
        source: its name.
        kind: its plug.
        set: the set it comes from.
        mode: see `Mode`.
        target: where, for people.
        present: what is there now; empty when nothing is.
        consequence: what will happen to it.
        bytes: how much will be written.
        steps: what will be done, in order, where one sentence does not say it.
        repository: where the set is.
        at_most: whether `bytes` are those of whole parts of which only something is wanted; how much, shows when it is read.
    """

    source: str
    kind: str
    set: str
    mode: Mode
    target: str
    present: str
    consequence: str
    bytes: int
    steps: tuple[str, ...] = ()
    repository: str = ""
    at_most: bool = False


class Item(Struct):
    """One source to restore: its row and what it takes to do it.

    Attributes:
        row: for people.
        set: the set.
        manifest: what the set claims.
        live: the plug, for mode `place`.
        options: the plug's restore options, for mode `place`.
        folder: for mode `files`.
        paths: what of the source is wanted, as paths inside it, in mode `files`; nothing means all.
        others: the same from other repositories' copies of the cut, one after the other, the nearest first.
    """

    row: Row
    set: SetName
    manifest: Manifest
    live: Source | None = None
    options: BaseModel | None = None
    folder: Path | None = None
    paths: tuple[str, ...] = ()
    others: Iterator["Item"] = field(default_factory=lambda: iter(()))


class Plan(Struct):
    """What a restore will do.

    Attributes:
        items: one for each source.
        overwrite: what happens to files that are there, in mode `files`.
        delete: whether files that the set does not have are removed, in mode `files`.
        skipped: sources that the set has nothing of, with the reason.
        lost: those of them that should have been there, because they failed at the backup.
        notes: why a nearer or newer copy is not taken, one sentence each; it grows while the restore goes on.
    """

    items: tuple[Item, ...]
    overwrite: Overwrite | None
    delete: bool
    skipped: Mapping[str, str]
    lost: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> tuple[Row, ...]:
        """For people."""
        return tuple(item.row for item in self.items)

    @property
    def destructive(self) -> bool:
        """True when something that is there is replaced, so that a person has to agree."""
        return any(row.present for row in self.rows)


def as_files(
    name: str,
    manifest: Manifest,
    folder: Path,
    overwrite: Overwrite | None,
    *,
    delete: bool,
    repository: str = "",
    paths: tuple[str, ...] = (),
) -> Item:
    """Plans to write a source, or what `paths` name in it, as files below `folder`/its name.

    Raises:
        RestoreError: something is there, and no `overwrite` was given.
        UsageError: a path leads to no part.
    """
    record = manifest.sources[name]
    target = folder / name
    present = target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir())))
    if present and overwrite is None:
        raise RestoreError(
            f"{target} is there already; nothing was restored",
            "Choose another --target, or say what happens to present files: --overwrite never|if-changed|always.",
        )
    consequence = "is made"
    if present:
        removal = "; what the set does not have is removed" if delete else ""
        consequence = {
            "never": "present files stay, missing ones are added",
            "if-changed": "files of another size or time are replaced",
            "always": "present files are replaced",
        }[overwrite or "never"] + removal
    there = "folder" if present else ""
    found = contents.spots(name, record, paths or ("",))
    steps = tuple(f"only {shown(path)}" for path in paths if path)
    row = Row(
        source=name,
        kind=record.kind,
        set=manifest.name,
        mode="files",
        target=str(target),
        present=there,
        consequence=consequence,
        bytes=sum(spot.part.bytes for spot in found),
        steps=steps,
        repository=repository,
        at_most=not all(spot.whole for spot in found),
    )
    return Item(row, _set_name(manifest), manifest, folder=folder, paths=paths)


def in_place(name: str, manifest: Manifest, live: Source, options: BaseModel, repository: Repository) -> Item:
    """Plans to put a source back where its store lives.

    Raises:
        RecoupError: the plug says that it cannot be.
    """
    record, set_name = manifest.sources[name], _set_name(manifest)
    held = (repository.fetch(set_name, name, part) for part in record.parts)
    existing = live.existing() if not isinstance(live, Foreseeing) else live.foresee(held, options)
    present = existing.description if existing.present else ""
    row = Row(
        source=name,
        kind=record.kind,
        set=manifest.name,
        mode="place",
        target=existing.target,
        present=present,
        consequence=existing.consequence,
        bytes=record.bytes,
        steps=existing.steps,
        repository=repository.name,
    )
    return Item(row, set_name, manifest, live=live, options=options)


def outer_first(items: Iterable[Item]) -> tuple[Item, ...]:
    """What lies inside another source's folder comes after that folder, which would else be swapped with it in it."""
    return tuple(sorted(items, key=lambda item: len(Path(item.row.target).parts) if _lives_in_files(item) else 0))


def _lives_in_files(item: Item) -> bool:
    return item.live is not None and item.live.options.place == "path"


def _set_name(manifest: Manifest) -> SetName:
    found = SetName.parse(manifest.name)
    if found is None:
        raise UsageError(f"{manifest.name} is not the name of a set")
    return found


def reason_to_skip(manifest: Manifest, source: str) -> str:
    """Why a set has nothing to restore of a source; empty when it has."""
    record = manifest.sources.get(source)
    if record is None:
        return "the set does not have it"
    if record.outcome == "failed":
        return f"it failed at the backup: {record.error}"
    if record.outcome == "absent":
        return "it was absent at the backup"
    return "" if record.parts else "it was empty at the backup"


def is_lost(manifest: Manifest, source: str) -> bool:
    """True when a source that was skipped should have been there: it was asked for at the backup, and failed."""
    record = manifest.sources.get(source)
    return record is not None and record.outcome in ("failed", "incomplete", "suspicious")


Tried = tuple[RestoredSource, Exception | None, Exception | None]
"""What came of one attempt, the error, and why the stored copy cannot be read, if it is that."""


class Elsewhere(Protocol):
    """Who restores sources in place of this machine."""

    def begin(self, items: Iterable[Item]) -> None:
        """Begins with those that it can do, all at once."""
        ...

    def attempt(self, item: Item) -> Tried | None:
        """What came of one; None for a source that this machine has to restore."""
        ...


def run(
    plan: Plan,
    reading: Callable[[str], Repository],
    clock: Clock,
    emit: Emit,
    host: str,
    elsewhere: Elsewhere | None = None,
) -> RestoreReport:
    """Restores. A source that fails leaves its target as it was, and the others go on. When stored bytes cannot be read or are
    damaged, what was begun is taken back and another repository's copy of the same cut is restored, which is said.

    Args:
        plan: what to do.
        reading: gives a repository by its name, locked for reading.
        clock: time.
        emit: where news go.
        host: this machine's name.
        elsewhere: who restores some of the sources in place of this machine.
    """
    begun = clock.monotonic()
    _require_space(plan)
    told = _Told(plan, clock, emit)
    told.news()
    if elsewhere is not None:
        elsewhere.begin(plan.items)

    def attempt(item: Item) -> Tried:
        tried = elsewhere.attempt(item) if elsewhere is not None else None
        return attempted(item, plan, reading, clock, emit) if tried is None else tried

    done = tuple(_restore_from_any(item, attempt, reading, clock, told) for item in plan.items)
    whole = [(item, result) for item, result in done if not result.error and not item.paths]
    for key in dict.fromkeys((item.row.repository, item.set) for item, _ in whole):
        targets = {result.source: result.target for item, result in whole if (item.row.repository, item.set) == key}
        _note_restored(*key, targets, reading, host, told)
    names = ", ".join(sorted({str(item.set) for item, _ in done}))
    return RestoreReport(names, tuple(result for _, result in done), clock.monotonic() - begun, plan.lost)


def _note_restored(
    repository: str,
    name: SetName,
    targets: Mapping[str, str],
    reading: Callable[[str], Repository],
    host: str,
    told: "_Told",
) -> None:
    """Notes at the set that it was restored from; where nothing may be written, the restore is good all the same."""
    try:
        reading(repository).mark(name, Mark("restored", told.clock.now(), host, {"targets": dict(targets)}))
    except (RecoupError, OSError) as error:
        text = f"{name} was restored, which could not be noted in {repository}: {error}"
        told.emit(Event("mark_failed", told.clock.now(), text, Level.WARNING, str(name), {"repository": repository}))


@dataclass
class _Told:
    """Says why other copies are taken than the nearest: each note of the plan once."""

    plan: Plan
    clock: Clock
    emit: Emit
    said: int = 0

    def news(self) -> None:
        for note in self.plan.notes[self.said :]:
            self.emit(Event("restore_fell_back", self.clock.now(), note, Level.WARNING))
        self.said = len(self.plan.notes)

    def reading_again(self, item: Item, reason: str) -> None:
        text = f"{item.row.source} did not arrive as it was stored and is read once more: {reason}"
        fields = {"source": item.row.source, "repository": item.row.repository}
        self.emit(Event("restore_read_again", self.clock.now(), text, Level.WARNING, str(item.set), fields))

    def falling_back(self, item: Item, other: Item, reason: str) -> None:
        row = item.row
        self.plan.notes.append(
            f"{row.source} could not be restored from {row.set} in {row.repository}, so {other.row.set} in "
            f"{other.row.repository} is taken: {reason}"
        )
        self.news()


def _restore_from_any(
    item: Item, attempt: Callable[[Item], Tried], reading: Callable[[str], Repository], clock: Clock, told: _Told
) -> tuple[Item, RestoredSource]:
    """Restores from the nearest copy that can be read; returns what was taken, and what came of it."""
    reasons: list[str] = []
    while True:
        result, error, fault = attempt(item)
        if isinstance(fault, DamagedError) and reading(item.row.repository).is_remote:
            told.reading_again(item, result.error)
            _take_back(item, clock, told.emit)
            result, error, fault = attempt(item)
        other = next(item.others, None) if fault else None
        if error is None or other is None:
            if error is not None:
                _tell_failure(item, result, error, clock, told.emit)
            return item, replace(result, repository=item.row.repository, fell_back=tuple(reasons))
        reasons.append(f"{item.row.set} in {item.row.repository}: {result.error}")
        told.falling_back(item, other, result.error)
        _take_back(item, clock, told.emit)
        item = replace(other, others=item.others)


def _take_back(item: Item, clock: Clock, emit: Emit) -> None:
    """What the failed attempt may have left at the source."""
    try:
        for sentence in item.live.recover() if item.live else ():
            emit(Event("restore_recovered", clock.now(), f"{item.row.source}: {sentence}", Level.WARNING))
    except (RecoupError, OSError):
        return  # the next attempt says what is in its way


class Room(Struct):
    """Whether one file system has room for what a restore writes there.

    Attributes:
        place: a folder of it, the nearest one that is there.
        needed: bytes that are written; what is there is kept beside them until they are whole.
        free: bytes that are free now.
    """

    place: Path
    needed: int
    free: int


def rooms(plan: Plan) -> tuple[Room, ...]:
    """The file systems that a restore writes to, and their space.

    Disks of servers are not among them, since they are not ours to ask, nor is what nobody knows the size of yet: that a disk is
    full is told when it is met.
    """
    needed: dict[int, tuple[int, Path]] = {}
    for item in plan.items:
        if item.row.at_most or (item.live is not None and not _lives_in_files(item)):
            continue
        place = item.folder or Path(item.row.target)
        while not place.exists() and place != place.parent:
            place = place.parent
        device = place.stat().st_dev
        needed[device] = (needed.get(device, (0, place))[0] + item.row.bytes, place)
    return tuple(Room(place, size, free_bytes(place)) for size, place in needed.values())


def _require_space(plan: Plan) -> None:
    """What is restored lies beside what is there until both are whole, so all of it needs room."""
    for room in rooms(plan):
        if room.needed > room.free:
            raise NoSpaceError(
                f"insufficient disk space at {room.place}: {room.needed:,} bytes are needed, {room.free:,} are free",
                "Free space or choose another --target. Nothing was restored.",
            )


def attempted(item: Item, plan: Plan, reading: Callable[[str], Repository], clock: Clock, emit: Emit) -> Tried:
    """Restores one source, here. Arguments as for `run`."""
    row, begun = item.row, clock.monotonic()
    total = item.manifest.sources[row.source].bytes
    passing = Fingerprint(lambda done: emit(Progress(f"restore {row.source}", done, total)), digests=False)
    try:
        with passing.reading():
            repository = reading(row.repository)
        parts = _parts(item, repository, passing, emit)
        if item.live is not None and item.options is not None:
            placed = item.live.restore(parts, item.options)
        else:
            placed = Placement(_write_files(item, parts, plan))
        _demand_all(item, passing)
    except (RecoupError, OSError) as error:
        fault = None if isinstance(error, HarmedError) else passing.fault
        return _not_restored(row, error, clock.monotonic() - begun), error, fault
    emit(
        Event(
            "source_restored",
            clock.now(),
            f"{row.source} restored to {placed.target}",
            set=str(item.set),
            fields={
                "source": row.source,
                "target": placed.target,
                "bytes": passing.bytes,
                "kept": placed.kept,
                "counted": dict(placed.counted),
            },
        )
    )
    seconds = clock.monotonic() - begun
    done = RestoredSource(row.source, placed.target, passing.bytes, placed.kept, seconds, counted=dict(placed.counted))
    return done, None, None


def _demand_all(item: Item, passing: Fingerprint) -> None:
    if item.folder is None or item.row.present or item.paths:
        return  # a plug, or a rule about present files, may leave bytes out on purpose
    expected = item.manifest.sources[item.row.source].bytes
    if passing.bytes != expected:
        raise RestoreError(
            f"{item.row.source}: {passing.bytes:,} of {expected:,} bytes were taken by the restore",
            "This is a fault of the source's plug; the set itself is as it was.",
        )


def _not_restored(row: Row, error: Exception, seconds: float) -> RestoredSource:
    message = str(error) or type(error).__name__
    code = error.exit_code if isinstance(error, RecoupError) else ExitCode.FAILED
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk is full: {message}"
    if isinstance(error, RecoupError) and error.hint:
        message = f"{message}. {error.hint}"
    return RestoredSource(row.source, row.target, error=message, exit_code=code, seconds=seconds)


def _tell_failure(item: Item, result: RestoredSource, error: Exception, clock: Clock, emit: Emit) -> None:
    row = item.row
    fields = {"source": row.source, "error": result.error}
    state = "" if isinstance(error, HarmedError) else f", {row.target} is as it was"
    sentence = f"{row.source} was not restored{state}: {result.error}"
    emit(Event("restore_failed", clock.now(), sentence, Level.ERROR, str(item.set), fields))


def _parts(item: Item, repository: Repository, passing: Fingerprint, emit: Emit) -> Iterator[Part]:
    record = item.manifest.sources[item.row.source]
    work = f"restore {item.row.source}"
    for spot in contents.spots(item.row.source, record, item.paths or ("",)):
        with passing.reading():
            part = repository.fetch(item.set, item.row.source, spot.part)
        yield watched(contents.selected(spot, part), passing)
    emit(Progress(work, passing.bytes, record.bytes, finished=True))


def _write_files(item: Item, parts: Iterator[Part], plan: Plan) -> str:
    if item.folder is None:
        raise RestoreError(f"{item.row.source} has no target")
    target = item.folder / item.row.source
    if item.row.present:
        for part in parts:
            _merge(part, target, plan)
        return str(target)
    made = not item.folder.exists()
    item.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = beside(target, "restoring")
    try:
        for part in parts:
            write_part(part, staged)
        if target.exists():
            target.rmdir()  # only an empty folder gets here
        staged.rename(target)
    except BaseException:
        remove_tree(staged)
        if made:
            with contextlib.suppress(OSError):  # another source may have been restored into it meanwhile
                item.folder.rmdir()
        raise
    return str(target)


def _merge(part: Part, target: Path, plan: Plan) -> None:
    overwrite = plan.overwrite or "never"
    if isinstance(part, TreePart):
        place = target if part.name == "." else target / part.name
        write_tree(part, place, overwrite=overwrite, delete=plan.delete)
        return
    _merge_stream(part, target, overwrite)


def _merge_stream(part: StreamPart, target: Path, overwrite: Overwrite) -> None:
    place = target / part.name
    if place.exists() and overwrite == "never":
        for _ in _drained(part):
            pass
        return
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = beside(place, "restoring")
    try:
        write_stream(part, staged)
        staged.rename(place)
    finally:
        staged.unlink(missing_ok=True)


def _drained(part: StreamPart) -> Iterator[bytes]:
    """Reads what is not written, so that its bytes are checked and counted all the same."""
    with part.content.open() as reader:
        while data := reader.read(1024 * 1024):
            yield data
