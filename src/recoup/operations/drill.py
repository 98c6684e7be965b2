"""Drill: restore a set into scratch twins, open them with their engines, compare facts with facts. It can fail."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from recoup.errors import NoSpaceError, RecoupError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.facts import Comparison, compare
from recoup.model.manifest import Manifest, SourceRecord
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import Part
from recoup.model.reports import DrillReport, SetInfo, SourceDrill
from recoup.model.structs import Struct
from recoup.operations import _reading
from recoup.operations._fingerprint import Fingerprint, consume, watched
from recoup.repository._base import Repository
from recoup.sources._base import Source
from recoup.system.clock import Clock
from recoup.system.filesystem import free_bytes

NOT_ASKED = "not asked for"
"""Why a source is not drilled that the user left out."""

_ABSENT, _EMPTY = "it was absent at the backup", "it was empty at the backup"
NOTHING_THERE = (_ABSENT, _EMPTY)
"""Why a source is not drilled of which there is nothing to restore."""


class Plan(Struct):
    """What a drill will do.

    Attributes:
        set: the set.
        manifest: what it claims.
        sources: those to drill.
        skipped: those not to be drilled, with the reason.
        asked: True when the user named sources, so that a pass proves only those.
        repository: where the set is.
        others: copies of the same cut in other repositories, the nearest first.
    """

    set: SetName
    manifest: Manifest
    sources: tuple[str, ...]
    skipped: Mapping[str, str]
    asked: bool
    repository: str = ""
    others: tuple[SetInfo, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes that will be restored."""
        return sum(self.manifest.sources[name].bytes for name in self.sources)


def plan(manifest: Manifest, asked: Sequence[str] | None) -> Plan:
    """Chooses what to drill. Pure."""
    chosen, skipped = [], {}
    for name, record in manifest.sources.items():
        reason = _reason_to_skip(record, name, asked)
        if reason:
            skipped[name] = reason
        else:
            chosen.append(name)
    set_name = SetName.parse(manifest.name)
    if set_name is None:
        raise RecoupError(f"{manifest.name} is not the name of a set")
    return Plan(set_name, manifest, tuple(chosen), skipped, asked is not None)


def _reason_to_skip(record: SourceRecord, name: str, asked: Sequence[str] | None) -> str:
    if asked is not None and name not in asked:
        return NOT_ASKED
    if record.outcome == "absent":
        return _ABSENT
    if record.outcome == "failed":
        return f"it failed at the backup: {record.error}"
    if not record.parts:
        return _EMPTY
    return ""


def run(
    plan: Plan,
    sources: Mapping[str, Source],
    options: Mapping[str, BaseModel],
    repository: Repository,
    scratch: Path,
    clock: Clock,
    emit: Emit,
    host: str,
) -> DrillReport:
    """Drills the set and notes the result at it. The caller holds a shared lock and removes `scratch`.

    Args:
        plan: what to do.
        sources: live sources by name; never written to, they only lend their settings to the twins.
        options: each plug's restore options by source name, at their defaults.
        repository: where the set is.
        scratch: an empty folder for the twins.
        clock: time.
        emit: where news go.
        host: this machine's name, for the proof.
    """
    begun, started = clock.monotonic(), clock.now()
    drills = tuple(
        drilled(name, plan, sources[name], options[name], repository, scratch, clock, emit) for name in plan.sources
    )
    age = (started - plan.manifest.started).total_seconds()
    report = DrillReport(str(plan.set), age, started, drills, plan.skipped, clock.monotonic() - begun, repository.name)
    return conclude(report, plan, repository, clock, emit, host)


def conclude(
    report: DrillReport, plan: Plan, repository: Repository, clock: Clock, emit: Emit, host: str
) -> DrillReport:
    """Notes the result of a drill at its set, and tells it.

    Raises:
        RecoupError: a set that could be read takes no note.
    """
    mark = _mark(report, plan, clock.now(), host)
    # a repository that cannot be read need not take a note, either; any other that may be written has to
    _reading.note(repository, plan.set, mark, f"the drill of {plan.set}", emit, demanded=not report.unreadable)
    message = f"{plan.set} is {'proven: it restores' if report.passed else 'NOT restorable as it claims'}"
    level = Level.INFO if report.passed else Level.ERROR
    fields = {"passed": report.passed, "sources": list(plan.sources)}
    emit(Event("drill_finished", clock.now(), message, level, str(plan.set), fields))
    return report


def require_room(plan: Plan, scratch: Path) -> None:
    """Looks whether the twins fit.

    Args:
        plan: of the drill.
        scratch: folder where they will be made.

    Raises:
        NoSpaceError: there is too little room.
    """
    free = free_bytes(scratch)
    if plan.bytes > free:
        raise NoSpaceError(
            f"insufficient disk space for a drill: {plan.bytes:,} bytes are needed, {free:,} are free",
            "Free space, or set `staging:` to a folder on a larger disk.",
        )


def drilled(
    name: str,
    plan: Plan,
    source: Source,
    options: BaseModel,
    repository: Repository,
    scratch: Path,
    clock: Clock,
    emit: Emit,
) -> SourceDrill:
    """Drills one source; what goes wrong is in the result. Arguments as for `run`."""
    record, begun = plan.manifest.sources[name], clock.monotonic()
    restored = Fingerprint(lambda done: emit(Progress(f"drill {name}", done, record.bytes)))
    comparisons: tuple[Comparison, ...] = ()
    error, took = "", None
    try:
        folder = scratch / name
        folder.mkdir(mode=0o700)
        parts = _parts(name, plan, repository, restored, emit)
        with source.scratch(folder) as twin:
            twin.restore(parts, options)
            took = clock.monotonic() - begun
            comparisons = _compare(record, twin, restored)
    except (RecoupError, OSError) as failure:
        error = str(failure) or type(failure).__name__
    if not error and not comparisons:
        error = "there was nothing to compare: the set has no facts of this source"
    unreadable = restored.fault is not None
    return SourceDrill(
        name, record.kind, restored.bytes, clock.monotonic() - begun, comparisons, error, took, unreadable
    )


def _parts(name: str, plan: Plan, repository: Repository, passing: Fingerprint, emit: Emit) -> Iterator[Part]:
    record = plan.manifest.sources[name]
    for stored in record.parts:
        with passing.reading():
            part = repository.fetch(plan.set, name, stored)
        yield watched(part, passing)
    emit(Progress(f"drill {name}", passing.bytes, record.bytes, finished=True))


def _compare(record: SourceRecord, twin: Source, restored: Fingerprint) -> tuple[Comparison, ...]:
    size = Comparison("source", "bytes", f"{record.bytes:,}", f"{restored.bytes:,}", record.bytes == restored.bytes)
    lines = compare(record.facts, twin.facts()) if record.facts else ()
    if not twin.exact:
        return (size, *lines) if lines else ()
    found = Fingerprint()
    with twin.capture() as capture:
        for part in capture.parts():
            consume(watched(part, found))
    same = found.hexdigest() == restored.hexdigest()
    content = Comparison(
        "source",
        f"content and attributes of {restored.items:,} items",
        restored.hexdigest()[:16],
        found.hexdigest()[:16],
        same,
    )
    return (size, content, *lines)


def _mark(report: DrillReport, plan: Plan, now: datetime, host: str) -> Mark:
    drillable = {name for name, record in plan.manifest.sources.items() if record.parts}
    whole = drillable <= set(plan.sources)
    fields = {
        "level": "drill",
        "passed": report.passed,
        "whole": whole,
        "sources": {drill.source: drill.passed for drill in report.sources},
        "seconds": round(report.seconds, 3),
    }
    if report.passed:
        fields["restore_seconds"] = round(sum(drill.restore_seconds or 0.0 for drill in report.sources), 3)
    return Mark("proof", now, host, fields)
