"""Archives as the standard library and GNU tar write them, and as an enemy would."""

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, UnsafePathError
from recoup.sources.qdrant._tar import Archive, Entry, Sink


class Kept:
    """A member's content."""

    def __init__(self) -> None:
        self.data, self.closed = bytearray(), False

    def write(self, data: bytes | memoryview) -> None:
        self.data += data

    def hole(self, size: int) -> None:
        self.data += bytes(size)

    def close(self) -> None:
        self.closed = True


class Reading:
    """Keeps all members."""

    def __init__(self, *, marked: bool = True) -> None:
        self.entries: list[Entry] = []
        self.contents: dict[str, Kept] = {}
        self.archive = Archive(self._begin, "it", marked=marked)

    def _begin(self, entry: Entry) -> Sink:
        self.entries.append(entry)
        return self.contents.setdefault(entry.name, Kept())

    def read(self, data: bytes, size: int = 1 << 16) -> dict[str, bytes]:
        for start in range(0, len(data), size):
            self.archive.feed(data[start : start + size])
        self.archive.finish()
        assert all(
            kept.closed for entry, kept in zip(self.entries, self.contents.values(), strict=True) if not entry.folder
        )
        return {entry.name: bytes(self.contents[entry.name].data) for entry in self.entries if not entry.folder}


def packed(
    files: dict[str, bytes], form: int = tarfile.GNU_FORMAT, change: Callable[[tarfile.TarInfo], None] | None = None
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change:
                change(info)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(
    files=st.dictionaries(PATHS, st.binary(max_size=2000), max_size=6),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]),
    size=st.integers(1, 3000),
)
def test_what_the_standard_library_packs_comes_out_the_same(files: dict[str, bytes], form: int, size: int) -> None:
    try:
        data = packed(files, form)
    except ValueError:  # a name that ustar cannot hold
        return
    assert Reading().read(data, size) == files


def test_a_long_name_and_a_folder_come_out_the_same() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in (".", "./segments", "./segments/" + "a" * 200):
            info = tarfile.TarInfo(name)
            info.type = tarfile.REGTYPE if name.endswith("a") else tarfile.DIRTYPE
            archive.addfile(info)
    reading = Reading()
    assert reading.read(buffer.getvalue()) == {"segments/" + "a" * 200: b""}
    assert [(entry.name, entry.folder) for entry in reading.entries[:2]] == [("", True), ("segments", True)]


def sparse(name: str, extents: list[tuple[int, int]], real: int, stored: int | None = None) -> bytes:
    """A header of the old GNU sparse form, with its extension blocks."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % (sum(length for _, length in extents) if stored is None else stored)
    header[156:157] = b"S"
    table = [b"%011o\0%011o\0" % extent for extent in extents]
    header[386 : 386 + 24 * len(table[:4])] = b"".join(table[:4])
    header[482] = len(table) > 4
    header[483:495] = b"%011o\0" % real
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    blocks = [table[start : start + 21] for start in range(4, len(table), 21)]
    more = [
        b"".join(block).ljust(504, b"\0") + bytes([place + 1 < len(blocks)]) + bytes(7)
        for place, block in enumerate(blocks)
    ]
    return bytes(header) + b"".join(more)


@given(lengths=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700)), max_size=60), rest=st.integers(0, 999))
def test_sparse_files_come_out_with_their_holes(lengths: list[tuple[int, int]], rest: int) -> None:
    extents, at, plain, stored = [], 0, b"", b""
    for number, (hole, length) in enumerate(lengths):
        piece = bytes([number % 255 + 1]) * length
        extents.append((at + hole, length))
        plain, stored, at = plain + bytes(hole) + piece, stored + piece, at + hole + length
    plain += bytes(rest)
    data = sparse("file", extents, len(plain)) + stored + bytes(-len(stored) % 512) + bytes(1024)
    reading = Reading()
    assert reading.read(data, 300) == {"file": plain}
    assert reading.entries[0].size == len(plain)


@pytest.mark.parametrize(
    ("extents", "real", "stored"),
    [
        ([(0, 10), (5, 10)], 100, None),  # overlap
        ([(50, 10), (0, 10)], 100, None),  # wrong order
        ([(0, 10)], 5, None),  # behind the end
        ([(0, 10)], 100, 20),  # less than stored
        ([(0, 30)], 100, 20),  # more than stored
    ],
)
def test_pieces_that_make_no_file_are_damage(extents: list[tuple[int, int]], real: int, stored: int | None) -> None:
    with pytest.raises(DamagedError, match="pieces"):
        Reading().read(sparse("file", extents, real, stored) + bytes(2048))


@pytest.mark.parametrize(
    "kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"7", b"g", b"V"]
)
def test_links_devices_and_other_things_are_refused(kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    with pytest.raises(UnsafePathError, match="neither a file nor a folder"):
        Reading().read(packed({"file": b""}, change=change))


def test_a_long_link_is_refused() -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = tarfile.SYMTYPE, "a" * 300

    with pytest.raises(UnsafePathError):
        Reading().read(packed({"file": b""}, change=change))


def test_sparse_files_of_the_newer_form_are_refused() -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"}

    with pytest.raises(DamagedError, match=r"GNU\.sparse"):
        Reading().read(packed({"file": b"12345"}, tarfile.PAX_FORMAT, change))


def renamed(data: bytes, start: int, size: bytes) -> bytes:
    header = bytearray(data[start : start + 512])
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header) + data[start + 512 :]


@pytest.mark.parametrize(
    "size",
    [b"\xff" * 12, b"\x80\x40" + bytes(10), b"77777777777x", b"-0000000001\0", b"99999999999\0", b"\x81" + b"\0" * 11],
)
def test_lengths_that_are_none_are_damage(size: bytes) -> None:
    with pytest.raises(DamagedError):
        Reading().read(renamed(packed({"file": b"abc"}), 0, size))


def test_a_large_length_in_binary_is_read() -> None:
    size = b"\x80" + (3).to_bytes(11, "big")
    assert Reading().read(renamed(packed({"file": b"abc"}), 0, size)) == {"file": b"abc"}


def test_a_name_of_megabytes_is_refused() -> None:
    data = packed({"a" * 300: b""})
    with pytest.raises(DamagedError, match="a name of"):
        Reading().read(renamed(data, 0, b"%011o\0" % (1 << 20)))


def test_a_pax_header_of_megabytes_or_without_sense_is_refused() -> None:
    data = packed({"ä" * 200: b""}, tarfile.PAX_FORMAT)
    with pytest.raises(DamagedError, match="a PAX header of"):
        Reading().read(renamed(data, 0, b"%011o\0" % (1 << 30)))
    for wrong in (b"9999 path=", b"x path=", b"0 path="):
        with pytest.raises(DamagedError):
            Reading().read(data[:512] + wrong + data[512 + len(wrong) :])


def test_an_archive_inside_may_end_without_a_mark_but_not_in_a_file() -> None:
    data = packed({"file": b"a" * 600, "other": b""})
    whole = data[: data.rindex(b"other") + 512]
    assert Reading(marked=False).read(whole) == {"file": b"a" * 600, "other": b""}
    for cut in (100, 512, 700, 512 + 1024 - 1, len(whole) - 1):
        with pytest.raises(DamagedError, match="cut short"):
            Reading(marked=False).read(whole[:cut])
    with pytest.raises(DamagedError, match="cut short"):
        Reading().read(whole)


@given(data=st.binary(max_size=3000))
def test_what_is_no_archive_is_refused_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(DamagedError):
        Reading().read(data + b"x")


@given(places=st.lists(st.tuples(st.integers(0, 8000), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes_make_errors_of_ours_or_none(places: list[tuple[int, int]]) -> None:
    files = {"a" * 150: b"1" * 700, "other": b"2" * 100}
    data = bytearray(packed(files) if places[0][1] % 2 else packed(files, tarfile.PAX_FORMAT))
    for place, value in places:
        data[place % len(data)] = value
    try:
        Reading().read(bytes(data))
    except RecoupError as error:
        assert error.message
