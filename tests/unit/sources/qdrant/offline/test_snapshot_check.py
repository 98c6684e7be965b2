"""A snapshot is whole or it is refused: real ones, cut ones, and ones that end as if nothing had happened."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from qdrant_server.surgery import END, Member, members, without
from recoup.errors import DamagedError, RecoupError, RefusedError
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck

COLLECTIONS = ["docs-collection", "hybrid-collection", "empty-collection"]
NODES = [f"{name}-node{number}-collection" for name in ("cluster", "custom") for number in range(3)]
STORED = ["docs-shard0-stored", "docs-shard1-stored"]
STREAMED = ["docs-shard0-streamed", "docs-shard1-streamed", "hybrid-shard0-streamed"]
PARTIAL = ["docs-shard0-partial-full", "docs-shard0-partial-delta"]
ALL = [*COLLECTIONS, *NODES, *STORED, *STREAMED, *PARTIAL]


def checked(data: bytes, size: int = 1 << 20) -> Contents:
    check = SnapshotCheck("it")
    for start in range(0, len(data), size):
        check.feed(data[start : start + size])
    return check.finish()


@pytest.mark.parametrize("name", ALL)
def test_a_real_snapshot_is_whole(plain: Callable[[str], bytes], name: str) -> None:
    contents = checked(plain(name))
    assert contents.bytes == len(plain(name))
    forms = {"collection": [*COLLECTIONS, *NODES], "stored": STORED, "streamed": STREAMED, "partial": PARTIAL}
    assert name in forms[contents.form or ""]
    for shard in contents.shards.values():
        assert shard.local == bool(shard.segments)
        assert all({"segment.json", "version.info"} <= files.keys() for files in shard.segments.values())


@pytest.mark.parametrize("size", [1, 511, 513, 100_000])
def test_it_does_not_matter_in_which_pieces_it_comes(plain: Callable[[str], bytes], size: int) -> None:
    data = plain("custom-node0-collection")
    assert checked(data, size) == checked(data)


def test_a_collection_tells_its_configuration_shards_and_keys(
    plain: Callable[[str], bytes], truth: Mapping[str, Any]
) -> None:
    docs = checked(plain("docs-collection"))
    assert docs.config is not None
    assert docs.config["params"] == truth["docs-collection"]["config"]["params"]
    assert docs.payload_index is not None
    assert set(docs.payload_index["schema"]) == set(truth["docs-collection"]["payload_schema"])
    assert docs.version == "0.4.2"
    assert [log.records for log in docs.shards[0].wal.values()] == [19, 0]
    custom = checked(plain("custom-node1-collection"))
    assert dict(custom.shard_keys or ()) == {"eu": (1,), "us": (2,)}
    assert [number for number, shard in custom.shards.items() if shard.local] == [1]
    cluster = checked(plain("cluster-node0-collection"))
    assert {number: (shard.local, shard.active) for number, shard in cluster.shards.items()} == {
        0: (False, False),
        1: (True, True),
        2: (True, True),
    }


def test_a_stored_and_a_streamed_snapshot_tell_the_same_files(plain: Callable[[str], bytes]) -> None:
    stored, streamed = (checked(plain(f"docs-shard0-{how}")).shards[0] for how in ("stored", "streamed"))
    assert stored.segments.keys() == streamed.segments.keys()
    assert all(stored.segments[segment].keys() == files.keys() for segment, files in streamed.segments.items())
    assert stored.records().keys() == stored.segments.keys()


def boundaries(data: bytes) -> list[int]:
    return [member.end for member in members(data)]


@pytest.mark.requirement("SR-9")
@pytest.mark.parametrize("name", ALL)
def test_a_cut_at_any_member_is_noticed(plain: Callable[[str], bytes], name: str) -> None:
    data = plain(name)
    check, fed = SnapshotCheck("it"), 0
    for end in boundaries(data):
        check.feed(data[fed:end])
        fed = end
        with pytest.raises(DamagedError, match="cut short"):
            check.finish()
    check.feed(data[fed:])
    assert check.finish()


@pytest.mark.requirement("SR-9")
@pytest.mark.parametrize("name", ALL)
def test_an_end_at_any_member_that_looks_proper_is_noticed(plain: Callable[[str], bytes], name: str) -> None:
    data = plain(name)
    for end in boundaries(data)[:-1]:
        with pytest.raises(DamagedError, match="is not whole"):
            checked(data[:end] + END)


@pytest.mark.requirement("SR-9")
@pytest.mark.parametrize("name", ["docs-collection", *STORED, *STREAMED])
def test_a_cut_at_any_byte_is_noticed(plain: Callable[[str], bytes], name: str) -> None:
    data = plain(name)
    check, fed = SnapshotCheck("it"), 0
    for cut in sorted(random.Random(name).sample(range(1, len(data) - 512), 200)):
        check.feed(data[fed:cut])
        fed = cut
        with pytest.raises(DamagedError, match="cut short"):
            check.finish()


def test_nothing_at_all_is_no_snapshot() -> None:
    with pytest.raises(DamagedError, match="is empty"):
        checked(b"")
    with pytest.raises(DamagedError, match="holds nothing of a Qdrant collection"):
        checked(END)


def test_half_an_end_mark_and_something_behind_it_are_noticed(plain: Callable[[str], bytes]) -> None:
    data = plain("empty-collection")
    with pytest.raises(DamagedError, match="cut short"):
        checked(data[:-512])
    with pytest.raises(DamagedError, match="half there"):
        checked(data[:-512] + b"x" * 512)
    with pytest.raises(DamagedError, match="behind its end"):
        checked(data + bytes(511) + b"x")
    assert checked(data + bytes(8192)).form == "collection"


def lacking(data: bytes, *names: str) -> bytes:
    return without(data, lambda member: member.name.endswith(names))


@pytest.mark.parametrize(
    ("name", "missing", "said"),
    [
        ("docs-shard0-streamed", "replica_state.json", "shard 0: replica_state.json is missing"),
        ("docs-shard0-streamed", "shard_config.json", "shard 0: shard_config.json is missing"),
        ("docs-shard0-stored", "wal/closed-19", "no write-ahead log"),
        ("docs-shard0-stored", ".tar", "no segment"),
        ("docs-shard0-streamed", "8cf237db-d767-4359-9fd5-58feb537583b/files/version.info", "lacks version.info"),
        ("docs-shard0-streamed", "8cf237db-d767-4359-9fd5-58feb537583b/files/segment.json", "lacks segment.json"),
        ("docs-collection", "1/shard_config.json", "shard 1: shard_config.json is missing"),
        ("docs-collection", "version.info", "version.info is missing"),
        ("docs-collection", "config.json", "config.json is missing"),
        ("docs-collection", "shard_key_mapping.json", "shard_key_mapping.json is missing"),
        ("docs-collection", "payload_index.json", "payload_index.json is missing"),
    ],
)
def test_what_is_missing_is_named(plain: Callable[[str], bytes], name: str, missing: str, said: str) -> None:
    with pytest.raises(DamagedError) as caught:
        checked(lacking(plain(name), missing))
    assert said in caught.value.message


def test_a_whole_shard_that_is_missing_is_named(plain: Callable[[str], bytes]) -> None:
    for name, shard in (("docs-collection", "1"), ("custom-node0-collection", "1")):
        data = without(plain(name), lambda member, shard=shard: member.name.startswith(f"{shard}/"))  # type: ignore[misc]
        with pytest.raises(DamagedError, match=f"shard {shard} is missing"):
            checked(data)


def test_a_shard_that_its_node_did_not_have_is_no_shards_snapshot(plain: Callable[[str], bytes]) -> None:
    data = plain("docs-shard0-stored")
    with pytest.raises(DamagedError, match="did not have the data"):
        checked(data.replace(b'{"is_local":true,', b'{"is_local":null,'))


def twice(data: bytes, ending: str) -> bytes:
    pieces = []
    for member in members(data):
        piece = data[member.start : member.end]
        pieces += [piece, piece] if member.name.endswith(ending) else [piece]
    return b"".join(pieces) + END


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("docs-shard0-streamed", "matrix.dat"),
        ("docs-shard0-stored", "4232aefd-df7f-447a-a229-f7ba39156b8e.tar"),
        ("docs-shard0-stored", "closed-19"),
        ("docs-collection", "payload_index.json"),
    ],
)
def test_a_member_that_comes_twice_is_refused(plain: Callable[[str], bytes], name: str, ending: str) -> None:
    with pytest.raises(DamagedError, match="twice"):
        checked(twice(plain(name), ending))


def moved_to_the_end(data: bytes, ending: str) -> bytes:
    moved = [data[member.start : member.end] for member in members(data) if member.name.endswith(ending)]
    rest = without(data, lambda member: member.name.endswith(ending))
    return rest[: -len(END)] + b"".join(moved) + END


def test_nothing_may_come_behind_the_last_file_of_a_shard(plain: Callable[[str], bytes]) -> None:
    for ending in ("newest_clocks.json", "matrix.dat", "closed-19"):
        with pytest.raises(DamagedError, match="behind what has to be the last file"):
            checked(moved_to_the_end(plain("docs-shard0-streamed"), ending))


def test_a_shard_inside_a_collection_and_beside_it_cannot_both_be(plain: Callable[[str], bytes]) -> None:
    collection, shard = plain("empty-collection"), plain("docs-shard0-stored")
    with pytest.raises(DamagedError, match="where it cannot be"):
        checked(collection[: -len(END)] + shard)
    with pytest.raises(DamagedError, match="where it cannot be"):
        checked(shard[: -len(END)] + collection)


@pytest.mark.parametrize("name", ["docs-collection", "docs-shard0-streamed"])
def test_files_that_are_no_json_are_damage(plain: Callable[[str], bytes], name: str) -> None:
    member = next(one for one in members(plain(name)) if one.name.endswith("replica_state.json"))
    data = bytearray(plain(name))
    data[member.content] = ord("[")
    with pytest.raises(DamagedError, match="no JSON"):
        checked(bytes(data))


def test_a_damaged_log_makes_the_snapshot_damaged(plain: Callable[[str], bytes]) -> None:
    data = plain("docs-collection")
    log = next(member for member in members(data) if member.name == "0/wal/open-1")
    changed = bytearray(data)
    changed[log.content + 100_000] ^= 1
    with pytest.raises(DamagedError, match="the write-ahead log open-1 the checksum of the next record is wrong"):
        checked(bytes(changed))


def test_a_flipped_byte_in_a_header_is_noticed(plain: Callable[[str], bytes]) -> None:
    data = plain("docs-shard0-streamed")
    headers = [member.start for member in members(data)]
    for start in headers[:: max(1, len(headers) // 40)]:
        changed = bytearray(data)
        changed[start + 20] ^= 1
        with pytest.raises(RecoupError):
            checked(bytes(changed))


def test_a_snapshot_of_a_whole_storage_says_what_it_is() -> None:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("docs-1-2026-11-20-02-00-00.snapshot")
        archive.addfile(info, io.BytesIO())
    with pytest.raises(RefusedError, match="whole storage"):
        checked(buffer.getvalue())


def test_a_large_file_passes_in_little_memory() -> None:
    import tarfile
    import tracemalloc

    info = tarfile.TarInfo("segments/8cf237db-d767-4359-9fd5-58feb537583b/files/vector_storage/matrix.dat")
    info.size = 1 << 40
    check, piece = SnapshotCheck("it"), bytes(1 << 20)
    check.feed(info.tobuf(tarfile.GNU_FORMAT))
    tracemalloc.start()
    for _ in range(4096):
        check.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert check.contents.unpacked == 1 << 40


def test_what_was_seen_before_the_damage_can_still_be_told(plain: Callable[[str], bytes]) -> None:
    data = plain("docs-collection")
    second: Member = [member for member in members(data) if member.name.startswith("1/")][0]  # noqa: RUF015 - by place
    check = SnapshotCheck("it")
    check.feed(data[: second.start + 600])
    with pytest.raises(DamagedError):
        check.finish()
    assert check.contents.shards[0].local
    assert len(check.contents.shards[0].segments) == 2
