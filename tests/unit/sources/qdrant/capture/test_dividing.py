"""Pieces that were taken one by one make the set that a whole capture makes, and say what is missing of it."""

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qdrant_server.running import Qdrant
from qdrant_server.starting import Cluster, Started
from recoup.errors import EmptySourceError, SourceError
from recoup.model.facts import compare
from recoup.model.manifest import Finding
from recoup.model.part import StreamPart
from recoup.sources._base import Divisible, NoRestoreOptions
from recoup.sources._staged import StagedBytes
from recoup.sources.qdrant._examining import examine
from recoup.sources.qdrant._leftovers import PURPOSE
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant.server import QdrantSource
from recoup.system.host import holder_token
from recoup.system.journal import state_folder

from .taking import Kept, Pieces, fill, keep, keep_in_pieces, keep_joined, left_on, points, take

Make = Callable[..., QdrantSource]

_ANY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def docs(qdrant: Qdrant, clean_staging: Path) -> Qdrant:
    """Two shards with an alias and an index, one shard without points."""
    fill(qdrant, "docs", 100, shards=2)
    fill(qdrant, "empty", 0)
    alias = {"create_alias": {"collection_name": "docs", "alias_name": "current"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [alias]})
    qdrant.ask("PUT", "/collections/docs/index", {"field_name": "kind", "field_schema": "keyword"}, wait="true")
    return qdrant


@dataclasses.dataclass
class Taken:
    """All pieces of `docs` and `empty`, with what was noted of them."""

    pieces: Pieces
    notes: list[Any]
    files: dict[str, bytes]

    def joined(self, source: QdrantSource, changed: Mapping[int, Any]) -> Kept:
        """Joins them, with some of the notes changed."""
        notes = [changed.get(number, note) for number, note in enumerate(self.notes)]
        return keep_joined(source, self.pieces, notes, self.files)


_TAKEN: list[Taken] = []


@pytest.fixture
def taken(docs: Qdrant, source: Make) -> Taken:
    """They are taken once for all tests."""
    if not _TAKEN:
        a_source, files = source(docs), dict[str, bytes]()
        pieces = a_source.pieces()
        _TAKEN.append(Taken(pieces, [take(a_source, piece, files) for piece in pieces], files))
    return _TAKEN[0]


def timeless(record: CollectionRecord, *, probes: bool) -> CollectionRecord:
    """Without what two captures of the same data cannot share."""
    shards = tuple(dataclasses.replace(shard, first=_ANY, last=_ANY, part="") for shard in record.shards)
    record = dataclasses.replace(record, shards=shards)
    return record if probes else dataclasses.replace(record, probes=(), seed=None)


def parts_of(kept: Kept) -> list[StreamPart]:
    return [StreamPart(name, StagedBytes(data), size=len(data)) for name, data in kept.files.items()]


def with_keys(server: Qdrant, *keys: str) -> None:
    """Makes `docs` with a shard of 40 points for each key."""
    fill(server, "docs", 0, shards=1, sharding_method="custom")
    for number, key in enumerate(keys):
        server.ask("PUT", "/collections/docs/shards", {"shard_key": key})
        body = {"points": points(40, 40 * number), "shard_key": key}
        server.ask("PUT", "/collections/docs/points", body, wait="true")


def names(source: QdrantSource) -> list[str]:
    return [piece["name"] for piece in source.pieces()]


# --- the same as a whole capture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "stored", "collection", "scroll"])
def test_pieces_make_the_same_as_a_whole_capture(docs: Qdrant, source: Make, method: str) -> None:
    whole = keep(source(docs, method=method))
    joined = keep_in_pieces(source(docs, method=method), seed=99)

    by_shard = method in ("auto", "stored")
    assert joined.findings == whole.findings == ()
    assert joined.doubts == []
    assert joined.facts.values == whole.facts.values
    assert joined.facts.seed == whole.facts.seed == 3
    assert [probe for probe in whole.facts.probes if not by_shard] == list(joined.facts.probes)
    assert (joined.method, joined.engine) == (whole.method, whole.engine)
    assert {name: timeless(one, probes=name == "empty" or not by_shard) for name, one in joined.records.items()} == {
        name: timeless(one, probes=name == "empty" or not by_shard) for name, one in whole.records.items()
    }
    if method != "collection":  # those are named by the time
        assert list(joined.files) == list(whole.files)
    shards = [shard for record in joined.records.values() for shard in record.shards]
    assert joined.frozen is not None
    assert joined.frozen.first == min(shard.first for shard in shards)
    assert joined.frozen.last == max(shard.last for shard in shards)
    assert left_on(docs) == []


def test_shards_are_pieces_where_each_has_a_snapshot_of_its_own(docs: Qdrant, source: Make) -> None:
    assert isinstance(source(docs), Divisible)
    shards = ["docs shard 0", "docs shard 1", "empty"]
    assert names(source(docs, method="stream")) == names(source(docs, method="stored")) == shards
    assert names(source(docs, method="collection")) == names(source(docs, method="scroll")) == ["docs", "empty"]
    assert names(source(docs, collections=["current"])) == shards[:2]


def test_each_piece_has_a_name_of_its_own(qdrant: Qdrant, source: Make) -> None:
    fill(qdrant, "docs", 1, shards=2)
    fill(qdrant, "docs shard 1", 1)
    found = names(source(qdrant))
    assert len(found) == len(set(found)) == 3
    assert keep_in_pieces(source(qdrant)).records.keys() == {"docs", "docs shard 1"}


def test_no_piece_and_no_note_has_the_key(qdrant_with_keys: Started, source: Make) -> None:
    fill(qdrant_with_keys, "docs", 10, shards=2)
    a_source, files = source(qdrant_with_keys), dict[str, bytes]()
    pieces = a_source.pieces()
    told = json.dumps([pieces, [take(a_source, piece, files) for piece in pieces]])
    assert qdrant_with_keys.api_key not in told
    assert len(files) == 2


def test_a_set_that_was_taken_in_pieces_is_examined_drilled_and_restored(
    docs: Qdrant, source: Make, tmp_path: Path
) -> None:
    joined = keep_in_pieces(source(docs, collections=["docs"], method="stored"))
    assert list(examine(parts_of(joined))) == []

    (tmp_path / "drill").mkdir()
    with source(docs).scratch(tmp_path / "drill") as twin:
        twin.restore(parts_of(joined), NoRestoreOptions())
        lines = compare(joined.facts, twin.facts())
    assert len(lines) > 10
    assert [line for line in lines if not line.equal] == []

    docs.ask("DELETE", "/collections/docs")
    source(docs).restore(parts_of(joined), RestoreOptions())
    assert docs.ask("POST", "/collections/current/points/count", {"exact": True})["count"] == 100
    assert keep(source(docs, collections=["current"])).facts.values["collection docs"]["points"] == 100


def test_the_seed_of_the_samples_is_kept_where_no_neighbours_are_asked_for(docs: Qdrant, source: Make) -> None:
    kept = keep(source(docs, collections=["empty"]))
    assert (kept.facts.probes, kept.facts.seed) == ((), 3)


# --- what failed ------------------------------------------------------------------------------------------------------


def test_a_shard_that_fails_is_named_as_in_a_whole_capture(docs: Qdrant, source: Make) -> None:
    docs.faults.set(path="/collections/docs/shards/1/snapshot", answer_status=500)
    whole = keep(source(docs, collections=["docs"], method="stream"))
    joined = keep_in_pieces(source(docs, collections=["docs"], method="stream"))
    assert joined.findings == whole.findings
    assert len(joined.serious) == 1
    assert [shard.id for shard in joined.records["docs"].shards] == [0]
    assert joined.facts.values == whole.facts.values
    assert joined.doubts == []


def test_a_piece_that_nobody_could_take_is_named(docs: Qdrant, source: Make, taken: Taken) -> None:
    joined = taken.joined(source(docs), {1: "its worker died"})
    values = joined.facts.values["collection docs"]
    assert joined.findings == (Finding("unreadable", "collection docs shard 1", "its worker died"),)
    assert sum(shard.points for shard in joined.records["docs"].shards) == values["points"]
    assert values["shards"] == "0"
    assert joined.doubts == []


def test_a_collection_of_which_nothing_was_taken_is_left_out(docs: Qdrant, source: Make, taken: Taken) -> None:
    joined = taken.joined(source(docs), dict.fromkeys(range(2), "the server refused"))
    assert list(joined.files) == ["empty/collection.json", "empty/shard-0.snapshot"]
    assert len(joined.serious) == 2
    with pytest.raises(SourceError, match="no collection could be taken: collection docs shard 0: the server refused"):
        taken.joined(source(docs), dict.fromkeys(range(3), "the server refused"))


def test_a_shard_that_lacks_points_is_doubted(docs: Qdrant, source: Make, taken: Taken) -> None:
    note = json.loads(json.dumps(taken.notes[1]))
    note["collection"]["values"]["collection docs"]["points"] -= 1
    assert taken.joined(source(docs), {}).doubts == []
    assert len(taken.joined(source(docs), {1: note}).doubts) == 1


def test_a_shard_without_a_copy_is_named_as_in_a_whole_capture(docs: Qdrant, source: Make) -> None:
    docs.faults.set(replica_states={"docs/1": "Dead"})
    a_source = source(docs, collections=["docs"])
    whole, joined = keep(a_source), keep_in_pieces(a_source)
    assert set(joined.findings) == set(whole.findings)
    assert [line for line in joined.serious if "no reachable active copy" in line]
    assert joined.facts.values == whole.facts.values


def test_a_stored_snapshot_of_a_killed_worker_goes_with_the_next_piece_on_that_machine(
    docs: Qdrant, source: Make
) -> None:
    left = docs.ask("POST", "/collections/docs/shards/0/snapshots")["name"]
    state_folder().mkdir(parents=True, exist_ok=True)
    journal = state_folder() / f"{PURPOSE}-{holder_token().split('-')[0]}-00000000-1-0-00000000.jsonl"
    request = {"server": docs.url, "folder": "/collections/docs/shards/0/snapshots", "collection": "docs"}
    journal.write_text(json.dumps({**request, "names": [left]}) + "\n" + json.dumps({**request, "made": left}) + "\n")
    a_source = source(docs)
    take(a_source, a_source.pieces()[2], {})
    assert left_on(docs) == []
    assert not journal.exists()


def test_what_has_to_stand_still_together_is_not_divided(docs: Qdrant, source: Make) -> None:
    calls = {"stop": {"command": ["true"]}, "resume": {"command": ["true"]}}
    a_source = source(docs, quiesce=calls)
    assert a_source.pieces() == []
    with pytest.raises(SourceError, match="in pieces"), a_source.joined([], []):
        pass


def test_patterns_that_match_nothing_are_refused_unless_that_is_allowed(docs: Qdrant, source: Make) -> None:
    with pytest.raises(EmptySourceError):
        source(docs, collections=["nobody"]).pieces()
    a_source = source(docs, collections=["nobody"], allow_empty=True)
    assert a_source.pieces() == []
    assert keep_joined(a_source, [], [], {}).files == {}


# --- what changed meanwhile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["stream", "scroll"])
def test_a_collection_that_goes_before_it_is_taken_is_missing_and_named(
    docs: Qdrant, source: Make, method: str
) -> None:
    def meanwhile(number: int) -> None:
        if not number:
            docs.ask("DELETE", "/collections/docs")

    joined = keep_in_pieces(source(docs, method=method), meanwhile)
    assert joined.serious == ["collection docs: was deleted before it could be taken"]
    assert set(joined.records) == {"empty"}


def test_collections_that_came_or_went_meanwhile_are_named(docs: Qdrant, source: Make) -> None:
    def meanwhile(number: int) -> None:
        if number == 2:
            fill(docs, "coming", 1)
            docs.ask("DELETE", "/collections/docs")

    joined = keep_in_pieces(source(docs), meanwhile)
    assert {(finding.item, finding.what, finding.harmless) for finding in joined.findings} == {
        ("collection coming", "changed", True),
        ("collection docs", "changed", True),
    }
    assert sum(shard.points for shard in joined.records["docs"].shards) == 100


def test_a_configuration_that_changes_meanwhile_is_named(docs: Qdrant, source: Make) -> None:
    def meanwhile(number: int) -> None:
        if number == 1:
            docs.ask("PATCH", "/collections/docs", {"optimizers_config": {"flush_interval_sec": 17}})
            docs.ask("PUT", "/collections/docs/index", {"field_name": "n", "field_schema": "integer"}, wait="true")

    joined = keep_in_pieces(source(docs, collections=["docs"]), meanwhile)
    assert {(finding.what, finding.harmless, finding.message.split(" changed")[0]) for finding in joined.findings} == {
        ("changed", True, "its configuration"),
        ("changed", True, "its payload indexes"),
    }
    assert set(joined.records["docs"].payload_schema) == {"kind"}


def test_shards_that_come_meanwhile_make_the_set_incomplete(qdrant_distributed: Started, source: Make) -> None:
    with_keys(qdrant_distributed, "eu", "us")

    def meanwhile(number: int) -> None:
        if number:
            qdrant_distributed.ask("PUT", "/collections/docs/shards", {"shard_key": "asia"})

    joined = keep_in_pieces(source(qdrant_distributed), meanwhile)
    assert ["shards were changed" in line for line in joined.serious] == [True]
    assert joined.doubts == []


def test_nothing_is_doubted_while_others_write(docs: Qdrant, source: Make) -> None:
    ended, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 100
        while not ended.is_set():
            docs.ask("PUT", "/collections/docs/points", {"points": points(10, number)}, wait="true")
            number += 10
            written.set()

    def meanwhile(_: int) -> None:
        written.clear()
        written.wait(10)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        joined = keep_in_pieces(source(docs, collections=["docs"]), meanwhile)
    finally:
        ended.set()
        thread.join()
    assert joined.serious == joined.doubts == []
    assert sum(shard.points for shard in joined.records["docs"].shards) >= 120


def test_nothing_is_doubted_where_points_go_from_one_shard_and_come_to_another(
    qdrant_distributed: Started, source: Make
) -> None:
    """What went from a shard after it was taken, and came to another one before, makes more points than ever were there."""
    server = qdrant_distributed
    with_keys(server, "first", "between", "last")

    def meanwhile(number: int) -> None:
        if number == 1:
            body = {"points": list(range(30)), "shard_key": "first"}
            server.ask("POST", "/collections/docs/points/delete", body, wait="true")
        if number == 2:
            body = {"points": points(30, 1000), "shard_key": "last"}
            server.ask("PUT", "/collections/docs/points", body, wait="true")

    joined = keep_in_pieces(source(server), meanwhile)
    assert joined.records["docs"].shard_keys == ("first", "between", "last")
    assert joined.facts.values["collection docs"]["points"] == 150
    assert joined.doubts == []


# --- a cluster ------------------------------------------------------------------------------------------------------------


def test_the_pieces_of_a_cluster_come_from_the_nodes_that_have_them(qdrant_cluster: Cluster, source: Make) -> None:
    first = qdrant_cluster.nodes[0]
    fill(first, "docs", 0, shards=2, replication_factor=1)
    first.ask("PUT", "/collections/docs/points", {"points": points(60)}, wait="true")
    a_source = source(first, nodes=qdrant_cluster.urls[1:])
    whole, joined = keep(a_source), keep_in_pieces(a_source)
    assert joined.findings == whole.findings == ()
    assert joined.facts.values == whole.facts.values
    assert len({shard.node for shard in joined.records["docs"].shards}) > 1
