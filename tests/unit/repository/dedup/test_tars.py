"""Cuts follow the members of archives, whatever their form; what is odd is cut like anything else."""

import io
import itertools
import random
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_server.recordings import DATA
from qdrant_server.substitutes import snapshot
from recoup.repository.dedup.tars import LARGE, Tar
from unit.repository.dedup.archives import (
    DEEPEST,
    END,
    Pieces,
    extents,
    extra,
    header,
    member,
    padded,
    record,
    sparse,
    summed,
)
from unit.repository.dedup.cut_streams import Cut, cut, noise

SNAPSHOTS = sorted(path.name.removesuffix(".snapshot.zst") for path in (DATA / "snapshots").glob("*.zst"))
NOISE = noise(1 << 20)
BIG = NOISE[: LARGE + 300]
FORMS = ["old", "0.0", "0.1", "1.0"]

sizes = st.sampled_from([0, 1, 511, 512, 513, LARGE - 1, LARGE, LARGE + 1, LARGE + 512, 200_000])
names = st.sampled_from(["a", "folder/" * 20 + "b", "ü" * 90 + "/" + "n" * 200])
kinds = st.sampled_from([tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
formats = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
pieces = st.lists(
    st.tuples(st.integers(0, 9999), st.sampled_from([0, 512, 5000, LARGE - 1, LARGE, 70_000])), min_size=1, max_size=30
)


def packed(members: list[tuple[str, bytes, bytes]], form: int = tarfile.GNU_FORMAT, *, ended: bool = True) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(data), 1_700_000_000.25
            info.linkname = "a" if info.issym() or info.islnk() else ""
            archive.addfile(info, io.BytesIO(data))
        length = archive.offset
    return file.getvalue() if ended else file.getvalue()[:length]


@st.composite
def archives(draw: st.DrawFn, depth: int = 0) -> bytes:
    members = []
    for number in range(draw(st.integers(1, 4))):
        kind = draw(kinds)
        data = NOISE[number:][: draw(sizes)] if kind == tarfile.REGTYPE else b""
        if kind == tarfile.REGTYPE and depth < DEEPEST + 1 and draw(st.integers(0, 3)) == 0:
            data = draw(archives(depth + 1))
        members.append((draw(names), kind, data))
    return packed(members, draw(formats), ended=draw(st.booleans()) or depth == 0)


def pieces_apart(lengths: list[tuple[int, int]]) -> Pieces:
    """Pieces of a file from the lengths of its holes and of its data."""
    offset, found = 0, []
    for hole, length in lengths:
        found.append((offset + hole, length))
        offset += hole + length
    return found


def marks_of(data: bytes, places: list[int]) -> set[int]:
    """What the parser says when the stream is parted at these places."""
    tar, found = Tar(), set()
    for begin, end in itertools.pairwise([0, *sorted(places), len(data)]):
        found |= {begin + mark for mark in tar.feed(memoryview(data)[begin:end])}
    return found


@settings(max_examples=40)
@given(archives(), st.data())
def test_extents_are_the_large_members_of_archives_and_of_archives_in_them(archive: bytes, data: st.DataObject) -> None:
    found = cut(archive, tar=True)
    assert found.content == archive
    assert found.places == extents(archive)
    places = data.draw(st.lists(st.integers(0, len(archive)), max_size=6))
    assert (marks_of(archive, places) | {0}) - {len(archive)} == extents(archive)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15)
@given(st.lists(pieces, min_size=1, max_size=2), st.data())
def test_extents_are_the_large_pieces_of_sparse_files(
    form: str, files: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    archive = b""
    for lengths in files:
        length = sum(size for _, size in lengths)
        archive += sparse(form, pieces_apart(lengths), (NOISE * 3)[:length]) + member(BIG)
    archive += END
    found = cut(archive, tar=True)
    assert found.content == archive
    assert found.places == extents(archive)
    places = data.draw(st.lists(st.integers(0, len(archive)), max_size=6))
    assert (marks_of(archive, places) | {0}) - {len(archive)} == extents(archive)


def test_a_sparse_file_of_thousands_of_pieces_has_those_that_are_large() -> None:
    lengths = [(512, LARGE if number % 500 == 0 else 512) for number in range(2000)]
    pieces = pieces_apart(lengths)
    data = (NOISE * 2)[: sum(length for _, length in lengths)]
    for form in FORMS:
        archive = sparse(form, pieces, data) + member(BIG) + END
        assert cut(archive, tar=True).places == extents(archive)
        assert len(extents(archive)) == 11


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_real_snapshots_are_cut_along_the_files_of_their_segments(name: str) -> None:
    data = snapshot(name)
    found = cut(data, tar=True, at=tuple(range(777, len(data), 300_000)))
    assert found.content == data
    assert found.places == extents(data)


def test_the_snapshots_have_what_this_is_about() -> None:
    assert max(len(extents(snapshot(name))) for name in SNAPSHOTS) > 20


def test_a_changed_member_leaves_the_chunks_of_all_others() -> None:
    """A member that grew moves all that follows; the others keep every chunk."""
    contents = [noise(700_000, str(number)) for number in range(5)]

    def chunks(changed: bytes) -> tuple[list[bytes], list[bytes]]:
        members = [*contents[:2], changed, *contents[3:]]
        inner = packed([(str(number), tarfile.REGTYPE, data) for number, data in enumerate(members)], ended=False)
        archive = packed([("readme", tarfile.REGTYPE, b"x"), ("segment.tar", tarfile.REGTYPE, inner)])
        return cut(archive, tar=True).chunks, [c for data in members for c in cut(data).chunks]

    before, alone = chunks(contents[2])
    assert set(alone) <= set(before)
    after, alone_after = chunks(contents[2][:1000] + b"and more" + contents[2][1000:])
    assert set(alone_after) <= set(after)
    kept = {chunk for number in (0, 1, 3, 4) for chunk in cut(contents[number]).chunks}
    assert kept <= set(before) & set(after)


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param(extra(b"n" * 3000 + b"\0", b"L"), id="a long name"),
        pytest.param(extra(b"n" * 3000 + b"\0", b"K"), id="a long link"),
        pytest.param(extra(record("comment", "for all"), b"g"), id="a global header"),
        pytest.param(extra(record("mtime", "1.5") + record("path", "n" * 5000)), id="records"),
        pytest.param(
            extra(record("x.size=", "=") + record("GNU.sparse.name", "n\n9 size=1\n")), id="records like ours"
        ),
        pytest.param(header(0, b"5") + header(0, b"2") + header(0, b"1"), id="a folder and links"),
        pytest.param(header(777, b"5"), id="a folder with a length"),
        pytest.param(header(10, b"Z") + padded(b"1234567890"), id="a kind that nobody knows"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_stands_in_front_of_a_member_is_passed_over(prefix: bytes) -> None:
    archive = member(b"small") + prefix + member(BIG) + END
    assert cut(archive, tar=True).places == extents(archive)
    assert len(extents(archive)) == 3


def test_a_length_stands_in_binary_or_in_a_record_when_it_is_large() -> None:
    binary = header(0, at_124=b"\x80" + len(BIG).to_bytes(11))
    recorded = extra(record("size", str(len(BIG)))) + header(0)
    archive = b"".join(head + padded(BIG) for head in (binary, recorded, binary)) + END
    assert cut(archive, tar=True).places == extents(archive)
    assert len(extents(archive)) == 7


def test_members_behind_a_huge_hole_are_found() -> None:
    huge = 1 << 40
    head = header(0, at_124=b"\x80" + (huge + 100).to_bytes(11))
    end, behind = NOISE[:100], bytes(412) + member(BIG) + END
    found = Cut()
    cutter = found.cutter(tar=True)
    cutter.write(head)
    cutter.hole(huge)
    cutter.write(end + behind)
    cutter.finish()
    assert found.parts == [head, huge, end, behind[: 412 + 512], BIG, behind[412 + 512 + len(BIG) :]]


def test_a_hole_where_a_header_should_be_ends_the_archive() -> None:
    found = Cut()
    cutter = found.cutter(tar=True)
    cutter.write(member(BIG))
    cutter.hole(1 << 50)
    cutter.write(member(BIG))
    cutter.finish()
    assert found.extents[-1] == member(BIG)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(NOISE[:512], id="no header"),
        pytest.param(header(LARGE)[:148] + b"0000000\0" + header(LARGE)[156:], id="a wrong sum"),
        pytest.param(header(LARGE)[:148] + b"no sum! " + header(LARGE)[156:], id="no sum"),
        pytest.param(header(0, at_124=b"\xff" * 12), id="a negative length"),
        pytest.param(header(0, at_124=b"\x80" + b"\xff" * 11), id="a length beyond everything"),
        pytest.param(header(0, at_124=b"-0000000001\0"), id="a signed length"),
        pytest.param(header(0, at_124=b"00000000999\0"), id="a length that is not octal"),
        pytest.param(header((1 << 20) + 1, b"x"), id="overlong records"),
        pytest.param(header((1 << 20) + 1, b"L"), id="an overlong name"),
        pytest.param(extra(b"99 size=1\n"), id="a record longer than the records"),
        pytest.param(extra(b"0 size=1\n"), id="a record of no length"),
        pytest.param(extra(b"3 size=1\n"), id="a record shorter than its name"),
        pytest.param(extra(record("size", "-1")), id="a negative length in a record"),
        pytest.param(extra(record("size", "9" * 5000)), id="a length of 5000 digits"),
        pytest.param(extra(record("size", "1"), b"g"), id="a length for all members"),
        pytest.param(extra(record("GNU.sparse.map", "0,x")) + member(b"1"), id="a map of no numbers"),
        pytest.param(extra(record("GNU.sparse.major", "1")) + member(padded(b"99999999\n1")), id="a map cut short"),
        pytest.param(extra(record("GNU.sparse.major", "1")) + member(NOISE[:2048]), id="a map of noise"),
        pytest.param(header(0, b"S", at_386=b"x" * 24), id="an old map of no numbers"),
    ],
)
def test_what_is_odd_ends_the_cutting_along_members_for_its_archive_alone(odd: bytes) -> None:
    inner = member(BIG) + odd + NOISE[: 2 * LARGE]
    archive = member(inner) + member(BIG) + END
    found = cut(archive, tar=True)
    assert found.content == archive
    behind = 512 + len(padded(inner)) + 512
    assert found.places == {0, 512, 1024, 1024 + len(BIG), 512 + len(inner), behind, behind + len(BIG)} - {len(archive)}
    alone = cut(inner, tar=True)
    assert alone.content == inner
    assert alone.places == {0, 512, 512 + len(BIG)}


def test_archives_deeper_than_four_are_content() -> None:
    archive = BIG
    for _ in range(9):
        archive = member(archive)
    found = cut(archive, tar=True)
    assert found.content == archive
    assert found.places == {0, *(512 * number for number in range(1, DEEPEST + 2))}


def test_a_member_longer_than_the_archive_around_it_is_odd_and_one_longer_than_the_stream_is_not() -> None:
    inner = header(1 << 32) + NOISE[: 2 * LARGE]
    archive = member(inner) + member(BIG) + END
    assert cut(inner, tar=True).places == {0, 512}
    behind = 512 + len(padded(inner)) + 512
    assert cut(archive, tar=True).places == {0, 512, 512 + len(inner), behind, behind + len(BIG)}


@pytest.mark.parametrize("data", [b"", b"ustar", NOISE, bytes(2048), header(0)[:511]], ids=len)
def test_what_is_no_archive_is_cut_like_anything_else(data: bytes) -> None:
    assert cut(data, tar=True).parts == cut(data).parts


def test_without_being_asked_for_no_archive_is_looked_for_and_behind_a_boundary_it_is() -> None:
    archive = member(BIG) + END
    assert cut(archive).places == {0}
    found = Cut()
    cutter = found.cutter(tar=True)
    for _ in range(2):
        cutter.write(archive)
        cutter.boundary()
    cutter.finish()
    assert found.extents == 2 * [archive[:512], BIG, archive[512 + len(BIG) :]]


@settings(max_examples=100)
@given(st.integers(0, 1 << 32), st.sampled_from(["nested", "hybrid-collection", *FORMS]), st.integers(1, 8))
def test_mutated_archives_are_stored_as_they_are(seed: int, what: str, changes: int) -> None:
    data, headers = bytearray(mutable(what)), HEADERS[what]
    chance = random.Random(seed)
    for _ in range(changes):
        place = chance.choice(headers)
        data[place + chance.choice([124, 130, 156, 386, 398, 482, 512, 515])] = chance.choice(
            b"\0\x80\xff07189xgLKS5=,"
        )
        data[place : place + 512] = summed(data[place : place + 512])  # else it ends here
    for _ in range(changes // 3):
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(2)] = chance.randbytes(chance.randrange(3))
    found = cut(bytes(data), tar=True, at=(chance.randrange(len(data)),))
    assert found.content == data


def mutable(what: str) -> bytes:
    if what in FORMS:
        lengths = [(100, LARGE), (512, 100), (0, 700)] * 4
        data = NOISE[: sum(length for _, length in lengths)]
        return sparse(what, pieces_apart(lengths), data) + member(BIG) + END
    return snapshot(what) if what in SNAPSHOTS else member(member(BIG) + member(b"1")) + member(BIG) + END


HEADERS = {
    what: [place for place in range(0, len(mutable(what)) - 512, 512) if mutable(what)[place + 257 :][:5] == b"ustar"]
    for what in ("nested", "hybrid-collection", *FORMS)
}


@pytest.mark.parametrize(
    ("begin", "repeated", "length"),
    [
        pytest.param(
            header(0, b"S", at_482=b"\1"), padded(b"00000777777\0" * 42 + b"\1"), 12 << 20, id="an old map without end"
        ),
        pytest.param(header((1 << 33) - 1, b"x"), bytes(4096), 16 << 20, id="records without end"),
        pytest.param(b"", extra(record("k", "v" * (1 << 19))), 3 << 20, id="records and records"),
        pytest.param(b"", extra(record("GNU.sparse.map", "0,70000," * 120_000)), 3 << 20, id="maps and maps"),
        pytest.param(
            extra(record("GNU.sparse.major", "1")) + header(1 << 32) + b"99999999\n".ljust(512, b"0"),
            b"1\n" * 256,
            16 << 20,
            id="a map inside without end",
        ),
        pytest.param(b"", header(0), 2 << 20, id="headers and headers"),
        pytest.param(b"", header(0, b"L"), 2 << 20, id="names of no length"),
    ],
)
def test_memory_is_bounded_whatever_an_archive_says(begin: bytes, repeated: bytes, length: int) -> None:
    tar = Tar()
    tar.feed(begin)
    block = repeated * max(1, (256 << 10) // len(repeated))
    tracemalloc.start()
    try:
        for _ in range(length // len(block) + 1):
            tar.feed(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_what_a_tree_of_the_plain_layout_looks_like_in_a_tar_is_cut_along_its_files(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.bin").write_bytes(noise(100_000 + number, str(number)))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(tmp_path, "tree")
    found = cut(file.getvalue(), tar=True)
    assert {noise(100_000 + number, str(number)) for number in range(3)} <= set(found.chunks)
