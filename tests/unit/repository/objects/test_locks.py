"""Locks on a storage that machines share."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recoup.errors import LockedError
from recoup.repository import locking
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.testing.repository_contract import NOW
from unit.repository.objects.places import Fleet, SetClock


def leave_lock(repository: PlainRepository, change: Callable[[dict[str, object]], None]) -> None:
    """A lock as another process would have left it."""
    storage = repository._storage
    with repository.lock("exclusive", "prune", "stack"):
        [lock] = storage.list(".locks")
        record = json.loads(storage.get(lock.key))
    change(record)
    storage.put(lock.key, json.dumps(record).encode())


def other_boot(record: dict[str, object]) -> None:
    record.update(boot="another", pid=2**22 + 1)


@pytest.mark.requirement("CI-12")
def test_a_machine_of_the_same_name_is_waited_for_until_it_was_silent_for_a_quarter_of_an_hour(fleet: Fleet) -> None:
    repository = fleet.made()
    leave_lock(repository, other_boot)
    with pytest.raises(LockedError), repository.lock("backup", "backup", "stack"):
        pass
    fleet.clock.moment = NOW + timedelta(minutes=16)
    with repository.lock("backup", "backup", "stack"):
        pass
    assert repository.locks() == []


def test_in_a_folder_of_this_machine_another_boot_is_over_at_once(tmp_path: Path) -> None:
    repository = open_repository("r", LocalStorage(tmp_path), "tar", "none", None, SetClock())
    repository.create()
    leave_lock(repository, other_boot)
    with repository.lock("backup", "backup", "stack"):
        pass


def test_who_claims_a_name_is_in_the_way_of_others_who_do_and_of_nobody_else(fleet: Fleet) -> None:
    repository = fleet.made()
    with (
        repository.lock("backup", "backup", "stack"),
        repository.lock("claim", "claim", ""),
        repository.lock("shared", "restore", "stack"),
    ):
        with pytest.raises(LockedError), repository.lock("claim", "claim", ""):
            pass
        with pytest.raises(LockedError, match=r"`(backup|restore)`"), repository.lock("exclusive", "prune", "stack"):
            pass
    with repository.lock("exclusive", "prune", "stack"), repository.lock("claim", "claim", ""):
        pass


def test_a_lock_outlives_a_storage_that_cannot_be_reached_for_a_while(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_REFRESH", 0.005)
    repository = fleet.made()
    with repository.lock("backup", "backup", "stack"):
        fleet.bucket.refused = lambda operation, key: operation == "put" and key.startswith(".locks")
        before = fleet.bucket.requests["put"]
        while fleet.bucket.requests["put"] < before + 3:
            time.sleep(0.001)
        fleet.bucket.refused = lambda _operation, _key: False
        fleet.clock.moment = NOW + timedelta(minutes=5)
        while repository.locks()[0].refreshed == NOW:
            time.sleep(0.001)
    assert repository.locks() == []


def test_what_is_done_stays_done_when_the_lock_cannot_be_removed(fleet: Fleet) -> None:
    repository = fleet.made()
    with repository.lock("backup", "backup", "stack"):
        fleet.bucket.refused = lambda operation, key: operation == "delete" and key.startswith(".locks")
    fleet.bucket.refused = lambda _operation, _key: False
    assert len(repository.locks()) == 1
