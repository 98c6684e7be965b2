"""What reports say in numbers, for Prometheus. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from recoup.model.reports import BackupReport, StatusReport, StatusRow
from recoup.model.schedule import JobState
from recoup.sinks._measures import Measure


def of_backup(report: BackupReport) -> Iterator[Measure]:
    """Those of a backup: of when the good copies are that it made.

    Args:
        report: its result.
    """
    if report.manifest is None:
        return
    for copy in report.repositories:
        if copy.outcome != report.manifest.outcome:
            continue  # its manifest is another one, by its own history; `status` will read it
        for name, record in report.manifest.sources.items():
            if copy.set and record.outcome == "complete" and name not in copy.left_out:
                labels = {"repository": copy.repository, "source": name}
                yield Measure("recoup_backup_newest_timestamp_seconds", report.manifest.started.timestamp(), labels)
                yield Measure("recoup_backup_newest_bytes", record.bytes, labels)


def of_status(report: StatusReport, now: datetime) -> Iterator[Measure]:
    """Those of `status`. A source without a good copy has the time 0, so that an alert on its age speaks.

    Args:
        report: its result.
        now: when it looked.
    """
    readable = {one.repository for one in report.repositories if not one.failure}
    for row in report.rows:
        if row.repository in readable:
            yield from _of_row(row)
    for one in report.repositories:
        labels = {"repository": one.repository}
        yield Measure("recoup_repository_readable", int(one.repository in readable), labels)
        if one.repository in readable:
            yield Measure("recoup_repository_sets", one.sets, labels)
            if one.free_bytes is not None:
                yield Measure("recoup_repository_free_bytes", one.free_bytes, labels)
    for level in ("warning", "critical"):
        yield Measure("recoup_problems", sum(p.level == level for p in report.problems), {"level": level})
    yield Measure("recoup_status_timestamp_seconds", now.timestamp())


def of_nothing(repositories: Iterable[str], now: datetime) -> Iterator[Measure]:
    """Those of a `status` that can read no repository: numbers of the last one would look like calm.

    Args:
        repositories: names of those that it was to look at.
        now: when it looked.
    """
    for name in repositories:
        yield Measure("recoup_repository_readable", 0, {"repository": name})
    yield Measure("recoup_problems", 1, {"level": "critical"})
    yield Measure("recoup_status_timestamp_seconds", now.timestamp())


def of_schedule(jobs: Iterable[JobState], alive: datetime | None) -> Iterator[Measure]:
    """Those of the schedule.

    Args:
        jobs: its jobs.
        alive: when something last looked at it; None when nothing ever did.
    """
    if alive is not None:
        yield Measure("recoup_scheduler_alive_timestamp_seconds", alive.timestamp())
    for job in jobs:
        labels = {"job": job.name, "verb": job.run}
        if job.next_due is not None:
            yield Measure("recoup_job_next_due_timestamp_seconds", job.next_due.timestamp(), labels)
        yield Measure("recoup_job_running", int(job.running), labels)
        yield Measure("recoup_job_missed", job.missed, labels)


def _of_row(row: StatusRow) -> Iterator[Measure]:
    labels = {"repository": row.repository, "source": row.source}
    if row.set or row.problem:  # an optional source that is not there has no age
        yield Measure("recoup_backup_newest_timestamp_seconds", row.time.timestamp() if row.time else 0, labels)
        yield Measure("recoup_backup_newest_bytes", row.bytes, labels)
    if row.proven is not None:
        yield Measure("recoup_backup_proven_timestamp_seconds", row.proven.timestamp(), labels)
    if row.max_age_seconds is not None:
        yield Measure("recoup_backup_max_age_seconds", row.max_age_seconds, labels)
