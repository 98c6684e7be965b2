"""What became of a job, in sentences. Nothing counts as a success that did not say itself what it had done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from recoup.errors import ExitCode
from recoup.model.figures import counted, duration, size
from recoup.model.manifest import Manifest
from recoup.model.reports import BackupReport, DrillReport
from recoup.model.structs import Struct
from recoup.model.wire import decoded
from recoup.operations.drill import NOTHING_THERE
from recoup.web.jobs import Job

Level = Literal["success", "info", "warning", "error"]
Results = Sequence[Mapping[str, Any]]

_DIFFERENCES = 20  # that are named of one drill

_CODES: Mapping[int, tuple[Level, str]] = {
    ExitCode.OK: ("info", "It ended without an error."),
    ExitCode.INCOMPLETE: ("warning", "It is incomplete: not all of it was done."),
    ExitCode.DAMAGED: ("error", "It found damage."),
    ExitCode.SKIPPED: ("warning", "It was skipped: a condition was not met."),
    ExitCode.INTERRUPTED: ("warning", "It was stopped. What was half done does not count."),
}

_ENDINGS: Mapping[int, tuple[Level, str]] = {
    ExitCode.INTERRUPTED: ("warning", "was stopped"),
    ExitCode.SKIPPED: ("warning", "was skipped"),
}


class Verdict(Struct):
    """What a person has to know of a job that has ended.

    Attributes:
        level: how good or bad it is.
        headline: one sentence.
        sentences: more of them.
    """

    level: Level
    headline: str
    sentences: tuple[str, ...] = ()


def verdict(job: Job, results: Results) -> Verdict:
    """What became of a job that does not run any more.

    Args:
        job: it.
        results: what it printed.
    """
    if job.exit_code is None:
        said = "Its process was killed before it could say how it ended. Only what the list of sets shows is stored."
        return Verdict("error", f"{_name(job)}: nobody knows how it ended.", (said,))
    if (error := _of_type(results, "error")) is not None:
        return _error(job, error)
    found = _reported(job, results)
    return found or _by_code(job, job.exit_code)


def _reported(job: Job, results: Results) -> Verdict | None:
    """By the report of a verb that has one here; None without one, or where it contradicts how the job ended."""
    try:
        if (value := _of_type(results, "backup")) is not None:
            report = decoded(BackupReport, value)
            return _backup(report) if report.exit_code == job.exit_code else None
        if (value := _of_type(results, "drill")) is not None:
            drill = decoded(DrillReport, value)
            return _drill(drill) if drill.exit_code == job.exit_code else None
    except ValueError:  # pydantic's, too
        return None
    return None


def _of_type(results: Results, kind: str) -> Mapping[str, Any] | None:
    return next((result for result in reversed(results) if result.get("type") == kind), None)


def _by_code(job: Job, code: int) -> Verdict:
    """Where there is no report. A backup or drill without one is no success, whatever its code."""
    level, said = _CODES.get(code, ("error", f"It failed (exit code {code})."))
    if code == ExitCode.OK and job.arguments[0] in ("backup", "drill"):
        level, said = (
            "error",
            "It ended without an error, and without a report of what was done: look at the list of sets.",
        )
    return Verdict(level, f"{_name(job)}: {said[0].lower()}{said[1:]}")


def _name(job: Job) -> str:
    return f"recoup {job.arguments[0]}"


def _error(job: Job, error: Mapping[str, Any]) -> Verdict:
    level, what = _ENDINGS.get(job.exit_code or ExitCode.FAILED, ("error", "failed"))
    sentences = (str(error.get(key, "")) for key in ("message", "hint"))
    return Verdict(level, f"{_name(job)} {what}.", tuple(filter(None, sentences)))


def _backup(report: BackupReport) -> Verdict:
    manifest = report.manifest
    if manifest is None:
        return Verdict("error", "The backup failed: nothing was stored.", tuple(_wrongs(report)))
    took = f"{size(manifest.bytes)} in {duration(report.seconds)}"
    if report.exit_code == ExitCode.OK:
        places = ", ".join(copy.repository for copy in report.repositories) or report.repository
        held = ", ".join(name for name, record in manifest.sources.items() if record.outcome != "absent")
        sentences = (f"It holds {held or 'nothing'}, and is stored in {places}.", *_absent(manifest))
        return Verdict("success" if held else "warning", f"{manifest.name} is complete: {took}.", sentences)
    outcomes = {manifest.outcome, *(copy.outcome for copy in report.repositories if copy.set)}
    worst = next((word for word in ("incomplete", "suspicious") if word in outcomes), "not everywhere")
    headline = f"{manifest.name} is stored and {worst}: {took}."
    return Verdict("warning", headline, (*_wrongs(report), *_absent(manifest)))


def _wrongs(report: BackupReport) -> Iterator[str]:
    """What is wrong, source by source and repository by repository."""
    yield from (f"{source}: {error}" for source, error in report.errors.items())
    for name, record in report.manifest.sources.items() if report.manifest else ():
        if not record.good and name not in report.errors:
            yield f"{name} is {record.outcome}: {_why(record.error, record.findings)}"
    for copy in report.repositories:
        if copy.error:
            yield f"{copy.repository} has not got it: {copy.error}"
        yield from (f"{copy.repository} has not got {source}: {why}" for source, why in copy.left_out.items())
        if copy.prune_error:
            yield f"{copy.repository} was not pruned: {copy.prune_error}"


def _why(error: str, findings: Sequence[Any]) -> str:
    harms = [finding for finding in findings if not finding.harmless]
    return error or "; ".join(f"{one.item}: {one.message}" for one in harms[:3]) or "the set's details say more"


def _absent(manifest: Manifest) -> Iterator[str]:
    names = [name for name, record in manifest.sources.items() if record.outcome == "absent"]
    if names:
        yield f"Not there, and optional: {', '.join(names)}."


def _drill(report: DrillReport) -> Verdict:
    sources = counted(len(report.sources), "source")
    skipped = tuple(f"Not drilled: {name} ({reason})." for name, reason in report.skipped.items())
    lost = any(reason not in NOTHING_THERE for reason in report.skipped.values())
    earlier = tuple(f"The copy in {one.repository} does not restore." for one in report.earlier)
    if not report.passed:
        headline = f"{report.set} is not proven: what came back is not what was backed up."
        return Verdict("error", headline, (*_differences(report), *earlier, *skipped))
    compared = counted(sum(len(source.comparisons) for source in report.sources), "comparison")
    headline = f"{report.set} restores: {sources}, {compared}, {duration(report.seconds)}."
    return Verdict("error" if earlier else "warning" if lost else "success", headline, (*earlier, *skipped))


def _differences(report: DrillReport) -> list[str]:
    found = [f"{source.source}: {source.error}" for source in report.sources if source.error]
    found += [
        f"{source.source}, {line.subject}, {line.name}: expected {line.expected}, found {line.found}"
        for source in report.sources
        for line in source.comparisons
        if not line.equal
    ]
    found += [f"{s.source}: nothing was compared" for s in report.sources if not s.error and not s.comparisons]
    more = len(found) - _DIFFERENCES
    return [*found[:_DIFFERENCES], *([f"{counted(more, 'difference')} more"] if more > 0 else [])]
