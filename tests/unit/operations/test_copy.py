"""Sets of one repository in another: what arrives, what is skipped, what is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import ExitCode
from recoup.model.events import Event
from recoup.model.manifest import Compression, Manifest, Pack
from recoup.model.marks import Mark
from recoup.model.names import SetName
from recoup.model.part import StreamPart, TreePart
from recoup.model.reports import CopyReport
from recoup.operations import copy, selection
from recoup.repository._base import Repository, Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import (
    LARGE,
    NOW,
    Given,
    add_set,
    manifest_of,
    members,
    name_of,
    record_of,
    store,
    stream_bytes,
    tree_contents,
)
from sealing_keys import sealing as sealing_of
from unit.operations.test_fanout import FillingStorage, made

Place = Callable[..., PlainRepository]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    def make(name: str, *style: Any, **more: Any) -> PlainRepository:
        return made(name, LocalStorage(tmp_path / name), *style, **more)

    return make


def add(
    repository: Repository, identity: str, hours: int = 0, data: bytes = b"database", *, once: bool = False
) -> Manifest:
    """A set with an id of its own."""
    moment = NOW + timedelta(hours=hours)
    with repository.begin(moment) as writer:
        stream = store(writer, "db", StreamPart("main.db", Given(data), len(data)))
        tree = store(writer, "tree", TreePart(".", members()))
        records = {"db": replace(record_of(stream), settings={"store_once": once}), "tree": record_of(tree)}
        manifest = replace(manifest_of(writer.name, records, moment), id=identity * 32)
        writer.commit(manifest)
        return replace(manifest, name=str(writer.name))


def copied(origin: Repository, target: Repository, emit: Callable[[Any], None] = lambda _: None) -> CopyReport:
    clock = SystemClock()
    planned = copy.plan(selection.listing(origin, clock.now()), origin, target, 1.1, clock)
    return copy.run(planned, copy.Way(origin, target, clock, emit))


def contents(repository: Repository, name: SetName) -> tuple[bytes, Any]:
    manifest = repository.manifest(name)
    [stream], [tree] = (manifest.sources[source].parts for source in ("db", "tree"))
    return (
        stream_bytes(repository.fetch(name, "db", stream)),
        tree_contents(repository.fetch(name, "tree", tree)),
    )


STYLES: dict[str, tuple[Pack, Compression, bool]] = {
    "plain": ("tree", "none", False),
    "packed": ("tar.zst", "zstd", False),
    "sealed": ("tar", "gzip", True),
}


@pytest.mark.parametrize(
    ("here", "there"),
    [("plain", "plain"), ("plain", "packed"), ("packed", "plain"), ("plain", "sealed"), ("sealed", "packed")],
)
def test_a_set_arrives_whole_whatever_the_styles(place: Place, tmp_path: Path, here: str, there: str) -> None:
    def styled(name: str, style: str) -> PlainRepository:
        pack, compression, sealed = STYLES[style]
        return place(name, pack, compression, sealing=sealing_of("age", tmp_path / f"keys {name}") if sealed else None)

    origin, target = styled("origin", here), styled("target", there)
    manifest = add_set(origin, data=LARGE)
    report = copied(origin, target)
    assert report.exit_code == ExitCode.OK
    [name] = target.names()
    assert str(name) == manifest.name
    assert list(target.verify(name, Subset())) == []
    assert contents(target, name) == contents(origin, name)
    found, given = target.whole(target.manifest(name)), origin.whole(origin.manifest(name))
    assert found.sources["db"].facts == given.sources["db"].facts
    assert (found.id, found.tags, found.started, found.host) == (given.id, given.tags, given.started, given.host)
    assert found.sources["db"].parts[0].compression == STYLES[there][1]


def test_pins_proofs_and_notes_come_along_and_those_made_later_the_next_time(place: Place) -> None:
    origin, target = place("origin"), place("target")
    name = name_of(add_set(origin))
    origin.mark(name, Mark("pin", NOW, "host", {"reason": "audit"}))
    origin.mark(name, Mark("proof", NOW, "host", {"level": "drill", "passed": True, "whole": True}))
    copied(origin, target)
    origin.mark(name, Mark("note", NOW + timedelta(hours=1), "host", {"text": "later"}))
    report = copied(origin, target)
    assert [one.there for one in report.sets] == [True]
    [info] = selection.listing(target, NOW)
    assert info.standing.pin_reason == "audit"
    assert info.standing.proven == NOW
    assert info.standing.notes == ("later",)
    copied(origin, target)
    assert len(target.marks(name)) == 3


def test_what_is_there_is_skipped_and_only_the_rest_copied(place: Place) -> None:
    origin, target = place("origin"), place("target")
    add(origin, "a")
    copied(origin, target)
    add(origin, "b", hours=1)
    report = copied(origin, target)
    assert [(one.there, bool(one.bytes)) for one in report.sets] == [(True, False), (False, True)]
    assert len(target.names()) == 2


def test_a_name_that_another_cut_has_there_is_not_taken_from_it(place: Place) -> None:
    origin, target = place("origin"), place("target")
    add(origin, "a", data=b"one")
    add(target, "b", data=b"other")
    report = copied(origin, target)
    assert [one.copy for one in report.sets] == ["backup_20261121_020000_2"]
    assert [contents(target, name)[0] for name in target.names()] == [b"other", b"one"]
    assert [one.there for one in copied(origin, target).sets] == [True]


@pytest.mark.parametrize("victim", ["db/main.db", "tree/deep/er/large.bin", "tree.members.jsonl"])
def test_a_damaged_set_is_not_copied_and_the_others_are(place: Place, tmp_path: Path, victim: str) -> None:
    origin, target = place("origin"), place("target", "tar.zst", "zstd")
    bad = add(origin, "a")
    add(origin, "b", hours=1)
    path = tmp_path / "origin" / bad.name / victim
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    news: list[Any] = []
    report = copied(origin, target, news.append)
    assert report.exit_code == ExitCode.DAMAGED
    assert [bool(one.error) for one in report.sets] == [True, False]
    [name] = target.names()
    assert target.manifest(name).id == "b" * 32
    assert [n.set for n in news if isinstance(n, Event) and n.name == "copy_failed"] == [bad.name]


def test_a_set_without_a_readable_manifest_is_said_to_be_damaged(place: Place, tmp_path: Path) -> None:
    origin, target = place("origin"), place("target")
    bad = add(origin, "a")
    (tmp_path / "origin" / bad.name / "manifest.json").write_text("{")
    report = copied(origin, target)
    assert report.exit_code == ExitCode.DAMAGED
    assert "manifest" in report.sets[0].error
    assert target.names() == []


def test_a_full_target_stops_the_copy_and_the_next_one_goes_on(place: Place, tmp_path: Path) -> None:
    origin = place("origin")
    for number, identity in enumerate("abc"):
        add(origin, identity, hours=number, data=LARGE)
    storage = FillingStorage(tmp_path / "target", 15_000_000)
    target = made("target", storage)
    report = copied(origin, target)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert [bool(one.copy) for one in report.sets] == [True, False, False]
    assert "not tried" in report.sets[2].error
    assert len(target.names()) == 1
    storage.room = 10**9
    again = copied(origin, target)
    assert again.exit_code == ExitCode.OK
    assert [one.there for one in again.sets] == [True, False, False]
    assert all(list(target.verify(name, Subset())) == [] for name in target.names())


def test_a_target_without_room_gets_nothing(place: Place, tmp_path: Path) -> None:
    class Small(LocalStorage):
        def free_bytes(self) -> int | None:
            return 1_000_000

    origin, target = place("origin"), made("target", Small(tmp_path / "target"))
    add(origin, "a")
    report = copied(origin, target)
    assert report.exit_code == ExitCode.FAILED
    assert "insufficient disk space" in report.sets[0].error
    assert not list((tmp_path / "target").glob(".partial/*"))


def test_a_copy_does_not_wait_for_a_backup_and_gives_way_to_a_prune(place: Place) -> None:
    origin, target = place("origin"), place("target")
    add(origin, "a")
    with target.lock("exclusive", "prune", "stack"):
        assert copied(origin, target).exit_code == ExitCode.LOCKED
    with target.lock("backup", "backup", "stack"):
        assert copied(origin, target).exit_code == ExitCode.OK
    assert target.locks() == []


def test_a_key_that_is_not_here_is_told_and_nothing_is_copied(place: Place, tmp_path: Path) -> None:
    target = place("target")
    add_set(place("origin", sealing=sealing_of("age", tmp_path / "keys")))
    blind = open_repository("origin", LocalStorage(tmp_path / "origin"), "tar", "none", None, SystemClock())
    report = copied(blind, target)
    assert report.exit_code == ExitCode.WRONG_KEY
    assert target.names() == []


def test_files_that_are_stored_once_share_their_bytes_in_the_copy_too(place: Place, tmp_path: Path) -> None:
    origin, target = place("origin"), place("target", "tar.zst", "zstd")
    for number, identity in enumerate("ab"):
        add(origin, identity, hours=number, data=LARGE, once=True)
    assert copied(origin, target).exit_code == ExitCode.OK
    assert {path.stat().st_nlink for path in (tmp_path / "target").glob("backup_*/db/main.db")} == {2}


def test_a_storage_that_cannot_rename_gets_copies_too(place: Place) -> None:
    origin, target = place("origin"), made("target", MemoryStorage(moves=False))
    add(origin, "a")
    assert copied(origin, target).exit_code == ExitCode.OK
    [name] = target.names()
    assert list(target.verify(name, Subset())) == []
