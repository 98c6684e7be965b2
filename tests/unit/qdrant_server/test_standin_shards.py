"""The shards of the stand-in: blank ones, many of them, frozen ones, and the tars that they become."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_server.standin import configs, shard_data, sparsely, tar_reading, tar_writing, wals
from qdrant_server.standin.shard_data import OpenShards, ShardData
from qdrant_server.standin.tar_writing import Member

CONFIG = configs.completed({"vectors": {"size": 2, "distance": "Dot"}}, 1)


def points(*ids: int) -> dict[str, Any]:
    return {"kind": "upsert", "points": [{"id": number, "vector": [number, 1]} for number in ids]}


def shard(folder: Path, name: str, opened: OpenShards) -> ShardData:
    return ShardData(folder / name, lambda: CONFIG, opened)


def test_a_blank_shard_has_a_manifest_of_its_own_that_stays_when_it_is_opened(tmp_path: Path) -> None:
    opened = OpenShards(tmp_path / "empty")
    one, other = shard(tmp_path, "one", opened), shard(tmp_path, "other", opened)
    assert (one.ask("count", {}), one.ask("scroll", {"limit": 3})) == (0, [])
    blank = one.manifest()
    assert set(blank) != set(other.manifest())
    one.change(points(1))
    assert set(one.manifest()) == set(blank)
    one.close()


def test_more_shards_than_can_be_open_keep_what_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_data, "_OPEN", 2)
    opened = OpenShards(tmp_path / "empty")
    shards = [shard(tmp_path, str(number), opened) for number in range(5)]
    for number, each in enumerate(shards):
        each.change(points(*range(number + 1)))
    assert sum(each._shard is not None for each in shards) == 2
    assert [each.ask("count", {}) for each in shards] == [1, 2, 3, 4, 5]
    for each in shards:
        each.close()


def test_a_frozen_shard_replaces_another_and_takes_new_writes(tmp_path: Path) -> None:
    opened = OpenShards(tmp_path / "empty")
    one, other = shard(tmp_path, "one", opened), shard(tmp_path, "other", opened)
    one.change(points(1, 2, 3))
    other.change(points(7))
    for form in (wals.without_operations, wals.with_operations):
        frozen = tmp_path / form.__name__
        one.frozen_manifest(frozen)
        form(frozen / "wal", 5)
        other.replace(frozen)
        assert other.ask("count", {}) == 3
        other.change(points(3, 4))
        assert other.ask("count", {}) == 4
    one.close()
    other.close()


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9000)), max_size=60))
def test_a_file_with_holes_comes_out_of_the_tar_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, stretches: list[tuple[bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("tar")
    data = b"".join((b"x" if full else b"\0") * length for full, length in stretches)
    (folder / "file").write_bytes(data)
    name = f"{'long/' * 25}file"
    written = b"".join(tar_writing.tar([Member(name, file=folder / "file"), Member("end", data=b"last")]))
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        member = archive.extractfile(name)
        assert member is not None
        assert member.read() == data
        assert archive.getnames() == [name, "end"]
    assert tar_reading.unpack(io.BytesIO(written), folder / "out") == [name, "end"]
    assert (folder / "out" / name).read_bytes() == data


def test_a_tar_inside_a_tar_is_as_long_as_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a" * 5000)
    inner = [Member("snapshot/files/file", file=tmp_path / "file")]
    written = b"".join(tar_writing.tar([Member("segments/x.tar", nested=inner), Member("end", data=b"")]))
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        nested = archive.extractfile("segments/x.tar")
        assert nested is not None
        with tarfile.open(fileobj=nested) as segment:
            assert segment.getnames() == ["snapshot/files/file"]
        assert archive.getnames() == ["segments/x.tar", "end"]


@pytest.mark.parametrize("cut", [100, 512 + 100, 1024 + 100])
def test_a_tar_that_is_cut_inside_a_member_is_refused(tmp_path: Path, cut: int) -> None:
    whole = b"".join(tar_writing.tar([Member("a", data=b""), Member("b", data=b"x" * 900)]))
    with pytest.raises(tar_reading.MalformedError):
        tar_reading.unpack(io.BytesIO(whole[:cut]), tmp_path)


def test_a_tar_that_is_cut_between_members_is_taken(tmp_path: Path) -> None:
    whole = b"".join(tar_writing.tar([Member("a", data=b""), Member("b", data=b"x" * 900)]))
    assert tar_reading.unpack(io.BytesIO(whole[:512]), tmp_path) == ["a"]
    assert tar_reading.unpack(io.BytesIO(whole[: 512 + 512 + 1024]), tmp_path) == ["a", "b"]


def test_a_copy_keeps_holes(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as writer:
        writer.write(b"begin")
        writer.seek(20 << 20)
        writer.write(b"end")
    sparsely.copy_file(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
    assert (tmp_path / "copy").stat().st_blocks * 512 < 1 << 20
    assert sparsely.stored_size(tmp_path / "copy") < 1 << 16
