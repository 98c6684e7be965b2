"""Each way of taking a collection gives the same points, and leaves nothing behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qdrant_server.running import Qdrant
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep, left_on

Make = Callable[..., QdrantSource]


@pytest.mark.requirement("SR-3", "DM-6")
@pytest.mark.parametrize("method", ["stream", "stored", "collection", "scroll"])
def test_each_method_takes_every_point(qdrant: Qdrant, source: Make, method: str, clean_staging: Path) -> None:
    fill(qdrant, "docs", 100, shards=3)
    fill(qdrant, "empty", 0)
    qdrant.ask(
        "POST",
        "/collections/aliases",
        {"actions": [{"create_alias": {"collection_name": "docs", "alias_name": "current"}}]},
    )
    qdrant.ask("PUT", "/collections/docs/index", {"field_name": "kind", "field_schema": "keyword"}, wait="true")

    kept = keep(source(qdrant, method=method))

    # a server may replace segments meanwhile, so that a shard has to be taken once more
    assert [finding for finding in kept.findings if finding.what != "again"] == []
    assert kept.doubts == []
    record = kept.records["docs"]
    assert record.method == method
    assert record.aliases == ("current",)
    assert record.server == qdrant.http.get("/").json()["version"]
    assert record.payload_schema["kind"]["data_type"] == "keyword"
    assert sum(shard.points for shard in record.shards) == 100
    assert [shard.id for shard in record.shards] == [0, 1, 2]
    assert kept.facts.values["collection docs"]["points"] == 100
    assert kept.facts.values["collection empty"]["points"] == 0
    assert kept.facts.probes
    assert {shard.part for shard in record.shards} <= kept.files.keys()
    assert method in kept.method
    assert left_on(qdrant) == []


@pytest.mark.requirement("CI-4", "DM-6")
def test_the_snapshot_of_a_collection_is_named_by_collection_and_time(qdrant: Qdrant, source: Make) -> None:
    fill(qdrant, "docs", 10)
    kept = keep(source(qdrant, method="collection"))
    (part,) = {shard.part for shard in kept.records["docs"].shards}
    assert re.fullmatch(r"docs/docs-\d{4}(-\d\d){5}\.snapshot", part)
