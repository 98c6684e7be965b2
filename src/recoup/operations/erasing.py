"""Removing all that a stack has in a repository, for good: nothing is kept but what is not certainly this stack's."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from recoup.model.names import SetName
from recoup.model.structs import Struct
from recoup.operations.selection import listing
from recoup.repository._base import Repository


class Erasure(Struct):
    """What a removal of everything takes from a repository.

    Attributes:
        repository: its name.
        location: where it lies, without secrets.
        sets: names of the sets that go.
        bytes: what they take.
        left: name of a set that stays, though it may be this stack's, to the reason.
        others: how many sets of other stacks are there, which stay.
        trashed: how many sets wait in the trash; they go, too, unless another stack uses the repository.
    """

    repository: str
    location: str
    sets: tuple[SetName, ...] = ()
    bytes: int = 0
    left: Mapping[str, str] = field(default_factory=dict)
    others: int = 0
    trashed: int = 0


def plan(repository: Repository, stack: str, now: datetime) -> Erasure:
    """Looks what is there; changes nothing.

    Args:
        repository: which.
        stack: whose sets go.
        now: the present moment.

    Raises:
        RecoupError: it cannot be read.
    """
    repository.check()
    sets: list[SetName] = []
    left, size, others = {}, 0, 0
    for info in listing(repository, now, copies=False):
        name = SetName.parse(info.name)
        if info.manifest is None or name is None:
            left[info.name] = "it cannot be read, so nobody knows whose it is"
        elif info.manifest.stack != stack:
            others += 1
        elif (until := repository.locked_until(name)) is not None:
            left[info.name] = f"the storage keeps it by force until {until:%Y-%m-%d}"
        else:
            sets.append(name)
            size += info.manifest.stored_bytes
    trashed = len(repository.trashed())
    return Erasure(repository.name, repository.location, tuple(sets), size, left, others, trashed)


def run(repository: Repository, planned: Erasure, trash_days: float) -> tuple[str, ...]:
    """Removes them, and looks what is still there. Whoever calls holds the repository's exclusive lock.

    Args:
        repository: which.
        planned: what goes.
        trash_days: how long the repository keeps what is deleted; counts only where another stack uses it.

    Returns:
        Names of those that should be gone and are not, be it that they wait in the trash.
    """
    alone = not planned.others
    repository.delete(planned.sets, keep_days=0.0 if alone else trash_days, at_once=alone)
    there = {*repository.names(), *repository.trashed()}
    return tuple(str(name) for name in planned.sets if name in there)
