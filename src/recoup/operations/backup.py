"""Backup: freeze every source first, read afterwards, write the manifest last."""

import contextlib
import queue
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime

from recoup.errors import EmptySourceError, ExitCode, NoSpaceError, RecoupError, RefusedError, StorageError
from recoup.model.events import Emit, Event, Level
from recoup.model.facts import outside
from recoup.model.manifest import Finding, Host, Manifest, SourceOutcome, SourceRecord, StoredPart, outcome_of
from recoup.model.names import SetName
from recoup.model.reports import BackupReport
from recoup.model.secrets import Masker
from recoup.operations._pump import Pump, storage_error
from recoup.repository._base import Repository, SetWriter
from recoup.sources._base import Capture, MovedError, Source
from recoup.system.clock import Clock
from recoup.system.subprocesses import end_all

_MOVES = 5  # captures of a source whose pointer moved meanwhile
_FINDINGS = 100  # of a source, kept in the manifest; all are counted


@dataclass(frozen=True)
class Row:
    """One source in the plan.

    Attributes:
        source: its name.
        kind: its plug.
        present: False when the store is not there.
        optional: whether that is all right.
        bytes: what it will yield, roughly.
        problem: why it will fail, as far as can be said without reading it.
    """

    source: str
    kind: str
    present: bool
    optional: bool
    bytes: int
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    """What a backup will do.

    Attributes:
        rows: one for each source asked for.
        needed_bytes: what the repository needs, the safety factor included.
        free_bytes: what it has; None when unknown.
        tags: for the set.
        note: for the set.
    """

    rows: tuple[Row, ...]
    needed_bytes: int
    free_bytes: int | None
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def total_bytes(self) -> int:
        """What all sources will yield, roughly."""
        return sum(row.bytes for row in self.rows)


@dataclass(frozen=True)
class Run:
    """What a backup needs to know besides its plan.

    Attributes:
        stack: its name.
        host: this machine.
        version: Recoup's.
        id: random, 32 hex digits.
        time_zone: the host's.
        clock: time.
        emit: where news go.
        mask: takes secrets out of a text.
        refused: filled while it runs: names of the sources that refused for safety.
    """

    stack: str
    host: Host
    version: str
    id: str
    time_zone: str
    clock: Clock
    emit: Emit
    mask: Masker
    refused: set[str] = field(default_factory=set)


def plan(
    sources: Mapping[str, Source],
    free_bytes: int | None,
    free_space_factor: float,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> Plan:
    """Looks at the sources; changes nothing."""
    rows = tuple(_row(name, source) for name, source in sources.items())
    needed = int(sum(row.bytes for row in rows) * free_space_factor)
    return Plan(rows, needed, free_bytes, dict(tags or {}), note)


def _row(name: str, source: Source) -> Row:
    options = source.options
    try:
        present = source.present()
        size = source.estimate() if present else 0
    except (RecoupError, OSError) as error:
        return Row(name, options.kind, present=True, optional=options.optional, bytes=0, problem=str(error))
    problem = "" if present or options.optional else "it is not there"
    return Row(name, options.kind, present, options.optional, size, problem)


def run(plan: Plan, sources: Mapping[str, Source], repository: Repository, run: Run) -> BackupReport:
    """Takes one cut of the sources and stores it. The caller holds the repository's `backup` lock.

    A source that fails does not stop the others.

    Raises:
        NoSpaceError: there is too little space (before anything is written), or it ran out (nothing is listed).
        StorageError: the repository cannot be written; nothing is listed.
    """
    _require_space(plan, repository)
    begun = run.clock.monotonic()
    started = run.clock.now()
    with repository.begin(started, run.stack) as writer:
        records = _capture_all(plan, sources, writer, run)
        errors = {name: record.error for name, record in records.items() if record.error}
        if not any(record.parts for record in records.values()) and not _empty_on_purpose(records):
            seconds = run.clock.monotonic() - begun
            refused = bool(errors) and run.refused.issuperset(errors)
            _report_nothing(errors, run, ExitCode.REFUSED if refused else ExitCode.FAILED)
            return BackupReport(None, repository.name, seconds, errors, refused)
        manifest = _manifest(plan, records, writer.name, started, run)
        try:
            writer.commit(manifest)
        except OSError as error:
            raise storage_error(error) from error
        manifest = replace(manifest, name=str(writer.name))
    seconds = run.clock.monotonic() - begun
    _report(manifest, repository, seconds, run)
    return BackupReport(manifest, repository.name, seconds, errors)


def _require_space(plan: Plan, repository: Repository) -> None:
    if plan.free_bytes is not None and plan.needed_bytes > plan.free_bytes:
        raise NoSpaceError(
            f"insufficient disk space at {repository.location}: {plan.needed_bytes:,} bytes are needed "
            f"(sources {plan.total_bytes:,} and the safety factor), {plan.free_bytes:,} are free",
            "Free space, prune old sets, or lower free_space_factor if you know better. Nothing was written.",
        )


def _empty_on_purpose(records: Mapping[str, SourceRecord]) -> bool:
    """True when every source that is there was captured whole and is empty by permission."""
    outcomes = [record.outcome for record in records.values()]
    return "complete" in outcomes and all(outcome in ("complete", "absent") for outcome in outcomes)


@dataclass
class _Entered:
    """A capture that stands still, or why it does not."""

    context: AbstractContextManager[Capture] | None = None
    capture: Capture | None = None
    record: SourceRecord | None = None

    def leave(self) -> None:
        if self.context is not None:
            context, self.context = self.context, None
            context.__exit__(*sys.exc_info())


def _capture_all(plan: Plan, sources: Mapping[str, Source], writer: SetWriter, run: Run) -> dict[str, SourceRecord]:
    entered = {row.source: _Entered() for row in plan.rows}
    try:
        _enter_all(plan, sources, entered, run)
        records = {}
        for row in plan.rows:
            records[row.source] = _keep(row, sources[row.source], entered[row.source], writer, run)
        return records
    finally:
        with contextlib.ExitStack() as stack:
            for one in entered.values():
                stack.callback(one.leave)


def _enter_all(plan: Plan, sources: Mapping[str, Source], entered: dict[str, _Entered], run: Run) -> None:
    """Freezes all sources at the same time, so that the set is one cut. Ctrl-C ends the children that are waited for."""
    done: queue.Queue[BaseException | None] = queue.Queue()

    def work(row: Row) -> None:
        try:
            _enter(row, sources[row.source], entered[row.source], run)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            done.put(error)

    threads = [
        threading.Thread(target=work, args=(row,), name=f"freeze {row.source}", daemon=True) for row in plan.rows
    ]
    try:
        for thread in threads:
            thread.start()
        failures = [error for _ in threads if (error := done.get())]
    except BaseException:
        end_all()
        for thread in threads:
            thread.join(timeout=10)
        raise
    for failure in failures:
        raise failure


def _enter(row: Row, source: Source, entered: _Entered, run: Run) -> None:
    try:
        for sentence in source.recover():
            run.emit(Event("restore_recovered", run.clock.now(), run.mask(f"{row.source}: {sentence}"), Level.WARNING))
        if not source.present() and source.options.optional:
            entered.record = SourceRecord(row.kind, "absent", settings=run.mask.value(source.settings()))
            return
        source.check()
        context = source.capture()
        capture = context.__enter__()
        entered.context, entered.capture = context, capture
    except (RecoupError, OSError) as error:
        entered.record = _failed(row, source, error, run)


def _failed(row: Row, source: Source, error: Exception, run: Run) -> SourceRecord:
    message = run.mask(_sentence(error))
    if isinstance(error, RefusedError):
        run.refused.add(row.source)
    fields = {"source": row.source, "error": message}
    run.emit(Event("source_failed", run.clock.now(), f"{row.source}: {message}", Level.ERROR, fields=fields))
    return SourceRecord(row.kind, "failed", error=message, settings=run.mask.value(source.settings()))


def _sentence(error: Exception) -> str:
    if isinstance(error, RecoupError):
        return f"{error.message}. {error.hint}" if error.hint else error.message
    return str(error) or type(error).__name__


def _keep(row: Row, source: Source, entered: _Entered, writer: SetWriter, run: Run) -> SourceRecord:
    """Stores what one capture yields, takes it again where that is the rule, and never lets a half one stay."""
    moved = doubted = 0
    while True:
        if entered.capture is None:
            return entered.record or SourceRecord(row.kind, "failed", error="it was not captured")
        try:
            record = _store(row, source, entered.capture, writer, run)
        except MovedError as error:
            writer.discard(row.source)
            entered.leave()
            moved += 1
            if moved >= _MOVES:
                return _failed(row, source, error, run)
        except (StorageError, NoSpaceError):
            raise
        except (RecoupError, OSError) as error:
            writer.discard(row.source)
            return _failed(row, source, error, run)
        else:
            if record.outcome != "suspicious" or doubted:
                entered.leave()
                return record
            doubted += 1
            writer.discard(row.source)
            entered.leave()
        entered.capture = entered.record = None
        _enter(row, source, entered, run)


def _store(row: Row, source: Source, capture: Capture, writer: SetWriter, run: Run) -> SourceRecord:
    pump = Pump(writer, row.source, row.bytes or None, run.emit)
    parts: list[StoredPart] = [pump.store(part) for part in capture.parts()]
    if not parts and not source.options.allow_empty:
        raise EmptySourceError(f"{row.source} yields nothing", "Look at its settings, or set allow_empty: true.")
    facts = capture.facts()
    findings = [*capture.findings(), *pump.findings]
    doubts = outside(facts, capture.brackets())
    findings += [
        Finding("suspicious", line.subject, f"{line.name}: {line.found}, but the live source showed {line.expected}")
        for line in doubts
    ]
    outcome: SourceOutcome = "complete"
    if any(not f.harmless and f.what != "suspicious" for f in findings):
        outcome = "incomplete"
    elif any(not f.harmless for f in findings):
        outcome = "suspicious"
    masked = [replace(f, message=run.mask(f.message), item=run.mask(f.item)) for f in findings]
    masked.sort(key=lambda finding: finding.harmless)  # those that matter are not cut off
    for finding in masked[:_FINDINGS]:
        _report_finding(row.source, finding, run)
    return SourceRecord(
        kind=row.kind,
        outcome=outcome,
        error="" if outcome == "complete" else _summary(masked),
        settings=run.mask.value(source.settings()),
        engine=capture.engine,
        method=capture.method,
        frozen=capture.frozen,
        facts=facts,
        parts=tuple(parts),
        findings=tuple(masked[:_FINDINGS]),
        finding_count=len(masked),
    )


def _summary(findings: list[Finding]) -> str:
    serious = [f for f in findings if not f.harmless]
    more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
    return f"{serious[0].item}: {serious[0].message}{more}"


def _report_finding(source: str, finding: Finding, run: Run) -> None:
    level = Level.INFO if finding.harmless else Level.WARNING
    fields = {"source": source, "what": finding.what, "item": finding.item}
    message = f"{source}: {finding.item}: {finding.message}"
    run.emit(Event(f"item_{finding.what}", run.clock.now(), message, level, fields=fields))


def _manifest(plan: Plan, records: Mapping[str, SourceRecord], name: SetName, started: datetime, run: Run) -> Manifest:
    return Manifest(
        id=run.id,
        name=str(name),
        stack=run.stack,
        host=run.host,
        recoup=run.version,
        python=".".join(str(n) for n in sys.version_info[:3]),
        started=started,
        finished=run.clock.now(),
        outcome=outcome_of(records),
        requested=tuple(sorted(records)),
        sources=dict(records),
        time_zone=run.time_zone,
        tags=dict(plan.tags),
        note=run.mask(plan.note),
    )


def _report(manifest: Manifest, repository: Repository, seconds: float, run: Run) -> None:
    included = [name for name, record in manifest.sources.items() if record.parts]
    fields = {
        "path": f"{repository.location}/{manifest.name}",
        "included": included,
        "bytes_written": manifest.stored_bytes,
        "duration_ms": round(seconds * 1000),
    }
    level = Level.INFO if manifest.outcome == "complete" else Level.WARNING
    message = f"{manifest.name} stored, {manifest.outcome}: {', '.join(included)}"
    run.emit(Event("backup_created", run.clock.now(), message, level, manifest.name, fields))


def _report_nothing(errors: Mapping[str, str], run: Run, code: ExitCode) -> None:
    message = "nothing was stored: no source could be captured"
    fields = {"errors": dict(errors), "exit_code": int(code)}
    run.emit(Event("backup_failed", run.clock.now(), message, Level.ERROR, fields=fields))
