"""A drill by workers: each makes the scratch twin of one source on itself; here it becomes one report and its proof."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recoup.errors import DamagedError, NoRepositoryError, RecoupError, StorageError
from recoup.model.events import Emit, Progress
from recoup.model.reports import DrillReport, SourceDrill
from recoup.model.wire import decoded, encoded
from recoup.operations import drill
from recoup.operations._cutting import sentence
from recoup.operations._working import UNFIT, Crew, Hearing, answer_of, retold
from recoup.operations.drill import Plan
from recoup.repository._base import Repository
from recoup.sources._base import Source
from recoup.system.clock import Clock
from recoup.system.executing import Outcome


def run(
    plan: Plan,
    settings: Mapping[str, Mapping[str, Any]],
    repository: Repository,
    crew: Crew,
    clock: Clock,
    emit: Emit,
    host: str,
    *,
    recorded: bool,
) -> DrillReport:
    """Has workers drill a set, and notes the result at it. The caller holds a shared lock; workers need none.

    Args:
        plan: what to do.
        settings: of each source, without secrets, by which workers know that they are configured alike.
        repository: where the set is.
        crew: the workers.
        clock: time.
        emit: where news go.
        host: this machine's name, for the proof.
        recorded: whether sources are made from what the manifest says of them, whatever is configured.

    Raises:
        RefusedError: a worker is configured in another way.
        ConfigError: a worker has no configuration, or a wrong one.
        WrongKeyError: what a worker has does not open the set.
    """
    begun, started = clock.monotonic(), clock.now()
    about = {"name": str(plan.set), "recorded": recorded}
    orders = [{**about, "source": name, "settings": dict(settings[name])} for name in plan.sources]
    found: dict[str, SourceDrill] = {}
    batch = crew.give("drill", repository.name, orders)
    try:
        for outcome in batch:
            source = plan.sources[outcome.job]
            found[source] = _drill_of(outcome, source, plan, clock.monotonic() - begun, emit)
            total = plan.manifest.sources[source].bytes
            emit(Progress(f"drill {source}", found[source].bytes, total, finished=True))
    finally:
        batch.cancel()
    drills = tuple(found[source] for source in plan.sources)
    age = (started - plan.manifest.started).total_seconds()
    report = DrillReport(str(plan.set), age, started, drills, plan.skipped, clock.monotonic() - begun, repository.name)
    return drill.conclude(report, plan, repository, clock, emit, host)


def _drill_of(outcome: Outcome, source: str, plan: Plan, seconds: float, emit: Emit) -> SourceDrill:
    """What came of one job. One that failed proves nothing: it is a drill that did not pass."""
    try:
        answer = answer_of(outcome)
    except UNFIT:
        raise
    except RecoupError as error:
        unreadable = isinstance(error, DamagedError | StorageError | NoRepositoryError)
        kind = plan.manifest.sources[source].kind
        return SourceDrill(source, kind, 0, seconds, (), f"no worker drilled it: {sentence(error)}", None, unreadable)
    retold(answer["news"], emit)
    result: SourceDrill = decoded(SourceDrill, answer["drill"])
    return result


def take(
    plan: Plan,
    source: Source,
    options: BaseModel,
    repository: Repository,
    scratch: Path,
    clock: Clock,
    hearing: Hearing,
) -> dict[str, Any]:
    """A worker's side: drills the only source of a plan; returns JSON values: `drill`, `news`.

    Raises:
        NoSpaceError: there is too little room for the twin.
    """
    drill.require_room(plan, scratch)
    [name] = plan.sources
    result = drill.drilled(name, plan, source, options, repository, scratch, clock, hearing)
    return {"drill": encoded(SourceDrill, result), "news": hearing.told()}
