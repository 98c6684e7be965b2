"""Members are found in real snapshots as tarfile finds them, and cut without touching the others."""

import io
import tarfile

import pytest

from qdrant_server.substitutes import snapshot
from qdrant_server.surgery import END, cut_after, cut_before, find, flipped, members, place_in, without

BIG = "0/segments/4232aefd-df7f-447a-a229-f7ba39156b8e.tar"


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


@pytest.mark.parametrize("name", ["docs-collection", "docs-shard0-stored", "docs-shard0-streamed", "hybrid-collection"])
def test_members_are_those_that_tarfile_finds(name: str) -> None:
    data = snapshot(name)
    assert [member.name.rstrip("/") for member in members(data)] == names(data)
    ends = [member.end for member in members(data)]
    assert [0, *ends[:-1]] == [member.start for member in members(data)]
    assert data[ends[-1] :] == END


def test_what_is_taken_out_is_gone_and_all_else_is_as_it_was() -> None:
    data = snapshot("docs-collection")
    changed = without(data, lambda member: member.name == BIG)
    assert names(changed) == [name for name in names(data) if name != BIG]
    kept, before = find(changed, "config.json"), find(data, "config.json")
    assert changed[kept.start : kept.end] == data[before.start : before.end]


def test_a_cut_leaves_whole_members_and_no_end_blocks() -> None:
    data = snapshot("docs-collection")
    assert [member.name for member in members(cut_before(data, "config.json"))][-1] == "version.info"
    assert [member.name for member in members(cut_after(data, "config.json"))][-1] == "config.json"
    assert not cut_after(data, "config.json").endswith(END)


def test_a_place_in_a_file_of_a_segment_is_where_its_bytes_are() -> None:
    data = snapshot("docs-collection")
    outer = next(member for member in members(data) if member.name == BIG)
    with tarfile.open(fileobj=io.BytesIO(data[outer.content : outer.content + outer.size])) as archive:
        file = archive.extractfile("snapshot/files/vector_storage/matrix.dat")
        assert file is not None
        content = file.read()
    place = place_in(data, BIG, "vector_storage/matrix.dat")
    assert data[place : place + 64] == content[len(content) // 2 :][:64]
    assert flipped(data, place)[place] == data[place] ^ 0xFF
