"""What a restore will do, decided from records and a look at the server."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from recoup.errors import ExitCode, RefusedError, RestoreError, UsageError
from recoup.sources.qdrant._preflight import (
    KeyStep,
    Standing,
    Undertaking,
    chosen,
    fresh_name,
    key_steps,
    undertaking,
    version_problem,
)
from recoup.sources.qdrant._record import CollectionRecord
from recoup.sources.qdrant._restore_options import RestoreOptions

from .records import WHEN, config, record


def standing(
    *names: str, aliases: dict[str, str] | None = None, version: str = "1.18.3", size: int = 4, shards: int = 1
) -> Standing:
    return Standing(version, {name: config(size, shards=shards) for name in names}, aliases or {})


def plan(one: CollectionRecord, there: Standing, **options: object) -> Undertaking:
    return undertaking(one, RestoreOptions.model_validate(options), there, WHEN)


def test_a_collection_that_is_not_there_is_made_under_its_own_name_with_its_aliases() -> None:
    made = plan(record(aliases=("current",)), standing("other"))
    assert (made.way, made.into, made.old, made.aliases) == ("create", "docs", None, ("current",))


def test_where_an_alias_leads_to_it_the_aliases_move() -> None:
    made = plan(record(aliases=("current",)), standing("docs", aliases={"current": "docs", "blue": "docs", "x": "y"}))
    assert (made.way, made.into, made.old) == ("alias", "docs__restore_20261121_030405", "docs")
    assert made.aliases == ("blue", "current")


def test_where_clients_use_the_own_name_it_is_replaced_and_its_name_becomes_an_alias() -> None:
    made = plan(record(aliases=("current",)), standing("docs"))
    assert (made.way, made.old, made.aliases) == ("replace", "docs", ("current", "docs"))


def test_a_name_that_is_an_alias_is_resolved_and_nothing_is_written_through_it() -> None:
    made = plan(record("current"), standing("docs_7", aliases={"current": "docs_7"}))
    assert (made.way, made.old, made.aliases) == ("alias", "docs_7", ("current",))
    assert made.into == "current__restore_20261121_030405"


def test_an_alias_cannot_be_replaced() -> None:
    with pytest.raises(RestoreError, match="is an alias of docs_7"):
        plan(record("current"), standing("docs_7", aliases={"current": "docs_7"}), mode="replace")


def test_mode_alias_needs_an_alias() -> None:
    with pytest.raises(RestoreError, match="no alias leads to docs"):
        plan(record(), standing("docs"), mode="alias")


def test_mode_new_switches_nothing() -> None:
    made = plan(record(aliases=("current",)), standing("docs", aliases={"current": "docs"}), mode="new")
    assert (made.way, made.aliases) == ("new", ())
    assert "nothing is switched" in made.steps


def test_merge_writes_points_into_what_the_name_leads_to() -> None:
    made = plan(record(), standing("docs_7", aliases={"docs": "docs_7"}), mode="merge")
    assert (made.way, made.into, made.points, made.aliases) == ("merge", "docs_7", True, ())


def test_merge_of_other_vectors_is_refused() -> None:
    with pytest.raises(RestoreError, match="4 x Dot in the set and 8 x Dot there"):
        plan(record(), standing("docs", size=8), mode="merge")


def test_differences_to_what_is_there_are_told() -> None:
    made = plan(record(shards={0: None, 1: None}), standing("docs", size=8, shards=3))
    assert any("4 x Dot in the set and 8 x Dot in docs" in step for step in made.steps)
    assert any("2 shards, docs has 3" in step for step in made.steps)


def test_an_alias_of_the_set_that_leads_elsewhere_stays_unless_all_are_asked_for() -> None:
    there = standing("docs_8", aliases={"current": "docs_8"})
    one = record("docs_7", aliases=("current",))
    kept = plan(one, there)
    assert (kept.aliases, kept.left) == ((), {"current": "docs_8"})
    assert any("current of the set stays" in step for step in kept.steps)
    assert plan(one, there, aliases="all").aliases == ("current",)


def test_an_alias_of_the_set_that_is_a_collection_now_is_left() -> None:
    made = plan(record("docs_7", aliases=("docs",)), standing("docs"), aliases="all")
    assert (made.aliases, made.left) == ((), {"docs": "docs"})


def test_a_renamed_collection_is_looked_for_under_its_new_name() -> None:
    made = plan(record(), standing("docs"), rename="docs=docs_of_may")
    assert (made.name, made.into, made.way) == ("docs_of_may", "docs_of_may", "create")


@pytest.mark.parametrize("there", ["1.18.3", "1.18.0", "1.19.4"])
def test_snapshots_go_into_the_same_minor_version_and_the_next(there: str) -> None:
    assert version_problem("1.18.3", there) == ""


@pytest.mark.parametrize("there", ["1.17.9", "1.20.0", "2.18.3", "", "nightly"])
def test_snapshots_do_not_go_into_other_versions(there: str) -> None:
    assert version_problem("1.18.3", there)


def test_another_version_is_refused_with_the_way_out() -> None:
    with pytest.raises(RefusedError) as caught:
        plan(record(server="1.16.0"), standing())
    assert caught.value.exit_code == ExitCode.REFUSED
    assert "--via points" in caught.value.hint


def test_points_go_into_any_version() -> None:
    assert plan(record(server="0.9.0"), standing(), via="points").points
    assert plan(record(server="0.9.0", method="scroll"), standing()).points


def test_a_set_of_points_has_no_snapshots() -> None:
    with pytest.raises(UsageError, match="not its snapshots"):
        plan(record(method="scroll"), standing(), via="snapshot")


def test_shard_keys_are_made_in_the_order_of_their_shards() -> None:
    one = record(shards={1: "eu", 2: "eu", 3: 7, 4: "7"})
    assert key_steps(one) == (KeyStep("eu", 2), KeyStep(7, 1), KeyStep("7", 1))


def test_gaps_are_filled_with_keys_that_go_again() -> None:
    steps = key_steps(record(shards={2: "eu", 5: "us", 6: "us"}))
    assert not isinstance(steps, str)
    assert [(step.shards, step.filler) for step in steps] == [(1, True), (1, False), (2, True), (2, False)]


def test_numbers_that_no_new_collection_gets_send_the_points_one_by_one() -> None:
    torn = plan(record(shards={1: "eu", 2: "us", 3: "eu"}), standing())
    assert torn.points
    assert "not numbered one after another" in torn.steps[0]
    assert plan(record(shards={0: None, 2: None}), standing()).points


def test_numbers_that_no_new_collection_gets_are_refused_where_snapshots_were_demanded() -> None:
    with pytest.raises(RestoreError, match="are numbered 0, 2"):
        plan(record(shards={0: None, 2: None}), standing(), via="snapshot")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", 1, 2]), st.integers(1, 3), st.integers(0, 3)), max_size=5))
def test_the_keys_give_the_recorded_numbers_or_the_points_go_one_by_one(runs: list[tuple[str | int, int, int]]) -> None:
    shards: dict[int, str | int | None] = {}
    number = 1
    for key, count, gap in runs:
        number += gap
        for _ in range(count):
            shards[number] = key
            number += 1
    one = record(shards=shards, settings=config(custom=True))
    steps = key_steps(one)
    if isinstance(steps, str):
        return
    made: dict[int, str | int | None] = {}
    following = 1
    for step in steps:
        for _ in range(step.shards):
            if not step.filler:
                made[following] = step.key
            following += 1
    assert made == shards


def test_a_collection_that_the_set_does_not_have_is_named() -> None:
    with pytest.raises(UsageError, match="no collection nope") as caught:
        chosen([record("a"), record("b")], RestoreOptions.model_validate({"collections": "a,nope"}))
    assert "a, b" in caught.value.hint


def test_two_collections_cannot_become_one() -> None:
    with pytest.raises(UsageError, match="two collections"):
        chosen([record("a"), record("b")], RestoreOptions.model_validate({"rename": "a=b"}))


def test_a_long_name_is_cut_so_that_the_new_one_fits() -> None:
    name = fresh_name("ä" * 127, WHEN, ())
    assert len(name.encode()) <= 255
    assert name.endswith("__restore_20261121_030405")


def test_a_fresh_name_is_nobodys() -> None:
    first = fresh_name("docs", WHEN, ())
    assert fresh_name("docs", WHEN, {first}) == f"{first}_2"


def test_options_are_understood_as_typed() -> None:
    options = RestoreOptions.model_validate(
        {"collections": "a, b", "rename": "a=c,b=d", "drop_old": "true", "rate": "100", "keep": "/tmp/x"}
    )
    assert (options.collections, dict(options.rename)) == (("a", "b"), {"a": "c", "b": "d"})
    assert (options.drop_old, options.rate, options.keep) == (True, 100.0, Path("/tmp/x"))


@pytest.mark.parametrize("wrong", [{"rename": "a"}, {"mode": "move"}, {"rate": "-1"}, {"nope": 1}])
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RestoreOptions.model_validate(wrong)
