"""Verify: compare stored bytes with the manifest, and ask plugs whether what is stored is what they captured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.errors import RecoupError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.manifest import Manifest, SourceRecord
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import Part
from recoup.model.reports import Damage, VerifyReport
from recoup.model.structs import Struct
from recoup.operations import _reading
from recoup.operations.turns import Turns
from recoup.repository._base import Chunked, Repository, Subset, Verification
from recoup.repository._subset import Portion
from recoup.system.clock import Clock

Examine = Callable[[Iterable[Part]], Iterator[Damage]]
"""What a plug offers: looks at all parts of a source, each once and in order; the damage names parts."""

Examiner = Callable[[str], Examine | None]
"""From a kind to what its plug offers, if it does."""


class Looked(Struct):
    """What was looked at, and what is wrong with it.

    Attributes:
        files: stored files.
        bytes: stored bytes read.
        total_bytes: those of the set.
        damage: what is wrong.
        unseen: what could not be looked at.
    """

    files: int
    bytes: int
    total_bytes: int
    damage: tuple[Damage, ...]
    unseen: str = ""


def _nobody(_kind: str) -> None:
    """No plug looks."""


def plan(names: Sequence[SetName]) -> tuple[SetName, ...]:
    """The sets in the order in which they are verified: the newest, which matters most, first."""
    return tuple(sorted(names, reverse=True))


def chosen(names: Sequence[SetName], asked: Subset | Portion | None, repository: Repository, turns: Turns) -> Subset:
    """The part of the bytes that is read now.

    Args:
        names: the sets.
        asked: a portion goes on where the last one ended; None is all.
        repository: where they are.
        turns: where that was.

    Raises:
        StateError: nothing can be remembered here.
    """
    if not isinstance(asked, Portion):
        return asked or Subset()
    return asked.of(_all_bytes(names, repository) if asked.share is None else 0, turns.begin())


def _all_bytes(names: Sequence[SetName], repository: Repository) -> int:
    if isinstance(repository, Chunked):
        return repository.all_bytes()
    return sum(stored_bytes(name, repository) or 0 for name in names)


def unreachable(reason: str) -> VerifyReport:
    """A repository that nothing could be verified in: as bad as damage."""
    return VerifyReport("", 0, 0, 0.0, (Damage("", "unreadable", reason),), 0.0)


def run(
    names: Sequence[SetName],
    repository: Repository,
    subset: Subset,
    clock: Clock,
    emit: Emit,
    host: str,
    examiner: Examiner = _nobody,
) -> tuple[VerifyReport, ...]:
    """Verifies sets one after the other and notes the result at each. The caller holds a shared lock.

    Args:
        names: the sets.
        repository: where they are.
        subset: which part of the bytes to read. Plugs are asked only where it is all.
        clock: time.
        emit: where news go.
        host: this machine's name, for the proof.
        examiner: finds what a plug offers.
    """
    return tuple(_verify(name, repository, subset, clock, emit, host, examiner) for name in names)


def _verify(
    name: SetName,
    repository: Repository,
    subset: Subset,
    clock: Clock,
    emit: Emit,
    host: str,
    examiner: Examiner,
) -> VerifyReport:
    begun = clock.monotonic()
    work, total = f"verify {name}", stored_bytes(name, repository)
    verification = repository.verify(name, subset, lambda done: emit(Progress(work, done, total)))
    damage: list[Damage] = []

    def note(found: Damage) -> None:
        damage.append(found)
        emit(damage_found(name, found, clock.now()))

    for found in verification:
        note(found)
    emit(Progress(work, verification.bytes, total, finished=True))
    if subset.whole:
        known = frozenset(one.item for one in damage)
        for found in _examined(name, repository, examiner, known, emit):
            note(found)
    looked = looked_at(verification, damage)
    proof = Mark("proof", clock.now(), host)
    return conclude(name, repository, subset, looked, clock.monotonic() - begun, proof, emit)


def looked_at(verification: Verification, damage: Iterable[Damage]) -> Looked:
    """What was looked at, when a verification has ended."""
    return Looked(verification.files, verification.bytes, verification.total_bytes, tuple(damage), verification.unseen)


def damage_found(name: SetName, found: Damage, now: datetime) -> Event:
    """The news of something that is not as the manifest says."""
    return Event("damage_found", now, f"{name}: {found.message}", Level.ERROR, str(name), {"item": found.item})


def conclude(
    name: SetName,
    repository: Repository,
    subset: Subset,
    looked: Looked,
    seconds: float,
    proof: Mark,
    emit: Emit,
) -> VerifyReport:
    """Reports what was found in a set, and notes it there.

    Args:
        name: the set.
        repository: where it is.
        subset: what was to be read.
        looked: what was found.
        seconds: how long it took.
        proof: the note, still without its fields.
        emit: where news go.
    """
    read, whole = looked.bytes, looked.total_bytes
    share = 0.0 if subset.structure else min(1.0, read / whole) if whole else float(not looked.damage)
    manifest = _readable_manifest(name, repository)
    outcome = manifest.outcome if manifest else ""
    report = VerifyReport(
        str(name), looked.files, read, share, looked.damage, seconds, repository.name, outcome, looked.unseen
    )
    fields = {
        "level": "verify",
        "passed": not report.damage,
        "whole": subset.whole and not looked.unseen,
        "share": round(report.share, 4),
        "damage": len(report.damage),
    }
    _reading.note(repository, name, replace(proof, fields=fields), f"the verification of {name}", emit)
    return report


def _examined(
    name: SetName, repository: Repository, examiner: Examiner, known: frozenset[str], emit: Emit
) -> Iterator[Damage]:
    """What plugs find, without the parts whose stored bytes are known to be wrong."""
    for source in examinable(name, repository, examiner):
        for found in examined(name, source, repository, examiner, emit):
            if found.item not in known:
                yield found


def examinable(name: SetName, repository: Repository, examiner: Examiner) -> list[str]:
    """The sources of a set that a plug looks into."""
    manifest = _readable_manifest(name, repository)
    records = manifest.sources if manifest else {}
    return [source for source, record in records.items() if record.parts and examiner(record.kind) is not None]


def examined(name: SetName, source: str, repository: Repository, examiner: Examiner, emit: Emit) -> Iterator[Damage]:
    """What the plug of one source finds."""
    record = repository.manifest(name).sources[source]
    paths = {part.name: part.path for part in record.parts}
    examine = examiner(record.kind)
    for found in examine(_parts(name, source, record, repository, emit)) if examine else ():
        yield Damage(paths.get(found.item, found.item), found.kind, f"{source}: {found.message}")


def _parts(name: SetName, source: str, record: SourceRecord, repository: Repository, emit: Emit) -> Iterator[Part]:
    work, done = f"look into {source} of {name}", 0
    for stored in record.parts:
        emit(Progress(work, done, record.bytes))
        yield repository.fetch(name, source, stored)
        done += stored.bytes
    emit(Progress(work, done, record.bytes, finished=True))


def _readable_manifest(name: SetName, repository: Repository) -> Manifest | None:
    """None where it is damaged, which the verification has reported."""
    try:
        return repository.manifest(name)
    except RecoupError:
        return None


def stored_bytes(name: SetName, repository: Repository) -> int | None:
    """For the progress only: a damaged manifest is the verification's to report."""
    manifest = _readable_manifest(name, repository)
    return manifest.stored_bytes if manifest else None
