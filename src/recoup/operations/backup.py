"""Backup: freeze every source first, read afterwards, write the manifest last."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.errors import ExitCode, NoSpaceError, RecoupError
from recoup.model.events import Event, Level
from recoup.model.manifest import Manifest, SourceRecord, outcome_of
from recoup.model.names import SetName
from recoup.model.reports import BackupReport, StoredCopy
from recoup.model.structs import Struct
from recoup.operations._backup_plan import Plan, Row, Run, Target, plan, targets
from recoup.operations._cutting import capture_all, sentence
from recoup.operations._fanout import Branch, FanOut, NobodyLeftError
from recoup.operations._pump import storage_error
from recoup.operations._shrinking import Gate
from recoup.repository._base import Repository, SetWriter
from recoup.sources._base import Source

_WHOLE = {"complete", "suspicious"}

__all__ = ["Plan", "Row", "Run", "Target", "plan", "run", "run_several", "targets"]


def run(plan: Plan, sources: Mapping[str, Source], repository: Repository, run: Run) -> BackupReport:
    """Takes one cut of the sources and stores it. The caller holds the repository's `backup` lock.

    A source that fails does not stop the others.

    Raises:
        NoSpaceError: there is too little space (before anything is written), or it ran out (nothing is listed).
        StorageError: the repository cannot be written; nothing is listed.
    """
    _require_space(repository, plan.total_bytes, plan.needed_bytes, plan.free_bytes)
    begun, started = run.clock.monotonic(), run.clock.now()
    gate = Gate(repository, run, [row.source for row in plan.rows])
    with repository.begin(started, run.stack) as writer:
        cut = _taken(plan, sources, writer, started, run, gate)
        if cut.manifest is None:
            return _nothing(cut, repository.name, run.clock.monotonic() - begun, run)
        try:
            writer.commit(cut.manifest)
        except OSError as error:
            raise storage_error(error) from error
        manifest = replace(cut.manifest, name=str(writer.name))
    seconds = run.clock.monotonic() - begun
    _report(manifest, repository, seconds, run)
    return BackupReport(manifest, repository.name, seconds, cut.errors, repositories=(_copy(repository, manifest),))


def run_several(
    plan: Plan, sources: Mapping[str, Source], repositories: Sequence[Repository], run: Run, wait_lock: float = 0.0
) -> BackupReport:
    """Takes one cut of the sources, reads it once, and stores it in several repositories; takes their locks, too.

    A repository that is locked, full, missing or out of reach does not stop the others; neither does a source that fails.

    Args:
        plan: what to store; its targets say what each repository needs.
        sources: by name.
        repositories: where to store it.
        run: the surroundings.
        wait_lock: seconds to wait for each repository's lock.

    Returns:
        What became of it, repository by repository.
    """
    begun, started = run.clock.monotonic(), run.clock.now()
    gates = functools.partial(Gate, run=run, sources=[row.source for row in plan.rows])
    branches = [Branch(repository, wait_lock, gates) for repository in repositories]
    cut = _Cut(None, {})
    try:
        with FanOut(branches, _room(plan), _telling(run)).begin(started, run.stack) as writer:
            cut = _taken(plan, sources, writer, started, run)
            if cut.manifest is not None:
                writer.commit(cut.manifest)
    except NobodyLeftError:
        pass  # each repository's own reason is in the report
    return _reported(cut, branches, run.clock.monotonic() - begun, run)


def _reported(cut: "_Cut", branches: Sequence[Branch], seconds: float, run: Run) -> BackupReport:
    copies = tuple(_outcome(branch, run) for branch in branches)
    for branch in branches:
        if branch.manifest is not None:
            _report(branch.manifest, branch.repository, seconds, run)
    stored = [branch for branch in branches if branch.manifest is not None]
    if stored:
        names = ", ".join(branch.repository.name for branch in stored)
        return BackupReport(stored[0].manifest, names, seconds, cut.errors, repositories=copies)
    names = ", ".join(branch.repository.name for branch in branches)
    if all(branch.failure is None for branch in branches):
        return replace(_nothing(cut, names, seconds, run), repositories=copies)
    return BackupReport(None, names, seconds, cut.errors, repositories=copies)


def _outcome(branch: Branch, run: Run) -> StoredCopy:
    if branch.manifest is not None:
        left_out = {source: run.mask(sentence(refusal)) for source, refusal in branch.refused.items()}
        return replace(_copy(branch.repository, branch.manifest), left_out=left_out)
    error = branch.failure
    if error is None:
        return StoredCopy(branch.repository.name, branch.repository.location)
    return StoredCopy(
        branch.repository.name, branch.repository.location, error=run.mask(sentence(error)), code=error.exit_code
    )


def _copy(repository: Repository, manifest: Manifest) -> StoredCopy:
    return StoredCopy(
        repository.name, repository.location, manifest.name, manifest.outcome, stored_bytes=manifest.stored_bytes
    )


def _telling(run: Run) -> Callable[[Branch], None]:
    """Says at once that a repository has failed, since the others may take hours yet."""

    def told(branch: Branch) -> None:
        name, error = branch.repository.name, branch.failure or RecoupError("it failed")
        message = run.mask(sentence(error))
        fields = {"repository": name, "error": message, "exit_code": int(error.exit_code)}
        text = f"nothing is stored in {name}: {message}"
        run.emit(Event("repository_failed", run.clock.now(), text, Level.ERROR, fields=fields))

    return told


def _room(plan: Plan) -> Callable[[Repository], None]:
    needed = {target.repository: target.needed_bytes for target in plan.targets}

    def demand(repository: Repository) -> None:
        if repository.name in needed:
            _require_space(repository, plan.total_bytes, needed[repository.name], repository.free_bytes())

    return demand


def _require_space(repository: Repository, total: int, needed: int, free: int | None) -> None:
    if free is not None and needed > free:
        raise NoSpaceError(
            f"insufficient disk space at {repository.location}: {needed:,} bytes are needed "
            f"(sources {total:,} and the safety factor), {free:,} are free",
            "Free space, prune old sets, or lower free_space_factor if you know better. Nothing was written.",
        )


class _Cut(Struct):
    """What was captured: a manifest around the stored parts, None when there is nothing to store."""

    manifest: Manifest | None
    errors: Mapping[str, str]


def _taken(
    plan: Plan,
    sources: Mapping[str, Source],
    writer: SetWriter,
    started: datetime,
    run: Run,
    gate: Gate | None = None,
) -> _Cut:
    """Captures all sources; of several repositories each has a gate of its own."""
    captured = capture_all(plan, sources, writer, run)
    records = gate.judge(captured) if gate is not None else captured
    errors = {name: record.error for name, record in records.items() if record.error}
    if not any(record.parts for record in records.values()) and not _empty_on_purpose(records):
        return _Cut(None, errors)
    return _Cut(_manifest(plan, records, writer.name, started, run), errors)


def _nothing(cut: _Cut, repository: str, seconds: float, run: Run) -> BackupReport:
    refused = bool(cut.errors) and run.refused.issuperset(cut.errors)
    _report_nothing(cut.errors, run, ExitCode.REFUSED if refused else ExitCode.FAILED)
    return BackupReport(None, repository, seconds, cut.errors, refused)


def _empty_on_purpose(records: Mapping[str, SourceRecord]) -> bool:
    """True when every source that is there was captured whole and is empty by permission."""
    outcomes = {record.outcome for record in records.values()}
    return bool(outcomes & _WHOLE) and outcomes <= {*_WHOLE, "absent"}


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
