"""Backups into several repositories, copies and repairs, killed at every file operation: nothing false, nothing lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.killing import kill_points
from crash.test_repository_killed import add_small_set, leftovers, opened, sound_sets
from recoup.errors import ExitCode
from recoup.model.marks import Mark
from recoup.model.reports import CopyReport, RepairReport
from recoup.operations import copy, repair, selection
from recoup.repository._base import Subset
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW
from unit.operations.scripted import good
from unit.operations.test_fanout import back_up_into


@pytest.mark.requirement("DM-12")
def test_a_backup_into_two_repositories_killed_anywhere_leaves_no_false_set_in_either(tmp_path: Path) -> None:
    roots = [tmp_path / "near", tmp_path / "far"]

    def prepare() -> Callable[[], object]:
        for root in roots:
            shutil.rmtree(root, ignore_errors=True)
            opened(root).create()
        return back_up

    def back_up() -> None:
        repositories = [opened(root, pack) for root, pack in zip(roots, ("tree", "tar.gz"), strict=True)]
        for repository, root in zip(repositories, roots, strict=True):
            repository.name = root.name
        assert back_up_into(repositories, {"it": good()}).exit_code == ExitCode.OK

    kills = 0
    for _ in kill_points(prepare):
        kills += 1
        before = [len(sound_sets(root)) for root in roots]
        assert before in ([0, 0], [1, 0], [1, 1])
        back_up()
        assert [len(sound_sets(root)) - count for root, count in zip(roots, before, strict=True)] == [1, 1]
        assert [leftovers(root) for root in roots] == [[], []]
    assert kills > 15


@pytest.mark.requirement("DM-12")
def test_a_copy_killed_anywhere_is_finished_by_the_next_one(tmp_path: Path) -> None:
    origin, root = opened(tmp_path / "origin"), tmp_path / "target"
    origin.create()
    name = add_small_set(origin)
    origin.mark(name, Mark("pin", NOW, "host", {"reason": "audit"}))

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        opened(root).create()
        return copied

    def copied() -> CopyReport:
        target, clock = opened(root, "tar"), SystemClock()
        target.name = "target"
        planned = copy.plan(selection.listing(origin, clock.now()), origin, target, 1.0, clock)
        return copy.run(planned, copy.Way(origin, target, clock, lambda _: None))

    kills = 0
    for _ in kill_points(prepare):
        kills += 1
        assert len(sound_sets(root)) <= 1
        report = copied()
        assert report.exit_code == ExitCode.OK
        assert sound_sets(root) == [str(name)]
        [info] = selection.listing(opened(root), NOW)
        assert info.standing.pin_reason == "audit"
        if report.sets[0].there is False:
            assert leftovers(root) == []
    assert kills > 15


def test_a_repair_killed_anywhere_is_finished_by_the_next_one(tmp_path: Path) -> None:
    helper, root = opened(tmp_path / "helper"), tmp_path / "broken"
    helper.create()
    name = add_small_set(helper)

    def prepare() -> Callable[[], object]:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(tmp_path / "helper", root, symlinks=True)
        (root / str(name) / "db/main.db").write_bytes(b"damaged!")
        (root / str(name) / "SHA256SUMS").unlink()
        return mended

    def mended() -> RepairReport:
        sides = repair.Sides(opened(root), helper, SystemClock(), lambda _: None)
        [row] = repair.plan([name], sides)
        return repair.run(row, sides)

    kills = 0
    for _ in kill_points(prepare):
        kills += 1
        items = {found.item for found in opened(root).verify(name, Subset())}
        assert items <= {"db/main.db", "SHA256SUMS"}
        assert mended().exit_code == ExitCode.OK
        assert list(opened(root).verify(name, Subset())) == []
    assert kills > 3
