"""What a key may not do is said, by the right that is missing; points are read one by one only where that is allowed."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qdrant_server.running import Qdrant
from recoup.errors import RefusedError, SourceError
from recoup.sources.qdrant._rights import needed
from recoup.sources.qdrant.server import QdrantSource

from .taking import fill, keep

Make = Callable[..., QdrantSource]

ANSWERS = Path(__file__).parents[4] / "data" / "qdrant" / "answers" / "auth.json"


@pytest.fixture
def docs(qdrant_with_keys: Qdrant) -> Qdrant:
    fill(qdrant_with_keys, "docs", 20)
    return qdrant_with_keys


def test_a_missing_key_is_asked_for(docs: Qdrant, source: Make) -> None:
    with pytest.raises(SourceError, match="401") as caught:
        source(docs, api_key=None).check()
    assert "Set `api_key`" in caught.value.hint


def test_a_wrong_key_is_said_to_be_wrong_and_not_shown(docs: Qdrant, source: Make) -> None:
    with pytest.raises(SourceError, match="401") as caught:
        source(docs, api_key="planted-secret").check()
    assert "right `api_key`" in caught.value.hint
    assert "planted" not in str(caught.value) + caught.value.hint


@pytest.mark.requirement("CO-13")
@pytest.mark.parametrize("method", ["auto", "stream", "stored", "collection"])
def test_a_read_only_key_cannot_take_snapshots_and_the_right_is_named(docs: Qdrant, source: Make, method: str) -> None:
    for ask in (lambda one: one.check(), keep):
        with pytest.raises(SourceError, match="may not take snapshots of collection docs") as caught:
            ask(source(docs, api_key=docs.read_only_key, method=method))
        assert "write access to the collection" in caught.value.hint
        assert ("allow_scroll" in caught.value.hint) == (method == "auto")


def test_a_read_only_key_reads_the_points_where_that_is_allowed(docs: Qdrant, source: Make) -> None:
    kept = keep(source(docs, api_key=docs.read_only_key, allow_scroll=True))
    assert kept.records["docs"].method == "scroll"
    assert kept.facts.values["collection docs"]["points"] == 20
    assert kept.serious == kept.doubts == []


def test_a_token_of_one_collection_takes_what_can_be_checked_with_it(docs: Qdrant, source: Make) -> None:
    fill(docs, "other", 1)
    token = docs.token([{"collection": "docs", "access": "rw"}])
    kept = keep(source(docs, api_key=token, collections=["docs"]))
    assert kept.records["docs"].method == "stored"
    assert kept.serious == []


def test_a_token_for_points_alone_reads_them(docs: Qdrant, source: Make) -> None:
    token = docs.token([{"collection": "docs", "access": "prw"}])
    kept = keep(source(docs, api_key=token, allow_scroll=True, grpc_port=None))
    assert kept.records["docs"].method == "scroll"
    assert sum(shard.points for shard in kept.records["docs"].shards) == 20


@pytest.mark.requirement("DM-1")
def test_another_machine_is_not_contacted_where_that_is_not_allowed(docs: Qdrant, source: Make) -> None:
    far = source(docs, url="http://192.0.2.1:6333", allow_remote=False)
    for ask in (far.check, far.present, far.estimate, far.facts):
        with pytest.raises(RefusedError, match="allow_remote is false"):
            ask()


Call = tuple[str, str]


def recorded() -> dict[Call, dict[str, bool]]:
    """Every recorded call, with whether each kind of key was let in."""
    calls: dict[Call, dict[str, bool]] = {}
    for entry in json.loads(ANSWERS.read_text())["exchanges"]:
        request, response = entry["request"], entry["response"]
        path = request["path"].partition("?")[0]
        path = re.sub(r"/collections/(?!c1/|c1$|aliases)[^/]+", "/collections/new", path)
        path = re.sub(r"c1-[^/]+\.snapshot", "c1.snapshot", path)
        if entry["note"] and response.get("status"):
            calls.setdefault((request["method"], path), {})[entry["note"]] = response["status"] not in (401, 403)
    return {call: keys for call, keys in calls.items() if "JWT c1 rw" in keys and not keys["no key"]}


@pytest.mark.parametrize(("method", "path"), recorded())
def test_the_right_that_is_named_is_the_one_that_was_missing(method: str, path: str) -> None:
    may = recorded()[method, path]
    right = needed(method, path)
    if may["JWT c1 r"]:
        assert right.startswith("read access to the collection")
    elif may["JWT c1 rw"]:
        assert right.startswith("write access to the collection")
    elif may["read-only key"]:
        assert right.startswith("read access to everything")
    else:
        assert may["JWT global m"]
        assert right.startswith("manage access")
