"""The servers that tests get: chosen by a variable, empty, and back after a kill with what they had."""

import base64
import json
import sys

import httpx
import pytest

from qdrant_server.choosing import VARIABLE, Keys, chosen
from qdrant_server.running import Qdrant
from qdrant_server.starting import Cluster

FOUR = {"vectors": {"size": 4, "distance": "Dot"}}


def fill(server: Qdrant, name: str, count: int = 10, **more: object) -> None:
    server.ask("PUT", f"/collections/{name}", FOUR | more)
    points = [{"id": number, "vector": [number, 1, 1, 1]} for number in range(count)]
    server.ask("PUT", f"/collections/{name}/points", {"points": points}, wait="true")


def count(server: Qdrant, name: str) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


@pytest.mark.parametrize(
    ("value", "url", "program"),
    [("", "", ""), ("http://127.0.0.1:6333/", "http://127.0.0.1:6333", ""), (sys.executable, "", sys.executable)],
)
def test_the_variable_says_which_server(value: str, url: str, program: str) -> None:
    choice = chosen({VARIABLE: value})
    assert choice.url == url
    assert bool(choice.program) == bool(program)
    assert choice.real == bool(value)


def test_a_program_that_is_not_there_is_an_error_and_no_skip() -> None:
    with pytest.raises(pytest.UsageError, match="/nowhere/qdrant"):
        chosen({VARIABLE: "/nowhere/qdrant"})


def test_a_token_says_who_may_what_and_is_signed_with_the_full_key() -> None:
    head, claims, signature = Keys(full="k").token([{"collection": "c", "access": "rw"}], expires=5).split(".")
    assert json.loads(base64.urlsafe_b64decode(claims + "==")) == {
        "access": [{"collection": "c", "access": "rw"}],
        "exp": 5,
    }
    assert json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] == "HS256"
    assert signature != Keys(full="other").token([{"collection": "c", "access": "rw"}], expires=5).split(".")[2]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_finds_an_empty_server(qdrant: Qdrant, turn: str) -> None:
    assert qdrant.collections() == []
    assert qdrant.ask("GET", "/aliases") == {"aliases": []}
    assert qdrant.ask("GET", "/snapshots") == []
    fill(qdrant, "left behind")
    assert qdrant.ask("GET", "/collections/left behind/snapshots") == []
    qdrant.ask("POST", "/collections/left behind/snapshots", wait="true")
    qdrant.ask("POST", "/snapshots", wait="true")
    create = {"create_alias": {"collection_name": "left behind", "alias_name": "other"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [create]})


def test_a_server_keeps_its_points_over_a_restart_and_a_kill(qdrant: Qdrant) -> None:
    fill(qdrant, "docs", 10, shard_number=2)
    qdrant.restart()
    assert count(qdrant, "docs") == 10
    qdrant.kill()
    with pytest.raises(httpx.TransportError):
        qdrant.ask("GET", "/collections")
    qdrant.start()
    assert count(qdrant, "docs") == 10


def test_a_server_with_keys_wants_one(qdrant_with_keys: Qdrant) -> None:
    fill(qdrant_with_keys, "c1")
    path = f"{qdrant_with_keys.url}/collections/c1/points/count"
    statuses = {
        name: httpx.post(path, json={}, headers={"api-key": key}).status_code
        for name, key in {
            "none": "",
            "wrong": "wrong",
            "read-only": qdrant_with_keys.read_only_key,
            "token": qdrant_with_keys.token([{"collection": "c1", "access": "r"}]),
            "token for another": qdrant_with_keys.token([{"collection": "c2", "access": "r"}]),
        }.items()
    }
    assert statuses == {"none": 401, "wrong": 401, "read-only": 200, "token": 200, "token for another": 403}


def test_each_node_of_a_cluster_counts_all_points_also_when_one_is_down(qdrant_cluster: Cluster) -> None:
    first, second, third = qdrant_cluster.nodes
    fill(first, "docs", 30, shard_number=3, replication_factor=2)
    assert [count(node, "docs") for node in qdrant_cluster.nodes] == [30, 30, 30]
    third.kill()
    assert [count(node, "docs") for node in (first, second)] == [30, 30]


def test_a_cluster_is_whole_and_empty_again_for_the_next_test(qdrant_cluster: Cluster) -> None:
    assert [node.collections() for node in qdrant_cluster.nodes] == [[], [], []]
    assert {len(node.ask("GET", "/cluster")["peers"]) for node in qdrant_cluster.nodes} == {3}
