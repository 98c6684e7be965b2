"""Several repositories with copies of one cut: which is read first, and which when that one fails."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from recoup.errors import DamagedError, NoRepositoryError, RecoupError, StorageError, WrongKeyError
from recoup.model.events import Event, Level
from recoup.model.manifest import Manifest
from recoup.model.names import SetName, shown
from recoup.model.reports import DrillReport, SetInfo
from recoup.operations import _reading
from recoup.operations._cutting import sentence
from recoup.operations.drill import Plan
from recoup.operations.selection import holds, listing
from recoup.repository._base import Repository
from recoup.system.clock import Clock

T = TypeVar("T")


def looked_into(
    repositories: Mapping[str, Callable[[], Repository]], now: datetime
) -> tuple[list[SetInfo], dict[str, RecoupError]]:
    """The sets of several repositories, and the repositories that cannot be read, with the reason.

    Args:
        repositories: name to what opens it, the nearest first.
        now: the present moment; pins end.

    Returns:
        The sets by name, oldest first; of sets with one name that of the nearest repository first.

    Raises:
        RecoupError: none can be read; the nearest one's reason.
    """
    infos, failures = list[SetInfo](), dict[str, RecoupError]()
    for name, opened in repositories.items():
        try:
            repository = opened()
            repository.check()
            infos += listing(repository, now)
        except RecoupError as error:
            failures[name] = error
        except OSError as error:
            where = f" ({shown(str(error.filename))})" if error.filename else ""
            failures[name] = StorageError(f"{name} cannot be read: {error.strerror or error}{where}", "Check its disk.")
    if failures and len(failures) == len(repositories):
        raise next(iter(failures.values()))
    return sorted(infos, key=lambda info: info.name_key), failures


def readable(infos: Sequence[SetInfo]) -> list[SetInfo]:
    """Without the sets whose manifest is damaged here, and whole under the same name elsewhere."""
    whole = {info.name for info in infos if info.manifest is not None}
    return [info for info in infos if info.manifest is not None or info.name not in whole]


def copies(info: SetInfo, infos: Iterable[SetInfo], nearest: Sequence[str]) -> list[SetInfo]:
    """The copies of a set's cut that can be read, the nearest first.

    Args:
        info: one of them.
        infos: all sets of all repositories.
        nearest: names of the repositories, the nearest first.
    """
    if info.manifest is None:
        return [info]
    same = [one for one in infos if one.manifest is not None and one.manifest.id == info.manifest.id]
    return sorted(same, key=lambda one: nearest.index(one.repository))


def holding(infos: Sequence[SetInfo], source: str) -> list[SetInfo]:
    """Those of some copies that have a source whole; all of them when none has."""
    return [info for info in infos if holds(info, source)] or list(infos)


def left_out(failures: Mapping[str, RecoupError]) -> list[str]:
    """What a person has to know of repositories that were not looked into."""
    return [f"{name} was not looked into: {sentence(error)}" for name, error in failures.items()]


def by_repository(infos: Iterable[SetInfo]) -> dict[str, list[SetName]]:
    """Names of sets by the repository that they are in."""
    found: dict[str, list[SetName]] = {}
    for info in infos:
        name = SetName.parse(info.name)
        if name is not None:
            found.setdefault(info.repository, []).append(name)
    return found


def tried(
    copies: Sequence[SetInfo],
    whole: Callable[[SetInfo], Manifest],
    make: Callable[[SetInfo, Manifest], T],
    notes: list[str],
) -> Iterator[T]:
    """What is made of each copy, the nearest first and only when it is asked for; of those that cannot be read, notes.

    Args:
        copies: of one cut.
        whole: reads a copy's manifest.
        make: what to make of it.
        notes: gets a sentence for each copy that is passed over.

    Raises:
        RecoupError: the last one cannot be read, or something else than the stored bytes stands against it.
    """
    for index, info in enumerate(copies):
        last = index + 1 == len(copies)
        try:
            manifest = whole(info)
        except RecoupError as error:
            if last:
                raise
            notes.append(_passed_over(info, error))
            continue
        try:
            made = make(info, manifest)
        except (DamagedError, StorageError, NoRepositoryError, WrongKeyError) as error:
            if last:
                raise
            notes.append(_passed_over(info, error))
            continue
        yield made


def _passed_over(info: SetInfo, error: RecoupError) -> str:
    return f"{info.name} in {info.repository} cannot be read: {sentence(error)}"


def drill_fell_back(plan: Plan, reason: str, now: datetime) -> Event:
    """The news that a copy cannot be read, and which is drilled instead."""
    other = plan.others[0]
    text = f"{plan.set} in {plan.repository} cannot be read, so {other.name} in {other.repository} is drilled: {reason}"
    fields = {"repository": plan.repository, "instead": other.repository}
    return Event("drill_fell_back", now, text, Level.ERROR, str(plan.set), fields)


def why_unreadable(report: DrillReport) -> str:
    """What was wrong with the stored copy, source by source."""
    return "; ".join(f"{source.source}: {source.error}" for source in report.sources if source.unreadable)


class Locked:
    """Repositories that are read: each is locked when it is first asked for, until the end.

    Args:
        opened: opens one by name.
        verb: what for.
        stack: whose.
        wait: seconds to wait for a lock.
        clock: time.
        tell: is told where there is no lock.
    """

    def __init__(
        self,
        opened: Callable[[str], Repository],
        verb: str,
        stack: str,
        wait: float,
        clock: Clock,
        tell: Callable[[Event], None],
    ) -> None:
        self._opened, self._verb, self._stack, self._wait = opened, verb, stack, wait
        self._clock, self._tell = clock, tell
        self._locks = contextlib.ExitStack()
        self._held: dict[str, Repository] = {}

    def __call__(self, name: str) -> Repository:
        """A repository, locked for reading.

        Raises:
            RecoupError: it cannot be.
        """
        if name not in self._held:
            repository = self._opened(name)
            lock = _reading.held(repository, self._verb, self._stack, self._wait, self._clock, self._tell)
            self._locks.enter_context(lock)
            self._held[name] = repository
        return self._held[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._locks.__exit__(kind, error, trace)
