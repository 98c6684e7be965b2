"""A repair that is killed at any of its steps harms nothing, and the next one finishes it."""

from pathlib import Path

from recoup.model.names import SetName
from recoup.model.part import Part, StreamPart
from recoup.repository._base import Subset
from recoup.storage.memory import MemoryWriter
from recoup.testing.repository_contract import Given
from unit.repository.dedup.small_sets import Small, noise
from unit.repository.dedup.test_pruning_killed import Killed, Mortal


class Whole(Mortal):
    """Shows what others may look at only when it is committed."""

    def writer(self, key: str, *, hidden: bool = False) -> MemoryWriter:
        return super().writer(key, hidden=True) if hidden else _Stepping(self, key)


class _Stepping(MemoryWriter):
    def __init__(self, storage: Mortal, key: str) -> None:
        super().__init__(storage._objects, key)
        self._storage = storage

    def commit(self) -> None:
        self._storage.step()
        super().commit()


DATA = {"a": noise(1), "b": noise(2)}


def mend(small: Small, name: SetName) -> None:
    """Makes the index anew and puts everything back, as far as it goes."""
    healing = small.again().healing()
    healing.rebuild_index()
    for part in small.repository.manifest(name).sources["db"].parts:

        def fetch(named: str = part.name) -> Part:
            return StreamPart(named, Given(DATA[named]), len(DATA[named]))

        healing.heal(name, part, fetch, None)
    for found in list(small.again().verify(name, Subset())):
        if found.item.startswith("packs/"):
            healing.mend_pack(name, found.item)


def harmed(small: Small) -> tuple[SetName, SetName]:
    """A set of which the index is lost, and one with a damaged chunk."""
    first, second = small.add(a=DATA["a"]), small.add(b=DATA["b"])
    lost, damaged = (small.again().header(name).run for name in (first, second))
    [pack] = [pack for pack in small.packs if pack.run == damaged]
    small.flip(pack, 300)
    [index] = [key for key in small.keys_below("index") if lost.hex() in key]
    small.storage.delete(index)
    return first, second


def test_a_repair_killed_at_any_step_is_finished_by_the_next_one(tmp_path: Path) -> None:
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        folder.mkdir()
        storage = Whole()
        small = Small(folder, storage)
        names = harmed(small)
        storage.left = steps
        try:
            for name in names:
                mend(small, name)
        except Killed:
            storage.dead, storage.left = False, 0
        else:
            break
        for name in names:
            mend(small, name)
        small.check()
    small.check()
    assert steps > 3  # how many there are depends on where chunks lie


def test_a_pack_is_replaced_only_when_its_chunks_lie_elsewhere(tmp_path: Path) -> None:
    for steps in range(1, 9):
        folder = tmp_path / str(steps)
        folder.mkdir()
        storage = Whole()
        small = Small(folder, storage)
        name = small.add(a=DATA["a"])
        [pack] = small.packs
        small.flip(pack, len(storage.get(pack.key)) - 1)
        storage.left = steps
        try:
            mend(small, name)
        except Killed:
            storage.dead, storage.left = False, 0
        else:
            break
        assert small.restored(name) == {"a": DATA["a"]}
        mend(small, name)
        small.check()
    small.check()
    assert steps == 5  # a pack, its index, the old pack goes, the new one comes
