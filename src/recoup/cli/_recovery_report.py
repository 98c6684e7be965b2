"""What a disaster-recovery drill found, for people."""

from typing import TYPE_CHECKING

from recoup.cli._report_pages import Page, Row, Table, compared, verdict
from recoup.model.figures import counted, duration, size, span

if TYPE_CHECKING:
    from recoup.model.reports import RecoveryReport
    from recoup.operations.recovery import Plan

_MEASURED = ("Source", "Kind", "Set", "Restored bytes", "Restoring, s", "With comparing, s", "Result")
_POINTS = ("Source", "Set", "Data of (UTC)", "Lost if the machine is lost now", "Since the copy before")


def sentences(report: "RecoveryReport") -> list[str]:
    """The verdict, the two measures, and what a person has to know of."""
    return [_verdict(report), _time(report), _point(report), *remarks(report)]


def remarks(found: "RecoveryReport | Plan") -> list[str]:
    """Sources without a good copy, sources without anything to restore, and sets that say nothing."""
    return [
        *(f"NOT recoverable: {name} ({reason})" for name, reason in found.lost.items()),
        *(f"Nothing to recover: {name} ({reason})" for name, reason in found.skipped.items()),
        *(f"Unreadable, and not used: {name} ({problem})" for name, problem in found.unreadable.items()),
    ]


def page(report: "RecoveryReport") -> Page:
    """The report as a page."""
    title = f"Disaster-recovery drill {verdict(report)}: {report.started:%Y-%m-%d}"
    where = (
        f"On {report.host}, {report.started:%Y-%m-%d %H:%M:%S} UTC, from the repository {report.repository} alone: settings "
        "of the sources come from the manifests of its sets."
    )
    tables = [_measured(report), _points(report), *(compared(drilled) for drilled in report.drills)]
    return Page(title, [where, *sentences(report)], tables)


def _verdict(report: "RecoveryReport") -> str:
    if report.passed:
        return f"Proven: {counted(len(report.sources), 'source')} came back, equal to what was backed up."
    failed = [source.source for source in report.sources if not source.passed]
    return f"NOT proven: {', '.join([*failed, *report.lost]) or 'nothing'} did not come back as it was."


def _time(report: "RecoveryReport") -> str:
    if report.rto_seconds is None:
        return (
            f"Measured recovery time (RTO): none, because not all came back. The drill took {duration(report.seconds)}."
        )
    restored = sum(source.bytes for source in report.sources)
    return (
        f"Measured recovery time (RTO): {duration(report.rto_seconds)} to restore {size(restored)} on this machine, one source "
        f"after another; {duration(report.seconds)} with comparing. Getting a machine and starting services comes in addition."
    )


def _point(report: "RecoveryReport") -> str:
    if report.rpo_seconds is None:
        return "Measured recovery point (RPO): none, because not all came back."
    worst = max(report.points, key=lambda point: point.worst_seconds)
    return (
        f"Measured recovery point (RPO): {span(report.rpo_seconds)}, set by {worst.source}: the longest time from a good copy "
        "to the next one, or to now."
    )


def _measured(report: "RecoveryReport") -> Table:
    rows: list[Row] = []
    for drilled in report.drills:
        for source in drilled.sources:
            alone = "" if source.restore_seconds is None else f"{source.restore_seconds:.1f}"
            result = "equal" if source.passed else source.error or "DIFFERS"
            rows.append(
                (source.source, source.kind, drilled.set, f"{source.bytes}", alone, f"{source.seconds:.1f}", result)
            )
    return Table(_MEASURED, rows)


def _points(report: "RecoveryReport") -> Table:
    rows: list[Row] = []
    for point in report.points:
        before = "(the only copy)" if point.interval_seconds is None else span(point.interval_seconds)
        rows.append((point.source, point.set, f"{point.frozen:%Y-%m-%d %H:%M:%S}", span(point.age_seconds), before))
    return Table(_POINTS, rows)
