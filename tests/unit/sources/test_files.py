"""Folders in use: what changes, grows, moves or cannot be read while a capture goes on."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from recoup.errors import BusyError, EmptySourceError, RefusedError, SourceError, UnsafePathError
from recoup.model.events import Event, News
from recoup.model.part import Member, Part, StreamPart, TreePart
from recoup.sources._base import MovedError, Site
from recoup.sources._walking import LiveFile, Opened, open_folder
from recoup.sources.files import FilesSource, FolderCapture, Options, RestoreOptions, connect
from recoup.system.clock import SystemClock
from recoup.testing.source_contract import Taken, take

BLOCK = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def news() -> list[News]:
    return []


@pytest.fixture
def source_of(root: Path, tmp_path: Path, news: list[News]) -> "SourceOf":
    return SourceOf(root, tmp_path, news)


class SourceOf:
    """Makes sources of the folder."""

    def __init__(self, root: Path, tmp_path: Path, news: list[News]) -> None:
        self.root, self.news = root, news
        self.staging = tmp_path / "staging"
        self.staging.mkdir()

    def __call__(self, path: Path | None = None, **options: object) -> FilesSource:
        site = Site("data", self.root.parent, self.staging, SystemClock(), emit=self.news.append)
        return connect(Options.model_validate({"kind": "files", "path": path or self.root, **options}), site)


def tree_of(capture: FolderCapture) -> Iterator[Member]:
    part = next(capture.parts())
    assert isinstance(part, TreePart)
    return part.members


def names(source: FilesSource) -> list[str]:
    with source.capture() as capture:
        assert isinstance(capture, FolderCapture)
        return [member.name for member in tree_of(capture)]


def findings(source: FilesSource) -> list[tuple[str, str, bool]]:
    with source.capture() as capture:
        for part in capture.parts():
            read(part)
        return [(finding.what, finding.item, finding.harmless) for finding in capture.findings()]


def read(part: Part) -> None:
    contents = [part.content] if isinstance(part, StreamPart) else (member.content for member in part.members)
    for content in contents:
        if content:
            with content.open() as reader:
                while reader.read(BLOCK):
                    pass


@pytest.fixture
def live(root: Path) -> Iterator[LiveFile]:
    """A file of two blocks."""
    (root / "log").write_bytes(os.urandom(2 * BLOCK))
    folder = Opened(open_folder(str(root)))
    yield LiveFile(folder, "log")
    folder.close()


def test_a_file_that_stays_as_it_is_did_not_change(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        data = b"".join(iter(lambda: reader.read(BLOCK), b""))
        assert not reader.changed
    assert data == (root / "log").read_bytes()


def test_a_file_that_only_grew_is_read_to_its_length_at_opening_and_did_not_change(live: LiveFile, root: Path) -> None:
    before = (root / "log").read_bytes()
    with live.open() as reader:
        data = reader.read(BLOCK)
        with (root / "log").open("ab") as log:
            log.write(b"another line\n")
        data += b"".join(iter(lambda: reader.read(BLOCK), b""))
        assert not reader.changed
    assert data == before


def test_a_file_that_was_written_to_while_it_was_read_changed(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        reader.read(BLOCK)
        time.sleep(0.01)  # the file system's clock ticks a few hundred times a second
        with (root / "log").open("r+b") as log:
            log.write(b"x")
        while reader.read(BLOCK):
            pass
        assert reader.changed


def test_a_file_that_grew_and_was_written_to_at_its_beginning_changed(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        reader.read(BLOCK)
        with (root / "log").open("r+b") as log:
            log.write(b"a new header")
            log.seek(0, os.SEEK_END)
            log.write(b"and more")
        while reader.read(BLOCK):
            pass
        assert reader.changed


def test_a_file_that_was_cut_short_changed(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        reader.read(BLOCK)
        os.truncate(root / "log", 10)
        while reader.read(BLOCK):
            pass
        assert reader.changed


def test_a_file_that_another_one_has_replaced_changed(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        reader.read(BLOCK)
        (root / "new").write_text("new")
        (root / "new").replace(root / "log")
        while reader.read(BLOCK):
            pass
        assert reader.changed
    with live.open() as reader:
        assert reader.read(BLOCK) == b"new"
        assert not reader.changed


def test_a_file_that_was_removed_while_it_was_read_is_whole(live: LiveFile, root: Path) -> None:
    with live.open() as reader:
        reader.read(BLOCK)
        (root / "log").unlink()
        while reader.read(BLOCK):
            pass
        assert not reader.changed


def test_a_content_that_outlives_its_folder_fails_instead_of_reading_something_else(live: LiveFile) -> None:
    live.folder.close()
    with pytest.raises(OSError, match="not being read any more"), live.open():
        pass


def test_a_link_that_takes_a_files_name_meanwhile_is_not_followed(
    source_of: SourceOf, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("outside")
    (root / "a").write_text("inside")
    with source_of().capture() as capture:
        assert isinstance(capture, FolderCapture)
        members = tree_of(capture)
        member = next(member for member in members if member.name == "a")
        (root / "a").unlink()
        (root / "a").symlink_to(tmp_path / "secret")
        assert member.content
        with pytest.raises(OSError), member.content.open():
            pass


@pytest.mark.requirement("DM-4")
def test_a_pointer_that_moves_while_the_folder_is_read_asks_for_another_capture(
    source_of: SourceOf, root: Path
) -> None:
    (root / "CURRENT").write_text("one")
    (root / "z").write_text("last")
    source = source_of(pointers=["CURRENT"])
    with source.capture() as capture, pytest.raises(MovedError, match="CURRENT moved"):
        assert isinstance(capture, FolderCapture)
        for member in tree_of(capture):
            if member.name == "z":
                (root / "CURRENT").write_text("two")
    with source.capture() as capture:
        for part in capture.parts():
            read(part)
        assert capture.facts().values["pointer CURRENT"] == {"leads to": "two"}


def test_a_pointer_is_stored_as_it_was_read_first(source_of: SourceOf, root: Path) -> None:
    (root / "CURRENT").write_text("one")
    with source_of(pointers=["CURRENT"]).capture() as capture:
        assert isinstance(capture, FolderCapture)
        (root / "CURRENT").write_text("two")
        for member in tree_of(capture):
            if member.content:
                (root / "CURRENT").write_text("one")
                with member.content.open() as reader:
                    assert reader.read(BLOCK) == b"one"


def test_a_pointer_may_be_a_link(source_of: SourceOf, root: Path) -> None:
    (root / "v1").mkdir()
    (root / "CURRENT").symlink_to("v1")
    source = source_of(pointers=["CURRENT"])
    assert source.facts().values["pointer CURRENT"] == {"leads to": "v1"}
    with source.capture() as capture, pytest.raises(MovedError):
        assert isinstance(capture, FolderCapture)
        for member in tree_of(capture):
            if member.name == "v1":
                (root / "CURRENT").unlink()
                (root / "CURRENT").symlink_to("v2")


def test_a_pointer_that_is_not_there_is_a_failure(source_of: SourceOf, root: Path) -> None:
    (root / "a").touch()
    with pytest.raises(SourceError, match="has no CURENT"):
        source_of(pointers=["CURENT"]).check()


@pytest.mark.parametrize("pointer", ["../CURRENT", "/CURRENT", ""])
def test_a_pointer_lies_in_the_folder(source_of: SourceOf, pointer: str) -> None:
    with pytest.raises(ValidationError):
        source_of(pointers=[pointer])


def test_patterns_choose_as_gitignore_does(source_of: SourceOf, root: Path) -> None:
    for name in ("a.pdf", "a.txt", "cache/x.pdf", "deep/er/b.pdf", "deep/c.txt", "bare/d.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    assert names(source_of(exclude=["cache/", "*.txt"])) == [".", "a.pdf", "bare", "deep", "deep/er", "deep/er/b.pdf"]
    assert names(source_of(include=["*.pdf"], exclude=["/cache"])) == [".", "a.pdf", "deep", "deep/er", "deep/er/b.pdf"]
    assert names(source_of(include=["deep/"])) == [".", "deep", "deep/c.txt", "deep/er", "deep/er/b.pdf"]
    with pytest.raises(EmptySourceError, match="nothing in it is to be backed up"):
        names(source_of(include=["*.docx"]))


def test_a_pattern_that_cannot_be_read_is_a_mistake_in_the_settings(source_of: SourceOf) -> None:
    with pytest.raises(ValidationError):
        source_of(exclude=["!"])


def test_sockets_and_pipes_are_skipped_and_told(source_of: SourceOf, root: Path, news: list[News]) -> None:
    (root / "a").write_text("x")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket"))
    assert findings(source_of()) == [("skipped", "pipe", True), ("skipped", "socket", True)]
    told = [event for event in news if isinstance(event, Event)]
    assert [(event.name, event.fields["item"]) for event in told] == [
        ("item_skipped", "pipe"),
        ("item_skipped", "socket"),
    ]


def test_repositories_inside_are_left_out(source_of: SourceOf, root: Path) -> None:
    (root / "a").touch()
    (root / "backups" / "inner").mkdir(parents=True)
    (root / "backups" / "recoup-repository.json").write_text("{}")
    assert names(source_of()) == [".", "a"]
    assert findings(source_of()) == [("skipped", "backups", True)]


def test_a_repository_itself_is_no_source(source_of: SourceOf, root: Path) -> None:
    (root / "recoup-repository.json").write_text("{}")
    with pytest.raises(SourceError, match="is a Recoup repository"):
        source_of().check()


def test_our_own_staging_inside_is_left_out(source_of: SourceOf, root: Path) -> None:
    (root / "a").touch()
    source_of.staging = root / "staging"
    source_of.staging.mkdir()
    (source_of.staging / "copy").touch()
    assert names(source_of()) == [".", "a"]


@pytest.fixture
def nobody() -> Iterator[None]:
    """Runs a test as a user who may not read everything; root gives up that right for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shut_root() -> Iterator[Path]:
    """A folder that everybody may enter, with a folder and a file that nobody may."""
    with tempfile.TemporaryDirectory(prefix="recoup-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "open").write_text("x")
        (folder / "open").chmod(0o644)
        (folder / "shut").mkdir(mode=0o000)
        (folder / "z").touch(mode=0o000)
        yield folder
        (folder / "shut").chmod(0o700)


def test_what_cannot_be_read_is_named_and_is_not_harmless(shut_root: Path, nobody: None) -> None:
    site = Site("data", Path("/"), shut_root / "nowhere", SystemClock())
    with connect(Options(kind="files", path=shut_root), site).capture() as capture:
        assert isinstance(capture, FolderCapture)
        for member in tree_of(capture):
            if member.name == "z":
                assert member.content
                with pytest.raises(PermissionError), member.content.open():
                    pass
            elif member.content:
                with member.content.open() as reader:
                    assert reader.read(10) + reader.read(10) == b"x"
        assert [(f.what, f.item, f.harmless) for f in capture.findings()] == [("unreadable", "shut", False)]
        assert capture.facts().values == {"folder": {"files": 1, "folders": 0, "links": 0, "bytes": 1}}


def test_a_folder_that_may_not_be_read_at_all_is_a_failure(shut_root: Path, nobody: None) -> None:
    site = Site("data", Path("/"), shut_root / "nowhere", SystemClock())
    with pytest.raises(SourceError, match="cannot be read"):
        connect(Options(kind="files", path=shut_root / "shut"), site).check()


def test_a_hard_link_to_a_file_that_was_not_read_is_read_as_a_file_itself(source_of: SourceOf, root: Path) -> None:
    (root / "a").write_text("x")
    (root / "b").hardlink_to(root / "a")
    with source_of().capture() as capture:
        assert isinstance(capture, FolderCapture)
        kinds = [(member.name, member.kind) for member in tree_of(capture)]  # nothing is read
    assert kinds == [(".", "folder"), ("a", "file"), ("b", "file")]


def test_facts_count_what_was_read(source_of: SourceOf, root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "a").write_text("12345")
    (root / "b").hardlink_to(root / "sub" / "a")
    (root / "c").symlink_to("b")
    with source_of().capture() as capture:
        for part in capture.parts():
            read(part)
        assert capture.facts().values == {"folder": {"files": 1, "folders": 1, "links": 2, "bytes": 5}}
        assert not capture.frozen.is_moment


def test_a_sparse_file_is_estimated_without_its_holes(source_of: SourceOf, root: Path) -> None:
    (root / "sparse").touch()
    os.truncate(root / "sparse", 10**12)
    assert source_of().estimate() < 10**6


def taken(source: FilesSource, folder: Path) -> Taken:
    return take(source, folder)


def test_a_merge_replaces_and_removes_as_asked_and_spares_repositories_and_what_patterns_leave_out(
    source_of: SourceOf, root: Path, tmp_path: Path
) -> None:
    (root / "kept").write_text("as it was")
    (root / "cache").mkdir()
    (root / "cache" / "x").touch()
    (root / "backups").mkdir()
    (root / "backups" / "recoup-repository.json").write_text("{}")
    source = source_of(exclude=["cache/"])
    copy = taken(source, tmp_path / "taken")
    (root / "kept").write_text("spoiled")
    (root / "extra").touch()
    placement = source.restore(copy.again(), RestoreOptions(overwrite="never"))
    assert placement.kept == ""
    assert (root / "kept").read_text() == "spoiled"
    source.restore(copy.again(), RestoreOptions(overwrite="if-changed", delete=True))
    assert (root / "kept").read_text() == "as it was"
    assert sorted(p.name for p in root.iterdir()) == ["backups", "cache", "kept"]
    assert (root / "cache" / "x").exists()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (RestoreOptions(), "It is kept beside"),
        (RestoreOptions(overwrite="never"), "Files that are there stay as they are"),
        (RestoreOptions(overwrite="if-changed"), "What is replaced is not kept"),
        (RestoreOptions(delete=True), "is not kept. What the backup does not have is removed"),
    ],
)
def test_the_plan_says_what_a_restore_into_a_present_folder_does_not_keep(
    source_of: SourceOf, root: Path, tmp_path: Path, chosen: RestoreOptions, sentence: str
) -> None:
    (root / "kept").write_text("as it was")
    source = source_of()
    copy = taken(source, tmp_path / "taken")
    (root / "kept").write_text("spoiled")
    assert sentence in source.foresee(copy.again(), chosen).consequence
    placement = source.restore(copy.again(), chosen)
    assert bool(placement.kept) == ("It is kept" in sentence)


def test_the_plan_says_that_a_present_file_stays(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    file = root / "one.txt"
    file.write_text("as it was")
    source = source_of(file)
    copy = taken(source, tmp_path / "taken")
    file.write_text("newer")
    chosen = RestoreOptions(overwrite="never")
    assert source.foresee(copy.again(), chosen).consequence == "It stays as it is."
    source.restore(copy.again(), chosen)
    assert file.read_text() == "newer"


def test_what_patterns_leave_out_stays_in_place_when_the_folder_is_replaced(
    source_of: SourceOf, root: Path, tmp_path: Path
) -> None:
    for name in ("doc.txt", "app.db", "cache/x", "notes/a.log", "notes/.hidden.log"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("as it was")
    source = source_of(exclude=["/app.db", "cache/", "*.log"])
    copy = taken(source, tmp_path / "taken")
    for name in ("doc.txt", "app.db", "cache/x", "notes/a.log"):
        (root / name).write_text("newer")
    assert "patterns leave out stays" in source.existing().consequence
    with (root / "app.db").open() as held:
        placement = source.restore(copy.again(), RestoreOptions())
        assert os.fstat(held.fileno()).st_ino == (root / "app.db").stat().st_ino, "an open database is still the same"
    assert (root / "doc.txt").read_text() == "as it was"
    assert {(root / name).read_text() for name in ("app.db", "cache/x", "notes/a.log")} == {"newer"}
    kept = Path(placement.kept)
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*")) == ["doc.txt", "notes"]
    assert (kept / "doc.txt").read_text() == "newer"


def test_what_was_not_asked_for_stays_in_place_when_the_folder_is_replaced(
    source_of: SourceOf, root: Path, tmp_path: Path
) -> None:
    (root / "a.pdf").write_text("as it was")
    (root / "drafts").mkdir(mode=0o750)
    (root / "drafts" / "b.txt").write_text("not asked for")
    source = source_of(include=["*.pdf"])
    copy = taken(source, tmp_path / "taken")
    (root / "a.pdf").write_text("newer")
    source.restore(copy.again(), RestoreOptions())
    assert (root / "a.pdf").read_text() == "as it was"
    assert (root / "drafts" / "b.txt").read_text() == "not asked for"
    assert (root / "drafts").stat().st_mode & 0o777 == 0o750


def test_replacing_a_folder_that_holds_a_repository_is_refused(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    (root / "a").touch()
    copy = taken(source_of(), tmp_path / "taken")
    (root / "deep" / "backups").mkdir(parents=True)
    (root / "deep" / "backups" / "recoup-repository.json").write_text("{}")
    with pytest.raises(RefusedError, match="holds the repository deep/backups"):
        source_of().restore(copy.again(), RestoreOptions())
    assert (root / "deep").exists()


@pytest.mark.requirement("DM-10")
def test_nothing_is_restored_through_a_link(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    (root / "a").touch()
    copy = taken(source_of(), tmp_path / "taken")
    link = tmp_path / "link"
    link.symlink_to(root)
    source = source_of(link)
    for options in (RestoreOptions(), RestoreOptions(overwrite="always")):
        with pytest.raises(UnsafePathError, match="symbolic link"):
            source.restore(copy.again(), options)
    assert "refused" in source.existing().consequence
    assert list(root.iterdir()) == [root / "a"]


def test_a_link_among_the_parents_leads_to_the_resolved_place(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    (root / "a").touch()
    copy = taken(source_of(), tmp_path / "taken")
    (tmp_path / "link").symlink_to(root.parent)
    placement = source_of(tmp_path / "link" / "data").restore(copy.again(), RestoreOptions())
    assert placement.target == str(root)
    assert placement.kept.startswith(str(root))


def test_a_file_that_somebody_has_open_is_not_replaced(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    (root / "db").write_text("old")
    source = source_of(root / "db")
    copy = taken(source, tmp_path / "taken")
    script = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(root / "db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(BusyError, match=f"open in process {holder.pid}"):
            source.restore(copy.again(), RestoreOptions())
    assert [p.name for p in root.iterdir()] == ["db"]
    assert source.restore(copy.again(), RestoreOptions()).kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may bind folders")
@pytest.mark.parametrize("options", [["--bind"], ["-t", "tmpfs"]], ids=["bound", "another file system"])
def test_a_mount_point_is_restored_entry_by_entry(
    source_of: SourceOf, root: Path, tmp_path: Path, options: list[str]
) -> None:
    point = tmp_path / "point"
    point.mkdir()
    if subprocess.run(["mount", *options, str(root), str(point)], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        (point / "a").write_text("good")
        (point / "sub").mkdir()
        source = source_of(point)
        copy = taken(source, tmp_path / "taken")
        (point / "a").write_text("spoiled")
        (point / "extra").touch()
        placement = source.restore(copy.again(), RestoreOptions())
        assert (point / "a").read_text() == "good"
        assert sorted(p.name for p in Path(placement.kept).iterdir()) == ["a", "extra", "sub"]
        assert source.facts() == copy.facts
        assert findings(source) == [("skipped", Path(placement.kept).name, True)]
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_restores_for_whoever_owned_what_was_there(source_of: SourceOf, root: Path, tmp_path: Path) -> None:
    (root / "a").touch()
    copy = taken(source_of(), tmp_path / "taken")
    os.chown(root, 1234, 1234)
    source_of().restore(copy.again(), RestoreOptions())
    assert {p.stat().st_uid for p in (root, root / "a")} == {1234}
