"""Restore by workers: a source on a network, where nothing is replaced, is restored by a machine that may be near to it.

What a restore that replaces something needs for the way back (its journal, the copy of what it deletes) lies on the machine that
does it. A worker that dies would take that along, so such a restore stays here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from recoup.errors import (
    DamagedError,
    HarmedError,
    NoRepositoryError,
    RecoupError,
    RefusedError,
    RestoreError,
    StorageError,
)
from recoup.model.events import Emit
from recoup.model.reports import RestoredSource
from recoup.model.secrets import Masker
from recoup.model.wire import decoded, encoded
from recoup.operations import restore
from recoup.operations._backup_plan import Batch
from recoup.operations._cutting import sentence
from recoup.operations._working import Crew, Hearing, answer_of, retold
from recoup.operations.restore import Item, Plan, Tried
from recoup.repository._base import Repository
from recoup.sources._base import Divisible
from recoup.system.clock import Clock


def reason_to_stay(item: Item, *, configured: bool, is_remote: bool) -> str:
    """Why this machine has to restore a source itself; empty when a worker may.

    Args:
        item: what to restore.
        configured: whether it goes to the place that is configured, which a worker knows, too.
        is_remote: whether the repository can be read from other machines.
    """
    live: object = item.live
    if not isinstance(live, Divisible):
        return "it goes to this machine"
    if not is_remote:
        return f"the repository {item.row.repository} is a folder of this machine"
    if not configured:
        return "its place is not the configured one, and its address may hold a secret"
    if item.row.present:
        return "something there is replaced, and the way back is kept on the machine that replaces it"
    return ""


class Sent:
    """Sources on their way to workers. A context: leaving takes back what nobody waits for any more.

    Args:
        crew: the workers.
        may_go: whether a worker may restore a source; asked once for each attempt.
        reading: gives a repository by its name, locked for reading.
        mask: takes secrets out of a text.
        clock: time.
        emit: where news go.
    """

    def __init__(
        self,
        crew: Crew,
        may_go: Callable[[Item], bool],
        reading: Callable[[str], Repository],
        mask: Masker,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._crew, self._may_go, self._reading = crew, may_go, reading
        self._mask, self._clock, self._emit = mask, clock, emit
        self._begun: dict[int, tuple[Batch, float]] = {}
        self._batches: list[Batch] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for batch in self._batches:
            batch.cancel()

    def begin(self, items: Iterable[Item]) -> None:
        """Sends all that workers may restore."""
        for item in items:
            try:
                self._send(item)
            except (RecoupError, OSError):
                continue  # the attempt says what is in the way of reading it

    def attempt(self, item: Item) -> Tried | None:
        """What came of a source; None where this machine has to restore it."""
        if id(item) not in self._begun:
            self._send(item)
        if id(item) not in self._begun:
            return None
        batch, begun = self._begun.pop(id(item))
        for outcome in batch:
            try:
                answer = answer_of(outcome)
            except RecoupError as error:
                return self._failed(item, error, begun)
            retold(answer["news"], self._emit)
            return _tried(answer)
        raise RestoreError(f"no worker answered for {item.row.source}")

    def _send(self, item: Item) -> None:
        if not self._may_go(item):
            return
        self._reading(item.row.repository)
        batch = self._crew.give("restore", item.row.repository, [self._order(item)])
        self._batches.append(batch)
        self._begun[id(item)] = batch, self._clock.monotonic()

    def _order(self, item: Item) -> dict[str, Any]:
        if item.live is None or item.options is None:
            raise RestoreError(f"{item.row.source} has no place to be restored to")
        options = item.options.model_dump(mode="json")
        if self._mask.value(options) != options:
            raise RefusedError("an option holds a secret, which is not sent to a worker", "Restore without workers.")
        settings = self._mask.value(item.live.settings())
        return {"name": str(item.set), "source": item.row.source, "settings": settings, "options": options}

    def _failed(self, item: Item, error: RecoupError, begun: float) -> Tried:
        """A job that failed before the restore itself, or whose worker died and could not be replaced."""
        row, seconds = item.row, self._clock.monotonic() - begun
        result = RestoredSource(
            row.source, row.target, error=sentence(error), exit_code=error.exit_code, seconds=seconds
        )
        unreadable = isinstance(error, DamagedError | StorageError | NoRepositoryError)
        return result, error, error if unreadable else None


def _tried(answer: Mapping[str, Any]) -> Tried:
    result: RestoredSource = decoded(RestoredSource, answer["result"])
    if not result.error:
        return result, None, None
    error = HarmedError(result.error) if answer["harmed"] else RestoreError(result.error)
    fault = DamagedError(result.error) if answer["damaged"] else StorageError(result.error)
    return result, error, fault if answer["unreadable"] else None


def take(item: Item, repository: Repository, clock: Clock, hearing: Hearing) -> dict[str, Any]:
    """A worker's side: restores a source; returns JSON values: `result`, `harmed`, `unreadable`, `damaged`, `news`.

    Raises:
        RestoreError: something is there by now. It may be what another worker had begun that died, so it is not touched.
    """
    if item.row.present:
        raise RestoreError(
            f"{item.row.target} has {item.row.present} by now, and a worker replaces nothing",
            "A worker that died may have begun it, or another one could not tell that all was done. Look at it; a restore "
            "replaces it, and keeps the way back.",
        )
    hearing.require_awaited()
    plan = Plan((item,), None, False, {})
    result, error, fault = restore.attempted(item, plan, lambda _: repository, clock, hearing)
    return {
        "result": encoded(RestoredSource, result),
        "harmed": isinstance(error, HarmedError),
        "unreadable": fault is not None,
        "damaged": isinstance(fault, DamagedError),
        "news": hearing.told(),
    }
