"""Who may write which set, where a set is written under its final name."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from recoup.errors import NoSuchSetError, StorageError
from recoup.model.names import SetName
from recoup.model.part import StreamPart
from recoup.repository._base import Subset
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import NOW, Given, manifest_of, record_of, store
from unit.repository.objects.places import Fleet, add

FIRST = SetName.at(NOW)


@contextmanager
def begun(fleet: Fleet) -> Iterator[None]:
    """A set of which a part is stored."""
    with fleet.opened().begin(NOW) as writer:
        store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        yield


def test_a_set_being_written_is_neither_listed_nor_read(fleet: Fleet) -> None:
    repository = fleet.made()
    with begun(fleet):
        assert repository.names() == []
        with pytest.raises(NoSuchSetError):
            repository.manifest(FIRST)
        assert fleet.bucket.below("backup_") == (f"{FIRST}/db/main.db",)


@pytest.mark.parametrize("conditional", [True, False])
def test_two_hosts_in_one_second_write_two_sets(fleet: Fleet, conditional: bool) -> None:
    fleet.bucket.properties = replace(fleet.bucket.properties, put_if_absent=conditional)
    fleet.made()
    names: list[SetName] = []
    started = threading.Barrier(4)

    def back_up() -> None:
        repository = fleet.opened(clock=SystemClock())
        started.wait()
        names.append(add(repository))

    hosts = [threading.Thread(target=back_up) for _ in range(4)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join()
    repository = fleet.opened()
    assert repository.names() == sorted(names)
    assert len(set(names)) == 4
    assert all(list(repository.verify(name, Subset())) == [] for name in names)
    assert fleet.bucket.below(".partial") == fleet.bucket.below(".locks") == ()


def test_what_a_dead_process_of_this_host_left_goes_at_the_next_backup(fleet: Fleet) -> None:
    repository = fleet.made()
    with begun(fleet):
        fleet.change_claim(FIRST, pid=2**22 + 1, born="")
        name = add(repository, NOW + timedelta(hours=1))
    assert repository.names() == [name]
    assert fleet.bucket.below(str(FIRST)) == fleet.bucket.below(".partial") == ()


def test_a_writer_of_another_host_is_left_alone_until_it_was_silent_for_a_day(fleet: Fleet) -> None:
    repository = fleet.made()
    with begun(fleet):
        fleet.change_claim(FIRST, host="elsewhere", pid=2**22 + 1)
        fleet.clock.moment = NOW + timedelta(hours=23)
        repository.delete([])
        assert fleet.bucket.below(str(FIRST)) != ()
        fleet.clock.moment = NOW + timedelta(hours=25)
        repository.delete([])
        assert fleet.bucket.below(str(FIRST)) == fleet.bucket.below(".partial") == ()


def test_a_machine_of_the_same_name_with_another_boot_may_live(fleet: Fleet) -> None:
    repository = fleet.made()
    with begun(fleet):
        fleet.change_claim(FIRST, boot="another", pid=2**22 + 1)
        repository.delete([])
        assert fleet.bucket.below(str(FIRST)) != ()
        fleet.clock.moment = NOW + timedelta(minutes=20)
        repository.delete([])
        assert fleet.bucket.below(str(FIRST)) == ()


def test_a_claim_that_cannot_be_read_holds_its_name_for_a_day(fleet: Fleet) -> None:
    repository = fleet.made()
    fleet.bucket.put(f".partial/{FIRST}.json", b"{")
    fleet.bucket.put(f"{FIRST}/db/main.db", b"half")
    assert repository.names() == []
    assert add(repository) == FIRST.next()
    assert repository.names() == [FIRST.next()]
    fleet.clock.moment = NOW + timedelta(hours=25)
    repository.delete([])
    assert fleet.bucket.below(f"{FIRST}/") == fleet.bucket.below(".partial") == ()


def commit(writer: Any, part: Any) -> None:
    writer.commit(manifest_of(writer.name, {"db": record_of(part)}))


@pytest.mark.parametrize(
    "while_asleep",
    [
        lambda fleet: fleet.opened().delete([]),
        lambda fleet: fleet.change_claim(FIRST, removing=True),
        lambda fleet: fleet.bucket.delete(f".partial/{FIRST}.json"),
        lambda fleet: fleet.change_claim(FIRST, token="another's"),
        lambda _fleet: None,
    ],
)
def test_a_writer_that_slept_for_days_completes_nothing(fleet: Fleet, while_asleep: Callable[[Fleet], object]) -> None:
    fleet.made()
    with pytest.raises(StorageError, match="claim"), fleet.opened().begin(NOW) as writer:
        part = store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        fleet.clock.moment = NOW + timedelta(days=3)
        while_asleep(fleet)
        commit(writer, part)
    assert fleet.opened().names() == []
    assert f"{FIRST}/manifest.json" not in fleet.bucket.below()


def test_a_claim_that_goes_while_the_manifest_is_put_takes_the_manifest_back(fleet: Fleet) -> None:
    """The clean-up marks the claim, looks for the manifest and finds none; then the manifest arrives."""
    fleet.made()

    def arrives_late(operation: str, key: str) -> bool:
        if operation == "put" and key == f"{FIRST}/manifest.json":
            fleet.change_claim(FIRST, removing=True)
        return False

    fleet.bucket.refused = arrives_late
    with pytest.raises(StorageError, match="claim"), fleet.opened().begin(NOW) as writer:
        commit(writer, store(writer, "db", StreamPart("main.db", Given(b"database"), 8)))
    assert fleet.bucket.below(str(FIRST)) == fleet.bucket.below(".partial") == ()


def test_a_set_that_was_completed_by_a_writer_who_kept_its_claim_stays(fleet: Fleet) -> None:
    repository = fleet.made()
    fleet.bucket.refused = lambda operation, key: operation == "delete" and key.startswith(".partial")
    name = add(repository)
    assert fleet.bucket.below(".partial") != ()
    fleet.bucket.refused = lambda _operation, _key: False
    assert repository.names() == [name]
    fleet.clock.moment = NOW + timedelta(days=2)
    repository.delete([])
    assert repository.names() == [name]
    assert fleet.bucket.below(".partial") == ()
    assert list(repository.verify(name, Subset())) == []


def test_an_answer_that_is_lost_after_an_object_was_stored_is_no_failure(fleet: Fleet) -> None:
    repository = fleet.made()
    fleet.bucket.lost_answers = {f".partial/{FIRST}.json", f"{FIRST}/manifest.json"}
    assert add(repository) == FIRST
    assert fleet.bucket.lost_answers == set()
    assert repository.names() == [FIRST]
    assert list(repository.verify(FIRST, Subset())) == []


def test_who_may_not_delete_can_still_back_up(fleet: Fleet) -> None:
    repository = fleet.made()
    with begun(fleet):
        fleet.change_claim(FIRST, pid=2**22 + 1, born="")
        fleet.bucket.refused = lambda operation, key: (
            operation == "delete" and not key.startswith((".locks", ".partial"))
        )
        name = add(repository, NOW + timedelta(hours=1))
        assert repository.names() == [name]
        with pytest.raises(StorageError, match="right to delete"):
            repository.delete([])


def test_without_the_right_to_delete_a_source_that_fails_at_once_does_not_stop_the_others(fleet: Fleet) -> None:
    own = (".locks", ".partial", ".catalog")
    fleet.made()
    fleet.bucket.refused = lambda operation, key: operation == "delete" and not key.startswith(own)
    with fleet.opened().begin(NOW) as writer:
        torn = writer.stream("chat", "main.db", None)
        torn.write(b"half")
        torn.abort()
        writer.discard("chat")
        commit(writer, store(writer, "db", StreamPart("main.db", Given(b"database"), 8)))
    assert fleet.opened().names() == [FIRST]
    assert list(fleet.opened().verify(FIRST, Subset())) == []


def test_without_rights_to_clean_up_a_failed_backup_stays_behind_its_claim(fleet: Fleet) -> None:
    repository = fleet.made()
    fleet.bucket.refused = lambda operation, key: (
        (operation == "delete" and not key.startswith(".locks")) or (operation == "put" and key.startswith(".trash"))
    )
    with pytest.raises(ZeroDivisionError), begun(fleet):
        raise ZeroDivisionError
    assert repository.names() == []
    assert fleet.bucket.below(".partial") != ()
    fleet.bucket.refused = lambda _operation, _key: False
    fleet.clock.moment = NOW + timedelta(days=2)
    repository.delete([])
    assert fleet.bucket.below() == ("recoup-repository.json",)


def test_a_failed_backup_leaves_its_claim_where_it_could_not_clean_up(fleet: Fleet) -> None:
    repository = fleet.made()
    with pytest.raises(ZeroDivisionError), repository.begin(NOW) as writer:
        store(writer, "db", StreamPart("main.db", Given(b"database"), 8))
        fleet.bucket.refused = lambda _operation, key: key != ""
        raise ZeroDivisionError
    fleet.bucket.refused = lambda _operation, _key: False
    assert repository.names() == []
    fleet.clock.moment = NOW + timedelta(days=2)
    repository.delete([])
    assert fleet.bucket.below() == ("recoup-repository.json",)


@pytest.mark.parametrize("late", ["manifest.json", "db/main.db"])
def test_what_arrives_after_an_interruption_is_not_listed_and_goes_later(fleet: Fleet, late: str) -> None:
    """Ctrl-C, while a request is on its way."""
    repository = fleet.made()

    def interrupted(operation: str, key: str) -> bool:
        if operation == "put" and key.endswith("/manifest.json"):
            raise KeyboardInterrupt
        return False

    fleet.bucket.refused = interrupted
    with pytest.raises(KeyboardInterrupt), repository.begin(NOW) as writer:
        commit(writer, store(writer, "db", StreamPart("main.db", Given(b"database"), 8)))
    fleet.bucket.refused = lambda _operation, _key: False
    fleet.bucket.put(f"{FIRST}/{late}", b"late")
    assert repository.names() == repository.trashed() == []
    with pytest.raises(NoSuchSetError):
        repository.undelete(FIRST)
    assert add(repository) == FIRST.next()
    repository.delete([], keep_days=365)
    assert fleet.bucket.below(f"{FIRST}/") == fleet.bucket.below(".trash") == fleet.bucket.below(".partial") == ()
    assert repository.names() == [FIRST.next()]
