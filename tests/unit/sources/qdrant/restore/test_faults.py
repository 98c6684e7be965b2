"""What can go wrong while restoring: whatever it is, what answered before answers as before, and nothing half made stays."""

import dataclasses
import os
import signal
import threading
from pathlib import Path

import pytest

from qdrant_server.starting import Started
from recoup.errors import DamagedError, RecoupError, RestoreError
from recoup.model.facts import Probe
from recoup.sources._base import Site
from recoup.sources.qdrant._cleanup import cleanup
from recoup.sources.qdrant._client import Server
from recoup.sources.qdrant._preflight import Undertaking
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._restore_options import RestoreOptions
from recoup.sources.qdrant._switching import Ready, move_aliases
from recoup.sources.qdrant.server import Options, QdrantSource
from recoup.system.clock import SystemClock

from .conftest import Rig, Set, path_of, points
from .records import record


def is_as_before(rig: Rig) -> bool:
    return (rig.server.collections(), rig.aliases(), rig.count("current")) == (["docs"], {"current": "docs"}, 60)


def first_shard(record: CollectionRecord, **changes: object) -> CollectionRecord:
    return dataclasses.replace(record, shards=(dataclasses.replace(record.shards[0], **changes), *record.shards[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize("via", ["snapshot", "points"])
def test_a_stored_part_that_is_damaged_is_not_put_in_place(rig: Rig, a_set: Set, via: str) -> None:
    path = a_set.folder / "docs" / "shard-1.snapshot"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DamagedError):
        rig.restore(a_set, via=via)
    assert is_as_before(rig)
    assert rig.leaves_nothing()


def test_a_set_that_lacks_a_shard_is_not_put_in_place(rig: Rig, a_set: Set) -> None:
    (a_set.folder / "docs" / "shard-1.snapshot").unlink()
    with pytest.raises(DamagedError, match=r"lacks docs/shard-1\.snapshot"):
        rig.restore(a_set)
    assert is_as_before(rig)
    assert rig.leaves_nothing()


def test_merge_of_a_damaged_part_writes_nothing(rig: Rig, a_set: Set) -> None:
    rig.upsert("docs", [{**points(1, 1)[0], "payload": {"text": "newer"}}])
    path = a_set.folder / "docs" / "shard-1.snapshot"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DamagedError):
        rig.restore(a_set, mode="merge")
    found = rig.server.ask("POST", f"{path_of('docs')}/points", {"ids": [1], "with_payload": True})
    assert found[0]["payload"] == {"text": "newer"}


def test_a_restore_that_is_empty_with_200_is_found(rig: Rig, a_set: Set) -> None:
    rig.server.faults.set(empty_restore=True)
    with pytest.raises(RestoreError, match="has 0 of 60 points"):
        rig.restore(a_set)
    assert is_as_before(rig)
    assert rig.leaves_nothing()


def test_points_that_are_missing_though_the_server_said_200_are_found(rig: Rig, a_set: Set) -> None:
    a_set.change("docs", lambda record: first_shard(record, points=record.shards[0].points + 3))
    with pytest.raises(RestoreError, match="has 60 of 63 points"):
        rig.restore(a_set)
    assert is_as_before(rig)


def test_other_points_of_the_same_number_are_found(rig: Rig, a_set: Set) -> None:
    a_set.change("docs", lambda record: first_shard(record, ids="0" * 64))
    with pytest.raises(RestoreError, match="has other points than the set"):
        rig.restore(a_set)
    assert is_as_before(rig)


def test_shards_that_were_swapped_are_found(rig: Rig, a_set: Set) -> None:
    a, b = (a_set.folder / "docs" / f"shard-{number}.snapshot" for number in (0, 1))
    a.rename(a.with_name("x"))
    b.rename(a)
    a.with_name("x").rename(b)
    with pytest.raises(DamagedError, match="segment"):
        rig.restore(a_set)

    def without_segments(record: CollectionRecord) -> CollectionRecord:
        shards = tuple(dataclasses.replace(shard, segments={}) for shard in record.shards)
        return dataclasses.replace(record, shards=shards)

    a_set.change("docs", without_segments)
    with pytest.raises(RecoupError):
        rig.restore(a_set)
    assert is_as_before(rig)


def test_neighbours_that_are_not_found_any_more_stop_the_switch(rig: Rig, a_set: Set) -> None:
    def others(record: CollectionRecord) -> CollectionRecord:
        probe = record.probes[0]
        return dataclasses.replace(record, probes=(Probe("docs", "", probe.point, ("1", "2", "3")),))

    assert a_set.record("docs").probes
    a_set.change("docs", others)
    with pytest.raises(RestoreError, match="does not find the neighbours"):
        rig.restore(a_set)
    assert is_as_before(rig)


def test_a_payload_index_that_the_snapshots_lack_is_made(rig: Rig, a_set: Set) -> None:
    added = {"data_type": "integer"}
    a_set.change("docs", lambda r: dataclasses.replace(r, payload_schema={**r.payload_schema, "rank": added}))
    rig.restore(a_set)
    assert set(rig.server.ask("GET", path_of("current"))["payload_schema"]) == {"kind", "rank"}


def test_a_full_disk_is_told(rig: Rig, a_set: Set) -> None:
    rig.server.faults.set(storage_quota=10_000)
    with pytest.raises(RestoreError):
        rig.restore(a_set)
    assert is_as_before(rig)
    rig.server.faults.clear()
    assert rig.leaves_nothing()


def test_a_restore_that_takes_long_is_waited_for(rig: Rig, a_set: Set) -> None:
    rig.server.faults.set(recovery_delay=1.5)
    rig.restore(a_set)
    assert rig.count("current") == 60


def test_a_restore_that_never_becomes_whole_ends_by_its_time_out(rig: Rig, a_set: Set) -> None:
    rig.server.faults.set(recovery_delay=3600)
    with pytest.raises(RestoreError, match="is not whole after"):
        rig.restore(a_set, timeout=1)
    assert is_as_before(rig)


def test_a_key_that_may_only_read_is_told_the_right_that_it_lacks(qdrant_with_keys: Started, tmp_path: Path) -> None:
    rig = Rig(qdrant_with_keys, tmp_path)
    rig.fill(aliases=["current"])
    a_set = rig.take(tmp_path / "set")
    site = Site("vectors", tmp_path, tmp_path / "staging", SystemClock())
    source = QdrantSource(
        Options.model_validate(
            {"kind": "qdrant", "url": qdrant_with_keys.url, "api_key": qdrant_with_keys.read_only_key}
        ),
        site,
    )
    with pytest.raises(RestoreError) as caught:
        source.restore(a_set.parts, RestoreOptions())
    assert "manage access" in caught.value.hint
    assert qdrant_with_keys.read_only_key not in str(caught.value)
    assert is_as_before(rig)
    rig.restore(a_set)
    assert rig.count("current") == 60


@pytest.mark.parametrize("step", ["upload", "recover"])
def test_a_server_that_dies_while_recovering_has_everything_afterwards(
    rig: Rig, a_set: Set, step: str, state: Path
) -> None:
    rig.server.faults.set(exit_at=step, exit_after=1)
    with pytest.raises(RestoreError):
        rig.restore(a_set)
    assert rig.events("cleanup_needed")
    rig.server.kill()  # it is dead, and this takes note of it
    rig.server.start()
    assert rig.aliases()["current"] == "docs"
    assert rig.count("current") == 60
    (journal,) = state.glob("qdrant-restore-*")
    dead = journal.with_name(_of_a_dead_run(journal.name))
    journal.rename(dead)
    with Server(rig.server.url) as server:
        assert any("was removed" in sentence for sentence in cleanup([server]))
    assert is_as_before(rig)
    assert rig.leaves_nothing()


def _of_a_dead_run(name: str) -> str:
    host, _, rest = name.removeprefix("qdrant-restore-").partition("-")
    return f"qdrant-restore-{host}-00000000-{rest.partition('-')[2]}"


def test_an_interrupted_restore_removes_what_it_made(rig: Rig, a_set: Set) -> None:
    rig.server.faults.set(recovery_delay=3600)
    timer = threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        rig.restore(a_set)
    assert is_as_before(rig)
    assert rig.leaves_nothing()


def test_a_collection_that_somebody_made_under_the_name_since_is_not_removed(rig: Rig, a_set: Set, state: Path) -> None:
    rig.server.ask("DELETE", path_of("docs"))
    rig.server.faults.set(exit_at="recover")
    with pytest.raises(RestoreError):
        rig.restore(a_set)
    rig.server.kill()  # it is dead, and this takes note of it
    rig.server.start()
    rig.server.ask("DELETE", path_of("docs"))
    rig.fill("docs")
    (journal,) = state.glob("qdrant-restore-*")
    journal.rename(journal.with_name(_of_a_dead_run(journal.name)))
    with Server(rig.server.url) as server:
        assert [s for s in cleanup([server]) if "docs stays" in s]
    assert rig.count("docs") == 60


def test_a_switch_that_fails_half_way_is_undone(rig: Rig) -> None:
    rig.fill("old", aliases=["a"])
    rig.fill("new")
    good = Undertaking(record("old"), "old", "new", "alias", "old", aliases=("a", "b"))
    bad = Undertaking(record("x"), "x", "nowhere", "alias", aliases=("c",))
    with Server(rig.server.url) as server:
        with pytest.raises(RestoreError, match="the aliases were not switched"):
            move_aliases(server, [Ready(good), Ready(bad)])
        assert rig.aliases() == {"a": "old"}
        move_aliases(server, [Ready(good)])
    assert rig.aliases() == {"a": "new", "b": "new"}
