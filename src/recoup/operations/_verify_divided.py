"""Verify by workers: each compares a lane of the set's files, or has a plug look into one source; here it becomes one report."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recoup.errors import RecoupError, SourceError
from recoup.model.events import Emit, Event, Level, Progress
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.reports import Damage, VerifyReport
from recoup.model.wire import decoded, encoded
from recoup.operations import verify
from recoup.operations._backup_plan import Batch
from recoup.operations._cutting import sentence
from recoup.operations._working import UNFIT, Crew, Hearing, answer_of
from recoup.operations.verify import Examiner, Looked
from recoup.repository._base import Repository, Subset
from recoup.system.clock import Clock

_LANES = 2  # for each worker, so that none waits long for the slowest


class Together:
    """The damage that several lanes found: what each of them had to read, several tell, and it is damaged once."""

    def __init__(self) -> None:
        self._known: Counter[tuple[str, str, str]] = Counter()
        self.damage: list[Damage] = []

    def add(self, lane: Iterable[Damage]) -> list[Damage]:
        """Takes in what a lane found; returns what is new of it."""
        told: Counter[tuple[str, str, str]] = Counter()
        fresh = []
        for found in lane:
            key = _same(found)
            told[key] += 1
            if told[key] > self._known[key]:
                self._known[key] += 1
                fresh.append(found)
        self.damage += fresh
        return fresh


def _same(found: Damage) -> tuple[str, str, str]:
    """What makes two findings one. Why something could not be read may be said in other words each time."""
    return found.item, found.kind, "" if found.kind == "unreadable" else found.message


def merged(lanes: Iterable[Looked]) -> Looked:
    """What one verification would have found. Pure."""
    together, found = Together(), list(lanes)
    for lane in found:
        together.add(lane.damage)
    return Looked(
        sum(lane.files for lane in found),
        sum(lane.bytes for lane in found),
        max((lane.total_bytes for lane in found), default=0),
        tuple(sorted(together.damage, key=lambda one: (one.item, one.kind, one.message))),
        next((lane.unseen for lane in found if lane.unseen), ""),
    )


# --- here -----------------------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """One set that is verified."""

    name: SetName
    clock: Clock
    emit: Emit
    total: int | None

    def __post_init__(self) -> None:
        self._together = Together()
        self.lanes: list[Looked] = []

    def compared(self, batch: Batch, count: int) -> None:
        for outcome in batch:
            try:
                lane = decoded(Looked, answer_of(outcome))
            except UNFIT:
                raise
            except RecoupError as error:
                where = f"part {outcome.job + 1} of {count} of {self.name}"
                lane = Looked(
                    0, 0, 0, (Damage("", "unread", f"{where} was not read by any worker: {sentence(error)}"),)
                )
            self._note(lane)
            self._progress()
        self._progress(finished=True)

    def examined(self, batch: Batch, sources: Sequence[str]) -> None:
        known = {found.item for found in self._together.damage}
        for outcome in batch:
            source = sources[outcome.job]
            try:
                answer = answer_of(outcome)
            except UNFIT:
                raise
            except RecoupError as error:
                text = f"{source} was not looked into by any worker: {sentence(error)}"
                self._note(Looked(0, 0, 0, (Damage(source, "unread", text),)))
                continue
            if not answer["examined"]:
                self._tell_not_examined(source, answer["worker"])
            found = decoded(tuple[Damage, ...], answer["damage"])
            self._note(Looked(0, 0, 0, tuple(one for one in found if one.item not in known)))

    def _note(self, lane: Looked) -> None:
        self.lanes.append(lane)
        for found in self._together.add(lane.damage):
            self.emit(verify.damage_found(self.name, found, self.clock.now()))

    def _progress(self, *, finished: bool = False) -> None:
        done = sum(lane.bytes for lane in self.lanes)
        self.emit(Progress(f"verify {self.name}", done, self.total, finished=finished))

    def _tell_not_examined(self, source: str, worker: str) -> None:
        text = (
            f"{source} of {self.name} is encrypted, and the worker on {worker} has no key to it: it was not looked into"
        )
        self.emit(Event("contents_not_examined", self.clock.now(), text, Level.WARNING, str(self.name)))


def run(
    name: SetName,
    repository: Repository,
    subset: Subset,
    crew: Crew,
    examiner: Examiner,
    clock: Clock,
    emit: Emit,
    host: str,
) -> VerifyReport:
    """Has workers verify a set, and notes the result at it. The caller holds a shared lock; workers need none.

    Args:
        name: the set.
        repository: where it is.
        subset: which part of the bytes to read. Plugs are asked only where it is all.
        crew: the workers.
        examiner: finds what a plug offers, to know whom to ask.
        clock: time.
        emit: where news go.
        host: this machine's name, for the proof.

    Raises:
        RefusedError: a worker is configured in another way.
        ConfigError: a worker has no configuration, or a wrong one.
        WrongKeyError: what a worker has does not open the set.
    """
    begun = clock.monotonic()
    going = _Run(name, clock, emit, verify.stored_bytes(name, repository))
    lanes = subset.divided(_LANES * crew.count)
    sources = verify.examinable(name, repository, examiner) if subset.whole else []
    orders = [{"name": str(name), "subset": encoded(Subset, lane)} for lane in lanes]
    comparing = crew.give("compare", repository.name, orders)
    examining = crew.give("examine", repository.name, [{"name": str(name), "source": source} for source in sources])
    try:
        going.compared(comparing, len(lanes))
        going.examined(examining, sources)
    finally:
        comparing.cancel()
        examining.cancel()
    proof = Mark("proof", clock.now(), host)
    return verify.conclude(name, repository, subset, merged(going.lanes), clock.monotonic() - begun, proof, emit)


# --- at a worker ----------------------------------------------------------------------------------------------------


def compare(name: SetName, subset: Mapping[str, Any], repository: Repository, hearing: Hearing) -> Any:
    """A worker's side: compares one lane; returns a `Looked` as JSON values."""
    work, damage = f"verify {name}", list[Damage]()
    verification = repository.verify(name, decoded(Subset, subset), lambda done: hearing(Progress(work, done)))
    for found in verification:
        damage.append(found)
        hearing(Progress(work, verification.bytes))
    return encoded(Looked, verify.looked_at(verification, damage))


def look_into(
    name: SetName, source: str, repository: Repository, examiner: Examiner, hearing: Hearing, worker: str
) -> dict[str, Any]:
    """A worker's side: has a plug look into a source; returns JSON values: `examined`, `damage`, `worker`.

    Raises:
        WrongKeyError: what is configured does not open the set.
        SourceError: the plug is not installed here.
    """
    can = repository.can_open(name)
    if can and source not in verify.examinable(name, repository, examiner):
        raise SourceError(
            f"the worker on {worker} has nothing that could look into {source}", "Install its plug there."
        )
    found = tuple(verify.examined(name, source, repository, examiner, hearing)) if can else ()
    return {"examined": can, "damage": encoded(tuple[Damage, ...], found), "worker": worker}
