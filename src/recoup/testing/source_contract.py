"""The promise of a source, as tests. Derive a class from `SourceContract` and give it the fixtures named there.

A capture's parts are written to disk and read back from there, as a repository would; nothing of a repository is needed.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import pytest
from pydantic import BaseModel

from recoup.errors import DamagedError, EmptySourceError, SourceError
from recoup.model.facts import Facts, compare
from recoup.model.names import checked_relative
from recoup.model.part import Content, Member, Part, Reader, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.sources._base import Source

SECRET = "s3cret-planted-in-settings"  # noqa: S105 - planted, to be looked for


class Kept(Struct):
    """A content as it was written to disk.

    Attributes:
        path: where.
        breaks: fails at the end, as damaged stored bytes do.
    """

    path: Path
    breaks: bool = False
    local_path: PurePath | None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator["KeptReader"]:
        """Opens from the beginning."""
        with self.path.open("rb") as file:
            yield KeptReader(file.read, breaks=self.breaks)


class KeptReader:
    """Reads kept bytes; a broken one raises at the end."""

    changed = False

    def __init__(self, read: Callable[[int], bytes], *, breaks: bool) -> None:
        self._read = read
        self._breaks = breaks

    def read(self, size: int, /) -> bytes:
        """The next bytes.

        Raises:
            DamagedError: at the end, when it is a broken one.
        """
        data = self._read(size)
        if self._breaks and size and not data:
            raise DamagedError("planted: the stored bytes are not what the manifest says")
        return data


@dataclass
class Taken:
    """One capture, on disk.

    Attributes:
        folder: where its bytes are.
        parts: streams as they are; trees with their members as a list.
        facts: as the capture says.
        method: as the capture says.
        moment: whether it was frozen at a moment.
        findings: as the capture says.
    """

    folder: Path
    parts: list[tuple[StreamPart | TreePart, list[Member]]] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    method: str = ""
    moment: bool = False
    findings: list[str] = field(default_factory=list)

    def again(self, *, breaks: bool = False) -> Iterator[Part]:
        """The parts, to be restored; with `breaks` the last byte stream of all fails at its end."""
        for number, (part, members) in enumerate(self.parts):
            last = breaks and number == len(self.parts) - 1
            if isinstance(part, StreamPart):
                yield replace(part, content=_broken(part.content)) if last else part
            else:
                yield TreePart(part.name, iter(_break_last(members) if last else members), part.size)

    def contents(self) -> dict[str, str]:
        """Every byte stream's digest, by its name."""
        found = {}
        for part, members in self.parts:
            contents = [(part.name, part.content)] if isinstance(part, StreamPart) else []
            contents += [(f"{part.name}/{member.name}", member.content) for member in members if member.content]
            for name, content in contents:
                with content.open() as reader:
                    found[name] = _digest(reader)
        return found

    def rest(self) -> list[tuple[str, str, str, int]]:
        """Everything else of the members that a restore brings back: kind, link and mode (not that of links)."""
        every = [member for _, members in self.parts for member in members]
        return [(m.name, m.kind, m.link, m.attributes.mode if m.attributes else -1) for m in every]


def _digest(reader: Reader) -> str:
    digest = hashlib.sha256()
    while data := reader.read(1024 * 1024):
        digest.update(data)
    return digest.hexdigest()


def _broken(content: Content) -> Content:
    assert isinstance(content, Kept)
    return replace(content, breaks=True)


def _break_last(members: list[Member]) -> list[Member]:
    last = max(index for index, member in enumerate(members) if member.content)
    broken = [*members]
    content = members[last].content
    assert content is not None
    broken[last] = replace(members[last], content=_broken(content))
    return broken


def take(source: Source, folder: Path) -> Taken:
    """Captures a source as a backup does, and keeps the bytes in a new folder."""
    folder.mkdir(parents=True)
    taken = Taken(folder)
    with source.capture() as capture:
        for part in capture.parts():
            if isinstance(part, StreamPart):
                taken.parts.append((replace(part, content=_keep(part.content, taken)), []))
            else:
                members = [_kept_member(member, taken) for member in part.members]
                taken.parts.append((part, members))
        taken.facts = capture.facts()
        taken.method = capture.method
        taken.moment = capture.frozen.is_moment
        taken.findings = [finding.message for finding in capture.findings()]
    return taken


def _kept_member(member: Member, taken: Taken) -> Member:
    return replace(member, content=_keep(member.content, taken)) if member.content else member


def _keep(content: Content, taken: Taken) -> Kept:
    path = taken.folder / str(sum(1 for _ in taken.folder.iterdir()))
    with content.open() as reader, path.open("wb") as file:
        while data := reader.read(1024 * 1024):
            file.write(data)
        assert not reader.changed, "an undisturbed source changed while it was read"
    return Kept(path)


def differences(expected: Facts, found: Facts) -> list[str]:
    """What a drill would say."""
    lines = (line for line in compare(expected, found) if not line.equal)
    return [f"{line.subject}: {line.name}: expected {line.expected}, found {line.found}" for line in lines]


def listing(folder: Path) -> list[str]:
    """Everything below a folder, by name."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


class SourceContract:
    """What every source keeps. The fixtures work on one store in a temporary folder of its own."""

    @pytest.fixture
    def site_folder(self, tmp_path: Path) -> Path:
        """Where the store lies; exists, empty. Its own folder, so that what a restore leaves beside the store is seen."""
        folder = tmp_path / "site"
        folder.mkdir()
        return folder

    @pytest.fixture
    def staging(self, tmp_path: Path) -> Path:
        """Where staged copies go: hand it to the source's `Site`."""
        folder = tmp_path / "staging"
        folder.mkdir(mode=0o700)
        return folder

    @pytest.fixture
    def source(self, site_folder: Path, staging: Path) -> Source:
        """The source; its store is not there yet. Plants `SECRET` in its settings where those can hold one."""
        raise NotImplementedError(site_folder, staging)

    @pytest.fixture
    def fill(self, source: Source) -> Callable[[], None]:
        """Makes the store and puts something real into it."""
        raise NotImplementedError(source)

    @pytest.fixture
    def empty(self, source: Source) -> Callable[[], None]:
        """Makes the store without anything in it."""
        raise NotImplementedError(source)

    @pytest.fixture
    def damage(self) -> Callable[[Source], None]:
        """Takes something away from the store of the source that it is handed, so that its facts must differ."""
        raise NotImplementedError

    @pytest.fixture
    def lenient(self, source: Source) -> Source:
        """The same source with `allow_empty: true`."""
        raise NotImplementedError(source)

    @pytest.fixture
    def restore_options(self) -> BaseModel:
        """The plug's restore options at their defaults."""
        raise NotImplementedError

    @pytest.fixture
    def absent(self, source: Source) -> Source:
        """A source whose store is not there; a server that runs all the while needs another address."""
        return source

    @pytest.fixture
    def vanish(self, site_folder: Path) -> Callable[[], None]:
        """Takes away the whole store, as a new machine has none."""
        return lambda: remove_all(site_folder)

    @pytest.fixture
    def picture(self, site_folder: Path) -> Callable[[], object]:
        """What is at the store's place now, to be compared with later."""
        return lambda: (listing(site_folder), _picture(site_folder))

    @pytest.fixture
    def is_kept(self) -> Callable[[str], bool]:
        """Whether what a restore kept (`Placement.kept`) is there."""
        return lambda kept: Path(kept).exists()

    @pytest.fixture
    def facts_of_restored(self) -> Callable[[Source], Facts]:
        """The facts that a store shows after a restore over it, under the names of the set."""
        return lambda source: source.facts()

    @pytest.fixture
    def taken(self, source: Source, fill: Callable[[], None], tmp_path: Path) -> Taken:
        """A capture of the filled store, on disk."""
        fill()
        return take(source, tmp_path / "taken")

    def test_names_are_unique_and_safe(self, taken: Taken) -> None:
        """Names become paths in a repository."""
        names = [part.name for part, _ in taken.parts]
        assert names
        assert len(names) == len(set(names))
        for part, members in taken.parts:
            assert part.name == "." or checked_relative(part.name)
            inner = [member.name for member in members]
            assert len(inner) == len(set(inner))
            assert all(name == "." or checked_relative(name) for name in inner)

    def test_a_members_folder_comes_before_it_and_a_hard_link_after_its_file(self, taken: Taken) -> None:
        """A tree is restored in the order in which it comes."""
        for _, members in taken.parts:
            seen = {"": "folder"}
            for member in members:
                if member.name != ".":
                    assert seen[member.name.rpartition("/")[0]] == "folder"
                assert member.kind != "hardlink" or seen[member.link] == "file"
                seen[member.name] = member.kind

    def test_the_same_store_gives_the_same_facts_again(self, source: Source, taken: Taken, tmp_path: Path) -> None:
        """Facts of an undisturbed store are stable, whether captured or asked."""
        assert taken.facts.values, "facts that say nothing let every drill pass"
        assert differences(taken.facts, take(source, tmp_path / "again").facts) == []
        assert differences(taken.facts, source.facts()) == []

    def test_a_capture_says_how_it_was_taken(self, taken: Taken) -> None:
        """The manifest tells it to people."""
        assert taken.method

    def test_a_restored_twin_shows_the_same_facts(
        self, source: Source, taken: Taken, restore_options: BaseModel, tmp_path: Path
    ) -> None:
        """A drill of an undamaged set passes; an exact source brings back every byte, kind, link and mode."""
        (tmp_path / "scratch").mkdir()
        with source.scratch(tmp_path / "scratch") as twin:
            twin.restore(taken.again(), restore_options)
            assert differences(taken.facts, twin.facts()) == []
            if source.exact:
                second = take(twin, tmp_path / "second")
                assert second.contents() == taken.contents()
                assert second.rest() == taken.rest()
        assert listing(tmp_path / "scratch") == []

    def test_a_damaged_twin_shows_other_facts(
        self,
        source: Source,
        taken: Taken,
        damage: Callable[[Source], None],
        restore_options: BaseModel,
        tmp_path: Path,
    ) -> None:
        """A drill is able to fail."""
        (tmp_path / "scratch").mkdir()
        with source.scratch(tmp_path / "scratch") as twin:
            twin.restore(taken.again(), restore_options)
            damage(twin)
            assert _shown_by(twin, taken) != []

    def test_a_twin_is_gone_also_after_an_error(self, source: Source, taken: Taken, tmp_path: Path) -> None:
        """A drill that fails leaves nothing behind."""
        assert taken.parts
        (tmp_path / "scratch").mkdir()
        with pytest.raises(ZeroDivisionError), source.scratch(tmp_path / "scratch"):
            raise ZeroDivisionError
        assert listing(tmp_path / "scratch") == []

    def test_a_capture_leaves_no_trace(self, taken: Taken, staging: Path, site_folder: Path, source: Source) -> None:
        """Neither in staging nor beside the store."""
        before = listing(site_folder)
        assert taken.parts
        assert listing(staging) == []
        with source.capture():
            pass
        assert listing(staging) == []
        assert listing(site_folder) == before

    def test_an_error_inside_a_capture_leaves_no_trace(
        self, source: Source, fill: Callable[[], None], staging: Path, site_folder: Path
    ) -> None:
        """A backup that fails half way tidies up too."""
        fill()
        before = listing(site_folder)
        with pytest.raises(ZeroDivisionError), source.capture() as capture:
            next(capture.parts())
            raise ZeroDivisionError
        assert listing(staging) == []
        assert listing(site_folder) == before

    def test_what_is_not_there_is_said_to_be_absent(self, absent: Source) -> None:
        """So that `optional` can decide."""
        assert not absent.present()
        with pytest.raises(SourceError):
            absent.check()
        with pytest.raises(SourceError), absent.capture():
            pass
        assert not absent.existing().present

    def test_what_is_there_is_present_and_measured(self, source: Source, fill: Callable[[], None]) -> None:
        """The plan of a backup and of a restore needs it."""
        fill()
        source.check()
        assert source.present()
        assert source.estimate() > 0
        assert source.existing().present
        assert source.existing().consequence

    def test_an_empty_store_is_a_failure_unless_that_is_allowed(
        self, source: Source, lenient: Source, empty: Callable[[], None], tmp_path: Path
    ) -> None:
        """A backup of nothing must not look like one of something."""
        empty()
        with pytest.raises(EmptySourceError), source.capture() as capture:
            list(capture.parts())
        take(lenient, tmp_path / "empty")

    def test_a_restore_to_a_place_where_nothing_is(
        self, source: Source, taken: Taken, restore_options: BaseModel, vanish: Callable[[], None]
    ) -> None:
        """A new machine."""
        vanish()
        placement = source.restore(taken.again(), restore_options)
        assert placement.target
        assert placement.kept == ""
        assert differences(taken.facts, source.facts()) == []

    def test_a_restore_over_a_live_place_keeps_what_was_there(
        self,
        source: Source,
        taken: Taken,
        damage: Callable[[Source], None],
        restore_options: BaseModel,
        is_kept: Callable[[str], bool],
        facts_of_restored: Callable[[Source], Facts],
    ) -> None:
        """Whoever restores the wrong set can go back."""
        damage(source)
        placement = source.restore(taken.again(), restore_options)
        assert placement.kept
        assert is_kept(placement.kept)
        assert differences(taken.facts, facts_of_restored(source)) == []
        assert source.recover() == ()

    def test_a_part_that_fails_half_way_leaves_the_place_as_it_was(
        self,
        source: Source,
        taken: Taken,
        damage: Callable[[Source], None],
        restore_options: BaseModel,
        picture: Callable[[], object],
    ) -> None:
        """Nothing wrong is put in place."""
        damage(source)
        before = picture()
        with pytest.raises(DamagedError, match="planted"):
            source.restore(taken.again(breaks=True), restore_options)
        assert picture() == before

    def test_a_set_without_parts_restores_nothing_and_says_so(
        self, source: Source, taken: Taken, restore_options: BaseModel, picture: Callable[[], object]
    ) -> None:
        """An empty restore is no success."""
        assert taken.parts
        before = picture()
        with pytest.raises(DamagedError):
            source.restore(iter(()), restore_options)
        assert picture() == before

    def test_settings_are_json_and_carry_no_secret(self, source: Source) -> None:
        """They go into the manifest."""
        text = json.dumps(source.settings())
        assert SECRET not in text


def _shown_by(twin: Source, taken: Taken) -> list[str]:
    """How a drill would notice damage: by an engine's error or by other facts."""
    try:
        return differences(taken.facts, twin.facts())
    except (SourceError, DamagedError) as error:
        return [error.message]


def _picture(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def remove_all(folder: Path) -> None:
    """Empties a folder."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
