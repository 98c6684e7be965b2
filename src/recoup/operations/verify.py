"""Verify: compare stored bytes with the manifest."""

from collections.abc import Sequence
from datetime import datetime

from recoup.errors import RecoupError
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
    work, total = f"verify {name}", _stored_bytes(name, repository)
    verification = repository.verify(name, subset, lambda done: emit(Progress(work, done, total)))
    damage = []
    for found in verification:
        damage.append(found)
        emit(
            Event("damage_found", clock.now(), f"{name}: {found.message}", Level.ERROR, str(name), {"item": found.item})
        )
    emit(Progress(work, verification.bytes, total, finished=True))
    read, whole = verification.bytes, verification.total_bytes
    share = min(1.0, read / whole) if whole else 1.0
    report = VerifyReport(
        str(name), verification.files, verification.bytes, share, tuple(damage), clock.monotonic() - begun
    )
    _note(report, name, repository, subset, clock.now(), host)
    return report


def _stored_bytes(name: SetName, repository: Repository) -> int | None:
    """For the progress only: a damaged manifest is the verification's to report."""
    try:
        return repository.manifest(name).stored_bytes
    except RecoupError:
        return None


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
