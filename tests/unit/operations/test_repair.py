"""Damaged sets, mended by another repository: only by the very bytes that the manifest wants."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import ExitCode
from recoup.model.events import Event
from recoup.model.manifest import Compression, Manifest, Pack
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, StreamPart, TreePart
from recoup.model.reports import RepairReport
from recoup.operations import copy, repair, selection
from recoup.repository._base import Subset
from recoup.repository.plain.repository import PlainRepository
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import LARGE, Given
from sealing_keys import sealing as sealing_of
from unit.operations.scripted import ScriptedCapture, ScriptedSource
from unit.operations.test_fanout import back_up_into, made

STYLES: dict[str, tuple[Pack, Compression]] = {
    "plain": ("tree", "none"),
    "packed": ("tar.zst", "zstd"),
    "zipped": ("tar.gz", "gzip"),
    "archived": ("tar", "none"),
}


FILES = {"CURRENT": b"snapshot-2", "deep/er/large.bin": LARGE[:100_000], "empty": b"", "\udcff odd\nname": b"odd"}


def small_tree() -> Iterator[Member]:
    attributes = Attributes(0o640, 1_700_000_000_123_456_789, {"user.note": b"\0\xff"})
    yield Member(".", "folder", Attributes(0o750, 5))
    yield Member("deep", "folder", attributes)
    yield Member("deep/er", "folder", attributes)
    for name, data in FILES.items():
        yield Member(name, "file", attributes, len(data), content=Given(data))
    yield Member("link", "symlink", attributes, link="deep/er")
    yield Member("same", "hardlink", link="CURRENT")


PAIRS = [("plain", "plain"), ("plain", "zipped"), ("packed", "plain"), ("zipped", "packed"), ("archived", "zipped")]


class Pair:
    """The same cut in two repositories, the first of which is damaged."""

    def __init__(self, root: Path, here: str, there: str) -> None:
        self.root = root / "here"
        self.here = made("here", LocalStorage(self.root), *STYLES[here])
        self.there = made("there", LocalStorage(root / "there"), *STYLES[there])
        data = LARGE[:300_000] + bytes(1_500_000)

        def parts() -> Any:
            return iter([StreamPart("main.db", Given(data), len(data)), TreePart("more", small_tree())])

        source = ScriptedSource([ScriptedCapture(parts)])
        assert back_up_into([self.here, self.there], {"it": source}).exit_code == ExitCode.OK
        [self.name] = self.here.names()
        self.manifest = self.here.manifest(self.name)
        self.news: list[Any] = []

    def file(self, path: str) -> Path:
        return self.root / str(self.name) / path

    def mended(self) -> RepairReport:
        return mend(self.here, self.there, self.name, self.news.append)

    @property
    def damage(self) -> list[str]:
        return [found.item for found in self.here.verify(self.name, Subset())]


def mend(
    here: PlainRepository, there: PlainRepository, name: SetName, emit: Callable[[Any], None] = lambda _: None
) -> RepairReport:
    sides = repair.Sides(here, there, SystemClock(), emit)
    [row] = repair.plan([name], sides)
    return repair.run(row, sides)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def stored(manifest: Manifest, part: int) -> str:
    return manifest.sources["it"].parts[part].path


@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_whatever_happened_to_a_stream_it_is_put_back(tmp_path: Path, harm: Callable[[Path], Any]) -> None:
    mend_a_stream(tmp_path, "packed", "plain", harm)


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_a_damaged_stream_is_put_back_whatever_the_styles(tmp_path: Path, here: str, there: str) -> None:
    mend_a_stream(tmp_path, here, there, flip)


def mend_a_stream(tmp_path: Path, here: str, there: str, harm: Callable[[Path], Any]) -> None:
    pair = Pair(tmp_path, here, there)
    harm(pair.file(stored(pair.manifest, 0)))
    report = pair.mended()
    assert report.exit_code == ExitCode.OK
    assert report.repaired == (stored(pair.manifest, 0),)
    assert pair.damage == []


@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_files_of_trees_archives_and_member_lists_are_put_back(tmp_path: Path, here: str, there: str) -> None:
    pair = Pair(tmp_path, here, there)
    path = stored(pair.manifest, 1)
    victims = [f"{path}/deep/er/large.bin", f"{path}/empty", f"{path}/CURRENT"] if here == "plain" else [path]
    for victim in victims:
        pair.file(victim).unlink()
    listed = pair.manifest.sources["it"].parts[1].members
    assert listed is not None
    flip(pair.file(listed.path))
    report = pair.mended()
    assert (report.left, report.reasons) == ((), ())
    assert sorted(report.repaired) == sorted([*victims, listed.path])
    assert pair.damage == []
    [event] = [n for n in pair.news if isinstance(n, Event) and n.name == "set_repaired"]
    assert event.fields["left"] == 0


def test_checksums_are_made_anew_and_a_manifest_of_the_same_form_comes_from_there(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "plain")
    before = pair.file("SHA256SUMS").read_bytes()
    pair.file("manifest.json").write_text("{")
    flip(pair.file(stored(pair.manifest, 0)))
    assert pair.mended().exit_code == ExitCode.OK
    pair.file("SHA256SUMS").unlink()
    assert pair.mended().repaired == ("SHA256SUMS",)
    assert pair.file("SHA256SUMS").read_bytes() == before
    assert pair.damage == []


def test_a_lost_manifest_of_another_form_is_said_to_be_lost(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "packed")
    pair.file("manifest.json").write_text("{")
    report = pair.mended()
    assert report.exit_code == ExitCode.DAMAGED
    assert "recoup copy" in report.reasons[0]
    assert pair.file("manifest.json").read_text() == "{"


def test_what_is_damaged_on_both_sides_stays_as_it_is_and_is_told(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "plain")
    path = stored(pair.manifest, 0)
    flip(pair.file(path))
    flip(tmp_path / "there" / str(pair.name) / path)
    before = pair.file(path).read_bytes()
    report = pair.mended()
    assert report.exit_code == ExitCode.DAMAGED
    assert [found.item for found in report.left] == [path]
    assert report.repaired == ()
    assert report.reasons
    assert pair.file(path).read_bytes() == before


def test_other_bytes_under_the_same_id_are_never_put_in_place(tmp_path: Path) -> None:
    """The other repository's copy is whole, and lies."""
    pair = Pair(tmp_path, "plain", "plain")
    other = made("other", LocalStorage(tmp_path / "other"))
    with other.begin(pair.manifest.started) as writer:
        sink = writer.stream("it", "main.db", None)
        sink.write(b"something else")
        part = sink.finish()
        record = replace(pair.manifest.sources["it"], parts=(part,))
        writer.commit(replace(pair.manifest, sources={"it": record}))
    flip(pair.file("it/main.db"))
    before = pair.file("it/main.db").read_bytes()
    report = mend(pair.here, other, pair.name)
    assert report.exit_code == ExitCode.DAMAGED
    assert pair.file("it/main.db").read_bytes() == before


def test_an_encrypted_file_has_no_twin_and_that_is_told(tmp_path: Path) -> None:
    here = made("here", LocalStorage(tmp_path / "here"), sealing=sealing_of("age", tmp_path / "keys"))
    there = made("there", LocalStorage(tmp_path / "there"))
    source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("main.db", Given(LARGE[:100_000]), None)]))])
    assert back_up_into([here, there], {"it": source}).exit_code == ExitCode.OK
    [name] = here.names()
    flip(tmp_path / "here" / str(name) / "it/main.db.age")
    report = mend(here, there, name)
    assert report.exit_code == ExitCode.DAMAGED
    assert "encrypted" in report.reasons[0]


def test_an_encrypted_copy_mends_an_open_one(tmp_path: Path) -> None:
    there = made("there", LocalStorage(tmp_path / "there"), sealing=sealing_of("age", tmp_path / "keys"))
    here = made("here", LocalStorage(tmp_path / "here"), "tree", "zstd")
    source = ScriptedSource([ScriptedCapture(lambda: iter([TreePart(".", small_tree())]))])
    assert back_up_into([here, there], {"it": source}).exit_code == ExitCode.OK
    [name] = here.names()
    (tmp_path / "here" / str(name) / "it.members.jsonl").unlink()
    (tmp_path / "here" / str(name) / "it/CURRENT").unlink()
    assert mend(here, there, name).exit_code == ExitCode.OK
    assert list(here.verify(name, Subset())) == []


def test_a_set_that_the_other_repository_lacks_stays_damaged(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "plain")
    flip(pair.file("it/main.db"))
    report = mend(pair.here, made("empty", MemoryStorage()), pair.name)
    assert report.exit_code == ExitCode.DAMAGED
    assert "no copy" in report.reasons[0]


def test_files_that_no_manifest_names_are_left_alone(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "plain")
    pair.file("stray").write_text("?")
    report = pair.mended()
    assert [found.item for found in report.left] == ["stray"]
    assert pair.file("stray").exists()


def test_a_whole_set_is_read_and_nothing_else(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "packed")
    report = pair.mended()
    assert (report.repaired, report.left, report.exit_code) == ((), (), ExitCode.OK)


def test_a_copy_under_another_name_on_a_storage_that_cannot_rename_helps_too(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "plain")
    there = made("objects", MemoryStorage(moves=False))
    with there.begin(pair.manifest.started) as writer:
        taken = writer.stream("it", "x", None)
        taken.write(b"1")
        record = replace(pair.manifest.sources["it"], parts=(taken.finish(),))
        writer.commit(replace(pair.manifest, id="f" * 32, sources={"it": record}))
    clock = SystemClock()
    planned = copy.plan(selection.listing(pair.here, clock.now()), pair.here, there, 1.0, clock)
    [copied] = copy.run(planned, copy.Way(pair.here, there, clock, lambda _: None)).sets
    assert copied.copy == f"{pair.name}_2"
    flip(pair.file("it/main.db"))
    assert mend(pair.here, there, pair.name).exit_code == ExitCode.OK
    set_there = SetName.parse(copied.copy)
    assert set_there is not None
    assert list(there.verify(set_there, Subset())) == []


def test_a_set_on_a_storage_that_cannot_rename_is_mended(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "plain", "packed")
    storage = MemoryStorage(moves=False)
    objects = made("objects", storage)
    clock = SystemClock()
    planned = copy.plan(selection.listing(pair.here, clock.now()), pair.here, objects, 1.0, clock)
    copy.run(planned, copy.Way(pair.here, objects, clock, lambda _: None))
    [name] = objects.names()
    storage.delete(f"{name}/it/main.db")
    storage.delete(f"{name}/it/more/CURRENT")
    report = mend(objects, pair.there, name)
    assert (report.exit_code, report.left) == (ExitCode.OK, ())
    assert sorted(report.repaired) == ["it/main.db", "it/more/CURRENT"]
