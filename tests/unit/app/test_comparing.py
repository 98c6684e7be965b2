"""What changed from one set to another, and what sets take, in every layout."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recoup
from recoup.errors import ExitCode
from recoup.operations import diff
from recoup.operations.diff import PartChange
from recoup.repository._base import Listed
from recoup.repository.plain.members import Line
from unit.app.small_application import SOURCES, made

LAYOUTS = {
    "tree": "{path: kept}",
    "packed": "{path: kept, compression: zstd, pack: tar.zst}",
    "dedup": "{path: kept, layout: dedup, key_file: secret}",
}
LARGE = os.urandom(2_000_000)

Opened = Callable[[], recoup.Stack]


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path, layout: str) -> Path:
    made(tmp_path, f"{SOURCES}  main: {LAYOUTS[layout]}\n")
    (tmp_path / "secret").write_bytes(os.urandom(32))
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "data/uploads/large").write_bytes(LARGE)
    return tmp_path


@pytest.fixture
def opened(root: Path) -> Opened:
    def make() -> recoup.Stack:
        return recoup.open(root / "recoup.yaml", environ={"HOME": str(root)}, cwd=root)

    make().create_repositories()
    return make


def backed_up(opened: Opened, sources: list[str] | None = None) -> str:
    report = opened().backup(sources=sources)
    assert report.exit_code == ExitCode.OK
    assert report.manifest is not None
    return report.manifest.name


def changes(report: diff.DiffReport) -> dict[str, str]:
    return {f"{part.source}/{part.part}": part.change for part in report.parts}


def members(report: diff.DiffReport, source: str) -> dict[str, str]:
    [part] = [part for part in report.parts if part.source == source]
    assert part.members is not None
    return {one.name: one.change for one in part.members.named}


def test_between_sets_of_the_same_data_nothing_differs(opened: Opened, layout: str) -> None:
    first, second = backed_up(opened), backed_up(opened)
    report = opened().diff(first, second)
    assert set(changes(report).values()) == {"same"}
    assert report.outcomes == {}
    if layout == "dedup":
        assert report.added is not None
        assert report.added.bytes < 100_000  # member lists, whose times of reading differ
    else:
        assert report.added is None


def test_what_was_added_removed_and_changed_is_named(opened: Opened, root: Path, layout: str) -> None:
    (root / "data/uploads/gone").write_text("gone")
    (root / "data/uploads/both").write_text("both")
    first = backed_up(opened)
    (root / "data/uploads/gone").unlink()
    (root / "data/uploads/new").write_bytes(os.urandom(300_000))
    (root / "data/uploads/note").write_text("another note")
    (root / "data/chat.db").write_text("hello " * 21)
    second = backed_up(opened)
    report = opened().diff(first, second)
    assert changes(report) == {"chat/chat.db": "changed", "uploads/.": "changed"}
    named = members(report, "uploads")
    assert named.pop(".", "changed") == "changed"
    assert named == {"gone": "removed", "new": "added", "note": "changed"}
    back = opened().diff(second, first)
    assert members(back, "uploads")["new"] == "removed"
    if layout == "dedup":
        assert report.added is not None
        assert report.removed is not None
        assert 300_000 < report.added.bytes < 2_000_000
        assert report.added.missing == 0
        assert (report.added, report.removed) == (back.removed, back.added)


def test_a_file_that_changed_in_secret_is_no_less_changed(opened: Opened, root: Path, layout: str) -> None:
    """Of the same size and with the same time, as a memory-mapped file may be."""
    first = backed_up(opened)
    file = root / "data/uploads/large"
    before = file.stat()
    file.write_bytes(LARGE[:1000] + b"x" + LARGE[1001:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = backed_up(opened)
    report = opened().diff(first, second)
    assert changes(report) == {"chat/chat.db": "same", "uploads/.": "changed"}
    assert members(report, "uploads") == ({} if layout == "dedup" else {"large": "changed"})


def test_a_source_that_one_set_lacks_is_new_or_gone(opened: Opened) -> None:
    first, second = backed_up(opened, ["chat"]), backed_up(opened)
    assert changes(opened().diff(first, second)) == {"chat/chat.db": "same", "uploads/.": "added"}
    report = opened().diff(second, first)
    assert changes(report) == {"chat/chat.db": "same", "uploads/.": "removed"}
    assert report.outcomes == {"uploads": ("complete", "")}


@pytest.mark.parametrize("layout", ["tree"], indirect=True)
def test_what_nothing_tells_is_called_unknown_and_not_the_same(opened: Opened, root: Path) -> None:
    text = (root / "recoup.yaml").read_text()
    (root / "recoup.yaml").write_text(f"{text}  other: {LAYOUTS['dedup'].replace('kept', 'other')}\n")
    stack = opened()
    stack.create_repositories()
    name = backed_up(opened)
    plain, dedup = (stack.only(place) for place in ("main", "other"))
    one, other = (
        diff.Side(one.repository, one.repository.manifest(one.repository.names()[0])) for one in (plain, dedup)
    )
    report = diff.run(one, other)
    assert (report.before, report.before_in, report.after_in) == (name, "main", "other")
    assert changes(report) == {"chat/chat.db": "unknown", "uploads/.": "unknown"}
    assert report.added is None


def listing(*lines: tuple[str, int, str]) -> Callable[[], Iterator[Listed]]:
    return lambda: (Line(name, "file", None, size, digest) for name, size, digest in lines)


def test_lists_in_any_order_are_compared() -> None:
    before = listing(("a", 1, "x"), ("b/c", 1, "y"), ("b.c", 1, "z"))
    after = listing(("b.c", 1, "z"), ("a", 1, "x2"), ("d", 1, "y"))
    found = diff.compared(before, after)
    assert (found.added, found.removed, found.changed, found.by_content) == (1, 1, 1, True)
    assert [(one.name, one.change) for one in found.named] == [("a", "changed"), ("b/c", "removed"), ("d", "added")]
    assert diff.compared(before, before).none


def test_of_many_members_some_are_named_and_all_counted() -> None:
    many = [(f"{n:06}", n, "") for n in range(3 * diff.MOST_NAMES)]
    found = diff.compared(listing(), listing(*many))
    assert (found.added, len(found.named)) == (len(many), diff.MOST_NAMES)


def test_parts_that_became_another_kind_are_gone_and_new(opened: Opened, root: Path) -> None:
    first = backed_up(opened)
    (root / "data/chat.db").unlink()
    (root / "data/chat.db").mkdir()
    (root / "data/chat.db/inside").write_text("a file was here " * 20)
    second = backed_up(opened)
    found = [part for part in opened().diff(first, second).parts if part.source == "chat"]
    assert {part.change for part in found} == {"removed", "added"}
    assert all(isinstance(part, PartChange) and None in (part.before, part.after) for part in found)


def test_sums_of_a_repository_say_what_sets_hold_and_take(opened: Opened, root: Path, layout: str) -> None:
    backed_up(opened)
    (root / "data/uploads/note").write_text("another note")
    backed_up(opened)
    [found] = opened().stats()
    assert [one.logical_bytes for one in found.sets] == [sum_of(root, 500), sum_of(root, 12)]
    assert found.logical_bytes == sum(one.logical_bytes for one in found.sets)
    assert (found.unread, found.problem) == ((), "")
    on_disk = sum(path.stat().st_size for path in (root / "kept").rglob("*") if path.is_file())
    if layout == "dedup":
        assert found.stored_bytes == pytest.approx(on_disk, abs=5_000)  # its own lock is gone
        assert found.unique_bytes is not None
        assert len(LARGE) < found.unique_bytes < found.logical_bytes
        assert found.unique_stored_bytes is not None
        assert 0 < found.unique_stored_bytes <= found.stored_bytes
        assert found.ratio is not None
        assert found.ratio > 1.5
    else:
        assert found.unique_bytes is None
        assert 2 * len(LARGE) < found.stored_bytes < on_disk


def sum_of(root: Path, note: int) -> int:
    return len(LARGE) + (root / "data/chat.db").stat().st_size + note


@pytest.mark.parametrize("layout", ["dedup"], indirect=True)
def test_a_lost_index_is_told_and_no_small_number(opened: Opened, root: Path) -> None:
    first, second = backed_up(opened), backed_up(opened)
    for path in (root / "kept/index").iterdir():
        path.unlink()
    [found] = opened().stats()
    assert "named by no index" in found.problem
    report = opened().diff(first, second)
    assert report.added is not None
    assert report.added.missing + (report.removed.missing if report.removed else 0) > 0


@pytest.mark.parametrize("layout", ["tree"], indirect=True)
def test_a_set_that_cannot_be_read_is_told_and_not_counted(opened: Opened, root: Path) -> None:
    backed_up(opened)
    [manifest] = (root / "kept").glob("backup_*/manifest.json")
    manifest.write_text("{")
    [found] = opened().stats()
    assert (found.sets, len(found.unread)) == ((), 1)
