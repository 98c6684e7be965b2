"""Listing by few requests: copies of manifests and marks, which nothing depends on."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.errors import StorageError
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.operations.selection import listing
from recoup.repository._base import Subset
from recoup.repository.plain.repository import PlainRepository
from recoup.testing.repository_contract import NOW
from sealing_keys import sealing
from unit.repository.objects.places import Bucket, Fleet, add

AT_MOST = 20  # requests for a listing of a thousand sets


def filled(fleet: Fleet, count: int, repository: PlainRepository | None = None) -> list[SetName]:
    """So many sets, one an hour."""
    repository = repository or fleet.made()
    names = []
    for number in range(count):
        fleet.clock.moment = NOW + timedelta(hours=number)
        names.append(add(repository, fleet.clock.moment))
    return names


def asked(bucket: Bucket, function: Callable[[], object]) -> int:
    """Requests of a call."""
    bucket.requests.clear()
    function()
    return bucket.requests.total()


def read_all(repository: PlainRepository) -> None:
    """What a listing asks the storage for, without the decoding."""
    overview = repository.overview()
    for name in overview.names:
        if f"{name}/manifest.json" not in overview._copies:  # type: ignore[attr-defined]
            overview.manifest(name)
        overview.marks(name)


@pytest.mark.requirement("CO-9")
def test_a_listing_of_a_thousand_sets_with_marks_takes_at_most_twenty_requests(fleet: Fleet) -> None:
    names = filled(fleet, 1)
    [model] = names
    manifest = fleet.bucket._objects[f"{model}/manifest.json"]
    for number in range(1, 997):  # as others left them
        name = SetName.at(NOW + timedelta(hours=number))
        fleet.bucket._objects[f"{name}/manifest.json"] = manifest.replace(str(model).encode(), str(name).encode())
        names.append(name)
    repository = fleet.opened()
    for name in names[:900:3]:
        repository.mark(name, Mark("note", NOW, "", {"text": f"of {name}"}))
    for number in range(997, 1003):
        names.append(add(repository, NOW + timedelta(hours=number)))
        assert asked(fleet.bucket, lambda: read_all(repository)) <= AT_MOST
    found = listing(repository, fleet.clock.now())
    assert [info.name for info in found] == [str(name) for name in names]
    assert all(info.manifest and info.manifest.name == info.name for info in found)
    assert found[3].standing.notes == (f"of {names[3]}",)
    assert len(fleet.bucket.below(".catalog")) <= 3


def test_each_number_of_sets_is_listed_whole_and_soon_by_few_requests(fleet: Fleet) -> None:
    repository = fleet.made()
    for number in range(40):
        add(repository, NOW + timedelta(hours=number))
        assert len(listing(repository, NOW)) == number + 1
        assert asked(fleet.bucket, lambda: listing(repository, NOW)) <= 12
    assert len(fleet.bucket.below(".catalog")) <= 3


@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "empty", "other", "refused"])
def test_without_its_catalogue_a_repository_is_only_slower(fleet: Fleet, how: str) -> None:
    names = filled(fleet, 30)
    repository = fleet.opened()
    before = listing(repository, NOW)
    source = random.Random(5)
    for key in fleet.bucket.below(".catalog"):
        data = bytearray(fleet.bucket._objects[key])
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        changed = {"gone": None, "cut": data[:-5], "empty": b"", "other": b"{}"}.get(how, data)
        fleet.bucket.delete(key)
        if changed is not None:
            fleet.bucket._objects[key] = bytes(changed)
    fleet.bucket.refused = lambda operation, key: how == "refused" and operation == "get" and key.startswith(".catalog")
    assert listing(repository, NOW) == before
    fleet.bucket.refused = lambda _operation, _key: False
    assert [info.name for info in before] == [str(name) for name in names]
    repository.delete(names[:1])
    for number in range(30, 40):
        add(repository, NOW + timedelta(hours=number))
    assert len(listing(repository, NOW)) == 39
    assert asked(fleet.bucket, lambda: listing(repository, NOW)) <= 12


def test_sets_in_the_trash_and_sets_that_others_removed_do_not_slow_a_listing(fleet: Fleet) -> None:
    names = filled(fleet, 24)
    repository = fleet.opened()
    repository.delete(names[:8], keep_days=365)
    for name in names[8:14]:
        fleet.bucket.delete_all(str(name))
    for number in range(24, 48):
        add(repository, NOW + timedelta(hours=number))
        assert len(listing(repository, NOW)) == number - 13
        assert asked(fleet.bucket, lambda: listing(repository, NOW)) <= 12
    repository.undelete(names[3])
    assert asked(fleet.bucket, lambda: listing(repository, NOW)) <= 12
    assert listing(repository, NOW)[0].name == str(names[3])
    assert not [key for key in repository.overview()._copies if str(names[9]) in key]  # type: ignore[attr-defined]


def test_an_archive_that_vanishes_between_the_listing_and_the_reading_costs_only_time(fleet: Fleet) -> None:
    filled(fleet, 12)
    repository = fleet.opened()

    def vanish(operation: str, key: str) -> bool:
        if operation == "get" and key.startswith(".catalog"):
            raise FileNotFoundError(key)
        return False

    fleet.bucket.refused = vanish
    assert len(listing(repository, NOW)) == 12


def test_a_set_that_goes_between_the_listing_and_the_reading_is_not_listed(fleet: Fleet) -> None:
    names = filled(fleet, 3)
    repository = fleet.opened()

    def goes(operation: str, key: str) -> bool:
        if operation == "get" and key == f"{names[1]}/manifest.json":
            for left in fleet.bucket.below(str(names[1])):
                fleet.bucket._objects.pop(left)
        return False

    fleet.bucket.refused = goes
    assert [info.name for info in listing(repository, NOW)] == [str(names[0]), str(names[2])]


def test_a_set_that_is_gone_is_not_in_the_catalogue_and_its_name_may_come_again(fleet: Fleet) -> None:
    names = filled(fleet, 12)
    repository = fleet.opened()
    repository.delete(names[2:5])
    again = add(repository, NOW + timedelta(hours=3))
    assert again == names[3]
    ids = {info.name: info.manifest.finished for info in listing(repository, NOW) if info.manifest}
    assert ids[str(again)] == repository.manifest(again).finished
    assert list(ids) == [str(name) for name in names if name not in (names[2], names[4])]


def test_copies_are_dropped_before_the_set_is(fleet: Fleet) -> None:
    """A removal that is stopped right then leaves a set that is removed later, and no copy of it."""
    names = filled(fleet, 8)
    repository = fleet.opened()
    fleet.bucket.refused = lambda operation, key: operation == "delete" and key == f"{names[0]}/manifest.json"
    with pytest.raises(StorageError):
        repository.delete([names[0]])
    overview = repository.overview()
    assert f"{names[0]}/manifest.json" not in overview._copies  # type: ignore[attr-defined]
    assert [info.name for info in listing(repository, NOW)] == [str(name) for name in names[1:]]


def test_a_lost_manifest_is_said_although_there_is_no_copy_of_it(fleet: Fleet) -> None:
    names = filled(fleet, 2)
    repository = fleet.opened()
    fleet.bucket.delete(f"{names[0]}/manifest.json")
    [lost, sound] = listing(repository, NOW)
    assert "lost its manifest" in lost.problem
    assert sound.manifest


def test_verify_and_restore_never_read_a_copy(fleet: Fleet) -> None:
    names = filled(fleet, 5)
    repository = fleet.opened()
    fleet.bucket._objects[f"{names[0]}/manifest.json"] = b"{}"
    assert [found.kind for found in repository.verify(names[0], Subset())] == ["manifest"]
    with pytest.raises(Exception, match="not a manifest"):
        repository.manifest(names[0])


def test_encrypted_manifests_are_copied_as_they_are_stored(fleet: Fleet, tmp_path: Path) -> None:
    how = sealing("age", tmp_path / "keys")
    repository = fleet.opened(how, seal_manifest=True)
    repository.create()
    filled(fleet, 9, repository)
    held = b"".join(fleet.bucket._objects[key] for key in fleet.bucket.below(".catalog"))
    assert held
    fresh = fleet.opened(how, seal_manifest=True)
    assert asked(fleet.bucket, lambda: listing(fresh, NOW)) <= 15
    copies = fresh.overview()._copies  # type: ignore[attr-defined]
    sealed = [key for key in copies if key.endswith("/manifest.json.age")]
    assert len(sealed) >= 4
    assert all(copies[key] == fleet.bucket._objects[key] for key in copies)
    assert all(info.manifest for info in listing(fresh, NOW))
    blind = listing(fleet.opened(), NOW)
    assert all(info.manifest is None and info.problem for info in blind)


def test_a_backup_whose_catalogue_cannot_be_written_is_stored_all_the_same(fleet: Fleet) -> None:
    repository = fleet.made()
    fleet.bucket.refused = lambda _operation, key: key.startswith(".catalog")
    names = filled(fleet, 6, repository)
    assert repository.names() == names


def test_fifty_thousand_objects_are_listed_page_by_page(fleet: Fleet) -> None:
    [name] = filled(fleet, 1)
    repository = fleet.opened()
    for number in range(50_000):
        fleet.bucket._objects[f"{name}/tree/{number:05}"] = b""
    assert asked(fleet.bucket, lambda: listing(repository, NOW)) <= AT_MOST
    assert sum(found.kind == "extra" for found in repository.verify(name, Subset())) == 50_000
    repository.delete([name])
    assert fleet.bucket.below("backup_") == ()
