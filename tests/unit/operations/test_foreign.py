"""Judging what other tools put into a keyed repository."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from recoup.model.manifest import Outcome
from recoup.model.part import StreamPart
from recoup.model.reports import SetInfo
from recoup.operations import foreign, prune
from recoup.operations.selection import Filter, listing
from recoup.repository.keyed.repository import KeyedRepository
from recoup.repository.keyed.template import parse
from recoup.repository.opening import Shape, open_repository
from recoup.retention import NO_RULES, Rules
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import Given, manifest_of, record_of, store

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TEMPLATE = parse("{collection}/{date}.snapshot", {})


class Place:
    """A repository on a storage like an object store."""

    def __init__(self, *, adopts: bool = True) -> None:
        self.storage = MemoryStorage(moves=False)
        shape = Shape(TEMPLATE, adopts)
        opened = open_repository("r", self.storage, "tree", "none", None, SystemClock(), shape=shape)
        assert isinstance(opened, KeyedRepository)
        opened.create()
        self.repository = opened

    def put(self, part: str, days: float, suffix: str = "") -> None:
        self.storage.put(f"{part}/{NOW - timedelta(days=days):%Y-%m-%dT%H-%M-%S}.snapshot{suffix}", b"1")

    def add(self, part: str, days: float, outcome: Outcome = "complete") -> None:
        moment = NOW - timedelta(days=days)
        with self.repository.begin(moment) as writer:
            name = f"{part}/{part}-2026-11-21-02-00-00.snapshot"
            record = record_of(store(writer, "vectors", StreamPart(name, Given(b"1"), 1)))
            manifest = manifest_of(writer.name, {"vectors": record}, moment)
            writer.commit(replace(manifest, outcome=outcome))

    @property
    def infos(self) -> list[SetInfo]:
        return listing(self.repository, NOW)

    def kept(self, rules: Rules) -> dict[str, list[int]]:
        """Days of age of what stays of each part."""
        found: dict[str, list[int]] = {}
        for one in foreign.judged(self.repository, self.infos, rules, NOW):
            if one.keep:
                found.setdefault(one.artefact.part, []).append((NOW - one.artefact.time).days)
        return found


def test_each_part_is_judged_alone_and_its_newest_stays() -> None:
    place = Place()
    for days in (1, 2, 3):
        place.put("docs", days)
    place.put("notes", 300)
    assert place.kept(Rules(last=1)) == {"docs": [1], "notes": [300]}
    assert place.kept(Rules(last=2)) == {"docs": [2, 1], "notes": [300]}


def test_good_sets_that_hold_the_part_are_counted_and_others_are_not() -> None:
    place = Place()
    place.put("docs", 3)
    place.put("notes", 3)
    place.add("docs", 1)
    place.add("notes", 1, "incomplete")
    assert place.kept(Rules(last=1)) == {"notes": [3]}


def test_two_files_of_one_second_are_both_judged() -> None:
    place = Place()
    for suffix in ("", ".zst"):
        place.put("docs", 3, suffix)
    place.add("docs", 1)
    assert len(list(foreign.judged(place.repository, place.infos, Rules(last=1), NOW))) == 2
    assert place.kept(Rules(last=1)) == {}


def test_without_rules_or_with_a_wrong_clock_nothing_goes() -> None:
    place = Place()
    for days in (3, 1):
        place.put("docs", days)
    reasons = {reason for one in foreign.judged(place.repository, [], Rules(), NOW) for reason in one.reasons}
    assert reasons == {NO_RULES}
    place.put("docs", -1)
    assert len(place.kept(Rules(last=1))["docs"]) == 3


def test_where_they_are_not_adopted_nothing_is_judged() -> None:
    place = Place(adopts=False)
    place.put("docs", 3)
    assert list(foreign.judged(place.repository, [], Rules(last=1), NOW)) == []
    assert len(foreign.listing(place.repository)) == 1


@pytest.mark.parametrize("filtered", [False, True])
def test_a_filter_leaves_them_alone(filtered: bool) -> None:
    place = Place()
    for days in (3, 1):
        place.put("docs", days)
    filters = Filter(sources=("vectors",)) if filtered else Filter()
    rows = prune.plan(place.repository, Rules(last=1), NOW, filters).rows
    assert [row.keep for row in rows] == ([] if filtered else [False, True])
