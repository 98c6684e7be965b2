"""Taking the cut: all sources stand still first, then each is read into the set."""

import contextlib
import queue
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from recoup.errors import EmptySourceError, InterruptedRunError, NoSpaceError, RecoupError, RefusedError, StorageError
from recoup.model.events import Event, Level
from recoup.model.facts import outside
from recoup.model.manifest import Finding, SourceOutcome, SourceRecord, StoredPart
from recoup.operations._backup_plan import Plan, Row, Run
from recoup.operations._dividing import DividedCapture, divided
from recoup.operations._pump import Pump
from recoup.repository._base import SetWriter
from recoup.sources._base import Capture, MovedError, Source
from recoup.system.subprocesses import end_all

_MOVES = 5  # captures of a source whose pointer moved meanwhile
_FINDINGS = 100  # of a source, kept in the manifest; all are counted


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


def capture_all(plan: Plan, sources: Mapping[str, Source], writer: SetWriter, run: Run) -> dict[str, SourceRecord]:
    """Captures every source of the plan and stores it; a source that fails is a record, not an error.

    Raises:
        StorageError, NoSpaceError: the repository cannot be written.
    """
    entered = {row.source: _Entered() for row in plan.rows}
    try:
        _enter_all(plan, sources, entered, writer, run)
        records = {}
        for row in plan.rows:
            records[row.source] = _keep(row, sources[row.source], entered[row.source], writer, run)
        return records
    finally:
        with contextlib.ExitStack() as stack:
            for one in entered.values():
                stack.callback(one.leave)


def _enter_all(
    plan: Plan, sources: Mapping[str, Source], entered: dict[str, _Entered], writer: SetWriter, run: Run
) -> None:
    """Freezes all sources at the same time, so that the set is one cut. Ctrl-C ends the children that are waited for."""
    done: queue.Queue[BaseException | None] = queue.Queue()

    def work(row: Row) -> None:
        try:
            _enter(row, sources[row.source], entered[row.source], writer, run)
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


def _enter(row: Row, source: Source, entered: _Entered, writer: SetWriter, run: Run) -> None:
    try:
        for sentence in source.recover():
            run.emit(Event("restore_recovered", run.clock.now(), run.mask(f"{row.source}: {sentence}"), Level.WARNING))
        if not source.present() and source.options.optional:
            entered.record = SourceRecord(row.kind, "absent", settings=run.mask.value(source.settings()))
            return
        source.check()
        context = divided(row, source, writer, run) or source.capture()
        capture = context.__enter__()
        entered.context, entered.capture = context, capture
    except InterruptedRunError:
        raise  # says nothing about the source
    except (RecoupError, OSError) as error:
        entered.record = _failed(row, source, error, run)


def _failed(row: Row, source: Source, error: Exception, run: Run) -> SourceRecord:
    message = run.mask(sentence(error))
    if isinstance(error, RefusedError):
        run.refused.add(row.source)
    fields = {"source": row.source, "error": message}
    run.emit(Event("source_failed", run.clock.now(), f"{row.source}: {message}", Level.ERROR, fields=fields))
    return SourceRecord(row.kind, "failed", error=message, settings=run.mask.value(source.settings()))


def sentence(error: Exception) -> str:
    """An error with what to do about it."""
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
        except (StorageError, NoSpaceError, InterruptedRunError):
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
        _enter(row, source, entered, writer, run)


def _store(row: Row, source: Source, capture: Capture, writer: SetWriter, run: Run) -> SourceRecord:
    pump = Pump(writer, row.source, row.bytes or None, run.emit)
    parts = _parts(capture, pump)
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


def _parts(capture: Capture, pump: Pump) -> list[StoredPart]:
    if isinstance(capture, DividedCapture):
        return capture.store(pump)
    return [pump.store(part) for part in capture.parts()]


def _summary(findings: list[Finding]) -> str:
    serious = [f for f in findings if not f.harmless]
    more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
    return f"{serious[0].item}: {serious[0].message}{more}"


def _report_finding(source: str, finding: Finding, run: Run) -> None:
    level = Level.INFO if finding.harmless else Level.WARNING
    fields = {"source": source, "what": finding.what, "item": finding.item}
    message = f"{source}: {finding.item}: {finding.message}"
    run.emit(Event(f"item_{finding.what}", run.clock.now(), message, level, fields=fields))
