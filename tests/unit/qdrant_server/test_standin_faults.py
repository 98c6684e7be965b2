"""The faults of the stand-in strike as they are switched on; tests of captures and restores rely on them."""

import io
import tarfile
import time
from hashlib import sha256

import httpx
import pytest

from qdrant_server.running import Qdrant

STREAM = "/collections/docs/shards/0/snapshot"


@pytest.fixture
def docs(qdrant: Qdrant) -> Qdrant:
    """A collection `docs` of one shard with a hundred points."""
    qdrant.faults.clear()
    fill(qdrant, "docs")
    return qdrant


def fill(server: Qdrant, name: str, points: int = 100, **body: object) -> None:
    server.ask("PUT", f"/collections/{name}", {"vectors": {"size": 4, "distance": "Dot"}} | body)
    found = [{"id": number, "vector": [number, 1, 2, 3], "payload": {"n": number}} for number in range(points)]
    server.ask("PUT", f"/collections/{name}/points", {"points": found}, wait="true")


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def count(server: Qdrant, name: str) -> int:
    return int(server.ask("POST", f"/collections/{name}/points/count", {"exact": True})["count"])


def upload(server: Qdrant, path: str, data: bytes, **parameters: str) -> httpx.Response:
    return server.http.post(path, params=parameters, files={"snapshot": ("x.snapshot", data)})


def test_a_stream_is_cut_at_a_byte_and_its_reader_hears_of_it(docs: Qdrant) -> None:
    docs.faults.set(cut=20_000)
    got = 0
    with pytest.raises(httpx.RemoteProtocolError), docs.http.stream("GET", STREAM) as answer:
        for piece in answer.iter_raw():
            got += len(piece)
    assert got == 20_000


def test_a_stream_that_ends_early_looks_whole_to_http_and_to_tar(docs: Qdrant) -> None:
    docs.faults.set(cut_member=3)
    answer = docs.http.get(STREAM)
    assert answer.status_code == 200
    assert answer.content.endswith(bytes(1024))
    assert len(names(answer.content)) == 3


def test_a_stream_can_end_normally_without_zero_blocks(docs: Qdrant) -> None:
    docs.faults.set(cut_normally=10_240)
    assert len(docs.http.get(STREAM).content) == 10_240


def test_a_download_that_is_cut_can_be_taken_up_again_by_a_range(docs: Qdrant) -> None:
    made = docs.ask("POST", "/collections/docs/snapshots")
    path = f"/collections/docs/snapshots/{made['name']}"
    docs.faults.set(cut=5000, times=1)
    data = b""
    with pytest.raises(httpx.RemoteProtocolError), docs.http.stream("GET", path) as answer:
        assert int(answer.headers["content-length"]) == made["size"]
        for piece in answer.iter_raw():
            data += piece
    rest = docs.http.get(path, headers={"Range": f"bytes={len(data)}-"})
    assert rest.status_code == 206
    assert sha256(data + rest.content).hexdigest() == made["checksum"]


def test_a_stream_stalls_in_its_middle_and_goes_on(docs: Qdrant) -> None:
    whole = len(docs.http.get(STREAM).content)
    docs.faults.set(stall=0.4, stall_at=10_000)
    with (
        httpx.Client(base_url=docs.url, timeout=httpx.Timeout(5, read=0.1)) as impatient,
        pytest.raises(httpx.ReadTimeout),
        impatient.stream("GET", STREAM, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        for _ in answer.iter_raw():
            pass
    assert len(docs.http.get(STREAM).content) == whole


def test_a_flipped_byte_is_one_byte(docs: Qdrant) -> None:
    made = docs.ask("POST", "/collections/docs/snapshots")
    path = f"/collections/docs/snapshots/{made['name']}"
    whole = docs.http.get(path).content
    docs.faults.set(flip=1000)
    other = docs.http.get(path).content
    assert [at for at, (one, two) in enumerate(zip(whole, other, strict=True)) if one != two] == [1000]


def test_faults_strike_only_where_and_as_often_as_they_are_told(docs: Qdrant) -> None:
    docs.faults.set(answer_status=500, path="/points/count", times=2)
    codes = [docs.http.post("/collections/docs/points/count", json={}).status_code for _ in range(3)]
    assert (codes, docs.http.get("/collections/docs").status_code) == ([500, 500, 200], 200)


def test_a_dropped_request_has_no_answer(docs: Qdrant) -> None:
    docs.faults.set(drop=True, path="/aliases", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        docs.http.get("/aliases")
    assert docs.http.get("/aliases").status_code == 200


def test_a_wrong_checksum_is_told_and_the_file_is_sound(docs: Qdrant) -> None:
    docs.faults.set(wrong_checksum=True)
    made = docs.ask("POST", "/collections/docs/snapshots")
    data = docs.http.get(f"/collections/docs/snapshots/{made['name']}").content
    assert sha256(data).hexdigest() != made["checksum"]


def test_a_full_snapshots_folder_refuses_what_is_stored_and_streams_on(docs: Qdrant) -> None:
    docs.faults.set(snapshots_quota=10_000)
    refused = docs.http.post("/collections/docs/snapshots")
    assert refused.status_code == 500
    assert "No space left on device" in refused.text
    assert docs.ask("GET", "/collections/docs/snapshots") == []
    streamed = docs.http.get(STREAM)
    assert streamed.status_code == 200
    assert upload(docs, "/collections/n/snapshots/upload", streamed.content).status_code == 500


def test_an_empty_restore_says_that_all_is_well(docs: Qdrant) -> None:
    made = docs.ask("POST", "/collections/docs/snapshots")
    data = docs.http.get(f"/collections/docs/snapshots/{made['name']}").content
    docs.faults.set(empty_restore=True)
    assert upload(docs, "/collections/copy/snapshots/upload", data, checksum=made["checksum"]).json()["result"] is True
    assert count(docs, "copy") == 0


def test_after_a_delayed_recovery_the_replica_becomes_active_by_itself(docs: Qdrant) -> None:
    data = docs.http.get(STREAM).content
    docs.ask("PUT", "/collections/copy", {"vectors": {"size": 4, "distance": "Dot"}})
    docs.faults.set(recovery_delay=0.4)
    assert upload(docs, "/collections/copy/shards/0/snapshots/upload", data).status_code == 200
    first = docs.ask("GET", "/collections/copy/cluster")["local_shards"][0]["state"]
    assert first == "Recovery"
    latest = time.monotonic() + 20
    while docs.ask("GET", "/collections/copy/cluster")["local_shards"][0]["state"] != "Active":
        assert time.monotonic() < latest
        time.sleep(0.05)
    assert count(docs, "copy") == 100


def test_a_dead_replica_is_shown_and_does_not_answer(docs: Qdrant) -> None:
    docs.faults.set(replica_states={"docs/0": "Dead"})
    assert docs.ask("GET", "/collections/docs/cluster")["local_shards"][0]["state"] == "Dead"
    refused = docs.http.post("/collections/docs/points/count", json={})
    assert (refused.status_code, "no active replica" in refused.text) == (500, True)


def test_a_proxy_answers_504_while_the_work_goes_on(docs: Qdrant) -> None:
    docs.faults.set(max_request=0.2, create_delay=0.6)
    assert docs.http.post("/collections/docs/snapshots").status_code == 504
    docs.faults.clear()
    latest = time.monotonic() + 20
    while not docs.ask("GET", "/collections/docs/snapshots"):
        assert time.monotonic() < latest
        time.sleep(0.05)


def test_a_stream_without_its_biggest_segment_has_everything_else(docs: Qdrant) -> None:
    docs.faults.set(lose_segment=True)
    found = names(docs.http.get(STREAM).content)
    assert found[-2:] == ["replica_state.json", "shard_config.json"]
    assert not [name for name in found if name.startswith("segments/")]
    assert docs.ask("GET", f"{STREAM}/partial/manifest")


def test_a_fault_that_nobody_knows_is_refused(docs: Qdrant) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        docs.faults.set(no_such_fault=1)
