"""Prune: remove the sets that no rule keeps.

Whoever calls `run` holds the repository's exclusive lock, so that no backup, restore or other prune goes on meanwhile.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from recoup.errors import RefusedError
from recoup.model.artefact import Artefact
from recoup.model.events import Emit, Event, Level
from recoup.model.names import SetName
from recoup.model.reports import PruneReport, SetInfo
from recoup.model.sharing import Reclaim
from recoup.model.structs import Struct
from recoup.operations import _reclaiming, foreign
from recoup.operations._freeing import freeing
from recoup.operations.selection import Filter, holds, is_good, listing
from recoup.repository._base import Repository, locked
from recoup.retention import NO_RULES, Candidate, Group, Rules, Verdict, judge, protections
from recoup.system.clock import Clock


class Row(Struct):
    """What becomes of one set.

    Attributes:
        set: its name.
        stack: whose; empty when its manifest cannot be read.
        sources: names that its run was asked for.
        outcome: `complete`, `suspicious`, `incomplete`, `damaged` when its manifest cannot be read, `foreign`.
        time: when it was begun (UTC).
        age_seconds: how old it is; negative for one from the future.
        bytes: what it takes in the repository; 0 when unknown.
        keep: False when it is to be removed.
        reasons: why, at least one.
        locked_until: until when the storage keeps a set by force that no rule keeps (UTC); None for all others.
        artefact: what another tool put there and `adopt` puts under the rules; then `set` is its key. None for a set.
    """

    set: str
    stack: str
    sources: tuple[str, ...]
    outcome: str
    time: datetime
    age_seconds: float
    bytes: int
    keep: bool
    reasons: tuple[str, ...]
    locked_until: datetime | None = None
    artefact: Artefact | None = None


class PrunePlan(Struct):
    """What a prune would do.

    Attributes:
        rows: every set, oldest first.
        rules: what it goes by.
        filters: which sets it looks at; the others stay.
        notes: what a person has to know, one sentence each.
        wanted_bytes: what was asked to be freed at once; 0 for a prune by the rules alone.
        trash_bytes: what the trash takes, which is emptied first; 0 for a prune by the rules alone.
        alone_bytes: what only the sets use that would go; None where sets share nothing.
        reclaim: what becomes of the space then; None where it is that of the sets.
    """

    rows: tuple[Row, ...]
    rules: Rules
    filters: Filter
    notes: tuple[str, ...]
    wanted_bytes: int = 0
    trash_bytes: int = 0
    alone_bytes: int | None = None
    reclaim: Reclaim | None = None

    @property
    def removed(self) -> tuple[Row, ...]:
        """The sets that would go."""
        return tuple(row for row in self.rows if not row.keep)

    @property
    def locked(self) -> tuple[Row, ...]:
        """The sets that would go, if the storage gave them up."""
        return tuple(row for row in self.rows if row.locked_until is not None)

    @property
    def freed_bytes(self) -> int:
        """What the sets that would go, and the trash if it is emptied, take in the repository."""
        alone = sum(row.bytes for row in self.removed) if self.alone_bytes is None else self.alone_bytes
        return alone + self.trash_bytes

    def require_enough(self) -> None:
        """Demands that what was asked to be freed can be.

        Raises:
            RefusedError: it cannot, without sets that are never removed.
        """
        if self.freed_bytes < self.wanted_bytes:
            raise RefusedError(
                f"{self.wanted_bytes:,} bytes cannot be freed: all that may go takes {self.freed_bytes:,}. "
                "Nothing was removed",
                "Ask for less, unpin sets, or make the disk larger. The newest good copy of each source always stays, and so do "
                "sets that are not good while nothing newer is: `recoup accept` or `recoup delete` decides on them.",
            )


_ALL = Filter()
_LOOKS = 5
_SHOWN = 3  # names of sets in the trash


def plan(
    repository: Repository,
    rules: Rules,
    now: datetime,
    filters: Filter = _ALL,
    *,
    copies: bool = True,
    wanted_bytes: int = 0,
) -> PrunePlan:
    """Judges all sets; changes nothing.

    Args:
        repository: whose sets.
        rules: what to keep.
        now: the present moment.
        filters: judge and remove only sets that match; rules count only these, and the others stay.
        copies: whether copies of manifests will do, since nothing is removed.
        wanted_bytes: what has to be freed at once, whatever the rules keep; 0 for a prune by the rules alone.

    Raises:
        RefusedError: sets share content, and nobody can tell what one of them uses, or this host cannot read it.
    """
    sharing = repository.sharing()
    infos = listing(repository, now, copies=copies)
    candidates = [_candidate(info, filters) for info in infos]
    verdicts: Iterable[Verdict] = judge(candidates, rules, now)
    trash_bytes = repository.trashed_bytes() if wanted_bytes else 0
    if wanted_bytes:
        needed = max(0, wanted_bytes - trash_bytes)
        is_locked = lambda name: repository.locked_until(name) is not None  # noqa: E731
        verdicts = freeing(candidates, rules, now, needed, is_locked, sharing.alone if sharing else None)
    shown = {info.name: info for info in infos}
    judged = (_row(verdict, shown[str(verdict.candidate.name)], now) for verdict in verdicts)
    rows = tuple(row if row.keep else _unless_locked(row, repository) for row in judged)
    apart = bool(filters) or bool(wanted_bytes)
    adopted = () if apart else tuple(_foreign_row(one, now) for one in foreign.judged(repository, infos, rules, now))
    going = [_parsed(row.set) for row in rows if not row.keep]
    alone = sharing.alone(going) if sharing else None
    reclaim = sharing.reclaim(going, at_once=wanted_bytes > 0) if sharing else None
    notes = (
        *_notes(rows, rules, now),
        *_foreign_notes(adopted),
        *_freeing_notes(repository, wanted_bytes, trash_bytes),
        *(_reclaiming.notes(reclaim, alone or 0) if reclaim else ()),
    )
    return PrunePlan((*rows, *adopted), rules, filters, notes, wanted_bytes, trash_bytes, alone, reclaim)


def verdicts(infos: Iterable[SetInfo], rules: Rules, now: datetime) -> dict[str, Verdict]:
    """What rules say of the sets of a repository, by name. Pure: what a storage keeps by force nobody asks it here.

    Args:
        infos: all sets of the repository.
        rules: what to keep.
        now: the present moment.
    """
    return {str(one.candidate.name): one for one in judge([_candidate(info, _ALL) for info in infos], rules, now)}


def protected(infos: Iterable[SetInfo]) -> dict[str, str]:
    """The sets that nothing should remove, each with its reasons: also what a delete has to refuse.

    They are each group's newest complete set, each source's newest good copy, and what is pinned; a damaged set is not.
    """
    reasons: dict[str, list[str]] = {}
    for name, reason in protections(_candidate(info, _ALL) for info in infos if info.manifest or info.standing.pinned):
        reasons.setdefault(str(name), []).append(reason)
    return {name: ", ".join(found) for name, found in reasons.items()}


def _candidate(info: SetInfo, filters: Filter) -> Candidate:
    name, manifest = _parsed(info.name), info.manifest
    if manifest is None:
        spared = f"its manifest cannot be read: {info.problem}"
        return Candidate(name, Group("", ()), "damaged", pinned=info.standing.pinned, spared=spared)
    return Candidate(
        name,
        Group(manifest.stack, tuple(sorted(manifest.requested))),
        flaw=_flaw(info, manifest.outcome),
        holdings=frozenset(source for source in manifest.sources if holds(info, source) and not _doubt(info)),
        pinned=info.standing.pinned,
        tags=manifest.tags,
        stored_bytes=manifest.stored_bytes,
        spared="" if filters.matches(info) else "outside the filter",
    )


def _doubt(info: SetInfo) -> str:
    """What is known against a good set: before another one is good, the one before it is what a recovery depends on."""
    if info.standing.failed_proof is not None:
        return "its drill failed"
    return "" if info.standing.damaged is None else "verify found damage"


def _flaw(info: SetInfo, outcome: str) -> str:
    return _doubt(info) or ("" if is_good(info) else outcome)


def _parsed(name: str) -> SetName:
    found = SetName.parse(name)
    if found is None:
        raise ValueError(f"{name!r} is not the name of a set")
    return found


def _row(verdict: Verdict, info: SetInfo, now: datetime) -> Row:
    candidate, manifest = verdict.candidate, info.manifest
    time = candidate.name.time
    return Row(
        set=info.name,
        stack=candidate.group.stack,
        sources=candidate.group.sources,
        outcome=manifest.outcome if manifest else "damaged",
        time=time,
        age_seconds=(now - time).total_seconds(),
        bytes=candidate.stored_bytes,
        keep=verdict.keep,
        reasons=verdict.reasons,
    )


def _unless_locked(row: Row, repository: Repository) -> Row:
    until = repository.locked_until(_parsed(row.set))
    return row if until is None else replace(row, keep=True, reasons=(locked(until),), locked_until=until)


def _foreign_row(judged: foreign.Judged, now: datetime) -> Row:
    artefact = judged.artefact
    return Row(
        set=artefact.key,
        stack="",
        sources=(artefact.part,),
        outcome="foreign",
        time=artefact.time,
        age_seconds=(now - artefact.time).total_seconds(),
        bytes=artefact.bytes,
        keep=judged.keep,
        reasons=judged.reasons,
        locked_until=judged.locked_until,
        artefact=artefact,
    )


def _foreign_notes(rows: Sequence[Row]) -> Iterable[str]:
    if any(not row.keep for row in rows):
        yield "what another tool put there (adopt: true) is removed at once: it cannot be taken back"


def _freeing_notes(repository: Repository, wanted_bytes: int, trash_bytes: int) -> Iterable[str]:
    if wanted_bytes:
        yield "what goes to make room goes for good, whatever trash_days says"
    if wanted_bytes and (trashed := repository.trashed()):
        names = ", ".join(map(str, trashed[:_SHOWN])) + (
            f" and {len(trashed) - _SHOWN} more" if trashed[_SHOWN:] else ""
        )
        yield f"the trash is emptied first, {trash_bytes:,} bytes: {names}"


def _notes(rows: Sequence[Row], rules: Rules, now: datetime) -> Iterable[str]:
    if not rules:
        yield NO_RULES
    if future := [row.set for row in rows if row.time > now]:
        yield (
            f"{', '.join(future)} from the future: the clock went back, or another machine's is ahead; "
            "nothing is removed until that time has come or those sets are deleted"
        )
    if damaged := [row.set for row in rows if row.outcome == "damaged"]:
        yield f"{', '.join(damaged)}: the manifest cannot be read; prune never removes such a set, `recoup delete` does"


def run(plan: PrunePlan, repository: Repository, trash_days: float, emit: Emit, clock: Clock) -> PruneReport:
    """Removes the sets that the plan says, if they would still go now.

    All is judged once more first: a set that was pinned since, or became the newest good one because another was lost,
    stays. What an interrupted removal left is finished.

    Args:
        plan: from `plan`.
        repository: the one that was planned for, locked exclusively by the caller.
        trash_days: how long removed sets can be taken back; 0 is not at all.
        emit: gets `backup_pruned`, `prune_spared` when a planned set stays, `prune_locked` when the storage keeps some, and
            `space_reclaimed` where sets share content.
        clock: time.

    Raises:
        StorageError, OSError: a set could not be removed; a next prune finishes it.
    """
    began, free = clock.monotonic(), repository.free_bytes()
    fresh = _judged_again(plan, repository, clock)
    fresh.require_enough()
    going = {row.set for row in fresh.removed} & {row.set for row in plan.removed}
    spared = [row for row in fresh.rows if row.keep and row.set in {row.set for row in plan.removed}]
    for row in spared:
        message = f"{row.set} stays after all: {', '.join(row.reasons)}"
        emit(Event("prune_spared", clock.now(), message, Level.WARNING, row.set, {"reasons": list(row.reasons)}))
    removed = [row for row in fresh.rows if row.set in going]
    trash_days = 0.0 if plan.wanted_bytes else trash_days
    names = [_parsed(row.set) for row in removed if row.artefact is None]
    freed = _freed(removed, fresh, repository)
    reclaim = repository.delete(names, keep_days=trash_days, at_once=plan.wanted_bytes > 0)
    foreign.remove(repository, [row.artefact for row in removed if row.artefact is not None])
    report = PruneReport(
        removed=tuple(row.set for row in fresh.rows if row.set in going),
        kept=tuple(row.set for row in fresh.rows if row.set not in going),
        freed_bytes=freed,
        seconds=clock.monotonic() - began,
        wanted_bytes=plan.wanted_bytes,
        gained_bytes=_gained(free, repository, plan.wanted_bytes, clock),
        reclaim=reclaim,
    )
    if reclaim is not None:
        emit(_reclaiming.event(reclaim, clock.now()))
    if fresh.locked:
        emit(_kept_by_force(fresh.locked, clock.now()))
    emit(_pruned(report, plan.rules, trash_days, clock.now()))
    return report


def _freed(rows: Sequence[Row], judged: PrunePlan, repository: Repository) -> int:
    """What these take, without what sets use that stay."""
    if judged.alone_bytes is not None and len(rows) == sum(not row.keep for row in judged.rows):
        return judged.alone_bytes
    sharing = repository.sharing() if rows else None
    if sharing is None:
        return sum(row.bytes for row in rows)
    return sharing.alone([_parsed(row.set) for row in rows])


def _judged_again(earlier: PrunePlan, repository: Repository, clock: Clock) -> PrunePlan:
    return plan(
        repository, earlier.rules, clock.now(), earlier.filters, copies=False, wanted_bytes=earlier.wanted_bytes
    )


def _gained(before: int | None, repository: Repository, wanted: int, clock: Clock) -> int | None:
    """Bytes by which the free space grew; some file systems need moments to give them back. Sets may share files."""
    for again in range(_LOOKS if wanted else 0):
        after = repository.free_bytes()
        if before is None or after is None:
            return None
        if after - before >= wanted or again == _LOOKS - 1:
            return after - before
        clock.sleep(1.0)
    return None


def _kept_by_force(rows: Sequence[Row], now: datetime) -> Event:
    each = "; ".join(f"{row.set} is {', '.join(row.reasons)}" for row in rows)
    message = f"no rule keeps these sets, and they stay all the same: {each}"
    return Event("prune_locked", now, message, fields={"sets": [row.set for row in rows]})


def _pruned(report: PruneReport, rules: Rules, trash_days: float, now: datetime) -> Event:
    total = len(report.removed) + len(report.kept)
    message = f"pruned {len(report.removed)} of {total} sets, {report.freed_bytes:,} bytes"
    if report.removed and trash_days:
        message += f", in the trash for {trash_days:g} days"
    fields = {"deleted_count": len(report.removed), "keep_last": rules.last}
    return Event("backup_pruned", now, message, fields=fields)
