"""Parts become files, and nothing that a part claims leads outside."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recoup.errors import DamagedError, RecoupError, RestoreError, UnsafePathError
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.system.tempdirs import remove_tree
from recoup.system.unpacking import make_durable, write_part, write_stream, write_tree

TIME = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Bytes:
    """Content from memory; `broken` fails at the end as damaged stored bytes do."""

    data: bytes
    broken: bool = False
    disposable: bool = False
    local_path: PurePath | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator["BytesReader"]:
        yield BytesReader(self)


class BytesReader:
    changed = False

    def __init__(self, content: Bytes) -> None:
        self._file = io.BytesIO(content.data)
        self._broken = content.broken

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        if not data and self._broken:
            raise DamagedError("the stored bytes are wrong")
        return data


def file(name: str, data: bytes = b"data", mode: int = 0o640, *, broken: bool = False) -> Member:
    return Member(name, "file", Attributes(mode, TIME), len(data), content=Bytes(data, broken))


def folder(name: str, mode: int = 0o750) -> Member:
    return Member(name, "folder", Attributes(mode, TIME))


def symlink(name: str, link: str) -> Member:
    return Member(name, "symlink", Attributes(0o777, TIME), link=link)


def hardlink(name: str, link: str) -> Member:
    return Member(name, "hardlink", link=link)


def tree(*members: Member) -> TreePart:
    return TreePart(".", iter(members))


def test_a_stream_gets_its_bytes_mode_and_time(tmp_path: Path) -> None:
    part = StreamPart("db", Bytes(b"x" * 3_000_000), 3_000_000, Attributes(0o644, TIME))
    assert write_stream(part, tmp_path / "db") == 3_000_000
    status = (tmp_path / "db").stat()
    assert (tmp_path / "db").read_bytes() == b"x" * 3_000_000
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o644, TIME)


@pytest.mark.requirement("SR-14")
def test_a_stream_without_attributes_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_stream(StreamPart("db", Bytes(b"x")), tmp_path / "db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o600


def test_runs_of_zeros_become_holes_and_read_back_the_same(tmp_path: Path) -> None:
    data = b"a" * 100 + bytes(40_000_000) + b"b" + bytes(30_000_000)
    told: list[int] = []
    write_stream(StreamPart("db", Bytes(data)), tmp_path / "db", told.append)
    assert (tmp_path / "db").read_bytes() == data
    assert (tmp_path / "db").stat().st_blocks * 512 < 1_000_000
    assert sum(told) == len(data)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200_000)), max_size=8))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mixture_of_zeros_and_data_reads_back_the_same(tmp_path: Path, runs: list[tuple[bool, int]]) -> None:
    data = b"".join((b"\xff" if full else b"\0") * length for full, length in runs)
    target = tmp_path / "file"
    target.unlink(missing_ok=True)
    assert write_stream(StreamPart("file", Bytes(data)), target) == len(data)
    assert target.read_bytes() == data


def test_damaged_bytes_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(DamagedError):
        write_stream(StreamPart("db", Bytes(b"x" * 100, broken=True)), tmp_path / "db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("promised", [3, 5])
def test_a_stream_of_another_length_than_promised_is_damaged_and_leaves_no_file(tmp_path: Path, promised: int) -> None:
    with pytest.raises(DamagedError, match=f"4 bytes came where {promised} were promised"):
        write_stream(StreamPart("db", Bytes(b"four"), promised), tmp_path / "db")
    assert not list(tmp_path.iterdir())


def test_a_stream_never_replaces_what_is_there_nor_writes_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "db").symlink_to(outside)
    with pytest.raises(RestoreError, match="there already"):
        write_stream(StreamPart("db", Bytes(b"x")), tmp_path / "db")
    assert not outside.exists()
    assert (tmp_path / "db").is_symlink()


def test_a_tree_comes_back_with_modes_times_links_and_empty_folders(tmp_path: Path) -> None:
    target = tmp_path / "tree"
    written = write_tree(
        tree(
            folder(".", 0o711),
            folder("empty", 0o500),
            folder("a"),
            file("a/one", b"1" * 10, 0o444),
            hardlink("a/two", "a/one"),
            symlink("a/gone", "../../nowhere"),
            folder("a/b", 0o555),
            file("a/b/deep", b""),
        ),
        target,
    )
    assert (written.files, written.folders, written.links, written.bytes) == (2, 3, 2, 10)
    modes = {name: stat.S_IMODE((target / name).lstat().st_mode) for name in ("", "empty", "a", "a/one", "a/b")}
    assert modes == {"": 0o711, "empty": 0o500, "a": 0o750, "a/one": 0o444, "a/b": 0o555}
    for name in ("", "empty", "a", "a/one", "a/gone", "a/b", "a/b/deep"):
        assert (target / name).lstat().st_mtime_ns == TIME, name
    assert (target / "a/one").stat().st_ino == (target / "a/two").stat().st_ino
    assert (target / "a/gone").readlink() == Path("../../nowhere")
    remove_tree(target)


def test_extended_attributes_come_back_and_refused_ones_are_counted(tmp_path: Path) -> None:
    good = Member("good", "file", Attributes(0o400, TIME, {"user.kind": b"\0\xff"}), content=Bytes(b""))
    bad = Member("bad", "file", Attributes(0o600, TIME, {"nonsense.kind": b"x"}), content=Bytes(b""))
    written = write_tree(tree(good, bad), tmp_path / "tree")
    assert written.attributes_refused == 1
    assert os.getxattr(tmp_path / "tree/good", "user.kind") == b"\0\xff"


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_tree(tree(file(name)), tmp_path / "tree")
    assert os.listdir(os.fsencode(tmp_path / "tree")) == [b"caf\xe9"]


HOSTILE = {
    "absolute": [file("/tmp/evil")],
    "parent": [file("../evil")],
    "parent inside": [folder("a"), file("a/../../evil")],
    "nul": [file("a\0b")],
    "empty": [file("")],
    "lone surrogate": [file("\ud800")],
    "below a file": [file("a"), file("a/evil")],
    "below a link": [symlink("a", ".."), file("a/evil")],
    "folder over a link": [symlink("a", ".."), folder("a"), file("a/evil")],
    "file over a link": [symlink("evil", "../evil"), file("evil")],
    "file over a dangling link": [symlink("a", "../evil"), file("a")],
    "twice": [file("a"), file("a")],
    "folder twice": [folder("a"), folder("a")],
    "file over a folder": [folder("a"), file("a")],
    "below nothing": [file("never/named")],
    "hard link outside": [hardlink("a", "../outside")],
    "hard link absolute": [hardlink("a", "/etc/passwd")],
    "hard link to a later one": [hardlink("a", "b"), file("b")],
    "hard link to itself": [hardlink("a", "a")],
    "hard link through a link": [symlink("up", ".."), hardlink("a", "up/outside")],
    "hard link to a link": [symlink("up", "../outside"), hardlink("a", "up")],
    "hard link to a folder": [folder("a"), hardlink("b", "a")],
    "link with nul": [symlink("a", "b\0c")],
    "link with a lone surrogate": [symlink("a", "\ud800")],
    "unknown kind": [Member("a", "device", Attributes(0o600, TIME))],
    "root as a file": [Member(".", "file", Attributes(0o600, TIME), content=Bytes(b""))],
}


@pytest.mark.requirement("DM-10")
@pytest.mark.parametrize("present", [False, True], ids=["empty", "merging"])
@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_tree_is_refused_and_nothing_outside_is_touched(
    tmp_path: Path, members: list[Member], present: bool
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    target = tmp_path / "tree"
    if present:
        target.mkdir()
        (target / "b").write_text("older")
    with pytest.raises(RecoupError) as caught:
        write_tree(tree(*members), target, overwrite="always")
    assert caught.value.exit_code == 13
    assert outside.read_text() == "precious"
    assert outside.stat().st_nlink == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == (["outside", "tree"] if present else ["outside"])


@pytest.mark.requirement("DM-10")
def test_a_link_that_is_there_already_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "tree"
    target.mkdir()
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    write_tree(tree(folder("folder"), file("folder/x"), file("file")), target, overwrite="always")
    assert not list(outside.iterdir())
    assert not (target / "folder").is_symlink()
    assert not (target / "file").is_symlink()


def merged(target: Path, **options: object) -> dict[str, str]:
    members = [
        folder("."),
        file("same", b"same"),
        file("other", b"new"),
        file("fresh", b"fresh"),
        symlink("link", "new"),
    ]
    write_tree(tree(*members), target, **options)  # type: ignore[arg-type]
    return {p.name: str(p.readlink()) if p.is_symlink() else p.read_text() for p in sorted(target.iterdir())}


@pytest.fixture
def older(tmp_path: Path) -> Path:
    target = tmp_path / "tree"
    write_tree(
        tree(file("same", b"SAME"), file("other", b"old!"), file("extra", b"extra"), symlink("link", "old")), target
    )
    return target


def test_never_keeps_what_is_there(older: Path) -> None:
    assert merged(older) == {"same": "SAME", "other": "old!", "extra": "extra", "fresh": "fresh", "link": "old"}


def test_if_changed_trusts_size_and_time(older: Path) -> None:
    found = merged(older, overwrite="if-changed")
    assert found == {"same": "SAME", "other": "new", "extra": "extra", "fresh": "fresh", "link": "new"}


def test_always_replaces(older: Path) -> None:
    found = merged(older, overwrite="always")
    assert found == {"same": "same", "other": "new", "extra": "extra", "fresh": "fresh", "link": "new"}


def test_delete_removes_what_the_tree_does_not_have_but_for_what_is_spared(older: Path) -> None:
    (older / "sub" / "spared").mkdir(parents=True)
    (older / "sub" / "spared" / "file").write_text("x")
    (older / "sub" / "loose").write_text("x")
    write_tree(tree(file("same")), older, delete=True, spare=lambda name: name == "sub/spared")
    left = sorted(p.relative_to(older).as_posix() for p in older.rglob("*"))
    assert left == ["same", "sub", "sub/spared", "sub/spared/file"]


def test_delete_follows_no_link(tmp_path: Path, older: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (older / "away").symlink_to(outside)
    write_tree(tree(file("same")), older, delete=True)
    assert (outside / "precious").exists()
    assert not (older / "away").exists()


def test_delete_into_a_new_folder_removes_nothing_of_the_tree(tmp_path: Path) -> None:
    write_tree(tree(file("a"), folder("b"), file("b/c")), tmp_path / "new", delete=True)
    assert (tmp_path / "new/b/c").exists()


def test_a_replaced_file_is_either_the_old_or_the_new_one(older: Path) -> None:
    with pytest.raises(DamagedError):
        write_tree(tree(file("other", b"half", broken=True)), older, overwrite="always")
    assert (older / "other").read_text() == "old!"
    assert not list(older.glob(".recoup-*"))


def test_a_damaged_tree_leaves_no_new_folder(tmp_path: Path) -> None:
    with pytest.raises(DamagedError):
        write_tree(tree(folder("a"), file("a/b"), file("c", broken=True)), tmp_path / "tree")
    assert not list(tmp_path.iterdir())


def test_a_part_goes_to_its_name_and_a_dot_is_the_folder_itself(tmp_path: Path) -> None:
    root = tmp_path / "restored"
    assert write_part(StreamPart("a/b.db", Bytes(b"xy")), root) == (root / "a/b.db", 2)
    assert write_part(TreePart("t", iter([file("x")])), root) == (root / "t", 4)
    assert write_part(tree(file("y")), root) == (root, 4)
    assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*")) == ["a", "a/b.db", "t", "t/x", "y"]


@pytest.mark.requirement("DM-10")
def test_a_part_name_is_not_trusted(tmp_path: Path) -> None:
    root = tmp_path / "restored"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    for name in ("../x", "/x", "link/x", "a//b"):
        with pytest.raises(UnsafePathError):
            write_part(StreamPart(name, Bytes(b"")), root)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["restored"]


def test_make_durable_takes_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    make_durable(tmp_path / "f")
    make_durable(tmp_path)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "a ", "/", "\0", "c\n", "\udcff"]), max_size=4).map("/".join)
MEMBERS = st.lists(
    st.one_of(
        st.builds(file, NAMES),
        st.builds(folder, NAMES),
        st.builds(symlink, NAMES, st.sampled_from(["..", "../outside", "/", "a", "b/..", "."])),
        st.builds(hardlink, NAMES, NAMES),
    ),
    max_size=10,
)


@pytest.mark.requirement("DM-10")
@given(
    first=MEMBERS, second=MEMBERS, overwrite=st.sampled_from(["never", "if-changed", "always"]), delete=st.booleans()
)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_tree_whatever_it_claims_touches_anything_outside(
    tmp_path: Path, first: list[Member], second: list[Member], overwrite: str, delete: bool
) -> None:
    arena = tmp_path / "arena"
    remove_tree(arena)
    (arena / "outside").mkdir(parents=True)
    (arena / "outside" / "precious").write_text("precious")
    before = (arena / "outside").stat().st_mtime_ns
    for members in (first, second):
        with contextlib.suppress(RecoupError):
            write_tree(tree(*members), arena / "tree", overwrite=overwrite, delete=delete)  # type: ignore[arg-type]
    assert sorted(p.name for p in arena.iterdir()) in (["outside"], ["outside", "tree"])
    assert [p.name for p in (arena / "outside").iterdir()] == ["precious"]
    assert (arena / "outside" / "precious").read_text() == "precious"
    assert (arena / "outside" / "precious").stat().st_nlink == 1
    assert (arena / "outside").stat().st_mtime_ns == before
