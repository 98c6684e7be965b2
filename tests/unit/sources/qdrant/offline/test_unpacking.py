"""Snapshots become folders: the same files, holes as holes, and nothing anywhere else, whatever the archive says."""

import errno
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_server.surgery import END, members
from recoup.errors import DamagedError, NoSpaceError, RecoupError, RefusedError, UnsafePathError
from recoup.sources.qdrant._unpacking import unpack


def files_in(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def taken(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "name", ["docs-collection", "hybrid-collection", "docs-shard0-streamed", "custom-node0-collection"]
)
def test_every_file_has_its_length_and_its_holes(plain: Callable[[str], bytes], name: str, tmp_path: Path) -> None:
    contents = unpack(io.BytesIO(plain(name)), tmp_path / "out")
    expected = {
        f"{number}/segments/{segment}/{file}": size
        for number, shard in contents.shards.items()
        for segment, files in shard.segments.items()
        for file, size in files.items()
    }
    found = files_in(tmp_path / "out")
    assert expected.items() <= found.items()
    assert all("/wal/" in file for file in found.keys() - expected.keys())
    assert contents.unpacked > 10 * taken(tmp_path / "out")
    assert taken(tmp_path / "out") < 2 * len(plain(name)) + (1 << 20)


def inner(data: bytes) -> Iterator[tuple[str, bytes]]:
    """All files as the standard library reads them, archives inside opened, too."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            file = archive.extractfile(info)
            if file is None:
                continue
            if info.name.endswith(".tar"):
                for name, content in inner(file.read() + END):
                    yield f"{info.name.removesuffix('.tar')}/{name.removeprefix('snapshot/files/')}", content
            else:
                yield info.name, file.read()


@pytest.mark.parametrize("name", ["custom-node0-collection", "docs-shard1-stored"])
def test_the_bytes_are_those_that_the_standard_library_reads(
    plain: Callable[[str], bytes], name: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    unpack(io.BytesIO(plain(name)), out, shard=0)
    compared = 0
    for path, content in inner(plain(name)):
        placed = out / path if path[0].isdigit() else out / "0" / path
        if placed.exists():
            assert placed.read_bytes() == content
            compared += 1
    assert compared == len(files_in(out))


def test_files_and_folders_are_private(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        unpack(io.BytesIO(plain("custom-node0-collection")), tmp_path / "out")
    finally:
        os.umask(before)
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_a_shards_snapshot_gets_the_number_that_it_is_given(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    contents = unpack(io.BytesIO(plain("docs-shard1-streamed")), tmp_path / "out", shard=7)
    assert list(contents.shards) == [7]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"7"}


SEGMENT = "segments/8cf237db-d767-4359-9fd5-58feb537583b"


def packed(names: list[str], kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../../outside"
            archive.addfile(info, io.BytesIO())
    return buffer.getvalue()


def nested(names: list[str]) -> bytes:
    buffer, data = io.BytesIO(), packed(names)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(f"0/{SEGMENT}.tar")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


HOSTILE = st.sampled_from(
    ["..", ".", "", "a", "files", "snapshot", "segments", "8cf237db-d767-4359-9fd5-58feb537583b", "wal", "0", "x\0y"]
)
HOSTILE_PATHS = st.lists(HOSTILE, min_size=1, max_size=6).map("/".join)


@pytest.mark.requirement("SR-11")
@given(
    names=st.lists(HOSTILE_PATHS, max_size=4),
    prefix=st.sampled_from(["", "/", "0/", f"{SEGMENT}/files/", f"0/{SEGMENT}/", "wal/"]),
)
def test_hostile_names_lead_nowhere(tmp_path_factory: pytest.TempPathFactory, names: list[str], prefix: str) -> None:
    root = tmp_path_factory.mktemp("hostile")
    for data in (packed([f"{prefix}{name}" for name in names]), nested([f"{prefix}{name}" for name in names])):
        with pytest.raises(RecoupError):  # none of them is whole, either
            unpack(io.BytesIO(data), root / "in" / "out")
        assert {path.name for path in root.iterdir()} <= {"in"}
        assert {path.name for path in (root / "in").iterdir()} <= {"out"}


@pytest.mark.requirement("SR-11")
@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../outside",
        f"{SEGMENT}/files/../../../outside",
        f"{SEGMENT}/files//x",
        "wal/../../x",
        f"0/{SEGMENT}/files/./x",
    ],
)
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    for data in (packed([name]), nested([f"snapshot/files/{name}"])):
        with pytest.raises(UnsafePathError, match="unsafe name"):
            unpack(io.BytesIO(data), tmp_path / "out")
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        unpack(io.BytesIO(packed([f"{SEGMENT}/files/x"], kind)), tmp_path / "out")
    assert files_in(tmp_path) == {}


def test_a_file_where_a_folder_is_and_the_reverse_are_refused(tmp_path: Path) -> None:
    for number, names in enumerate(
        ([f"{SEGMENT}/files/a", f"{SEGMENT}/files/a/b"], [f"{SEGMENT}/files/a/b", f"{SEGMENT}/files/a"])
    ):
        with pytest.raises(RefusedError, match="cannot be a file here"):
            unpack(io.BytesIO(packed(names)), tmp_path / f"{number}")


def test_the_same_file_under_two_spellings_does_not_overwrite_it(tmp_path: Path) -> None:
    """`files/x` of a streamed segment and `x` are one file."""
    with pytest.raises(DamagedError, match="twice"):
        unpack(io.BytesIO(packed([f"{SEGMENT}/files/x", f"{SEGMENT}/x"])), tmp_path / "out")


def test_a_name_that_is_too_long_for_a_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be a file here"):
        unpack(io.BytesIO(packed([f"{SEGMENT}/files/{'a' * 300}"])), tmp_path / "out")


def sparse_bomb(count: int, size: int) -> bytes:
    data = b""
    for number in range(count):
        header = bytearray(tarfile.TarInfo(f"{SEGMENT}/files/{number}").tobuf(tarfile.GNU_FORMAT))
        header[156:157] = b"S"
        header[483:495] = b"\x80" + size.to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        data += header
    return data + END


@pytest.mark.requirement("SR-11")
@pytest.mark.parametrize(("count", "size"), [(1, 1 << 61), (1, 1 << 42), (200, 1 << 34)])
def test_a_bomb_of_holes_is_refused(count: int, size: int, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nearly all of them holes"):
        unpack(io.BytesIO(sparse_bomb(count, size)), tmp_path / "out")
    assert taken(tmp_path) < 1 << 20


def test_a_full_disk_is_said(plain: Callable[[str], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("recoup.sources.qdrant._unpacking.os.write", full)
    with pytest.raises(NoSpaceError, match="not enough space to unpack the snapshot"):
        unpack(io.BytesIO(plain("docs-shard0-stored")), tmp_path / "out")


def test_no_file_stays_open_after_damage(plain: Callable[[str], bytes], tmp_path: Path) -> None:
    data = plain("docs-shard0-streamed")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for number, member in enumerate(list(members(data))[:20]):
        with pytest.raises(DamagedError):
            unpack(io.BytesIO(data[: member.end - 1]), tmp_path / f"{number}")
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after == before


@given(places=st.lists(st.tuples(st.integers(0, 58_367), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_never_write_outside(
    plain: Callable[[str], bytes], tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    data = bytearray(plain("custom-node0-collection"))
    for place, value in places:
        data[place] = value
    root = tmp_path_factory.mktemp("changed")
    try:
        unpack(io.BytesIO(bytes(data)), root / "out")
    except RecoupError as error:
        assert error.message
    assert {path.name for path in root.iterdir()} == {"out"}
