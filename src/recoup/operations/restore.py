"""Restore: into a new folder as files, or in place, safely. The plan says what will happen to what is there."""

import contextlib
import errno
import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from recoup.errors import ExitCode, HarmedError, NoSpaceError, RecoupError, RestoreError, UsageError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.manifest import Manifest
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import Part, StreamPart, TreePart
from recoup.model.reports import RestoredSource, RestoreReport
from recoup.operations._fingerprint import Fingerprint, watched
from recoup.repository._base import Repository
from recoup.sources._base import Foreseeing, Source
from recoup.system.clock import Clock
from recoup.system.filesystem import free_bytes
from recoup.system.host import holder_token, token_is_dead
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import Overwrite, write_part, write_stream, write_tree

Mode = Literal["files", "place"]
"""`files`: written as files below a folder. `place`: put where the store lives, by its own plug."""


@dataclass(frozen=True)
class Row:
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


@dataclass(frozen=True)
class Item:
    """One source to restore: its row and what it takes to do it.

    Attributes:
        row: for people.
        set: the set.
        manifest: what the set claims.
        live: the plug, for mode `place`.
        options: the plug's restore options, for mode `place`.
        folder: for mode `files`.
    """

    row: Row
    set: SetName
    manifest: Manifest
    live: Source | None = None
    options: BaseModel | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What a restore will do.

    Attributes:
        items: one for each source.
        overwrite: what happens to files that are there, in mode `files`.
        delete: whether files that the set does not have are removed, in mode `files`.
        skipped: sources that the set has nothing of, with the reason.
        lost: those of them that should have been there, because they failed at the backup.
    """

    items: tuple[Item, ...]
    overwrite: Overwrite | None
    delete: bool
    skipped: Mapping[str, str]
    lost: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        """For people."""
        return tuple(item.row for item in self.items)

    @property
    def destructive(self) -> bool:
        """True when something that is there is replaced, so that a person has to agree."""
        return any(row.present for row in self.rows)


def as_files(name: str, manifest: Manifest, folder: Path, overwrite: Overwrite | None, *, delete: bool) -> Item:
    """Plans to write a source as files below `folder`/its name.

    Raises:
        RestoreError: something is there, and no `overwrite` was given.
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
    row = Row(name, record.kind, manifest.name, "files", str(target), there, consequence, record.bytes)
    return Item(row, _set_name(manifest), manifest, folder=folder)


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


def run(plan: Plan, repository: Repository, clock: Clock, emit: Emit, host: str) -> RestoreReport:
    """Restores. A source that fails leaves its target as it was, and the others go on.

    The caller holds a shared lock.
    """
    begun = clock.monotonic()
    _require_space(plan)
    results = tuple(_restore(item, plan, repository, clock, emit) for item in plan.items)
    for set_name in sorted({item.set for item in plan.items}):
        targets = {
            r.source: r.target for r, i in zip(results, plan.items, strict=True) if i.set == set_name and not r.error
        }
        if targets:
            repository.mark(set_name, Mark("restored", clock.now(), host, {"targets": targets}))
    names = ", ".join(sorted({str(item.set) for item in plan.items}))
    return RestoreReport(names, results, clock.monotonic() - begun, plan.lost)


def _require_space(plan: Plan) -> None:
    """What is restored lies beside what is there until both are whole, so all of it needs room."""
    needed: dict[int, tuple[int, Path]] = {}
    for item in plan.items:
        if item.live is not None and not _lives_in_files(item):
            continue  # it lives on a server, whose disk is not ours to ask
        place = item.folder or Path(item.row.target)
        while not place.exists() and place != place.parent:
            place = place.parent
        device = place.stat().st_dev
        needed[device] = (needed.get(device, (0, place))[0] + item.row.bytes, place)
    for size, place in needed.values():
        if size > free_bytes(place):
            raise NoSpaceError(
                f"insufficient disk space at {place}: {size:,} bytes are needed, {free_bytes(place):,} are free",
                "Free space or choose another --target. Nothing was restored.",
            )


def _restore(item: Item, plan: Plan, repository: Repository, clock: Clock, emit: Emit) -> RestoredSource:
    row, begun = item.row, clock.monotonic()
    total = item.manifest.sources[row.source].bytes
    passing = Fingerprint(lambda done: emit(Progress(f"restore {row.source}", done, total)))
    try:
        parts = _parts(item, repository, passing, emit)
        if item.live is not None and item.options is not None:
            placement = item.live.restore(parts, item.options)
            target, kept = placement.target, placement.kept
        else:
            target, kept = _write_files(item, parts, plan), ""
        _demand_all(item, passing)
    except (RecoupError, OSError) as error:
        return _not_restored(item, error, clock, clock.monotonic() - begun, emit)
    emit(
        Event(
            "source_restored",
            clock.now(),
            f"{row.source} restored to {target}",
            set=str(item.set),
            fields={"source": row.source, "target": target, "bytes": passing.bytes, "kept": kept},
        )
    )
    return RestoredSource(row.source, target, passing.bytes, kept, clock.monotonic() - begun)


def _demand_all(item: Item, passing: Fingerprint) -> None:
    if item.folder is None or item.row.present:
        return  # a plug, or a rule about present files, may leave bytes out on purpose
    expected = item.manifest.sources[item.row.source].bytes
    if passing.bytes != expected:
        raise RestoreError(
            f"{item.row.source}: {passing.bytes:,} of {expected:,} bytes were taken by the restore",
            "This is a fault of the source's plug; the set itself is as it was.",
        )


def _not_restored(item: Item, error: Exception, clock: Clock, seconds: float, emit: Emit) -> RestoredSource:
    message = str(error) or type(error).__name__
    code = error.exit_code if isinstance(error, RecoupError) else ExitCode.FAILED
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk is full: {message}"
    if isinstance(error, RecoupError) and error.hint:
        message = f"{message}. {error.hint}"
    row = item.row
    fields = {"source": row.source, "error": message}
    state = "" if isinstance(error, HarmedError) else f", {row.target} is as it was"
    sentence = f"{row.source} was not restored{state}: {message}"
    emit(Event("restore_failed", clock.now(), sentence, Level.ERROR, str(item.set), fields))
    return RestoredSource(row.source, row.target, error=message, exit_code=code, seconds=seconds)


def _parts(item: Item, repository: Repository, passing: Fingerprint, emit: Emit) -> Iterator[Part]:
    record = item.manifest.sources[item.row.source]
    work = f"restore {item.row.source}"
    for stored in record.parts:
        yield watched(repository.fetch(item.set, item.row.source, stored), passing)
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
    staged = _staged(target)
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


def _staged(target: Path) -> Path:
    """A path beside `target` to write at first; what killed runs left of its kind is removed."""
    prefix = f".{target.name}.restoring-"
    for left in target.parent.glob(f"{glob.escape(prefix)}*"):
        if token_is_dead(left.name.removeprefix(prefix)):
            remove_tree(left)
    return target.with_name(prefix + holder_token())


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
    staged = _staged(place)
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
