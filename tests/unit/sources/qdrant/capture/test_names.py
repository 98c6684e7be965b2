"""Collections of any name, number and size."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_server.running import Qdrant
from recoup.errors import EmptySourceError
from recoup.sources.qdrant._addresses import at
from recoup.sources.qdrant._inventory import choose
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep

Make = Callable[..., QdrantSource]

ODD = ["with space", "größe", "docs%2Fx", "a..b", "!excluded", "[x]"]


@pytest.mark.parametrize("method", ["auto", "stored", "collection", "scroll"])
def test_names_with_spaces_unicode_and_percent_signs(qdrant: Qdrant, source: Make, method: str) -> None:
    for number, name in enumerate(ODD):
        fill(qdrant, name, number + 1)
    kept = keep(source(qdrant, method=method))
    assert kept.serious == kept.doubts == []
    assert set(kept.records) == set(ODD)
    for number, name in enumerate(ODD):
        assert kept.facts.values[f"collection {name}"]["points"] == number + 1


def test_one_collection_is_copied_by_its_very_name(qdrant: Qdrant, source: Make, staging: Path) -> None:
    for name in ODD:
        fill(qdrant, name, 1)
    with source(qdrant, collections=["nothing"]).copying("!excluded", staging) as capture:
        assert next(part.name for part in capture.parts()) == "%21excluded/collection.json"


@pytest.mark.slow
@pytest.mark.requirement("CI-4")
def test_an_empty_collection_one_point_and_many_shards(qdrant: Qdrant, source: Make) -> None:
    fill(qdrant, "empty", 0)
    fill(qdrant, "one", 1)
    fill(qdrant, "many", 200, shards=40)
    kept = keep(source(qdrant))
    assert kept.serious == kept.doubts == []
    assert [len(kept.records[name].shards) for name in ("empty", "one", "many")] == [1, 1, 40]
    assert sum(shard.points for shard in kept.records["many"].shards) == 200
    assert kept.records["many"].method == "stored", "more shards than workers: all stand still first"


@pytest.mark.slow
@pytest.mark.requirement("CI-4")
def test_a_hundred_collections_are_found_by_themselves(qdrant: Qdrant, source: Make) -> None:
    for number in range(100):
        fill(qdrant, f"c{number}", 1)
    kept = keep(source(qdrant))
    assert kept.serious == kept.doubts == []
    assert len(kept.records) == 100
    assert source(qdrant).estimate() > 100


def test_custom_sharding_keeps_the_keys_with_their_shards(qdrant_distributed: Qdrant, source: Make) -> None:
    qdrant = qdrant_distributed
    fill(qdrant, "keyed", 0, sharding_method="custom", shards=2)
    for key in ("eu", 7, "7"):
        qdrant.ask("PUT", "/collections/keyed/shards", {"shard_key": key})
    body = {"points": [{"id": 1, "vector": [1, 0, 0, 0]}, {"id": 2, "vector": [0, 1, 0, 0]}], "shard_key": 7}
    qdrant.ask("PUT", "/collections/keyed/points", body, wait="true")
    for method in ("auto", "scroll"):
        record = keep(source(qdrant, method=method)).records["keyed"]
        assert record.shard_keys == ("eu", 7, "7")
        assert [(shard.id, shard.key) for shard in record.shards] == list(
            enumerate(["eu", "eu", 7, 7, "7", "7"], start=1)
        )
        assert sum(shard.points for shard in record.shards if shard.key == 7) == 2


def test_custom_sharding_without_any_key_yet(qdrant: Qdrant, source: Make) -> None:
    fill(qdrant, "keyed", 0, sharding_method="custom")
    kept = keep(source(qdrant))
    assert kept.serious == []
    assert kept.records["keyed"].shards == ()


@pytest.mark.parametrize("patterns", [["nope"], ["docs", "nope*"], ["docs", "!docs"]])
def test_a_pattern_that_matches_nothing_is_a_failure(patterns: list[str]) -> None:
    with pytest.raises(EmptySourceError):
        choose(["docs", "other"], patterns, allow_empty=False)
    assert choose(["docs", "other"], patterns, allow_empty=True) in ([], ["docs"])


def test_patterns_choose_and_exclude() -> None:
    names = ["chat", "docs", "scratch_1"]
    assert choose(names, ["*", "!scratch_*"], allow_empty=False) == ["chat", "docs"]
    assert choose(names, ["!docs"], allow_empty=False) == ["chat", "scratch_1"]


def test_a_collection_is_chosen_by_an_alias_too_which_a_restore_may_have_made_of_its_name() -> None:
    names, aliases = ["chat", "docs__restore_20261121_020000"], {"docs": "docs__restore_20261121_020000", "gone": "x"}
    assert choose(names, ["docs"], allow_empty=False, aliases=aliases) == ["docs__restore_20261121_020000"]
    assert choose(names, ["*", "!docs"], allow_empty=False, aliases=aliases) == ["chat"]
    with pytest.raises(EmptySourceError):
        choose(names, ["gone"], allow_empty=False, aliases=aliases)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_path_has_as_many_steps_as_it_was_given(steps: list[str]) -> None:
    path = at(*steps)
    assert path.count("/") == len(steps)
    assert path.isascii()
    assert "/../" not in f"{path}/"
