"""Whatever is doubtful is taken in full, in the same run, and says why; nothing of the try is left anywhere."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from qdrant_server.running import PATIENCE, Qdrant
from qdrant_server.surgery import flipped, members
from recoup.errors import DamagedError, InterruptedRunError
from recoup.model.part import StreamPart
from recoup.sources._base import Past
from recoup.sources._staged import StagedReader
from recoup.sources.qdrant._record import CollectionRecord, ShardRecord, encode
from unit.sources.qdrant.capture.taking import fill, keep, points

from .days import Days, grown, record, upsert

RECORD = "docs/collection.json"
SNAPSHOT = "docs/shard-0.snapshot"


@pytest.fixture
def changed(qdrant: Qdrant, days: Days) -> Days:
    """A day that was captured, and changes since."""
    fill(qdrant, "docs", 100)
    days.next()
    upsert(qdrant, "docs", points(10, 1000))
    return days


def on_record(days: Days, change: Callable[[CollectionRecord], CollectionRecord]) -> None:
    assert days.last is not None
    days.last.files[RECORD] = encode(change(record(days.last)))


def on_shard(days: Days, change: Callable[[ShardRecord], ShardRecord]) -> None:
    on_record(days, lambda found: replace(found, shards=tuple(map(change, found.shards))))


def raised(shard: ShardRecord) -> ShardRecord:
    """As if the server had been further when it was captured."""
    manifest: dict[str, Any] = {}
    for name, told in grown(shard).manifest.items():
        files = {file: None if version is None else version + 50 for file, version in told["file_versions"].items()}
        manifest[name] = {**told, "segment_version": told["segment_version"] + 50, "file_versions": files}
    return replace(shard, increment=replace(grown(shard), manifest=manifest))


def cut(days: Days) -> None:
    assert days.last is not None
    days.last.files[SNAPSHOT] = days.last.files[SNAPSHOT][:-2000]


def test_a_doubt_before_anything_stands_still_costs_nothing(changed: Days) -> None:
    on_shard(changed, raised)
    kept = changed.next()
    assert changed.merges == [0]
    assert _matches("put back to another state", changed.reasons[0])
    assert kept.facts.values["collection docs"]["points"] == 110
    assert not [one for one in kept.findings if one.what == "again"]


def _matches(pattern: str, text: str) -> bool:
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)
    return True


def longer(segment: Any) -> Any:
    return replace(segment, files={name: size + 1 for name, size in segment.files.items()})


def test_a_doubt_while_it_is_merged_takes_a_full_one_at_once(changed: Days) -> None:
    cut(changed)
    kept = changed.next()
    assert changed.merges == [0]
    assert _matches("the earlier snapshot is cut short", changed.reasons[0])
    assert [one.what for one in kept.findings] == ["again"]
    assert kept.facts.values["collection docs"]["points"] == 110


def test_an_earlier_snapshot_that_holds_something_else_is_not_taken_for_it(qdrant: Qdrant, days: Days) -> None:
    fill(qdrant, "docs", 100)
    days.next()
    on_shard(days, lambda one: replace(one, segments={name: longer(s) for name, s in one.segments.items()}))
    days.next()
    assert days.merges == [0]
    assert _matches("does not hold what its record says", days.reasons[0])


class Failing:
    """The content of an earlier snapshot whose stored bytes turn out to be wrong half way."""

    local_path = None
    disposable = False

    def __init__(self, data: bytes, error: Exception) -> None:
        self._data, self._error = data, error

    @contextmanager
    def open(self) -> Iterator[StagedReader]:
        yield StagedReader(self)

    def read(self, size: int, /) -> bytes:
        if not self._data:
            raise self._error
        found, self._data = self._data[:size], b""
        return found


@pytest.mark.parametrize("error", [DamagedError("a chunk is not what it was"), OSError(5, "Input/output error")])
def test_an_earlier_snapshot_that_cannot_be_read_to_its_end_takes_a_full_one(changed: Days, error: Exception) -> None:
    recall = changed.recall

    def failing() -> Past:
        past = recall()
        part = past.parts[SNAPSHOT]
        with part.content.open() as reader:
            broken = Failing(reader.read(20_000), error)
        return replace(past, parts={**past.parts, SNAPSHOT: StreamPart(SNAPSHOT, broken, part.size)})

    changed.recall = failing  # type: ignore[method-assign]
    changed.next()
    assert changed.merges == [0]
    assert _matches("a chunk is|Input/output", changed.reasons[0])


FAULTS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "the stream ends early as if it were whole": ({"cut_member": 5}, "is not whole"),
    "the stream lacks a segment": ({"lose_segment": True}, "lacks segment|it has no segment"),
    "the connection breaks": ({"cut": 20_000}, "broke at POST"),
    "the server fails": ({"answer_status": 500}, "with 500"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_partial_snapshot_that_fails_takes_a_full_one_and_leaves_nothing(
    qdrant: Qdrant, changed: Days, fault: str
) -> None:
    settings, reason = FAULTS[fault]
    upsert(qdrant, "docs", points(5, 3000))
    qdrant.faults.set(path="partial/create", **settings)
    kept = changed.next()
    assert changed.merges == [0]
    assert _matches(reason, changed.reasons[0])
    assert [one.what for one in kept.findings if one.what == "again"] in ([], ["again"])
    assert kept.facts.values["collection docs"]["points"] == 115


def test_a_server_that_does_not_list_its_files_says_so(qdrant: Qdrant, changed: Days) -> None:
    qdrant.faults.set(refuse_manifest=True)
    kept = changed.next()
    assert record(kept).method == "stored"
    assert _matches("does not tell which files it has", changed.reasons[0])
    qdrant.faults.clear()
    changed.next()
    assert _matches("does not have what it could be built on", changed.reasons[0])


def test_what_is_captured_once_more_in_a_run_is_full(changed: Days) -> None:
    """A backup does that when the first capture contradicts the live collection."""
    source = changed.source()
    changed.news.clear()
    keep(source)
    assert changed.reasons == []
    again = keep(source)
    assert grown(record(again).shards[0]).merges == 0
    assert changed.reasons == ["the first capture of this run was doubted"]


def test_a_merge_that_cannot_be_opened_is_no_good_set_and_the_next_try_is_full(qdrant: Qdrant, days: Days) -> None:
    """The earlier snapshot has another content, which no length and no version shows."""
    fill(qdrant, "docs", 100)
    days.next()
    assert days.last is not None
    data = days.last.files[SNAPSHOT]
    for one in (one for one in members(data) if one.name.endswith("id_tracker.mappings") and one.size > 100):
        data = flipped(data, *range(one.content, one.content + one.size))
    days.last.files[SNAPSHOT] = data
    source = days.source()
    first = keep(source)
    assert first.serious or first.doubts
    assert days.told("shard_merged")
    second = keep(source)
    assert second.serious == second.doubts == []
    assert grown(record(second).shards[0]).merges == 0


def test_a_collection_that_was_made_anew_is_taken_in_full(qdrant: Qdrant, changed: Days) -> None:
    qdrant.ask("DELETE", "/collections/docs")
    fill(qdrant, "docs", 30)
    kept = changed.next()
    assert changed.merges == [0]
    assert _matches("none of the earlier segments", changed.reasons[0])
    assert kept.facts.values["collection docs"]["points"] == 30


class Slow:
    """The content of an earlier snapshot on a slow storage."""

    local_path = None
    disposable = False

    def __init__(self, data: bytes, end: threading.Event | None = None) -> None:
        self.left, self.begun, self._end = data, threading.Event(), end

    @contextmanager
    def open(self) -> Iterator[StagedReader]:
        yield StagedReader(self)

    def read(self, size: int, /) -> bytes:
        self.begun.set()
        if self._end:
            assert self._end.wait(PATIENCE)
            size *= 64
        time.sleep(0.01)
        found, self.left = self.left[: size // 16384], self.left[size // 16384 :]
        return found


def reading(days: Days, end: threading.Event | None = None) -> Slow:
    """Has the next capture read the earlier snapshot slowly, from when the event is set on."""
    recall = days.recall
    assert days.last is not None
    slow = Slow(days.last.files[SNAPSHOT], end)

    def slowly() -> Past:
        past = recall()
        return replace(past, parts={**past.parts, SNAPSHOT: StreamPart(SNAPSHOT, slow)})

    days.recall = slowly  # type: ignore[method-assign]
    return slow


def test_what_changes_while_the_unchanged_is_copied_takes_a_full_one(qdrant: Qdrant, days: Days) -> None:
    """The word that nothing changed may be older than what came in behind it."""
    fill(qdrant, "docs", 50)
    days.next()
    go = threading.Event()
    slow = reading(days, go)

    def change() -> None:
        assert slow.begun.wait(PATIENCE)
        upsert(qdrant, "docs", points(10, 1000))
        go.set()

    kept = days.next(change)
    assert days.merges == [0]
    assert _matches("lists other files than before", days.reasons[0])
    assert kept.facts.values["collection docs"]["points"] == 60


def test_a_merge_that_is_interrupted_stops_in_its_middle_and_leaves_nothing(changed: Days) -> None:
    slow = reading(changed)
    with pytest.raises(InterruptedRunError), changed.source().capture():
        assert slow.begun.wait(PATIENCE)
        raise InterruptedRunError("stopped")
    assert slow.left
