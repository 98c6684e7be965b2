"""A prune that is killed at any of its steps loses nothing, and the next one finishes it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.model.part import StreamPart
from recoup.repository.dedup.index_files import FOLDER as INDEX
from recoup.storage.memory import MemoryStorage, MemoryWriter
from recoup.testing.repository_contract import Given, store
from unit.repository.dedup.small_sets import DAY, Small, commit, noise

A, B, C, D, E, F = (noise(i) for i in range(6))


class Killed(BaseException):
    """What no code of ours catches."""


class Mortal(MemoryStorage):
    """A storage whose user is killed before the n-th change: after it nothing that the user still tries has an effect."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.dead = False

    def step(self) -> None:
        if self.left == 1:
            self.dead = True
        self.left -= 1
        self.live()

    def live(self) -> None:
        if self.dead:
            raise Killed

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.step()
        super().put(key, data, if_absent=if_absent)

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        self.live()
        return MortalWriter(self, key)

    def delete(self, key: str) -> None:
        self.step()
        super().delete(key)

    def delete_all(self, prefix: str) -> None:
        for found in list(self.list(prefix)):
            self.delete(found.key)

    def move(self, source: str, target: str) -> None:
        self.step()
        super().move(source, target)

    def get(self, key: str) -> bytes:
        self.live()
        return super().get(key)


class MortalWriter(MemoryWriter):
    """Half of what it is given is there before it is committed."""

    def __init__(self, storage: Mortal, key: str) -> None:
        super().__init__(storage._objects, key)
        self._storage = storage

    def write(self, data: bytes | memoryview, /) -> None:
        super().write(data)
        self._storage.live()
        self._objects[self._key] = bytes(self._data[: len(self._data) // 2])

    def commit(self) -> None:
        self._storage.step()
        super().commit()

    def abort(self) -> None:
        self._storage.live()
        self._objects.pop(self._key, None)


def everything_to_do(folder: Path) -> Small:
    """A repository whose next prune removes, rescues, rewrites and condemns."""
    small = Small(folder, Mortal())
    with small.begun(a=A) as writer:  # two packs in one index file: the first one is condemned, so removed below
        writer.run.end_pack()  # type: ignore[attr-defined]
        content = {"a": A, "b": B}
        writer.parts += [store(writer, "db", StreamPart("b", Given(B), len(B)))]  # type: ignore[attr-defined]
        commit(writer, content)
    small.add(b=B, c=C)
    small.held[writer.name] = content
    small.delete(writer.name)
    rescued, gone = small.add(d=D), small.add(f=F)
    with small.begun(d=D, e=E) as slow:
        small.delete(rescued)
        small.clock.time += DAY / 3
        commit(slow, {"d": D, "e": E})
    small.held[slow.name] = {"d": D, "e": E}
    rewritten = small.add(**{f"n{i}": noise(50 + i) for i in range(4)})
    small.add(n1=noise(51))
    for name in (gone, rewritten):
        del small.held[name]
        small.again()._sets.trash(name, small.clock.time)
    small.clock.time += DAY
    return small


@pytest.mark.parametrize("grace", [DAY, timedelta()], ids=["two phases", "at once"])
def test_a_prune_killed_anywhere_loses_nothing_and_is_finished_by_the_next(tmp_path: Path, grace: timedelta) -> None:
    small = everything_to_do(tmp_path)
    small.options = replace(small.options, grace=grace)
    storage = small.storage
    assert isinstance(storage, Mortal)
    before, time = dict(storage._objects), small.clock.time

    def begin(n: int) -> None:
        storage.dead, storage.left = False, n
        storage._objects.clear()
        storage._objects.update(before)
        small.clock.time = time

    ends = set()
    for n in range(1, 200):
        begin(n)
        died = dies(lambda: small.again().delete([]))
        storage.dead, storage.left = False, 0
        assert {name: small.restored(name) for name in small.again().names()} == small.held
        for _ in range(3):
            small.prune(DAY)
        ends.add(left_over(small))
        if not died:
            break
        assert {name: small.restored(name) for name in small.again().names()} == small.held
    small.check()
    assert n > 12
    assert len(ends) == 1, ends


def dies(act: Callable[[], object]) -> bool:
    try:
        act()
    except Killed:
        return True
    return False


def left_over(small: Small) -> tuple[int, int]:
    """How many chunks lie in packs, and how many packs no index names."""
    named = small.again().index().packs
    return sum(facts.rows for ref, facts in named.items()), len(small.packs - set(named))


def test_a_backup_killed_anywhere_leaves_nothing_for_ever(tmp_path: Path) -> None:
    small = Small(tmp_path, Mortal())
    storage = small.storage
    assert isinstance(storage, Mortal)
    first = small.add(a=A)
    before, held, time = dict(storage._objects), dict(small.held), small.clock.time
    for n in range(1, 100):
        storage.dead, storage.left, small.held, small.clock.time = False, n, dict(held), time
        storage._objects.clear()
        storage._objects.update(before)
        died = dies(lambda: small.add(a=A, b=B))
        storage.dead, storage.left = False, 0
        if died and len(small.again().names()) == 2:  # the kill came after the set
            small.held[small.repository.names()[1]] = {"a": A, "b": B}
        for _ in range(3):
            small.prune(DAY)
        small.check()
        assert left_over(small) == (len(small.held), 0)
        if not died:
            break
    assert n > 4
    assert first in small.held
    assert len(small.keys_below(INDEX)) == len(small.held)
