"""The server of the tests answers as a real one answered: every recorded exchange that it claims to serve, played again."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from qdrant_server.choosing import Keys, chosen
from qdrant_server.classes import CLASSES, SERVED, class_of
from qdrant_server.places import quick_folder
from qdrant_server.playing import Playing
from qdrant_server.playing_clusters import ClusterPlaying
from qdrant_server.recordings import NAMES, Exchange, exchanges
from qdrant_server.starting import Cluster, Started, start, start_cluster
from qdrant_server.substitutes import SUBSTITUTES

KEYS = Keys(full="full-key", read_only="read-only-key")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if chosen().url:
        pytest.skip("a replay needs a fresh server: name a program")
    with quick_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def fresh(folder: Path) -> Iterator[Callable[[Keys], Started]]:
    """Starts a server with storage of its own."""
    started: list[Started] = []

    def launch(keys: Keys) -> Started:
        started.append(start(chosen(), folder, keys))
        return started[-1]

    yield launch
    for server in started:
        server.close()


def plain_headers(exchange: Exchange) -> Mapping[str, str]:
    return exchange.request.get("headers") or {}


def headers_with_keys(exchange: Exchange) -> Mapping[str, str]:
    """The recorded header fields, with a key of the kind that the note names."""
    scoped = {kind: KEYS.token([{"collection": "c1", "access": kind}]) for kind in ("r", "rw", "prw")}
    keys = {
        "": KEYS.full,
        "wrong key": "wrong",
        "read-only key": KEYS.read_only,
        "full key": KEYS.full,
        "full key as Bearer": f"Bearer {KEYS.full}",
        "JWT global r": KEYS.token("r"),
        "JWT global m": KEYS.token("m"),
        **{f"JWT c1 {kind}": token for kind, token in scoped.items()},
        "JWT expired": KEYS.token("m", expires=int(time.time()) - 10_000),
    }
    fields = exchange.request["headers"]
    return {name: keys[exchange.note] if value == "<key>" else value for name, value in fields.items()}


def served(recording: str) -> list[Exchange]:
    return [exchange for exchange in exchanges(recording) if class_of(recording, exchange.number) == SERVED]


def test_every_recorded_exchange_is_in_one_class() -> None:
    assert set(CLASSES) == set(NAMES)
    for recording, stretches in CLASSES.items():
        numbers = sorted(exchange.number for exchange in exchanges(recording))
        assert numbers == [number for first, last in sorted(stretches) for number in range(first, last + 1)]


def test_every_recorded_file_and_long_body_has_a_substitute() -> None:
    left_out = {
        (exchange.recording, exchange.number)
        for recording in NAMES
        for exchange in served(recording)
        if exchange.uploads or str(exchange.request.get("json")).startswith("<")
    }
    assert left_out <= set(SUBSTITUTES)


@pytest.mark.slow
def test_a_single_node_answers_as_it_did(fresh: Callable[[Keys], Started]) -> None:
    playing = Playing([fresh(Keys())], SUBSTITUTES, plain_headers)
    assert list(playing.play(served("single-node"))) == []


def test_shard_keys_lead_and_mislead_as_they_did(folder: Path) -> None:
    with closing(start_cluster(chosen(), folder, 1)) as cluster:
        playing = Playing(cluster.nodes, SUBSTITUTES, plain_headers)
        assert list(playing.play(served("custom-sharding"))) == []


@pytest.mark.slow
def test_keys_and_tokens_are_judged_as_they_were(fresh: Callable[[Keys], Started]) -> None:
    playing = Playing([fresh(KEYS)], SUBSTITUTES, headers_with_keys)
    assert list(playing.play(served("auth"))) == []


@pytest.mark.slow
def test_damaged_snapshots_are_taken_and_refused_as_they_were(fresh: Callable[[Keys], Started]) -> None:
    server = fresh(Keys())
    playing = Playing([server], SUBSTITUTES, plain_headers)
    recorded = served("damaged-snapshots")
    before = [exchange for exchange in recorded if exchange.number < 80]
    assert list(playing.play(before)) == []
    server.kill()
    server.start()
    assert list(playing.play(recorded[len(before) :])) == []


def fill_disk(server: Started) -> None:
    """A collection whose snapshot is bigger than the room in the snapshots folder."""
    server.ask("PUT", "/collections/d", {"vectors": {"size": 1024, "distance": "Dot"}})
    for first in range(0, 2500, 500):
        found = [{"id": number, "vector": [number / 7, 1.0] * 512} for number in range(first, first + 500)]
        server.ask("PUT", "/collections/d/points", {"points": found}, wait="true")
    server.faults.set(snapshots_quota=8_000_000)


def test_a_full_snapshots_folder_is_told_as_it_was(fresh: Callable[[Keys], Started]) -> None:
    server = fresh(Keys())
    if server.real:
        pytest.skip("the folder of a real server is not made small")
    fill_disk(server)
    playing = Playing([server], SUBSTITUTES, plain_headers)
    assert list(playing.play(served("disk-full"))) == []


@pytest.mark.slow
def test_a_cluster_answers_as_it_did_also_without_one_of_its_nodes(qdrant_cluster: Cluster) -> None:
    playing = ClusterPlaying(qdrant_cluster.nodes, SUBSTITUTES, plain_headers)
    recorded = served("cluster")
    before = [exchange for exchange in recorded if exchange.number not in range(45, 49)]
    assert list(playing.play(before)) == []
    playing.node("docs", 2).kill()
    assert list(playing.play([exchange for exchange in recorded if exchange not in before])) == []
