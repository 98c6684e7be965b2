"""Drills of the past: what sets remember of them, what this machine remembers of those that left nothing there, and jobs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from recoup.errors import ExitCode, RecoupError
from recoup.model.marks import Mark
from recoup.model.reports import VerbRun
from recoup.model.structs import Struct
from recoup.web._results import Result, results

if TYPE_CHECKING:
    from recoup.web.jobs import Job, Jobs

_AFTER = timedelta(seconds=2)  # what is noted at a set, and that a run has ended, are two looks at the clock

Verdict = Literal["passed", "partly", "gone", "failed", "ended"]
"""`partly`: all that was drilled passed, and the set has more, or should have. `gone`: it passed, and its set
cannot be seen now. `ended`: it came to no result."""

_OF_CODE: Mapping[int, Verdict] = {ExitCode.OK: "gone", ExitCode.DAMAGED: "failed"}


class PastDrill(Struct):
    """A drill of the past.

    Attributes:
        time: when it ended (UTC).
        verdict: see `Verdict`.
        repository: where the set is; empty where that is not known.
        set: its name; empty where that is not known.
        sources: source to whether it passed; empty where that is not known.
        seconds: how long all of it took; None where that is not known.
        restore_seconds: how long restoring alone took; None where that is not known, as of one that failed.
        host: the machine.
        sentence: what else there is to say.
        job: id of the job that it was; empty for drills of the schedule and of the command line.
    """

    time: datetime
    verdict: Verdict
    repository: str = ""
    set: str = ""
    sources: Mapping[str, bool] = field(default_factory=dict)
    seconds: float | None = None
    restore_seconds: float | None = None
    host: str = ""
    sentence: str = ""
    job: str = ""


def past_drills(
    proofs: Iterable[tuple[str, str, Mark]],
    runs: Iterable[VerbRun],
    jobs: "Sequence[Job]",
    flawed: Collection[tuple[str, str]] = (),
) -> list[PastDrill]:
    """All drills that are known, the newest first.

    Args:
        proofs: repository, set, and what was noted there.
        runs: what this machine remembers.
        jobs: those that are kept.
        flawed: repository and name of the sets that lack something, so that no drill of theirs is a proof of all.
    """
    noted = [_noted(*proof, jobs, flawed) for proof in proofs if proof[2].fields.get("level") == "drill"]
    others = (run for run in runs if run.verb == "drill" and not _is_told(run, noted))
    return sorted([*noted, *(_remembered(run, jobs) for run in others)], key=lambda drill: drill.time, reverse=True)


def leading(past: Sequence[PastDrill]) -> PastDrill | None:
    """The drill that says how it stands: a failed one that is the newest of its repository, else the newest of all.

    One run may try a set in several repositories: that it passed in the last of them says nothing of the others.

    Args:
        past: drills, the newest first.
    """
    newest: dict[str, PastDrill] = {}
    for drill in past:
        newest.setdefault(drill.repository, drill)
    failed = (drill for name, drill in newest.items() if name and drill.verdict == "failed")
    return next(failed, past[0] if past else None)


def _is_told(run: VerbRun, noted: Sequence[PastDrill]) -> bool:
    """Whether what sets remember says how a run ended: what it found of none of them is nowhere else."""
    verdicts = {drill.verdict for drill in noted if run.started <= drill.time <= run.finished + _AFTER}
    return "failed" in verdicts if run.exit_code else bool(verdicts)


def _noted(
    repository: str, name: str, mark: Mark, jobs: "Sequence[Job]", flawed: Collection[tuple[str, str]]
) -> PastDrill:
    fields = mark.fields
    told = fields.get("sources")
    sources = {str(source): passed is True for source, passed in told.items()} if isinstance(told, Mapping) else {}
    passed = fields.get("passed") is True and bool(sources) and all(sources.values())
    whole = fields.get("whole") is True and (repository, name) not in flawed
    return PastDrill(
        time=mark.time,
        verdict="failed" if not passed else "passed" if whole else "partly",
        repository=repository,
        set=name,
        sources=sources,
        seconds=_length(fields.get("seconds")),
        restore_seconds=_length(fields.get("restore_seconds")),
        host=mark.host,
        job=_job_at(mark.time, jobs),
    )


def _remembered(run: VerbRun, jobs: "Sequence[Job]") -> PastDrill:
    """A run that no set knows of: it never came to one, or the set is gone, or its repository is."""
    return PastDrill(
        time=run.finished,
        verdict=_OF_CODE.get(run.exit_code, "ended"),
        repository=run.repository,
        seconds=(run.finished - run.started).total_seconds(),
        sentence=run.sentence or (f"it ended with exit code {run.exit_code}" if run.exit_code else ""),
        job=_job_at(run.finished, jobs),
    )


def _job_at(time: datetime, jobs: "Sequence[Job]") -> str:
    """The job that ran a drill then."""
    drills = (job for job in jobs if job.arguments[0] == "drill" and job.started <= time)
    return next((job.id for job in drills if job.finished is None or time <= job.finished + _AFTER), "")


def _length(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None


def newest_result(
    jobs: "Jobs", known: "Sequence[Job]", kind: Literal["drill", "recovery"]
) -> "tuple[Job, Result] | None":
    """The newest drill of the jobs whose result is kept, which is the only place where what was compared is.

    Of one that tried several repositories, what failed comes first.

    Args:
        jobs: the stack's.
        known: all of them, the newest first.
        kind: one set, or the disaster-recovery drill.
    """
    for job in known:
        if job.arguments[0] == "drill" and ("--full" in job.arguments) == (kind == "recovery"):
            found = [result for result in _results(jobs, job) if result.template == f"_result_{kind}.html"]
            if found:
                return job, next((result for result in found if result.report.exit_code), found[-1])
    return None


def _results(jobs: "Jobs", job: "Job") -> tuple[Result, ...]:
    """What a job found; nothing where that is too large to be looked at, which its own page says."""
    try:
        return results(jobs.results(job.id))
    except RecoupError:
        return ()
