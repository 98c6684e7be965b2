"""The disaster-recovery drill: what an empty machine gets back from the repository alone, how soon, and of when."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from recoup.errors import NoSuchSetError, RecoupError
from recoup.model.manifest import Manifest, SourceRecord
from recoup.model.reports import DrillReport, RecoveryPoint, RecoveryReport, SetInfo, SourceDrill
from recoup.model.structs import Struct
from recoup.operations import drill, selection
from recoup.system.clock import Clock


class Plan(Struct):
    """What the drill will do.

    Attributes:
        drills: one for each set that has the newest good copy of something, newest first.
        points: of when those copies are.
        lost: source to the reason why nothing could bring it back.
        skipped: source to the reason why there is nothing to bring back.
        unreadable: set to why its manifest cannot be read; what it holds counts for nothing.
    """

    drills: tuple[drill.Plan, ...]
    points: tuple[RecoveryPoint, ...]
    lost: Mapping[str, str]
    skipped: Mapping[str, str]
    unreadable: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """Bytes that will be restored."""
        return sum(one.bytes for one in self.drills)


def plan(
    infos: Sequence[SetInfo], configured: Iterable[str], whole: Callable[[SetInfo], Manifest], now: datetime
) -> Plan:
    """Chooses the newest good copy of every source that a set or the configuration names; changes nothing.

    Args:
        infos: the sets of one stack.
        configured: names of sources that the configuration has, if there is one.
        whole: reads a set's manifest with what is encrypted of it.
        now: the present moment.

    Raises:
        NoSuchSetError: there is nothing to restore.
    """
    names = sorted({*configured, *selection.sources_of(infos, ())})
    held = selection.holdings(infos, names)
    chosen = [(info, [name for name in names if held.get(name) is info]) for info in reversed(infos)]
    every = [drill.plan(whole(info), sources) for info, sources in chosen if sources]
    drills = tuple(one for one in every if one.sources)
    missing = {name: _reason(name, infos) for name in names if name not in held}
    if not drills:
        raise NoSuchSetError(
            "no set holds a good copy of anything: nothing can be recovered", "`recoup list` shows what there is."
        )
    return Plan(
        drills=drills,
        points=tuple(_point(name, one.manifest, infos, now) for one in drills for name in one.sources),
        lost={name: reason for name, reason in missing.items() if reason != _ABSENT},
        skipped={**{name: reason for name, reason in missing.items() if reason == _ABSENT}, **_empty(every)},
        unreadable={info.name: info.problem for info in infos if info.manifest is None},
    )


_ABSENT = "it was absent at every backup"


def _reason(source: str, infos: Sequence[SetInfo]) -> str:
    outcomes = {m.sources[source].outcome for info in infos if (m := info.manifest) and source in m.sources}
    if outcomes == {"absent"}:
        return _ABSENT
    if not outcomes:
        return "the configuration has it, and no set does"
    return f"no set has a good copy, only: {', '.join(sorted(outcomes))}"


def _empty(drills: Iterable[drill.Plan]) -> dict[str, str]:
    return {name: why for one in drills for name, why in one.skipped.items() if why != drill.NOT_ASKED}


def _point(source: str, manifest: Manifest, infos: Sequence[SetInfo], now: datetime) -> RecoveryPoint:
    moments = sorted(_moment(m, m.sources[source]) for i in infos if selection.holds(i, source) and (m := i.manifest))
    newest = _moment(manifest, manifest.sources[source])
    before = [moment for moment in moments if moment < newest]
    interval = (newest - before[-1]).total_seconds() if before else None
    return RecoveryPoint(source, manifest.name, newest, (now - newest).total_seconds(), interval)


def _moment(manifest: Manifest, record: SourceRecord) -> datetime:
    """What was written after it may be missing in the copy."""
    return record.frozen.first if record.frozen else manifest.started


def run(
    plan: Plan, drilled: Callable[[drill.Plan], DrillReport], clock: Clock, repository: str, host: str
) -> RecoveryReport:
    """Drills one set after another, and measures.

    Args:
        plan: what to do.
        drilled: drills one set with settings from its manifest.
        clock: time.
        repository: where the sets are, for people.
        host: this machine's name.
    """
    begun, started = clock.monotonic(), clock.now()
    reports = tuple(_drill(one, drilled, clock) for one in plan.drills)
    return RecoveryReport(
        repository=repository,
        host=host,
        started=started,
        drills=reports,
        points=plan.points,
        lost=plan.lost,
        skipped=plan.skipped,
        unreadable=plan.unreadable,
        seconds=clock.monotonic() - begun,
    )


def _drill(plan: drill.Plan, drilled: Callable[[drill.Plan], DrillReport], clock: Clock) -> DrillReport:
    """One set's drill; one that cannot even begin is a failed one, and the other sets are drilled all the same."""
    begun, started = clock.monotonic(), clock.now()
    try:
        return drilled(plan)
    except RecoupError as error:
        sources = plan.manifest.sources
        failed = tuple(SourceDrill(name, sources[name].kind, 0, 0.0, (), str(error)) for name in plan.sources)
        age = (started - plan.manifest.started).total_seconds()
        return DrillReport(str(plan.set), age, started, failed, plan.skipped, clock.monotonic() - begun)
