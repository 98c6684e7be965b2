"""Whether an earlier snapshot can be built on is decided by what its record says and by what the server lists now."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import WrongKeyError
from recoup.model.events import Event, News
from recoup.model.part import StreamPart
from recoup.sources._base import Past, Site
from recoup.sources._staged import StagedBytes
from recoup.sources.qdrant._increments import Increments, PastShard, TakenFrom, recalled
from recoup.sources.qdrant._record import CollectionRecord, IncrementRecord, ShardRecord, decode, encode
from recoup.system.clock import SystemClock

from .pairs import Pair, checked

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SNAPSHOT = "docs/shard-0.snapshot"
RECORD = "docs/collection.json"
PEER = 77
URL = "http://here:6333"


@pytest.fixture
def record(pair: Pair) -> CollectionRecord:
    """Of the real pair's first snapshot."""
    held = checked(pair.full).shards[0]
    increment = IncrementRecord(pair.known, NOON, 2)
    shard = ShardRecord(
        0, NOON, NOON, 833, "0" * 64, SNAPSHOT, node=URL, peer=PEER, segments=held.records(), increment=increment
    )
    return CollectionRecord("docs", "stream", "1.18.3", {}, {}, (), (shard,))


class Asked:
    """One capture that asks for what there is."""

    def __init__(self, folder: Path, record: CollectionRecord, listed: Mapping[str, Any]) -> None:
        self.record, self.listed = record, listed
        self.files = {SNAPSHOT: b"snapshot"}
        self.version, self.full_every, self.peer, self.url = "1.18.3", 7, PEER, URL
        self.news: list[News] = []
        self.site = Site("vectors", folder, folder, SystemClock(), emit=self.news.append)

    def shard(self, **fields: Any) -> None:
        (shard,) = self.record.shards
        self.record = replace(self.record, shards=(replace(shard, **fields),))

    def recall(self) -> Past:
        files = {RECORD: encode(self.record)} | self.files
        return Past("backup_1", {name: StreamPart(name, StagedBytes(data)) for name, data in files.items()})

    def increments(self) -> Increments:
        return recalled(self.site, self.version, self.full_every, self.recall)

    def take(self, increments: Increments | None = None) -> PastShard | None:
        return (increments or self.increments()).take(TakenFrom("docs", 0, self.url, self.peer), self.listed)

    @property
    def reasons(self) -> list[str]:
        return [str(one.fields["reason"]) for one in self.news if isinstance(one, Event)]


@pytest.fixture
def asked(pair: Pair, record: CollectionRecord, tmp_path: Path) -> Asked:
    return Asked(tmp_path, record, checked(pair.partial).shards[0].partial)


def test_what_fits_is_built_on(asked: Asked, pair: Pair) -> None:
    found = asked.take()
    assert found is not None
    assert found.set == "backup_1"
    assert found.base == pair.base
    assert asked.news == []
    after = checked(pair.partial).shards[0]
    grown = found.grown(after.partial, checked(pair.merged()).shards[0].segments)
    assert grown == IncrementRecord(after.partial, NOON, 3)


def test_it_is_given_out_once(asked: Asked) -> None:
    increments = asked.increments()
    assert asked.take(increments)
    assert asked.take(increments) is None
    assert asked.news == [], "why the second try is a full one, the first has told"


def test_the_record_keeps_it(record: CollectionRecord) -> None:
    assert decode(encode(record), "it") == record
    (shard,) = record.shards
    bare = replace(record, shards=(replace(shard, increment=None),))
    assert b"increment" not in encode(bare)
    assert decode(encode(bare), "it") == bare


def version(segment: Mapping[str, Any], change: int) -> dict[str, Any]:
    files = {name: None if one is None else one + change for name, one in segment["file_versions"].items()}
    return {**segment, "segment_version": segment["segment_version"] + change, "file_versions": files}


def further(asked: Asked) -> None:
    """The earlier set saw the server further than it is."""
    (shard,) = asked.record.shards
    assert shard.increment
    told = {name: version(one, 50) for name, one in shard.increment.manifest.items()}
    asked.shard(increment=replace(shard.increment, manifest=told))


def nonsense(asked: Asked) -> None:
    asked.listed = {name: {"file_versions": 3} for name in asked.listed}


def damage(asked: Asked) -> None:
    asked.files[RECORD] = b"{"


def deny(asked: Asked) -> None:
    def locked() -> Past:
        raise WrongKeyError("this host can only add sets")

    asked.recall = locked  # type: ignore[method-assign]


DOUBTS: Mapping[str, tuple[Callable[[Asked], object], str]] = {
    "the repository cannot be read here": (deny, "this host can only add sets"),
    "the record is damaged": (damage, "the earlier set cannot be read: docs/collection.json is not valid JSON"),
    "another collection": (lambda one: setattr(one, "record", replace(one.record, name="x")), "no such collection"),
    "the snapshot is gone": (lambda one: one.files.clear(), "does not have what it could be built on"),
    "another shard": (lambda one: one.shard(id=5), "does not have what it could be built on"),
    "nothing to build on": (lambda one: one.shard(increment=None), "does not have what it could be built on"),
    "another method": (
        lambda one: setattr(one, "record", replace(one.record, method="stored")),
        "taken by another method, stored",
    ),
    "another version": (lambda one: setattr(one, "version", "1.18.4"), "was of version 1.18.3 at backup_1"),
    "another node": (lambda one: setattr(one, "peer", 78), "from another node"),
    "another address": (lambda one: setattr(one, "url", "http://there:6333"), "from another node"),
    "a node that tells no id": (lambda one: setattr(one, "peer", None), "from another node"),
    "it is time for a full one": (lambda one: setattr(one, "full_every", 3), "every 3. is, by `full_every`"),
    "the server lists nothing": (lambda one: setattr(one, "listed", None), "does not tell which files it has"),
    "the server lists nonsense": (nonsense, "has no versions"),
    "other segments": (lambda one: setattr(one, "listed", {}), "none of the earlier segments any more"),
    "the server went back": (further, "put back to another state"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_doubt_is_told(asked: Asked, doubt: str) -> None:
    change, reason = DOUBTS[doubt]
    change(asked)
    assert asked.take() is None
    (told,) = asked.reasons
    assert reason in told


def test_a_full_one_that_comes_with_a_senseless_list_is_not_built_on(asked: Asked, pair: Pair) -> None:
    held = checked(pair.full).shards[0]
    nonsense(asked)
    assert asked.increments().begun(asked.listed, held, NOON) is None
    assert asked.increments().begun(None, held, NOON) is None
    begun = asked.increments().begun(pair.known, held, NOON)
    assert begun == IncrementRecord(pair.known, NOON, 0)
