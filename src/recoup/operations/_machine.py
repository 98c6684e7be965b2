"""What `doctor` says of this machine: the schedule and what calls it, the last runs, and what is remembered of them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from recoup.errors import ExitCode, RecoupError
from recoup.model.reports import VerbRun
from recoup.operations import _conditions
from recoup.operations._conditions import Known
from recoup.operations.doctor import Finding, Severity
from recoup.scheduler.active import Entry
from recoup.sinks._telling import Receiver
from recoup.system.filesystem import free_bytes


def findings(known: Known, entries: Sequence[Entry], put_aside: Path | None, now: datetime) -> Iterator[Finding]:
    """What is found. Nothing here stops a backup that a person makes, so nothing is an error but what calls no schedule.

    Args:
        known: what is remembered.
        entries: what was installed to call the schedule.
        put_aside: a damaged memory that was put aside; None when there is none.
        now: the present moment.
    """
    if known.failure:
        yield Finding("warning", "memory", known.failure)
    if put_aside is not None:
        hint = "Older runs and notices are forgotten, backups are not. Remove the file; look at the disk if it comes again."
        yield Finding("warning", "memory", f"what was remembered of runs was damaged, and lies in {put_aside}", hint)
    yield from _of_entries(entries)
    yield from _of_schedule(known, now)
    yield from _of_runs(known.runs)


def of_places(places: Mapping[str, Path]) -> Iterator[Finding]:
    """Whether the folders that the configuration names, besides repositories, can be written, and how much room they have.

    Args:
        places: what for, to the folder; it may have to be made.
    """
    for what, folder in places.items():
        there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            reason = "may not be written to" if there.is_dir() else "is no folder"
            severity: Severity = "error" if what == "staging" else "warning"  # without its log a backup goes on
            message = f"{folder} cannot be used: {there} {reason}"
            yield Finding(severity, what, message, "Correct the path, or its rights.")
        else:
            yield Finding("ok", what, f"{folder} can be written, {free_bytes(there):,} bytes are free")


def of_receivers(receivers: Iterable[Receiver]) -> Iterator[Finding]:
    """Whether whom `notify` names can be told at all; nothing is sent.

    Args:
        receivers: whom it names.
    """
    for one in receivers:
        subject = f"notify {one.name}"
        try:
            one.connect().close()
            one.options.require_usable()
        except RecoupError as error:
            yield Finding("warning", subject, f"no notice can arrive: {error.message}", error.hint)
        else:
            yield Finding("ok", subject, f"can be used; `recoup notify test {one.name}` tries it")


def _of_entries(entries: Sequence[Entry]) -> Iterator[Finding]:
    for entry in entries:
        if entry.fault:
            yield Finding("error", "schedule", f"{entry.name}: {entry.fault}", entry.hint)
        else:
            yield Finding("ok", "schedule", f"{entry.name} is there and active")


def _of_schedule(known: Known, now: datetime) -> Iterator[Finding]:
    if not known.jobs:
        message = "no schedule is configured: backups are made only when somebody calls `recoup backup`"
        yield Finding("ok", "schedule", message)
        return
    for problem in _conditions.of_schedule(known, now):
        severity: Severity = "error" if problem.level == "critical" else "warning"
        yield Finding(severity, "schedule", problem.sentence, problem.hint)
    due = [job.next_due for job in known.jobs if job.next_due is not None]
    if known.alive is not None and due:
        jobs = "1 job" if len(known.jobs) == 1 else f"{len(known.jobs)} jobs"
        message = f"{jobs}; its last sign of life was {_moment(known.alive)}, the next job is due {_moment(min(due))}"
        yield Finding("ok", "schedule", message)


def _of_runs(runs: Sequence[VerbRun]) -> Iterator[Finding]:
    seen = set[str]()
    for run in runs:
        if run.verb in seen:
            continue
        seen.add(run.verb)
        what = f"the last {run.verb} of {run.repository} ended {_moment(run.finished)}"
        if run.exit_code == ExitCode.OK:
            yield Finding("ok", "last runs", f"{what} and did all that was asked")
        else:
            why = f": {run.sentence}" if run.sentence else ""
            yield Finding("warning", "last runs", f"{what} with exit code {run.exit_code}{why}", "`recoup status`")


def _moment(moment: datetime) -> str:
    return f"at {moment:%Y-%m-%d %H:%M} UTC"
