"""Two prunes that are killed one after the other leave index files of three generations, and still lose and stop nothing."""

from pathlib import Path

import pytest

from recoup.model.part import StreamPart
from recoup.repository.dedup import storing
from recoup.repository.dedup.index_files import FOLDER as INDEX
from recoup.testing.repository_contract import Given, store
from unit.repository.dedup.small_sets import DAY, Small, commit, noise
from unit.repository.dedup.test_pruning_killed import Mortal, dies, left_over

A, B, C = (noise(i) for i in range(3))


def two_packs_to_go(folder: Path) -> Small:
    """A repository with one index file, from which one pack is to go now, another one half a day later, and one stays."""
    small, content = Small(folder, Mortal()), {"a": A, "b": B, "c": C}
    with small.begun() as writer:
        stored = [store(writer, "db", StreamPart(name, Given(data), len(data))) for name, data in content.items()]
        writer.parts = stored  # type: ignore[attr-defined]
        commit(writer, content)
    small.held[writer.name] = content
    small.add(c=C)
    second = small.add(b=B)
    small.delete(writer.name)
    small.clock.time += DAY / 2
    small.delete(second)
    small.clock.time += DAY / 2
    return small


def test_a_prune_that_is_killed_before_it_has_finished_a_killed_one_stops_no_third(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_PACK", 1)  # a pack for each chunk
    small = two_packs_to_go(tmp_path)
    storage, time, most = small.storage, small.clock.time, 0
    assert isinstance(storage, Mortal)
    before = dict(storage._objects)

    def killed_at(step: int) -> bool:
        storage.dead, storage.left = False, step
        died = dies(lambda: small.again().delete([]))
        storage.dead, storage.left = False, 0
        return died

    first = second = 1
    while True:
        storage._objects.clear()
        storage._objects.update(before)
        small.clock.time = time
        first_died = killed_at(first)
        small.clock.time += DAY / 2
        second_died = killed_at(second)
        most = max(most, len(small.keys_below(INDEX)))
        small.prune(DAY)
        small.prune(DAY)
        small.check()
        assert (left_over(small), len(small.keys_below(INDEX))) == ((1, 0), 1), (first, second)
        if not (first_died or second_died):
            break
        first, second = (first, second + 1) if second_died else (first + 1, 1)
    assert most == 3
