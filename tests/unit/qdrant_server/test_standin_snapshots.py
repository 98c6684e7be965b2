"""What a server lets pass, the stand-in lets pass too; and its data outlive it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import httpx
import pytest

from qdrant_server.running import Qdrant
from qdrant_server.starting import Started
from qdrant_server.substitutes import snapshot as real_snapshot
from qdrant_server.surgery import members, without


def fill(server: Qdrant, name: str, points: range = range(100), **body: object) -> None:
    server.ask("PUT", f"/collections/{name}", {"vectors": {"size": 4, "distance": "Dot"}} | body)
    if points:
        write(server, name, points)


def write(server: Qdrant, name: str, points: range, mark: str = "", **parts: object) -> None:
    found = [{"id": number, "vector": [number, 1, 2, 3], "payload": {"mark": mark}} for number in points]
    server.ask("PUT", f"/collections/{name}/points", {"points": found} | parts, wait="true")


def count(server: Qdrant, name: str, **question: object) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True} | question)["count"])


def marked(mark: str) -> dict[str, object]:
    return {"must": [{"key": "mark", "match": {"value": mark}}]}


def snapshot(server: Qdrant, name: str) -> bytes:
    made = server.ask("POST", f"/collections/{name}/snapshots")
    data = server.http.get(f"/collections/{name}/snapshots/{made['name']}").content
    assert sha256(data).hexdigest() == made["checksum"]
    return data


def upload(server: Qdrant, path: str, data: bytes, **parameters: str) -> httpx.Response:
    answer = server.http.post(f"/collections/{path}", params=parameters, files={"snapshot": ("x.snapshot", data)})
    assert answer.status_code == 200, answer.text
    return answer


def test_a_snapshot_without_a_segment_is_restored_with_200_and_fewer_points(qdrant: Qdrant) -> None:
    data = real_snapshot("docs-collection")
    segments = [member for member in members(data) if member.name.startswith("0/segments/")]
    big = max(segments, key=lambda member: member.size).name
    upload(qdrant, "copy/snapshots/upload", without(data, lambda member: member.name == big))
    assert count(qdrant, "copy") == 873


def test_an_upload_to_an_alias_overwrites_the_collection_behind_it(qdrant: Qdrant) -> None:
    fill(qdrant, "docs")
    data = snapshot(qdrant, "docs")
    fill(qdrant, "live", range(500, 501))
    alias = {"create_alias": {"collection_name": "live", "alias_name": "current"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [alias]})
    upload(qdrant, "current/snapshots/upload", data)
    assert (count(qdrant, "live"), qdrant.collections()) == (100, ["docs", "live"])


def test_custom_sharding_into_a_new_name_is_200_and_nothing(qdrant_distributed: Started) -> None:
    qdrant_distributed.ask(
        "PUT", "/collections/c", {"vectors": {"size": 4, "distance": "Dot"}, "sharding_method": "custom"}
    )
    qdrant_distributed.ask("PUT", "/collections/c/shards", {"shard_key": "eu"})
    write(qdrant_distributed, "c", range(10), shard_key="eu")
    upload(qdrant_distributed, "d/snapshots/upload", snapshot(qdrant_distributed, "c"))
    assert (count(qdrant_distributed, "d"), qdrant_distributed.ask("GET", "/collections/d/cluster")["shard_count"]) == (
        0,
        0,
    )


def test_shards_of_other_ids_make_points_double_when_they_are_written_again(qdrant_distributed: Started) -> None:
    body = {"vectors": {"size": 4, "distance": "Dot"}, "sharding_method": "custom", "shard_number": 2}
    for name, keys in (("c", ("eu", "us")), ("d", ("us", "eu"))):
        qdrant_distributed.ask("PUT", f"/collections/{name}", body)
        for key in keys:
            qdrant_distributed.ask("PUT", f"/collections/{name}/shards", {"shard_key": key})
    write(qdrant_distributed, "c", range(50), shard_key="eu")
    for source, target in ((1, 3), (2, 4)):
        data = qdrant_distributed.http.get(f"/collections/c/shards/{source}/snapshot").content
        upload(qdrant_distributed, f"d/shards/{target}/snapshots/upload", data)
    assert count(qdrant_distributed, "d") == 50
    write(qdrant_distributed, "d", range(50), shard_key="eu")
    assert count(qdrant_distributed, "d") > 50


def test_a_shard_goes_into_the_wrong_shard(qdrant: Qdrant) -> None:
    fill(qdrant, "docs", shard_number=2)
    counts = [shard["points_count"] for shard in qdrant.ask("GET", "/collections/docs/cluster")["local_shards"]]
    data = qdrant.http.get("/collections/docs/shards/1/snapshot").content
    upload(qdrant, "docs/shards/0/snapshots/upload", data)
    after = [shard["points_count"] for shard in qdrant.ask("GET", "/collections/docs/cluster")["local_shards"]]
    assert after == [counts[1], counts[1]]


def test_three_creations_at_once_have_one_name(qdrant: Qdrant) -> None:
    fill(qdrant, "docs")
    time.sleep(1.02 - time.time() % 1)  # a second begins
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: qdrant.http.post("/collections/docs/snapshots").json()["result"], range(3)))
    assert len({entry["name"] for entry in made}) < 3
    listed = qdrant.ask("GET", "/collections/docs/snapshots")
    last = {entry["name"]: entry["checksum"] for entry in listed}
    for name, checksum in last.items():
        data = qdrant.http.get(f"/collections/docs/snapshots/{name}").content
        assert sha256(data).hexdigest() == checksum


def test_what_was_restored_takes_new_values_for_old_points(qdrant: Qdrant) -> None:
    fill(qdrant, "docs", shard_number=2)
    data = [qdrant.http.get(f"/collections/docs/shards/{shard}/snapshot").content for shard in (0, 1)]
    fill(qdrant, "copy", range(0), shard_number=2)
    for shard in (0, 1):
        upload(qdrant, f"copy/shards/{shard}/snapshots/upload", data[shard], checksum=sha256(data[shard]).hexdigest())
    write(qdrant, "copy", range(100), mark="new")
    assert (count(qdrant, "copy"), count(qdrant, "copy", filter=marked("new"))) == (100, 100)


def test_a_partial_snapshot_brings_what_changed(qdrant: Qdrant) -> None:
    fill(qdrant, "docs")
    path = "/collections/docs/shards/0/snapshot/partial"
    manifest = qdrant.ask("GET", f"{path}/manifest")
    base = qdrant.http.post(f"{path}/create", json={}).content
    write(qdrant, "docs", range(90, 120), mark="late")
    delta = qdrant.http.post(f"{path}/create", json=manifest).content
    fill(qdrant, "copy", range(0))
    for data in (base, delta):
        upload(qdrant, "copy/shards/0/snapshot/partial/recover", data)
    assert (count(qdrant, "copy"), count(qdrant, "copy", filter=marked("late"))) == (120, 30)


def started(server: Qdrant) -> Started:
    if not isinstance(server, Started):
        pytest.skip("a server that was started by somebody else is not ended")
    return server


def test_acknowledged_points_outlive_a_kill(qdrant: Qdrant) -> None:
    server = started(qdrant)
    fill(server, "docs", range(200), shard_number=2)
    server.kill()
    server.start()
    assert count(server, "docs") == 200
    write(server, "docs", range(100, 300))
    server.restart()
    assert count(server, "docs") == 300


def test_a_stream_is_finished_before_a_server_ends_in_order(qdrant: Qdrant) -> None:
    server = started(qdrant)
    fill(server, "docs")
    whole = len(server.http.get("/collections/docs/shards/0/snapshot").content)
    if not server.real:
        server.faults.set(rate=100_000, path="/snapshot")
    with server.http.stream("GET", "/collections/docs/shards/0/snapshot") as answer:
        ending = threading.Thread(target=server.stop)
        ending.start()
        got = sum(map(len, answer.iter_raw()))
    ending.join()
    server.start()
    assert got == whole


def test_a_server_that_dies_while_it_streams_leaves_its_reader_with_an_error(qdrant: Qdrant) -> None:
    server = started(qdrant)
    fill(server, "docs")
    server.faults.set(rate=20_000)
    with (
        pytest.raises(httpx.TransportError),
        server.http.stream("GET", "/collections/docs/shards/0/snapshot") as answer,
    ):
        for at, _ in enumerate(answer.iter_raw()):
            if at == 1:
                server.kill()
    server.start()
    assert count(server, "docs") == 100


@pytest.mark.parametrize("step", ["create", "upload", "recover", "switch"])
def test_a_server_dies_at_a_step_and_comes_back_with_what_it_had(qdrant: Qdrant, step: str) -> None:
    server = started(qdrant)
    fill(server, "docs")
    data = snapshot(server, "docs")
    server.faults.set(exit_at=step)
    with pytest.raises(httpx.TransportError):
        server.http.post("/collections/docs/snapshots")
        server.http.post("/collections/n/snapshots/upload", files={"snapshot": ("x.snapshot", data)})
        server.http.post("/collections/aliases", json={"actions": []})
    server.restart()
    assert count(server, "docs") == 100
