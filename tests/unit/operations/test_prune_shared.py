"""Prune where sets share their content: what it says beforehand is what happens."""

from pathlib import Path

import pytest

from recoup.errors import ExitCode, RefusedError
from recoup.model.events import Event, News
from recoup.model.reports import PruneReport
from recoup.operations import erasing, prune
from recoup.operations.prune import PrunePlan
from recoup.retention import Rules
from unit.repository.dedup.small_sets import DAY, Small, noise

A, B, C, D = (noise(i) for i in range(4))
CHUNK = 3016


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = Small(tmp_path)
    small.add(a=A, b=B)
    small.clock.time += DAY
    small.add(b=B, c=C)
    small.clock.time += DAY
    small.add(b=B, d=D)
    return small


def planned(small: Small, last: int = 1, wanted: int = 0) -> PrunePlan:
    return prune.plan(small.again(), Rules(last=last), small.clock.now(), wanted_bytes=wanted)


def run(small: Small, plan: PrunePlan, trash_days: float = 0.0) -> tuple[PruneReport, list[Event]]:
    heard: list[News] = []
    report = prune.run(plan, small.repository, trash_days, heard.append, small.clock)
    small.held = {name: content for name, content in small.held.items() if name in small.repository.names()}
    return report, [news for news in heard if isinstance(news, Event)]


def test_only_what_no_set_uses_that_stays_counts_as_freed(small: Small) -> None:
    plan = planned(small)
    assert len(plan.removed) == 2
    assert plan.freed_bytes == 2 * CHUNK, "the chunk that all three have stays"
    assert any("after the grace time (24 hours)" in note for note in plan.notes)
    report, told = run(small, plan)
    assert report.freed_bytes == plan.freed_bytes
    assert report.reclaim is not None
    assert plan.reclaim == report.reclaim
    assert (report.reclaim.freed_bytes, report.exit_code) == (0, ExitCode.OK)
    (event,) = [one for one in told if one.name == "space_reclaimed"]
    assert event.fields["later_bytes"] == report.reclaim.later_bytes > 2 * CHUNK
    small.check()
    small.clock.time += DAY
    again, told = run(small, planned(small))
    assert again.reclaim is not None
    assert again.reclaim.freed_bytes == report.reclaim.later_bytes
    assert "given back at once" in next(one.message for one in told if one.name == "space_reclaimed")
    small.check()


def test_as_many_sets_go_as_take_the_space_that_is_wanted_alone(small: Small) -> None:
    plan = planned(small, last=9, wanted=CHUNK + 1)
    assert [row.keep for row in plan.rows] == [False, False, True], "one alone does not take so much"
    assert plan.reclaim is not None
    assert plan.reclaim.later_bytes == 0
    report, _ = run(small, plan, trash_days=7)
    assert report.reclaim is not None
    assert report.reclaim.freed_bytes == plan.reclaim.freed_bytes > 2 * CHUNK
    small.check()
    with pytest.raises(RefusedError, match="cannot be freed"):
        planned(small, wanted=CHUNK).require_enough()


def test_what_the_trash_takes_alone_is_freed_first(small: Small) -> None:
    first = small.repository.names()[0]
    small.delete(first, keep_days=7)
    plan = planned(small, last=9, wanted=CHUNK)
    assert CHUNK < plan.trash_bytes < 2 * CHUNK
    assert not plan.removed
    report, _ = run(small, plan, trash_days=7)
    assert report.reclaim is not None
    assert report.reclaim.freed_bytes > CHUNK
    small.check()


def test_damage_that_a_prune_finds_makes_it_fail(small: Small) -> None:
    index = small.again().index()
    place = next(place for ref in index.packs for place in index.of_pack(ref) if place.row.number == 1)
    small.flip(place.pack, place.offset + 9)
    report, told = run(small, planned(small))
    assert report.exit_code == ExitCode.DAMAGED
    assert "1 damaged chunks were found" in next(one.message for one in told if one.name == "space_reclaimed")


def test_a_plan_is_refused_while_nobody_can_tell_what_a_set_uses(small: Small) -> None:
    small.storage.put(f"{small.repository.names()[0]}/recipes", b"?")
    with pytest.raises(RefusedError, match="no chunk is removed"):
        planned(small)


def test_all_of_a_stack_goes_at_once_where_nobody_else_uses_the_repository(small: Small) -> None:
    done = erasing.plan(small.again(), "stack", small.clock.now())
    assert erasing.run(small.repository, done, 7) == ()
    assert small.packs == set()
