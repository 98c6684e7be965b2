"""Copy: sets of one repository into another, with what was learned of them, checked on the way."""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace

from recoup.errors import DamagedError, NoSpaceError, RecoupError, RefusedError, StorageError, WrongKeyError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.manifest import Manifest, SourceRecord, StoredPart
from recoup.model.names import SetName
from recoup.model.part import Part
from recoup.model.reports import CopiedSet, CopyReport, SetInfo
from recoup.model.sharing import Sent
from recoup.model.structs import Struct
from recoup.operations._cutting import sentence
from recoup.operations._pump import Pump, storage_error
from recoup.operations.selection import listing
from recoup.repository._base import Replica, Replication, Repository, SetWriter
from recoup.system.clock import Clock


class Row(Struct):
    """One set in the plan.

    Attributes:
        set: its name where it is copied from.
        there: its name in the other repository, which has it already; empty when it is to be copied.
        bytes: what it holds, plain.
        problem: why it cannot be copied; empty when it can.
        closed: whether that is since this host has nothing to open it with.
    """

    set: str
    there: str
    bytes: int
    problem: str = ""
    closed: bool = False


class Plan(Struct):
    """What a copy will do.

    Attributes:
        origin: name of the repository that is copied from.
        target: name of the one that gets the sets.
        rows: one for each set, oldest first.
        factor: free space that each set asks for, as a multiple of what it holds.
        free_bytes: what the target has; None when unknown.
        sent: about what goes over as it is stored, where both have the same keys and somebody looked; None elsewhere.
    """

    origin: str
    target: str
    rows: tuple[Row, ...]
    factor: float
    free_bytes: int | None
    sent: Sent | None = None

    @property
    def missing(self) -> tuple[Row, ...]:
        """The sets that will be copied."""
        return tuple(row for row in self.rows if not row.there and not row.problem)

    @property
    def needed_bytes(self) -> int:
        """What they will take in the target; where they are stored anew, by what they hold, with the safety factor."""
        if self.sent is not None:
            return self.sent.bytes
        return int(sum(row.bytes for row in self.missing) * self.factor)


def plan(infos: Iterable[SetInfo], origin: Repository, target: Repository, factor: float, clock: Clock) -> Plan:
    """Looks which sets the target lacks; changes nothing. Sets are the same when the `id` in their manifests is.

    Args:
        infos: the sets to copy.
        origin: where they are.
        target: where they are to be.
        factor: free space that a set asks for, as a multiple of what it holds.
        clock: time.
    """
    there = {info.manifest.id: info.name for info in listing(target, clock.now()) if info.manifest}
    rows = tuple(_row(info, there, origin) for info in sorted(infos, key=lambda info: info.name_key))
    return Plan(origin.name, target.name, rows, factor, target.free_bytes())


def measured(plan: Plan, origin: Repository, target: Repository) -> Plan:
    """The plan with what goes over as it is stored; the same where the two do not have the same keys. Reads both indexes.

    Raises:
        RecoupError: a set cannot be read.
    """
    names = [parsed(row.set) for row in plan.missing]
    replication = _replication(origin, target) if names else None
    return plan if replication is None else replace(plan, sent=replication.amount(names))


def _replication(origin: Repository, target: Repository) -> Replication | None:
    return target.replication(origin) if isinstance(target, Replica) else None


def _row(info: SetInfo, there: dict[str, str], origin: Repository) -> Row:
    if info.manifest is None:
        problem = f"its manifest cannot be read: {info.problem}"
        return Row(info.name, "", 0, problem, _is_closed(parsed(info.name), origin))
    return Row(info.name, there.get(info.manifest.id, ""), info.manifest.bytes)


def _is_closed(name: SetName, origin: Repository) -> bool:
    """Whether a set that cannot be read is only closed to this host."""
    try:
        return not origin.can_open(name)
    except (RecoupError, OSError):
        return False  # it is damaged


class Copied(Struct):
    """A set that was copied.

    Attributes:
        name: in the target.
        sent: what went over as it was stored; None where all was stored anew.
    """

    name: SetName
    sent: Sent | None = None


class Way(Struct):
    """From where to where, and the surroundings.

    Attributes:
        origin: where the sets are; the caller holds a shared lock there.
        target: where they are to be.
        clock: time.
        emit: where news go.
        wait_lock: seconds to wait for the target's lock.
        locked: whether somebody holds that lock for us.
    """

    origin: Repository
    target: Repository
    clock: Clock
    emit: Emit
    wait_lock: float = 0.0
    locked: bool = False


def run(plan: Plan, way: Way) -> CopyReport:
    """Copies one set after the other, oldest first. One that cannot be copied does not stop the others; when the target
    cannot be written, the rest is not tried. What an interrupted copy has finished is skipped by the next one."""
    begun = way.clock.monotonic()
    results: list[CopiedSet] = []
    stopped: RecoupError | None = None
    for row in plan.rows:
        if stopped is None or row.there or row.problem:
            result, stopped = copied(row, way, lambda row=row: copy_one(row, plan.factor, way))  # type: ignore[misc]
        else:
            result = not_tried(row, stopped)
        results.append(result)
    return CopyReport(plan.origin, plan.target, tuple(results), way.clock.monotonic() - begun)


def not_tried(row: Row, stopped: RecoupError) -> CopiedSet:
    """A set that was left where it is, because of what befell another one."""
    return CopiedSet(row.set, error=f"not tried: {stopped.message}", code=stopped.exit_code)


def copied(row: Row, way: Way, copying: Callable[[], Copied]) -> tuple[CopiedSet, RecoupError | None]:
    """What became of a set, and the error after which no other needs to be tried.

    Args:
        row: of the set.
        way: from where to where.
        copying: copies it where it is missing.
    """
    begun = way.clock.monotonic()
    if row.problem:
        return _failed(row, WrongKeyError(row.problem) if row.closed else DamagedError(row.problem), way), None
    try:
        if row.there:
            carry_marks(parsed(row.set), parsed(row.there), way)
            return CopiedSet(row.set, row.there, there=True), None
        done = copying()
    except (NoSpaceError, StorageError) as error:
        return _failed(row, error, way), error
    except OSError as error:
        return _failed(row, storage_error(error), way), storage_error(error)
    except RecoupError as error:
        return _failed(row, error, way), None
    seconds = way.clock.monotonic() - begun
    name, sent = str(done.name), done.sent
    fields = {"from": way.origin.name, "to": way.target.name, "bytes": row.bytes}
    text = f"{row.set} of {way.origin.name} is now in {way.target.name} as {name}"
    if sent is not None:
        fields |= {"sent": sent.bytes, "packs": sent.files}
        text += f"; {_packs(sent.files)} went over unopened" if sent.files else ""
    way.emit(Event("set_copied", way.clock.now(), text, set=name, fields=fields))
    return CopiedSet(row.set, name, row.bytes, seconds, sent=sent), None


def _packs(count: int) -> str:
    return f"{count} pack{'s'[count == 1 :]}"


def _failed(row: Row, error: RecoupError, way: Way) -> CopiedSet:
    fields = {"from": way.origin.name, "to": way.target.name, "error": error.message}
    text = f"{row.set} was not copied to {way.target.name}: {sentence(error)}"
    way.emit(Event("copy_failed", way.clock.now(), text, Level.ERROR, row.set, fields))
    return CopiedSet(row.set, error=sentence(error), code=error.exit_code)


def lock_for(stack: str, way: Way) -> AbstractContextManager[None]:
    """The target's lock: one copy of a stack at a time."""
    return way.target.lock("backup", "copy", f"copy of {stack}", way.wait_lock)


def copy_one(row: Row, factor: float, way: Way) -> Copied:
    """Copies a set.

    Raises:
        DamagedError: what is stored of it is damaged; nothing of it was kept.
        NoSpaceError: there is too little room.
        StorageError: the target cannot be written.
    """
    name = parsed(row.set)
    manifest = way.origin.whole(way.origin.manifest(name))
    replication = _replication(way.origin, way.target)
    with contextlib.nullcontext() if way.locked else lock_for(manifest.stack, way):
        if replication is None:
            _require_room(row, int(row.bytes * factor), way.target)
            done = Copied(_stored_anew(name, manifest, way))
        else:
            done = _taken_over(row, replication, way)
        carry_marks(name, done.name, way)
    return done


def _stored_anew(name: SetName, manifest: Manifest, way: Way) -> SetName:
    """Reads all of a set, and stores it in the form of the target."""
    with way.target.begin(manifest.started, manifest.stack) as writer:
        sources = {
            source: replace(record, parts=tuple(_parts(name, source, record, writer, way)))
            for source, record in manifest.sources.items()
        }
        writer.commit(replace(manifest, name=str(writer.name), sources=sources, sealing=None))
        return writer.name


def _taken_over(row: Row, replication: Replication, way: Way) -> Copied:
    """Sends what the target lacks as it is stored."""

    def advance(done: int, total: int) -> None:
        way.emit(Progress(f"copy {row.set}", done, total))

    name, sent = replication.copy(parsed(row.set), lambda needed: _require_room(row, needed, way.target), advance)
    way.emit(Progress(f"copy {row.set}", sent.bytes, sent.bytes, finished=True))
    return Copied(name, sent)


def _require_room(row: Row, needed: int, target: Repository) -> None:
    free = target.free_bytes()
    if free is not None and needed > free:
        raise NoSpaceError(
            f"insufficient disk space at {target.location} for {row.set}: {needed:,} bytes are needed, {free:,} are free",
            "Free space or prune old sets there; then run the copy again, which goes on where it stopped.",
        )


def _parts(name: SetName, source: str, record: SourceRecord, writer: SetWriter, way: Way) -> Iterable[StoredPart]:
    pump = Pump(writer, source, record.bytes, way.emit, f"copy {name}")
    once = bool(record.settings.get("store_once"))
    for part in record.parts:
        stored = _stored(pump, lambda part=part: way.origin.fetch(name, source, part), once=once)  # type: ignore[misc]
        if pump.findings:
            raise DamagedError(f"{pump.findings[0].item} of {name} {pump.findings[0].message}", _DAMAGED)
        _demand_same(name, part, stored)
        yield replace(stored, attributes=part.attributes)


_DAMAGED = "`recoup verify` tells what else is damaged; `recoup repair` mends it from another repository."


def _stored(pump: Pump, fetch: Callable[[], Part], *, once: bool) -> StoredPart:
    """Stores a part; where the target can, what equals the copy in an earlier set of it is not stored again."""
    if once:
        try:
            return pump.store(replace(fetch(), once=True))
        except RefusedError:  # not in an encrypted repository; nothing was read yet
            pass
    return pump.store(fetch())


def _demand_same(name: SetName, part: StoredPart, stored: StoredPart) -> None:
    """Reading has checked every byte against the manifest; this looks whether all of them arrived."""
    same = (part.bytes, part.kind) == (stored.bytes, stored.kind)
    if part.content_sha256 and stored.content_sha256:
        same = same and part.content_sha256 == stored.content_sha256
    if part.members and stored.members:
        same = same and part.members.count == stored.members.count
    if not same:
        raise DamagedError(f"{part.path} of {name} did not arrive as it is; nothing of it was kept")


def carry_marks(name: SetName, copied: SetName, way: Way) -> None:
    """Adds the marks that a copy lacks: pins, proofs, notes."""
    if name not in way.origin.marked():
        return
    known = {(mark.kind, mark.time, mark.host) for mark in way.target.marks(copied)}
    for mark in sorted(way.origin.marks(name), key=lambda mark: mark.time):
        if (mark.kind, mark.time, mark.host) not in known:
            way.target.mark(copied, mark)


def parsed(text: str) -> SetName:
    """The name that a row has as text."""
    found = SetName.parse(text)
    if found is None:
        raise RefusedError(f"{text} is not the name of a set")
    return found
