"""What a backup will do, and what it needs to know: values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Protocol

from recoup.errors import RecoupError
from recoup.model.events import Emit
from recoup.model.manifest import Host
from recoup.model.secrets import Masker
from recoup.model.structs import Struct
from recoup.repository._base import Repository
from recoup.sources._base import Source
from recoup.system.clock import Clock
from recoup.system.executing import Order, Outcome


class Batch(Protocol):
    """Jobs on their way."""

    def __iter__(self) -> Iterator[Outcome]:
        """Their outcomes, as they come."""
        ...

    def cancel(self) -> None:
        """Takes back what has not begun."""
        ...


Send = Callable[[str, Sequence[Order]], Batch]
"""Gives workers orders for one kind of job."""


class Row(Struct):
    """One source in the plan.

    Attributes:
        source: its name.
        kind: its plug.
        present: False when the store is not there.
        optional: whether that is all right.
        bytes: what it will yield, roughly.
        problem: why it will fail, as far as can be said without reading it.
    """

    source: str
    kind: str
    present: bool
    optional: bool
    bytes: int
    problem: str = ""


class Target(Struct):
    """One repository in the plan.

    Attributes:
        repository: its name.
        location: where it is, for people.
        needed_bytes: what a set needs there, the safety factor included.
        free_bytes: what it has; None when unknown.
        problem: why nothing can be stored there, as far as can be said without trying; empty when all is well.
        factor: the safety factor.
    """

    repository: str
    location: str
    needed_bytes: int
    free_bytes: int | None
    problem: str = ""
    factor: float = 1.0

    def needing(self, total_bytes: int) -> "Target":
        """With what `total_bytes` of the sources will take there."""
        return replace(self, needed_bytes=int(total_bytes * self.factor))


class Plan(Struct):
    """What a backup will do.

    Attributes:
        rows: one for each source asked for.
        needed_bytes: what the repository needs, the safety factor included; of several: the first that is there.
        free_bytes: what it has; None when unknown.
        tags: for the set.
        note: for the set.
        targets: where the set goes.
    """

    rows: tuple[Row, ...]
    needed_bytes: int
    free_bytes: int | None
    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    targets: tuple[Target, ...] = ()

    @property
    def total_bytes(self) -> int:
        """What all sources will yield, roughly."""
        return sum(row.bytes for row in self.rows)

    def going_to(self, targets: Sequence[Target]) -> "Plan":
        """With the repositories that get the set."""
        first = next((target for target in targets if not target.problem), targets[0])
        return replace(self, needed_bytes=first.needed_bytes, free_bytes=first.free_bytes, targets=tuple(targets))


class Run(Struct):
    """What a backup needs to know besides its plan.

    Attributes:
        stack: its name.
        host: this machine.
        version: Recoup's.
        id: random, 32 hex digits.
        time_zone: the host's.
        clock: time.
        emit: where news go.
        mask: takes secrets out of a text.
        refused: filled while it runs: names of the sources that refused for safety.
        send: gives workers what they are to take; None where this machine takes everything.
        shrink: by source, the share of the usual size below which its copy is suspicious.
    """

    stack: str
    host: Host
    version: str
    id: str
    time_zone: str
    clock: Clock
    emit: Emit
    mask: Masker
    refused: set[str] = field(default_factory=set)
    send: Send | None = None
    shrink: Mapping[str, float] = field(default_factory=dict)


def targets(repositories: Mapping[str, Repository], factors: Mapping[str, float]) -> list[Target]:
    """Looks at the repositories of a backup; changes nothing.

    Args:
        repositories: by name.
        factors: free space that a backup asks for, as a multiple of what the sources are estimated to need.

    Raises:
        RecoupError: none of them can be used; the first one's reason.
    """
    found, failures = [], list[RecoupError]()
    for name, repository in repositories.items():
        try:
            repository.check()
            found.append(Target(name, repository.location, 0, repository.free_bytes(), factor=factors[name]))
        except RecoupError as error:
            failures.append(error)
            found.append(Target(name, repository.location, 0, None, error.message, factors[name]))
    if len(failures) == len(found):
        raise failures[0]
    return found


def plan(
    sources: Mapping[str, Source],
    free_bytes: int | None,
    free_space_factor: float,
    tags: Mapping[str, str] | None = None,
    note: str = "",
) -> Plan:
    """Looks at the sources; changes nothing."""
    rows = tuple(_row(name, source) for name, source in sources.items())
    needed = int(sum(row.bytes for row in rows) * free_space_factor)
    return Plan(rows, needed, free_bytes, dict(tags or {}), note)


def _row(name: str, source: Source) -> Row:
    options = source.options
    try:
        present = source.present()
        size = source.estimate() if present else 0
    except (RecoupError, OSError) as error:
        return Row(name, options.kind, present=True, optional=options.optional, bytes=0, problem=str(error))
    problem = "" if present or options.optional else "it is not there"
    return Row(name, options.kind, present, options.optional, size, problem)
