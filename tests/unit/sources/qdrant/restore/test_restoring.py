"""Restoring to a running server: what takes whose place, and what is there afterwards."""

import dataclasses
from pathlib import Path

import pytest

from recoup.errors import DamagedError, ExitCode, RefusedError, RestoreError, UsageError

from .conftest import Asking, Rig, Set, path_of, points


def drop(rig: Rig, name: str = "docs") -> None:
    rig.server.ask("DELETE", path_of(name))


def lose_points(rig: Rig, name: str = "docs") -> None:
    """What happened to the user: half of the points are gone."""
    rig.server.ask("POST", f"{path_of(name)}/points/delete", {"points": list(range(1, 60, 2))}, wait="true")


@pytest.mark.requirement("SR-9")
def test_what_is_not_there_comes_back_under_its_name_with_its_indexes_and_aliases(rig: Rig, a_set: Set) -> None:
    drop(rig)
    placement = rig.restore(a_set)
    assert (rig.server.collections(), rig.aliases()) == (["docs"], {"current": "docs"})
    assert (rig.count("docs"), placement.kept) == (60, "")
    about = rig.server.ask("GET", path_of("docs"))
    assert about["payload_schema"]["kind"]["points"] == 30 + 30
    assert rig.stays_equal_after_upserting_again("docs")
    assert rig.leaves_nothing()


def test_where_an_alias_leads_to_it_nobody_who_asks_sees_an_error_or_a_missing_point(rig: Rig, a_set: Set) -> None:
    lose_points(rig)
    with Asking(rig.server.url, "current", 30) as asking:
        placement = rig.restore(a_set)
    assert asking.asked > 5
    assert asking.wrong == []
    (made,) = rig.restored()
    assert rig.aliases() == {"current": made}
    assert (rig.count("current"), rig.count("docs"), placement.kept) == (60, 30, "collection docs")
    assert rig.stays_equal_after_upserting_again(made)
    assert rig.leaves_nothing()


def test_a_collection_that_clients_ask_by_its_own_name_is_copied_away_and_replaced(rig: Rig, a_set: Set) -> None:
    rig.server.ask("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": "current"}}]})
    lose_points(rig)
    placement = rig.restore(a_set)
    (made,) = rig.restored()
    assert rig.server.collections() == [made]
    assert rig.aliases() == {"docs": made, "current": made}
    assert (rig.count("docs"), rig.leaves_nothing()) == (60, True)
    assert rig.stays_equal_after_upserting_again("docs")
    assert (
        Set(Path(placement.kept)).record("docs").shards[0].points
        + Set(Path(placement.kept)).record("docs").shards[1].points
        == 30
    )


def test_a_copy_goes_to_the_folder_that_was_asked_for(rig: Rig, a_set: Set, tmp_path: Path) -> None:
    placement = rig.restore(a_set, mode="replace", keep=str(tmp_path / "kept"))
    assert Path(placement.kept).parent == tmp_path / "kept"
    assert Path(placement.kept).stat().st_mode & 0o777 == 0o700


def test_a_collection_that_cannot_be_copied_away_is_not_replaced(rig: Rig, a_set: Set, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(RestoreError, match="could not be copied away, so it was not replaced"):
        rig.restore(a_set, mode="replace", keep=str(tmp_path / "kept"))
    assert (rig.count("docs"), rig.restored(), rig.leaves_nothing()) == (60, [], True)


def test_the_old_collection_goes_only_when_that_was_asked_for(rig: Rig, a_set: Set) -> None:
    rig.restore(a_set, drop_old="true")
    assert rig.server.collections() == rig.restored()
    assert rig.count("current") == 60


def test_mode_new_stops_before_the_switch(rig: Rig, a_set: Set) -> None:
    lose_points(rig)
    rig.restore(a_set, mode="new")
    (made,) = rig.restored()
    assert rig.aliases() == {"current": "docs"}
    assert (rig.count(made), rig.count("current")) == (60, 30)
    assert rig.leaves_nothing()


def test_merge_brings_points_back_and_deletes_nothing(rig: Rig, a_set: Set) -> None:
    lose_points(rig)
    rig.upsert("docs", points(100, 5))
    rig.restore(a_set, mode="merge")
    assert (rig.count("docs"), rig.server.collections(), rig.aliases()) == (65, ["docs"], {"current": "docs"})
    found = rig.server.ask("POST", f"{path_of('docs')}/points", {"ids": [1], "with_payload": True, "with_vector": True})
    assert found[0]["payload"] == {"text": "text 1", "kind": "b"}
    assert found[0]["vector"] == [1.0, 1.0, 1.0, 1.0]


def test_points_go_one_by_one_into_another_version_where_that_was_asked_for(rig: Rig, a_set: Set) -> None:
    a_set.change("docs", lambda record: dataclasses.replace(record, server="1.7.4"))
    with pytest.raises(RefusedError, match=r"made by Qdrant 1\.7\.4") as caught:
        rig.restore(a_set)
    assert (caught.value.exit_code, rig.restored(), rig.leaves_nothing()) == (ExitCode.REFUSED, [], True)
    rig.restore(a_set, via="points")
    assert rig.count("current") == 60
    assert rig.stays_equal_after_upserting_again("current")


def test_points_go_into_another_number_of_shards(rig: Rig, a_set: Set) -> None:
    def fewer(record):  # type: ignore[no-untyped-def]
        params = {**record.config["params"], "shard_number": 3}
        return dataclasses.replace(record, config={**record.config, "params": params})

    a_set.change("docs", fewer)
    rig.restore(a_set, via="points")
    (made,) = rig.restored()
    shards = rig.server.ask("GET", f"{path_of(made)}/cluster")["local_shards"]
    assert (len(shards), rig.count(made)) == (3, 60)
    assert rig.stays_equal_after_upserting_again(made)


@pytest.mark.parametrize("method", ["collection", "scroll", "stream"])
def test_what_each_method_captured_comes_back(rig: Rig, method: str, tmp_path: Path) -> None:
    rig.fill(aliases=["current"])
    taken = rig.take(tmp_path / "set", method=method)
    drop(rig)
    rig.restore(taken)
    assert (rig.count("current"), rig.server.collections()) == (60, ["docs"])
    assert rig.stays_equal_after_upserting_again("docs")
    assert rig.leaves_nothing()


def test_two_collections_switch_together_or_not_at_all(rig: Rig, tmp_path: Path) -> None:
    rig.fill("a", aliases=["current_a"])
    rig.fill("b", aliases=["current_b"])
    taken = rig.take(tmp_path / "set")
    whole = taken.folder / "b" / "shard-1.snapshot"
    data = whole.read_bytes()
    whole.write_bytes(data[:-2048])
    with pytest.raises(DamagedError):
        rig.restore(taken)
    assert (rig.aliases(), rig.restored()) == ({"current_a": "a", "current_b": "b"}, [])
    whole.write_bytes(data)
    rig.restore(taken)
    made_a, made_b = rig.restored()
    assert rig.aliases() == {"current_a": made_a, "current_b": made_b}
    assert rig.leaves_nothing()


def test_only_what_was_asked_for_is_restored_and_under_the_name_that_was_given(rig: Rig, tmp_path: Path) -> None:
    rig.fill("a", aliases=["current"])
    rig.fill("b c ü%2F")
    taken = rig.take(tmp_path / "set")
    rig.restore(taken, collections="b c ü%2F", rename="b c ü%2F=other")
    assert sorted(rig.server.collections()) == ["a", "b c ü%2F", "other"]
    assert rig.count("other") == 60


def test_a_collection_that_the_set_does_not_have_changes_nothing(rig: Rig, a_set: Set) -> None:
    with pytest.raises(UsageError, match="no collection nope"):
        rig.restore(a_set, collections="docs,nope")
    assert (rig.server.collections(), rig.leaves_nothing()) == (["docs"], True)


def test_empty_collections_and_single_points_come_back(rig: Rig, tmp_path: Path) -> None:
    rig.server.ask("PUT", path_of("none"), {"vectors": {"size": 4, "distance": "Dot"}})
    rig.server.ask(
        "PUT", path_of("one"), {"vectors": {"a": {"size": 4, "distance": "Dot"}}, "sparse_vectors": {"s": {}}}
    )
    vectors = {"a": [1, 2, 3, 4], "s": {"indices": [5, 9], "values": [0.5, 2]}}
    rig.upsert("one", [{"id": 5, "vector": vectors, "payload": {}}])
    taken = rig.take(tmp_path / "set", allow_empty=True)
    drop(rig, "none")
    drop(rig, "one")
    rig.restore(taken)
    assert (rig.count("none"), rig.count("one")) == (0, 1)
    rig.restore(taken, collections="one", mode="new", via="points")
    (made,) = rig.restored()
    found = rig.server.ask("POST", f"{path_of(made)}/points", {"ids": [5], "with_vector": True})
    assert found[0]["vector"] == vectors


def test_metadata_and_strict_mode_come_back(rig: Rig, tmp_path: Path) -> None:
    strict = {"enabled": True, "max_query_limit": 5}
    rig.fill(metadata={"owner": "search team"}, strict_mode_config=strict)
    rig.server.ask("PATCH", path_of("docs"), {"strict_mode_config": {"enabled": False}})
    taken = rig.take(tmp_path / "set")
    taken.change(
        "docs", lambda record: dataclasses.replace(record, config={**record.config, "strict_mode_config": strict})
    )
    rig.restore(taken, mode="new")
    config = rig.server.ask("GET", path_of(rig.restored()[0]))["config"]
    assert config["metadata"] == {"owner": "search team"}
    assert config["strict_mode_config"] == strict


def test_an_alias_of_the_set_that_leads_elsewhere_stays_and_is_told(rig: Rig, a_set: Set) -> None:
    rig.fill("docs_8")
    drop(rig)
    rig.alias("docs_8", "current")
    rig.restore(a_set)
    assert rig.aliases() == {"current": "docs_8"}
    assert "current was left" in rig.events("alias_left")[0].message


def test_the_plan_says_each_step_and_changes_nothing(rig: Rig, a_set: Set) -> None:
    from recoup.sources.qdrant._restore_options import RestoreOptions

    told = rig.source().foresee(a_set.parts, RestoreOptions())
    assert (told.present, told.description) == (True, "collections docs")
    assert any("the alias current leads to it" in step for step in told.steps)
    assert rig.server.collections() == ["docs"]
    assert not rig.source().foresee(a_set.parts, RestoreOptions(mode="new")).present


def test_a_set_without_collections_is_no_success(rig: Rig) -> None:
    from recoup.sources.qdrant._restore_options import RestoreOptions

    with pytest.raises(DamagedError, match="holds no collection"):
        rig.source().restore([], RestoreOptions())
