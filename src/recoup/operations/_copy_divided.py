"""Copy by workers: each copies a set from repository to repository; here they are sent off, and their results told."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from recoup.errors import RecoupError, RefusedError
from recoup.model.manifest import Manifest
from recoup.model.names import SetName
from recoup.model.reports import CopiedSet, CopyReport
from recoup.model.sharing import Sent
from recoup.operations import copy
from recoup.operations._pump import storage_error
from recoup.operations._working import Crew, Hearing, answer_of
from recoup.operations.copy import Copied, Plan, Row, Way
from recoup.system.executing import Outcome

_AT_ONCE = 2  # sets for each worker: so many may be on their way when the target turns out to be full


def run(plan: Plan, way: Way, crew: Crew) -> CopyReport:
    """Has workers copy sets, several at a time. This machine holds the locks of both repositories; workers need none. One that
    cannot be copied does not stop the others; when the target cannot be written, no further ones are sent off.

    Args:
        plan: what to do.
        way: from where to where.
        crew: the workers.
    """
    begun = way.clock.monotonic()
    results = {row.set: copy.copied(row, way, _nothing)[0] for row in plan.rows if row.there or row.problem}
    stopped: RecoupError | None = None
    with ExitStack() as held:
        locked = _Locked(way, held)
        for rows in _by(_AT_ONCE * crew.count, plan.missing):
            if stopped is not None:
                results |= {row.set: copy.not_tried(row, stopped) for row in rows}
                continue
            for row, result, error in _sent_off(rows, plan, way, crew, locked):
                results[row.set], stopped = result, stopped or error
    done = tuple(results[row.set] for row in plan.rows)
    return CopyReport(plan.origin, plan.target, done, way.clock.monotonic() - begun)


def _by(count: int, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Sets that may be on their way together. Those of one second are numbered as they arrive, so they go one after the other."""
    together: list[Row] = []
    for row in rows:
        if len(together) == count or any(_second(row) == _second(other) for other in together):
            yield together
            together = []
        together.append(row)
    if together:
        yield together


def _second(row: Row) -> datetime:
    return copy.parsed(row.set).time


def _nothing() -> Copied:
    raise RefusedError("it is not to be copied")


class _Locked:
    """The target's locks, one for each stack, taken when its first set comes and held to the end."""

    def __init__(self, way: Way, held: ExitStack) -> None:
        self._way, self._held = way, held
        self._stacks: set[str] = set()

    def take(self, row: Row) -> None:
        """Locks for the stack of a set.

        Raises:
            RecoupError: it cannot be locked, or the set cannot be read.
        """
        stack = self._way.origin.manifest(copy.parsed(row.set)).stack
        if stack not in self._stacks:
            self._held.enter_context(copy.lock_for(stack, self._way))
            self._stacks.add(stack)


def _sent_off(
    rows: Sequence[Row], plan: Plan, way: Way, crew: Crew, locked: _Locked
) -> Iterator[tuple[Row, CopiedSet, RecoupError | None]]:
    """What became of some sets, as they come, and the error after which no others need to be tried."""
    going: list[Row] = []
    for row in rows:
        try:
            locked.take(row)
            going.append(row)
        except (RecoupError, OSError) as error:
            yield row, *copy.copied(row, way, lambda error=error: _raise(error))  # type: ignore[misc]
    about = {"target": way.target.name, "place": way.target.location, "factor": plan.factor}
    batch = crew.give("copy", way.origin.name, [{**about, "name": row.set, "bytes": row.bytes} for row in going])
    try:
        for outcome in batch:
            row = going[outcome.job]
            result, error = copy.copied(row, way, lambda outcome=outcome: _done_in(outcome))  # type: ignore[misc]
            seconds = 0.0 if result.error else float(answer_of(outcome)["seconds"])
            yield row, replace(result, seconds=seconds), error
    finally:
        batch.cancel()


def _raise(error: Exception) -> Copied:
    raise error


def _done_in(outcome: Outcome) -> Copied:
    answer = answer_of(outcome)
    sent = answer.get("sent")
    return Copied(copy.parsed(answer["set"]), None if sent is None else Sent(**sent))


def take(row: Row, factor: float, way: Way, hearing: Hearing) -> dict[str, Any]:
    """A worker's side: copies a set; returns JSON values: `set`, `seconds`, `sent`. What a worker that died has copied already,
    and could not tell any more, is not copied again.

    Args:
        row: of the set.
        factor: free space that it asks for, as a multiple of what it holds.
        way: from where to where.
        hearing: knows whether somebody waits.

    Raises:
        RecoupError: it cannot be copied.
    """
    begun = way.clock.monotonic()
    try:
        name = copy.parsed(row.set)
        there = _there(way.origin.manifest(name), way)
        if there is None:
            hearing.require_awaited()
            done = copy.copy_one(row, factor, way)
        else:
            copy.carry_marks(name, there, way)
            done = Copied(there)
    except OSError as error:
        raise storage_error(error) from None
    sent = None if done.sent is None else asdict(done.sent)
    return {"set": str(done.name), "seconds": way.clock.monotonic() - begun, "sent": sent}


def _there(manifest: Manifest, way: Way) -> SetName | None:
    """The same cut in the target. A copy is named by its cut's second."""
    second = SetName.at(manifest.started).time
    for found in way.target.names():
        if found.time == second and way.target.manifest(found).id == manifest.id:
            return found
    return None
