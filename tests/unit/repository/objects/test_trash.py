"""Deleting where nothing can be renamed: markers, what the storage keeps by force, and what a killed removal left."""

from datetime import UTC, datetime, timedelta

import pytest

from recoup.errors import NoSuchSetError, RefusedError, StorageError
from recoup.model.events import Event
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.operations import prune
from recoup.repository._base import Subset
from recoup.retention import Rules
from recoup.testing.repository_contract import NOW, Given, store
from unit.repository.objects.places import Fleet, add

FIRST, SECOND = SetName.at(NOW), SetName.at(NOW + timedelta(hours=1))


@pytest.fixture
def two(fleet: Fleet) -> Fleet:
    repository = fleet.made()
    add(repository)
    add(repository, NOW + timedelta(hours=1))
    return fleet


def test_a_set_in_the_trash_is_hidden_and_comes_back_whole(two: Fleet) -> None:
    repository = two.opened()
    repository.delete([FIRST], keep_days=7)
    assert repository.names() == [SECOND]
    assert repository.trashed() == [FIRST]
    with pytest.raises(NoSuchSetError):
        repository.manifest(FIRST)
    with pytest.raises(NoSuchSetError):
        repository.delete([FIRST], keep_days=7)
    repository.undelete(FIRST)
    assert repository.names() == [FIRST, SECOND]
    assert list(repository.verify(FIRST, Subset())) == []


def test_the_name_of_a_set_in_the_trash_is_not_given_again(two: Fleet) -> None:
    repository = two.opened()
    repository.delete([FIRST], keep_days=7)
    assert add(repository) == FIRST.next()
    repository.undelete(FIRST)
    assert repository.names() == [FIRST, FIRST.next(), SECOND]


def test_a_removal_that_was_refused_half_way_is_finished_later_and_the_set_never_comes_back(two: Fleet) -> None:
    repository = two.opened()
    repository.mark(FIRST, Mark("note", NOW, "", {"text": "old"}))
    two.bucket.refused = lambda operation, key: operation == "delete" and key == str(FIRST)
    with pytest.raises(StorageError):
        repository.delete([FIRST])
    assert repository.names() == [SECOND]
    assert repository.trashed() == []
    with pytest.raises(NoSuchSetError):
        repository.undelete(FIRST)
    assert two.bucket.below(str(FIRST)) != ()
    two.bucket.refused = lambda _operation, _key: False
    repository.delete([], keep_days=365)
    assert two.bucket.below(str(FIRST)) == two.bucket.below(".trash") == two.bucket.below("marks") == ()


def test_a_removal_takes_the_manifest_first_and_the_marker_last(two: Fleet) -> None:
    seen: list[str] = []

    def watch(operation: str, key: str) -> bool:
        seen.extend([key] if operation == "delete" else [])
        return False

    two.bucket.refused = watch
    two.opened().delete([FIRST])
    of_set = [key for key in seen if str(FIRST) in key]
    assert of_set[0] == f"{FIRST}/manifest.json"
    assert of_set[-1].startswith(f".trash/{FIRST}@")


def test_a_set_that_the_storage_keeps_by_force_is_not_deleted_and_says_until_when(two: Fleet) -> None:
    repository = two.opened()
    two.bucket.held[f"{FIRST}/manifest.json"] = datetime(2026, 12, 24, 18, 0, tzinfo=UTC)
    for days in (0.0, 7.0):
        with pytest.raises(RefusedError, match="locked by the storage until 2026-12-24 18:00:00") as caught:
            repository.delete([SECOND, FIRST], keep_days=days)
        assert caught.value.hint
    assert repository.names() == [FIRST, SECOND]
    two.bucket.held[f"{FIRST}/manifest.json"] = datetime.max.replace(tzinfo=UTC)
    with pytest.raises(RefusedError, match="legal hold"):
        repository.delete([FIRST])
    two.bucket.held[f"{FIRST}/manifest.json"] = NOW - timedelta(seconds=1)
    repository.delete([FIRST])
    assert repository.names() == [SECOND]


def test_a_lock_that_came_later_keeps_a_set_in_the_trash(two: Fleet) -> None:
    repository = two.opened()
    repository.delete([FIRST], keep_days=7)
    two.bucket.held[f"{FIRST}/manifest.json"] = NOW + timedelta(days=30)
    two.clock.moment = NOW + timedelta(days=8)
    repository.delete([], keep_days=7)
    assert repository.trashed() == [FIRST]
    two.clock.moment = NOW + timedelta(days=31)
    repository.delete([], keep_days=7)
    assert repository.trashed() == []
    assert two.bucket.below(str(FIRST)) == ()


@pytest.mark.requirement("CO-3")
def test_prune_goes_on_without_the_sets_that_the_storage_keeps_and_names_them(two: Fleet) -> None:
    repository = two.opened()
    for hours in (2, 3):
        add(repository, NOW + timedelta(hours=hours))
    two.bucket.held[f"{SECOND}/manifest.json"] = datetime(2026, 12, 24, tzinfo=UTC)
    two.clock.moment = NOW + timedelta(days=1)
    heard: list[Event] = []
    planned = prune.plan(repository, Rules(last=1), two.clock.now())
    assert [row.set for row in planned.locked] == [str(SECOND)]
    assert planned.locked[0].keep
    assert planned.locked[0].reasons == ("locked by the storage until 2026-12-24 00:00:00+00:00",)
    report = prune.run(planned, repository, 0, heard.append, two.clock)  # type: ignore[arg-type]
    assert report.removed == (str(FIRST), str(SetName.at(NOW + timedelta(hours=2))))
    assert repository.names() == [SECOND, SetName.at(NOW + timedelta(hours=3))]
    [told] = [event for event in heard if event.name == "prune_locked"]
    assert str(SECOND) in told.message
    assert "2026-12-24" in told.message
    assert two.bucket.requests["tidy"] > 0


def test_prune_does_not_trust_a_copy_of_a_manifest_that_is_lost(fleet: Fleet) -> None:
    """The newest set's manifest is gone from the bucket, and the catalogue still has it: what it would replace stays."""
    repository = fleet.made()
    names = [add(repository, NOW + timedelta(hours=hours)) for hours in range(5)]
    newest = names[3]
    repository.delete([names[4]])
    fleet.bucket.delete(f"{newest}/manifest.json")
    assert fleet.bucket.below(".catalog") != ()
    fleet.clock.moment = NOW + timedelta(days=1)
    planned = prune.plan(repository, Rules(last=1), fleet.clock.now())
    assert [row.set for row in planned.removed] == [str(name) for name in names[:3]]
    report = prune.run(planned, repository, 0, lambda _news: None, fleet.clock)
    assert report.removed == (str(names[0]), str(names[1]))
    assert repository.names() == [names[2], newest]


def test_folders_that_a_store_lists_after_their_objects_are_gone_are_no_sets(two: Fleet) -> None:
    two.bucket.empty_folders = set()
    repository = two.opened()
    repository.delete([FIRST])
    with pytest.raises(ZeroDivisionError), repository.begin(NOW + timedelta(hours=2)) as writer:
        store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        assert repository.names() == [SECOND]
        raise ZeroDivisionError
    assert repository.names() == [SECOND]
    assert repository.trashed() == []
    with pytest.raises(NoSuchSetError):
        repository.undelete(FIRST)
    assert len(two.bucket.below(".trash")) == 2
    repository.delete([])
    assert len(two.bucket.below(".trash")) == 2
    two.bucket.empty_folders = None
    repository.delete([])
    assert two.bucket.below(".trash") == ()
    assert repository.names() == [SECOND]
