"""An answer that differs from the recorded one where it matters is found; what is of its moment is not held against it."""

import json
from typing import Any

import pytest

from qdrant_server.asking import Answer
from qdrant_server.comparing import Comparison
from qdrant_server.recordings import Exchange, exchanges


def answer_of(exchange: Exchange, **changes: Any) -> Answer:
    """The recorded answer as it would come, with fields of its body changed by path."""
    document = json.loads(json.dumps(exchange.response["json"]))
    for path, value in changes.items():
        *steps, last = path.split("__")
        target = document
        for step in steps:
            target = target[int(step)] if step.isdigit() else target[step]
        target[last] = value
    return Answer(exchange.status, exchange.response["headers"], json.dumps(document).encode())


def differences(exchange: Exchange, answer: Answer) -> list[str]:
    return Comparison("/var/tests", {4667856484918545: "node 0", 77: "node 0"}).differences(exchange, answer)


@pytest.fixture
def created() -> Exchange:
    return exchanges("single-node")[44]


@pytest.fixture
def described() -> Exchange:
    return exchanges("single-node")[26]


def test_the_same_answer_has_no_difference() -> None:
    for exchange in exchanges("single-node"):
        if "json" in exchange.response:
            assert differences(exchange, answer_of(exchange)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"time": 9.5},
        {"result__name": "docs-1234567890123456-2030-01-02-03-04-05.snapshot"},
        {"result__creation_time": "2030-01-02T03:04:05"},
        {"result__size": 7},
        {"result__checksum": "0" * 64},
    ],
)
def test_times_names_sizes_and_checksums_may_differ(created: Exchange, changes: dict[str, Any]) -> None:
    assert differences(created, answer_of(created, **changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "accepted"},
        {"result__name": "other-4667856484918545-2026-11-21-02-14-57.snapshot"},
        {"result__creation_time": "yesterday"},
        {"result__size": 0},
        {"result__checksum": None},
        {"result__more": 1},
        {"time": "long"},
    ],
)
def test_other_values_and_shapes_differ(created: Exchange, changes: dict[str, Any]) -> None:
    assert len(differences(created, answer_of(created, **changes))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"result__points_count": 1599},
        {"result__points_count": True},
        {"result__config__params__shard_number": 3},
        {"result__config__hnsw_config__m": None},
        {"result__payload_schema__module__points": 1},
        {"result__payload_schema__kind__params": {}},
        {"result__status": "red"},
    ],
)
def test_a_collection_described_otherwise_differs(described: Exchange, changes: dict[str, Any]) -> None:
    assert differences(described, answer_of(described, **changes)) != []


def test_how_far_the_optimizer_has_come_may_differ(described: Exchange) -> None:
    later = answer_of(described, result__segments_count=9, result__indexed_vectors_count=0, result__status="yellow")
    assert differences(described, later) == []


def test_another_status_a_missing_length_and_another_type_differ(created: Exchange) -> None:
    same = answer_of(created)
    assert differences(created, Answer(202, same.headers, same.content)) != []
    chunked = {**same.headers, "transfer-encoding": "chunked"}
    del chunked["content-length"]
    assert len(differences(created, Answer(200, chunked, same.content))) == 2
    assert differences(created, Answer(200, {**same.headers, "content-type": "text/plain"}, same.content)) != []


def test_a_peer_counts_by_the_part_it_plays() -> None:
    placed = exchanges("single-node")[27]
    assert differences(placed, answer_of(placed, result__peer_id=77)) == []
    assert differences(placed, answer_of(placed, result__peer_id=78)) != []
    assert differences(placed, answer_of(placed, result__local_shards__0__state="Dead")) != []


def test_words_of_an_error_count_but_not_where_its_folder_is() -> None:
    refused = exchanges("single-node")[148]
    words = refused.response["json"]["status"]["error"]
    moved = words.replace("/qdrant", "/var/tests").replace("YUnwKW", "abcdef")
    assert differences(refused, answer_of(refused, status__error=moved)) == []
    assert differences(refused, answer_of(refused, status__error="Service internal error")) != []


def test_the_order_of_aliases_means_nothing_but_that_of_points_does() -> None:
    aliases = exchanges("single-node")[36]
    two = [{"alias_name": name, "collection_name": "docs"} for name in ("a", "b")]
    recorded = Exchange("", 0, 0, "", aliases.request, {**aliases.response, "json": {"result": {"aliases": two}}})
    assert differences(recorded, answer_of(recorded, result__aliases=two[::-1])) == []
    scrolled = exchanges("single-node")[40]
    backwards = scrolled.response["json"]["result"]["points"][::-1]
    assert differences(scrolled, answer_of(scrolled, result__points=backwards)) != []
