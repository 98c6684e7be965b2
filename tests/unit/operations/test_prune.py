"""Pruning a real repository."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recoup.errors import RefusedError
from recoup.model.events import Event, News, ignore
from recoup.model.manifest import SourceOutcome, outcome_of
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.model.reports import PruneReport
from recoup.operations import marks, prune
from recoup.operations.selection import Filter, listing
from recoup.repository._base import Repository
from recoup.repository.opening import open_repository
from recoup.retention import NO_RULES, Duration, Rules
from recoup.storage.local import LocalStorage
from recoup.testing.repository_contract import Given, manifest_of, record_of, store

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that a test sets."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Place:
    """A repository in a folder, and what was heard of it."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    heard: list[News] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.repository: Repository = open_repository(
            "local", LocalStorage(self.folder), "tree", "none", None, self.clock
        )
        self.repository.create()

    def add(
        self, days: float, sources: Mapping[str, SourceOutcome] | None = None, tags: Mapping[str, str] | None = None
    ) -> SetName:
        """A set of some days ago; each of its sources has three bytes."""
        outcomes = sources or {"cache": "complete"}
        with self.repository.begin(NOW - timedelta(days=days)) as writer:
            records = {}
            for source, outcome in outcomes.items():
                part = store(writer, source, StreamPart("data", Given(b"abc"), 3))
                records[source] = replace(record_of(part), outcome=outcome)
            manifest = manifest_of(writer.name, records, NOW - timedelta(days=days))
            writer.commit(replace(manifest, outcome=outcome_of(records), tags=tags or {}))
            return writer.name

    def plan(self, rules: Rules, filters: Filter | None = None) -> prune.PrunePlan:
        return prune.plan(self.repository, rules, self.clock.now(), filters or Filter())

    def run(self, plan: prune.PrunePlan, trash_days: float = 0) -> PruneReport:
        with self.repository.lock("exclusive", "prune", "stack"):
            return prune.run(plan, self.repository, trash_days, self.heard.append, self.clock)

    @property
    def names(self) -> list[SetName]:
        return list(self.repository.names())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "backups")


def reasons(plan: prune.PrunePlan, name: SetName) -> tuple[str, ...]:
    (found,) = (row.reasons for row in plan.rows if row.set == str(name))
    return found


@pytest.mark.requirement("DM-8")
def test_sets_beyond_the_newest_ones_are_removed(place: Place) -> None:
    old, middle, new = (place.add(days) for days in (3, 2, 1))
    plan = place.plan(Rules(last=2))
    assert [(row.set, row.keep, row.outcome) for row in plan.rows] == [
        (str(old), False, "complete"),
        (str(middle), True, "complete"),
        (str(new), True, "complete"),
    ]
    assert plan.rows[0].age_seconds == 3 * 86400
    assert plan.rows[0].bytes == plan.freed_bytes == 3
    assert place.names == [old, middle, new]  # a plan changes nothing
    report = place.run(plan)
    assert (report.removed, report.kept, report.freed_bytes) == ((str(old),), (str(middle), str(new)), 3)
    assert place.names == [middle, new]
    assert not (place.folder / str(old)).exists()
    assert not list(place.folder.glob(".trash/*"))


@pytest.mark.requirement("DM-9")
def test_pruning_says_how_many_were_deleted_and_how_many_are_kept_last(place: Place) -> None:
    for days in (4, 3, 2, 1):
        place.add(days)
    place.run(place.plan(Rules(last=1)))
    (event,) = place.heard
    assert isinstance(event, Event)
    assert (event.name, dict(event.fields)) == ("backup_pruned", {"deleted_count": 3, "keep_last": 1})
    assert event.message == "pruned 3 of 4 sets, 9 bytes"
    place.run(place.plan(Rules(daily=9)))
    assert isinstance(place.heard[-1], Event)
    assert dict(place.heard[-1].fields) == {"deleted_count": 0, "keep_last": None}


def test_pruning_again_removes_nothing(place: Place) -> None:
    for days in (4, 3, 2, 1):
        place.add(days)
    place.run(place.plan(Rules(last=2)))
    assert place.run(place.plan(Rules(last=2))).removed == ()


def test_an_empty_repository_is_pruned_without_fuss(place: Place) -> None:
    plan = place.plan(Rules(last=1))
    assert (plan.rows, plan.notes, place.run(plan).removed) == ((), (), ())


def test_without_rules_nothing_is_removed_and_the_plan_says_so(place: Place) -> None:
    place.add(400)
    place.add(1)
    plan = place.plan(Rules())
    assert plan.notes == (NO_RULES,)
    assert place.run(plan).removed == ()


@pytest.mark.requirement("DM-12")
def test_failed_sets_do_not_push_good_ones_out(place: Place) -> None:
    good = place.add(9)
    failed = [place.add(days, {"cache": "failed"}) for days in (3, 2, 1)]
    place.run(place.plan(Rules(last=1)))
    assert place.names == [good, *failed]
    newest = place.add(0)
    place.run(place.plan(Rules(last=1)))
    assert place.names == [newest]


def test_a_suspicious_set_counts_once_it_is_accepted(place: Place) -> None:
    good, doubtful = place.add(2), place.add(1, {"cache": "suspicious"})
    assert place.plan(Rules(last=1)).removed == ()
    marks.accept(place.repository, doubtful, NOW)
    assert [row.set for row in place.plan(Rules(last=1)).removed] == [str(good)]


def test_what_waits_in_the_trash_makes_room_before_any_set_goes(place: Place) -> None:
    names = [place.add(days) for days in (5, 4, 3, 2, 1)]
    size = place.plan(Rules(last=9)).rows[0].bytes
    place.run(place.plan(Rules(last=3)), trash_days=7)
    assert place.repository.trashed() == names[:2]

    def freeing(wanted: int) -> prune.PrunePlan:
        return prune.plan(place.repository, Rules(last=3), NOW, wanted_bytes=wanted)

    trashed = place.repository.trashed_bytes()
    assert trashed >= 2 * size
    assert freeing(trashed).removed == ()
    assert [row.set for row in freeing(trashed + 1).removed] == [str(names[2])]
    with pytest.raises(RefusedError):
        freeing(trashed + 2 * size + 1).require_enough()
    place.run(freeing(1))
    assert place.repository.trashed() == []
    assert place.names == names[2:]


@pytest.mark.parametrize(("level", "reason"), [("drill", "its drill failed"), ("verify", "verify found damage")])
def test_a_set_that_does_not_restore_or_is_damaged_pushes_no_other_out(place: Place, level: str, reason: str) -> None:
    restorable, broken = place.add(2), place.add(1)
    place.repository.mark(broken, Mark("proof", NOW, "host", {"level": level, "passed": False}))
    plan = place.plan(Rules(last=1))
    assert [row.keep for row in plan.rows] == [True, True]
    assert plan.rows[1].reasons == (f"{reason}, but nothing newer is complete",)
    with pytest.raises(RefusedError):
        prune.plan(place.repository, Rules(last=5), NOW, wanted_bytes=1).require_enough()
    newest = place.add(0)
    assert [row.set for row in place.plan(Rules(last=1)).removed] == [str(restorable), str(broken)]
    assert place.names[-1] == newest


def test_the_newest_good_copy_of_each_source_stays(place: Place) -> None:
    both = place.add(9, {"cache": "complete", "chat": "complete"})
    place.add(8, {"cache": "complete", "chat": "failed"})
    half = place.add(5, {"cache": "complete", "chat": "failed"})
    plan = place.plan(Rules(last=1))
    assert plan.removed == ()
    later = place.add(1, {"cache": "complete", "chat": "complete"})
    place.run(place.plan(Rules(last=1)))
    assert place.names == [later]
    assert both not in place.names
    assert half not in place.names


def test_runs_of_other_sources_are_counted_apart(place: Place) -> None:
    whole = [place.add(days, {"cache": "complete", "vectors": "complete"}) for days in (6, 4, 2)]
    alone = [place.add(days, {"vectors": "complete"}) for days in (5, 3, 1, 0.5)]
    place.run(place.plan(Rules(last=2)))
    assert set(place.names) == {*whole[-2:], *alone[-2:]}


def test_a_pinned_set_stays_until_its_pin_ends(place: Place) -> None:
    old, _new = place.add(3), place.add(1)
    marks.pin(place.repository, old, "audit", NOW + timedelta(days=1), NOW)
    assert reasons(place.plan(Rules(last=1)), old) == ("pinned",)
    place.clock.moment += timedelta(days=2)
    assert [row.set for row in place.plan(Rules(last=1)).removed] == [str(old)]


def test_an_unpinned_set_goes(place: Place) -> None:
    old, _new = place.add(3), place.add(1)
    marks.pin(place.repository, old, "", None, NOW)
    marks.unpin(place.repository, old, NOW + timedelta(seconds=1))
    assert [row.set for row in place.plan(Rules(last=1)).removed] == [str(old)]


def test_a_set_that_was_pinned_after_the_plan_stays(place: Place) -> None:
    old, middle, new = (place.add(days) for days in (3, 2, 1))
    plan = place.plan(Rules(last=1))
    marks.pin(place.repository, old, "needed", None, NOW)
    report = place.run(plan)
    assert report.removed == (str(middle),)
    assert place.names == [old, new]
    (spared,) = (news for news in place.heard if isinstance(news, Event) and news.name == "prune_spared")
    assert spared.set == str(old)
    assert spared.message == f"{old} stays after all: pinned"


def test_nothing_is_lost_when_the_newest_set_vanished_after_the_plan(place: Place) -> None:
    old, new = place.add(3), place.add(1)
    plan = place.plan(Rules(last=1))
    place.repository.delete([new])
    assert place.run(plan).removed == ()
    assert place.names == [old]


def test_a_set_that_was_not_in_the_plan_is_not_removed(place: Place) -> None:
    old, new = place.add(3), place.add(1)
    plan = place.plan(Rules(last=1))
    older = place.add(9)
    place.run(plan)
    assert place.names == [older, new]
    assert old not in place.names


def test_a_set_from_the_future_stops_all_and_is_named(place: Place) -> None:
    for days in (3, 2, 1):
        place.add(days)
    future = place.add(-0.5)
    plan = place.plan(Rules(last=1))
    assert plan.removed == ()
    assert any(str(future) in note and "clock went back" in note for note in plan.notes)
    assert plan.rows[-1].age_seconds < 0
    assert place.run(plan).removed == ()
    assert len(place.names) == 4


def test_a_clock_that_went_back_after_the_plan_stops_all(place: Place) -> None:
    for days in (3, 2, 1):
        place.add(days)
    plan = place.plan(Rules(last=1))
    place.clock.moment -= timedelta(days=2, hours=1)
    assert place.run(plan).removed == ()
    assert len(place.names) == 3


def test_a_set_with_a_damaged_manifest_is_listed_and_never_removed(place: Place) -> None:
    old, broken, new = (place.add(days) for days in (3, 2, 1))
    path = place.folder / str(broken) / "manifest.json"
    path.write_bytes(path.read_bytes()[:-40])
    plan = place.plan(Rules(last=1))
    assert [(row.outcome, row.keep) for row in plan.rows] == [
        ("complete", False),
        ("damaged", True),
        ("complete", True),
    ]
    assert reasons(plan, broken)[0].startswith("its manifest cannot be read: ")
    assert any(str(broken) in note for note in plan.notes)
    place.run(plan)
    assert place.names == [broken, new]
    assert old not in place.names


def test_a_manifest_that_says_another_time_than_its_name_does_not_mislead(place: Place) -> None:
    _old, new = place.add(3), place.add(1)
    path = place.folder / str(new) / "manifest.json"
    document = json.loads(path.read_text())
    document["started"] = "1999-01-01T00:00:00Z"
    path.write_text(json.dumps(document))
    assert [row.keep for row in place.plan(Rules(last=1)).rows] == [False, True]


def test_a_filter_leaves_the_other_sets_alone(place: Place) -> None:
    nightly = [place.add(days, tags={"kind": "nightly"}) for days in (5, 3, 1)]
    others = [place.add(days) for days in (6, 4, 2)]
    plan = place.plan(Rules(last=1), Filter(tags={"kind": "nightly"}))
    assert reasons(plan, others[0]) == ("outside the filter",)
    place.run(plan)
    assert set(place.names) == {nightly[-1], *others}


def test_removed_sets_stay_in_the_trash_as_long_as_asked(place: Place) -> None:
    old, new = place.add(3), place.add(1)
    place.run(place.plan(Rules(last=1)), trash_days=2)
    assert list(place.repository.trashed()) == [old]
    assert isinstance(place.heard[-1], Event)
    assert "in the trash for 2 days" in place.heard[-1].message
    place.repository.undelete(old)
    assert place.names == [old, new]


def test_an_interrupted_removal_is_finished_by_the_next_prune(place: Place) -> None:
    old, _new = place.add(3), place.add(1)
    (place.folder / ".trash").mkdir(exist_ok=True)
    place.repository.delete([old], keep_days=1)
    assert list(place.repository.trashed()) == [old]
    place.run(place.plan(Rules(last=1)), trash_days=0)
    assert list(place.repository.trashed()) == []


def test_what_nothing_should_remove_is_named_with_its_reasons(place: Place) -> None:
    first = place.add(9, {"cache": "complete", "chat": "complete"})
    pinned = place.add(8)
    marks.pin(place.repository, pinned, "", None, NOW)
    second = place.add(7)
    broken = place.add(6)
    (place.folder / str(broken) / "manifest.json").write_text("{}")
    assert prune.protected(listing(place.repository, NOW)) == {
        str(first): "newest complete, newest copy of chat",
        str(pinned): "pinned",
        str(second): "newest complete, newest copy of cache",
    }


def test_rules_by_time_reach_a_real_repository(place: Place) -> None:
    sets = [place.add(days) for days in (40, 20, 10, 5, 1)]
    place.run(place.plan(Rules(within=Duration(days=9), monthly=1, time_zone="Europe/Berlin")))
    assert place.names == sets[3:]


def test_nobody_needs_to_listen(place: Place) -> None:
    place.add(1)
    report = prune.run(place.plan(Rules(last=1)), place.repository, 0, ignore, place.clock)
    assert len(report.kept) == 1
