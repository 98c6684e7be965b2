"""What `doctor` sees of a server: that it is ready, what the key may do, how each collection is."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from qdrant_server.running import Qdrant
from recoup.sources._base import Symptom
from recoup.sources.qdrant._diagnosing import diagnose
from recoup.sources.qdrant._inventory import Replica, Shard
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill

Make = Callable[..., QdrantSource]


@pytest.fixture
def docs(qdrant_with_keys: Qdrant) -> Qdrant:
    fill(qdrant_with_keys, "docs", 20)
    return qdrant_with_keys


def texts(symptoms: list[Symptom]) -> str:
    return "\n".join(f"{one.severity}: {one.message}" for one in symptoms)


@pytest.mark.requirement("CI-15")
def test_health_version_rights_and_each_collection_are_told(docs: Qdrant, source: Make) -> None:
    fill(docs, "other", 3)
    found = list(source(docs).diagnose())
    assert re.search(rf"^ok: Qdrant \d+\.\d+\.\d+ at {re.escape(docs.url)} is ready$", texts(found), re.MULTILINE)
    assert "ok: the key may take snapshots of all collections" in texts(found)
    assert "ok: collection docs is green, about 20 points" in texts(found)
    assert "ok: collection other is green, about 3 points" in texts(found)


@pytest.mark.requirement("CI-15")
def test_a_key_that_may_only_read_is_an_error_unless_reading_is_allowed(docs: Qdrant, source: Make) -> None:
    severities = []
    for allowed in (False, True):
        found = list(source(docs, api_key=docs.read_only_key, allow_scroll=allowed).diagnose())
        [right] = [one for one in found if "may only read" in one.message]
        assert "write access" in right.hint
        severities.append(right.severity)
    assert severities == ["error", "ok"]


@pytest.mark.requirement("CI-15")
@pytest.mark.parametrize(
    ("status", "states", "severity"),
    [
        ("green", ["Active"], "ok"),
        ("yellow", ["Active"], "ok"),
        ("grey", ["Active"], "warning"),
        ("red", ["Active"], "error"),
        ("", ["Active"], "warning"),
        ("green", ["Active", "Dead"], "warning"),
        ("green", ["Dead"], "error"),
    ],
)
def test_how_grave_a_collections_status_is(
    docs: Qdrant, source: Make, status: str, states: list[str], severity: str
) -> None:
    one = source(docs)
    shards = (Shard(0, None, tuple(Replica(peer, state) for peer, state in enumerate(states))),)
    with one._inventory() as inventory:
        collection = replace(inventory.collection("docs"), status=status, shards=shards)
        found = list(diagnose(inventory, [collection], one.given[0]))
    assert found[-1].severity == severity
    assert bool(found[-1].hint) == (severity != "ok")
