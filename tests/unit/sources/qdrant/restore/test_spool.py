"""A set's snapshots on their way to a server."""

import dataclasses
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from recoup.errors import DamagedError
from recoup.model.part import StreamPart
from recoup.sources._staged import StagedFile
from recoup.sources.qdrant._restore_spool import measure, require_all, require_recorded, shard_of, spool
from recoup.sources.qdrant._shard_tar import Contents, SnapshotCheck

from .records import record

SNAPSHOTS = Path(__file__).parents[4] / "data" / "qdrant" / "snapshots"


def snapshot(name: str, folder: Path) -> Path:
    path = folder / f"{name}.snapshot"
    packed = (SNAPSHOTS / f"{name}.snapshot.zst").read_bytes()
    path.write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    return path


def contents_of(data: bytes, shard: int = 0) -> Contents:
    check = SnapshotCheck("it", shard)
    check.feed(data)
    return check.finish()


@pytest.mark.parametrize("name", ["docs-collection", "hybrid-collection", "empty-collection"])
def test_a_shard_is_cut_out_of_a_collections_snapshot_with_all_that_it_has(name: str, tmp_path: Path) -> None:
    path = snapshot(name, tmp_path)
    whole = contents_of(path.read_bytes())
    for shard, held in whole.shards.items():
        cut = b"".join(shard_of(path, shard))
        found = contents_of(cut, shard)
        assert found.form == "stored"
        assert found.shards[shard].segments == held.segments
        assert found.shards[shard].wal == held.wal
        assert found.shards[shard].state == held.state
        measured = measure(path, shard)
        assert measured.size == len(cut)


def test_names_too_long_for_a_header_and_pax_headers_are_cut_out_as_well(tmp_path: Path) -> None:
    path, long = tmp_path / "repacked", "wal/" + "x" * 150
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        with tarfile.open(path, "w", format=form) as archive:
            for name in ("3/" + (long if form != tarfile.USTAR_FORMAT else "wal/" + "y" * 90), "31/wal/no", "3/z.json"):
                member = tarfile.TarInfo(name)
                member.size = 5
                archive.addfile(member, io.BytesIO(b"hello"))
        with tarfile.open(fileobj=io.BytesIO(b"".join(shard_of(path, 3)))) as found:
            assert [name[:5] for name in found.getnames()] == ["wal/" + found.getnames()[0][4], "z.jso"]
            assert len(found.getnames()[0]) in (154, 94)
            assert all(found.extractfile(name).read() == b"hello" for name in found.getnames())  # type: ignore[union-attr]


def test_a_spooled_snapshot_is_a_private_file_with_its_hash(tmp_path: Path) -> None:
    path = snapshot("docs-shard0-stored", tmp_path)
    spooled = spool(StreamPart("docs/shard-0.snapshot", StagedFile(path)), tmp_path / "spool", 0)
    assert spooled.path.read_bytes() == path.read_bytes()
    assert spooled.path.stat().st_mode & 0o777 == 0o600
    assert spooled.size == path.stat().st_size
    assert len(spooled.sha256) == 64


def test_a_snapshot_that_is_cut_short_is_not_spooled_as_good(tmp_path: Path) -> None:
    path = snapshot("docs-shard0-streamed", tmp_path)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(DamagedError):
        spool(StreamPart("docs/shard-0.snapshot", StagedFile(path)), tmp_path / "spool", 0)


def test_a_snapshot_without_a_recorded_segment_is_found(tmp_path: Path) -> None:
    found = contents_of(snapshot("docs-shard0-stored", tmp_path).read_bytes())
    segments = found.shards[0].records()
    one = record()
    good = dataclasses.replace(one, shards=(dataclasses.replace(one.shards[0], segments=segments),))
    assert [shard.id for shard in require_recorded(good, "docs/shard-0.snapshot", found)] == [0]
    del found.shards[0].segments[next(iter(segments))]
    with pytest.raises(DamagedError, match="lacks segment"):
        require_recorded(good, "docs/shard-0.snapshot", found)


def test_a_shard_that_the_set_lacks_is_named() -> None:
    with pytest.raises(DamagedError, match=r"lacks docs/shard-1\.snapshot, which holds shard 1"):
        require_all(record(shards={0: None, 1: None}), {"docs/shard-0.snapshot"})
