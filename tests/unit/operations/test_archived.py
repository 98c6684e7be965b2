"""Archives inside stored contents, hostile ones too: a right answer or an error that names the archive, in bounded memory."""

import contextlib
import hashlib
import io
import tarfile
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, UsageError
from recoup.model.part import Content, Member, Reader
from recoup.operations._archived import within


class _Bytes:
    changed = False

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, 1000))  # as storages do: fewer than asked for


@dataclass
class InOneGo:
    """Content that is read from its begin alone."""

    data: bytes
    local_path: None = None
    disposable: bool = False

    def open(self) -> AbstractContextManager[Reader]:
        return contextlib.nullcontext(_Bytes(self.data))


@dataclass
class Anywhere(InOneGo):
    """Content of which any range can be read."""

    @contextlib.contextmanager
    def open_at(self, start: int, length: int | None = None, /) -> Iterator[Reader]:
        yield _Bytes(self.data[start:] if length is None else self.data[start : start + length])


KINDS = [InOneGo, Anywhere]
SNAPSHOTS = Path(__file__).parents[2] / "data" / "qdrant" / "snapshots"


def archive(files: dict[str, bytes], **settings: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=settings.get("format", tarfile.PAX_FORMAT)) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def contents(content: Content, *wanted: str) -> dict[str, bytes]:
    found = {}
    for member in within(content, "a.tar", wanted or ("",)):
        found[member.name] = _content(member)
    return found


def _content(member: Member) -> bytes:
    if member.content is None:
        return member.link.encode()
    with member.content.open() as reader:
        return b"".join(iter(lambda: reader.read(70_000), b""))


def with_sums(header: bytes) -> bytes:
    """A header with the right checksum."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def sparse(extents: list[tuple[int, int]], size: int, data: bytes) -> bytes:
    """A sparse file as old GNU tar writes it."""
    info = tarfile.TarInfo("holes")
    info.size, info.type = len(data), tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for place, (start, count) in enumerate(extents):
        header[386 + 24 * place : 410 + 24 * place] = b"%011o\0%011o\0" % (start, count)
    header[483:495] = b"%011o\0" % size
    return with_sums(bytes(header)) + data + bytes(-len(data) % 512) + bytes(1024)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_come_out_as_they_went_in(kind: type[InOneGo], form: int) -> None:
    long = "x" * (150 if form != tarfile.USTAR_FORMAT else 80)
    files = {"a": b"", "b/c": b"1" * 512, f"b/{long}": b"2" * 100_000, "d": b"3"}
    data = archive(files, format=form)
    assert contents(kind(data)) == files
    assert contents(kind(data), "d", "b/c") == {"d": b"3", "b/c": b"1" * 512}
    outer = archive({"one.tar": data, "two": b"2"})
    assert contents(kind(outer), "one.tar/b", "two") == {
        **{f"one.tar/{name}": files[name] for name in files if name.startswith("b/")},
        "two": b"2",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_sparse_member_comes_out_with_its_holes(kind: type[InOneGo]) -> None:
    data = sparse([(4096, 512), (100_000, 3)], 200_000, b"A" * 512 + b"end")
    wanted = bytes(4096) + b"A" * 512
    wanted += bytes(100_000 - len(wanted)) + b"end"
    assert contents(kind(data))["holes"] == wanted + bytes(200_000 - len(wanted))
    assert contents(kind(archive({"in.tar": data})), "in.tar/holes")["in.tar/holes"][100_000:100_003] == b"end"


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_short_or_broken_is_never_taken_for_a_shorter_one(kind: type[InOneGo]) -> None:
    data = archive({"a": b"1" * 700, "b": b"2" * 700})
    for end in (600, 1024, 1535, 1700, 2100, 3071):
        with pytest.raises(DamagedError, match="as an archive"):
            contents(kind(data[:end]))
    broken = data[:1536] + b"?" * 512 + data[2048:]
    with pytest.raises(DamagedError, match="broken"):
        contents(kind(broken))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", [b"", b"no archive " * 100, b"\x1f\x8b" + bytes(600)])
def test_what_is_no_archive_is_called_so(kind: type[InOneGo], data: bytes) -> None:
    with pytest.raises(UsageError, match="no archive"):
        contents(kind(data))


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_that_leads_back_is_refused(kind: type[InOneGo]) -> None:
    good = archive({"a": b"1" * 700})
    back = bytearray(good[:512])
    back[124:136] = b"\xff" * 4 + (-1024).to_bytes(8, "big", signed=True)
    with pytest.raises(RecoupError):
        contents(kind(good[:1536] + with_sums(bytes(back)) + good[512:]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_of_gigabytes_takes_no_memory(kind: type[InOneGo]) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    data = archive({"a": b"1"})[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(100_000)
    tracemalloc.start()
    with pytest.raises(DamagedError, match="larger than any"):
        contents(kind(data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_names_are_compared_and_links_kept_inside() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("./../up", "/etc/passwd", "./a//b"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("hard")
        link.type, link.linkname = tarfile.LNKTYPE, "./a/b"
        tar.addfile(link)
        device = tarfile.TarInfo("null")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    found = list(within(InOneGo(out.getvalue()), "a.tar", ("",)))
    assert [member.name for member in found] == ["../up", "etc/passwd", "a/b", "hard", "null"]
    assert (found[3].link, found[4].kind, found[4].content) == ("a/b", "special", None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_snapshot_that_a_server_made_comes_out(kind: type[InOneGo]) -> None:
    """Holes, and segments in archives of their own that end without the blocks of an end."""
    packed = (SNAPSHOTS / "hybrid-collection.snapshot.zst").read_bytes()
    data = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    wanted = expected(data)
    assert digests(kind(data), "") == wanted
    for archive_in_it in [one for one in wanted if one.endswith(".tar")][:1]:
        [member] = within(Anywhere(data), "a.tar", (archive_in_it,))
        below = {f"{archive_in_it}/{one}": digest for one, digest in expected(_content(member)).items()}
        assert below
        assert digests(kind(data), f"{archive_in_it}/snapshot") == below


def digests(content: Content, wanted: str) -> dict[str, str]:
    found = (one for one in within(content, "a.tar", (wanted,)) if one.kind == "file")
    return {one.name: hashlib.sha256(_content(one)).hexdigest() for one in found}


def expected(data: bytes) -> dict[str, str]:
    """The digests of a tar's files, as the standard library unpacks them."""
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        files = {"/".join(p for p in info.name.split("/") if p != "."): tar.extractfile(info) for info in tar}
        return {name: hashlib.sha256(file.read()).hexdigest() for name, file in files.items() if file is not None}


@given(st.data())
def test_whatever_is_changed_in_an_archive_ends_in_an_answer_or_a_typed_error(data: st.DataObject) -> None:
    whole = archive({"a": b"1" * 600, "in.tar": sparse([(0, 512)], 5000, b"A" * 512), "ü" * 60: b"2" * 30})
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        changed[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # with checksums that fit, so that the rest is looked at, too
        for place in range(0, len(changed) - 511, 512):
            if changed[place + 257 : place + 262] == b"ustar":
                changed[place : place + 512] = with_sums(bytes(changed[place : place + 512]))
    kind = data.draw(st.sampled_from(KINDS))
    with contextlib.suppress(RecoupError):
        for member in within(kind(bytes(changed)), "a.tar", ("", "in.tar/holes")):
            if member.size < 1_000_000:
                _content(member)
