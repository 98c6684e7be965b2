"""Verify: compare stored bytes with the manifest."""

from collections.abc import Sequence
from datetime import datetime

from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.reports import VerifyReport
from recoup.repository._base import Repository, Subset
from recoup.system.clock import Clock


def plan(names: Sequence[SetName]) -> tuple[SetName, ...]:
    """The sets in the order in which they are verified: the newest, which matters most, first."""
    return tuple(sorted(names, reverse=True))


def run(
    names: Sequence[SetName], repository: Repository, subset: Subset, clock: Clock, emit: Emit, host: str
) -> tuple[VerifyReport, ...]:
    """Verifies sets one after the other and notes the result at each. The caller holds a shared lock."""
    return tuple(_verify(name, repository, subset, clock, emit, host) for name in names)


def _verify(name: SetName, repository: Repository, subset: Subset, clock: Clock, emit: Emit, host: str) -> VerifyReport:
    begun = clock.monotonic()
    verification = repository.verify(name, subset)
    damage, shown = [], 0
    for found in verification:
        damage.append(found)
        emit(
            Event("damage_found", clock.now(), f"{name}: {found.message}", Level.ERROR, str(name), {"item": found.item})
        )
        if verification.bytes - shown > 4 * 1024 * 1024:
            shown = verification.bytes
            emit(Progress(f"verify {name}", shown, verification.total_bytes))
    emit(Progress(f"verify {name}", verification.bytes, verification.total_bytes, finished=True))
    total = verification.total_bytes
    share = min(1.0, verification.bytes / total) if total else 1.0
    report = VerifyReport(
        str(name), verification.files, verification.bytes, share, tuple(damage), clock.monotonic() - begun
    )
    _note(report, name, repository, subset, clock.now(), host)
    return report


def _note(
    report: VerifyReport, name: SetName, repository: Repository, subset: Subset, now: datetime, host: str
) -> None:
    whole = subset.share is None and subset.of == 1
    fields = {
        "level": "verify",
        "passed": not report.damage,
        "whole": whole,
        "share": round(report.share, 4),
        "damage": len(report.damage),
    }
    repository.mark(name, Mark("proof", now, host, fields))
