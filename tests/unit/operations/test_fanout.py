"""One reading for several repositories: what each of them gets, and what happens when one of them fails."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recoup.errors import ExitCode
from recoup.model.events import Event
from recoup.model.manifest import Compression, Pack
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, Part, StreamPart, TreePart
from recoup.model.reports import BackupReport
from recoup.operations import backup
from recoup.repository._base import Subset
from recoup.repository.opening import open_repository
from recoup.repository.plain.repository import PlainRepository
from recoup.repository.sealing._base import Sealing
from recoup.sources._base import Source
from recoup.sources._staged import StagedFile
from recoup.storage._base import Storage, Writer
from recoup.storage.local import LocalStorage
from recoup.storage.memory import MemoryStorage
from recoup.system.clock import SystemClock
from recoup.testing.repository_contract import Given, members, stream_bytes, tree_contents
from sealing_keys import sealing as sealing_of
from unit.operations.scripted import Reading, ScriptedCapture, ScriptedSource, a_run, content, file, good, tree
from unit.repository.dedup.small_sets import DAY, Small, noise

LARGE = bytes(range(256)) * 20_000


class FillingStorage(LocalStorage):
    """A folder on a disk that is full after so many bytes."""

    def __init__(self, root: Path, room: int) -> None:
        super().__init__(root)
        self.room = room

    def writer(self, key: str, *, hidden: bool = False) -> Any:
        return FillingWriter(super().writer(key, hidden=hidden), self)


class FillingWriter:
    def __init__(self, writer: Writer, storage: FillingStorage) -> None:
        self._writer, self._storage = writer, storage
        self.hole, self.commit, self.abort = writer.hole, writer.commit, writer.abort

    def write(self, data: bytes | memoryview, /) -> None:
        self._storage.room -= len(data)
        if self._storage.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._writer.write(data)


def made(
    name: str,
    storage: Storage,
    pack: Pack = "tree",
    compression: Compression = "none",
    sealing: Sealing | None = None,
) -> PlainRepository:
    repository = open_repository(name, storage, pack, compression, None, SystemClock(), sealing)
    repository.create()
    return repository


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., PlainRepository]:
    def make(name: str, *style: Any, **more: Any) -> PlainRepository:
        return made(name, LocalStorage(tmp_path / name), *style, **more)

    return make


def back_up_into(
    repositories: list[PlainRepository],
    sources: dict[str, ScriptedSource],
    emit: Callable[[Any], None] = lambda _: None,
) -> BackupReport:
    plan = backup.plan(sources, None, 1.0)
    named = {repository.name: repository for repository in repositories}
    targets = backup.targets(named, dict.fromkeys(named, 1.1))
    plan = plan.going_to([target.needing(plan.total_bytes) for target in targets])
    live: dict[str, Source] = dict(sources)
    return backup.run_several(plan, live, repositories, a_run(emit))


def intact(repository: PlainRepository) -> SetName:
    [name] = repository.names()
    assert list(repository.verify(name, Subset())) == []
    return name


def leftovers(root: Path) -> list[Path]:
    return [path for path in (root / ".partial").rglob("*") if path.is_file()]


class CountedSource(ScriptedSource):
    """A stream and a tree that count how often they are opened."""

    def __init__(self) -> None:
        self.stream = content(LARGE)
        self.member = content(b"member")
        attributes = Attributes(0o600, 7)
        entry = Member("file", "file", attributes, 6, content=self.member)
        root = Member(".", "folder", Attributes(0o700, 0))
        parts: list[Part] = [
            StreamPart("db", self.stream, len(LARGE), attributes),
            TreePart("more", iter([root, entry, Member("link", "symlink", attributes, link="file")])),
        ]
        super().__init__([ScriptedCapture(lambda: iter(parts))])


@pytest.mark.parametrize(
    ("pack", "compression", "sealed"), [("tree", "none", False), ("tar.gz", "zstd", False), ("tar", "gzip", True)]
)
def test_the_source_is_read_once_and_each_repository_keeps_it_in_its_own_form(
    place: Callable[..., PlainRepository], pack: Pack, compression: Compression, sealed: bool, tmp_path: Path
) -> None:
    first = place("first")
    sealing = sealing_of("age", tmp_path / "keys") if sealed else None
    second = place("second", pack, compression, sealing=sealing)
    source = CountedSource()
    report = back_up_into([first, second], {"it": source})
    assert report.exit_code == ExitCode.OK
    assert (source.stream.opened, source.member.opened) == (1, 1)
    assert [(copy.repository, copy.outcome) for copy in report.repositories] == [
        ("first", "complete"),
        ("second", "complete"),
    ]
    manifests = [repository.manifest(intact(repository)) for repository in (first, second)]
    assert manifests[0].id == manifests[1].id
    for repository, manifest in zip((first, second), manifests, strict=True):
        stream, folder = manifest.sources["it"].parts
        assert stream.attributes is not None
        assert stream.attributes.mtime_ns == 7
        assert stream_bytes(repository.fetch(intact(repository), "it", stream)) == LARGE
        assert tree_contents(repository.fetch(intact(repository), "it", folder))["file"][1] == b"member"
        assert stream.compression == ("none" if repository is first else compression)
        assert folder.pack == ("tree" if repository is first else pack)


def test_every_kind_of_member_reaches_every_repository(place: Callable[..., PlainRepository]) -> None:
    repositories = [place("first"), place("second", "tar.zst", "zstd"), made("third", MemoryStorage())]
    source = ScriptedSource([ScriptedCapture(lambda: iter([TreePart(".", members())]))])
    assert back_up_into(repositories, {"it": source}).exit_code == ExitCode.OK
    contents = []
    for repository in repositories:
        name = intact(repository)
        [part] = repository.manifest(name).sources["it"].parts
        contents.append(tree_contents(repository.fetch(name, "it", part)))
    assert contents[0] == contents[1]
    assert contents[0] == contents[2]


@pytest.mark.parametrize("full", [0, 1, 2])
@pytest.mark.parametrize("shape", ["stream", "tree"])
def test_a_repository_that_fills_up_in_the_middle_leaves_the_others_whole(
    tmp_path: Path, place: Callable[..., PlainRepository], full: int, shape: str
) -> None:
    def parts() -> Iterator[Part]:
        if shape == "stream":
            yield StreamPart("db", Given(LARGE), len(LARGE))
        else:
            yield TreePart(".", members())

    repositories = [place("first"), place("second", "tar", "zstd")]
    repositories.insert(full, made("full", FillingStorage(tmp_path / "full", 3_000_000)))
    news: list[Any] = []
    sources = {"it": ScriptedSource([ScriptedCapture(parts)]), "more": good()}
    report = back_up_into(repositories, sources, news.append)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.manifest is not None
    assert report.manifest.outcome == "complete"
    assert report.repository == "first, second"
    [failed] = report.failed
    assert failed.repository == "full"
    assert "full" in failed.error
    for repository in repositories:
        if repository.name != "full":
            intact(repository)
    assert repositories[full].names() == []
    assert leftovers(tmp_path / "full") == []
    assert repositories[full].locks() == []
    [told] = [n for n in news if isinstance(n, Event) and n.name == "repository_failed"]
    assert told.fields["repository"] == "full"
    assert [n.fields["path"] for n in news if isinstance(n, Event) and n.name == "backup_created"] == [
        f"{copy.location}/{copy.set}" for copy in report.repositories if copy.set
    ]


def test_a_set_that_is_taken_back_after_it_appeared_is_no_success(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    class Sleeping(MemoryStorage):
        """The machine sleeps before the set appears; meanwhile another one prunes."""

        def move(self, source: str, target: str) -> None:
            if earlier:
                small.delete(earlier.pop())
                small.prune(2 * DAY)
            super().move(source, target)

    earlier: list[SetName] = []
    first, small = place("first"), Small(tmp_path, Sleeping())
    small.add(other=noise(2))
    earlier.append(small.add(a=noise(1)))
    source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("a", content(noise(1)), len(noise(1)))]))])
    events: list[Any] = []
    report = back_up_into([first, small.repository], {"db": source}, events.append)
    stored, failed = report.repositories
    assert (stored.outcome, failed.outcome) == ("complete", "")
    assert "the set refers to it" in failed.error
    assert failed.code == ExitCode.FAILED
    assert report.exit_code != ExitCode.OK
    assert "nothing is stored in r" in " ".join(e.message for e in events if isinstance(e, Event))
    intact(first)
    small.check()


def test_when_all_repositories_fail_nothing_is_stored_and_each_reason_is_told(tmp_path: Path) -> None:
    repositories = [made(name, FillingStorage(tmp_path / name, 1_000_000)) for name in ("a", "b")]
    source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("db", Given(LARGE), None)]))])
    report = back_up_into(repositories, {"it": source})
    assert report.manifest is None
    assert report.exit_code == ExitCode.FAILED
    assert [copy.repository for copy in report.failed] == ["a", "b"]
    assert all(repository.names() == [] for repository in repositories)


def test_a_locked_and_a_missing_repository_do_not_stop_the_third(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    locked, third = place("locked"), place("third")
    missing = open_repository("missing", LocalStorage(tmp_path / "missing"), "tree", "none", None, SystemClock())
    with locked.lock("exclusive", "prune", "stack"):
        report = back_up_into([locked, missing, third], {"it": good()})
    assert report.exit_code == ExitCode.INCOMPLETE
    assert {copy.repository: copy.code for copy in report.failed} == {
        "locked": ExitCode.LOCKED,
        "missing": ExitCode.NO_REPOSITORY,
    }
    assert "prune" in report.failed[0].error
    intact(third)
    assert not (tmp_path / "missing").exists()


def test_when_all_repositories_are_locked_the_exit_code_says_so(place: Callable[..., PlainRepository]) -> None:
    one, other = place("one"), place("other")
    with one.lock("exclusive", "prune", "stack"), other.lock("exclusive", "prune", "stack"):
        source = good()
        report = back_up_into([one, other], {"it": source})
    assert report.exit_code == ExitCode.LOCKED
    assert source.log == []  # nothing was frozen for nobody


def test_a_repository_without_room_is_left_out_before_anything_is_written(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    class Small(LocalStorage):
        def free_bytes(self) -> int | None:
            return 5

    small = made("small", Small(tmp_path / "small"))
    report = back_up_into([small, place("large")], {"it": good()})
    [failed] = report.failed
    assert "insufficient disk space" in failed.error
    assert "11 bytes are needed" in failed.error
    assert report.exit_code == ExitCode.INCOMPLETE


@contextlib.contextmanager
def staged(folder: Path, data: bytes) -> Iterator[StagedFile]:
    folder.mkdir()
    (folder / "copy").write_bytes(data)
    yield StagedFile(folder / "copy")


def test_a_staged_copy_is_not_moved_into_the_first_repository_when_a_second_needs_it(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    first, second = place("first"), place("second")
    with staged(tmp_path / "staging", LARGE) as copy:
        source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("db", copy, len(LARGE))]))])
        assert back_up_into([first, second], {"it": source}).exit_code == ExitCode.OK
    for repository in (first, second):
        name = intact(repository)
        [part] = repository.manifest(name).sources["it"].parts
        assert stream_bytes(repository.fetch(name, "it", part)) == LARGE


def test_content_that_only_one_repository_could_take_over_is_read_for_both(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    class Adopting(LocalStorage):
        """Copies where a file system with reflinks would share blocks."""

        adopted = 0

        def adopt(self, key: str, path: Path, *, move: bool) -> bool:
            assert not move
            self.put(key, path.read_bytes())
            Adopting.adopted += 1
            return True

    adopting, other = made("adopting", Adopting(tmp_path / "adopting")), place("other", "tree", "zstd")
    with staged(tmp_path / "staging", LARGE) as copy:
        source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("db", copy, len(LARGE))]))])
        assert back_up_into([adopting, other], {"it": source}).exit_code == ExitCode.OK
        again = made("again", Adopting(tmp_path / "again"))
        assert back_up_into([adopting, again], {"it": source}).exit_code == ExitCode.OK
    assert Adopting.adopted == 3
    for repository in (adopting, other, again):
        for name in repository.names():
            assert list(repository.verify(name, Subset())) == []


def test_a_file_that_changed_is_read_again_for_all(place: Callable[..., PlainRepository]) -> None:
    repositories = [place("first"), place("second", "tar.gz")]
    changing = file("log", lambda: Reading(b"torn", changed=True), b"whole")
    report = back_up_into(repositories, {"files": ScriptedSource([ScriptedCapture(tree(changing))])})
    assert report.exit_code == ExitCode.OK
    for repository in repositories:
        name = intact(repository)
        [part] = repository.manifest(name).sources["files"].parts
        assert tree_contents(repository.fetch(name, "files", part))["log"][1] == b"whole"


def test_a_source_that_breaks_half_way_leaves_none_of_its_bytes_anywhere(
    place: Callable[..., PlainRepository],
) -> None:
    def parts() -> Iterator[Part]:
        yield StreamPart("whole", content(b"first"))
        yield StreamPart("broken", content(lambda: Reading(b"x" * 3_000_000, OSError(errno.EIO, "Input/output error"))))

    repositories = [place("first"), place("second", "tar", "gzip")]
    report = back_up_into(repositories, {"bad": ScriptedSource([ScriptedCapture(parts)]), "good": good()})
    assert report.exit_code == ExitCode.INCOMPLETE
    assert report.failed == ()
    for repository in repositories:
        record = repository.manifest(intact(repository)).sources["bad"]
        assert (record.outcome, record.parts) == ("failed", ())


def test_a_source_that_one_repository_cannot_take_is_left_out_there_alone(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    def parts() -> Iterator[Part]:
        yield StreamPart("model", content(LARGE), once=True)

    plain = place("plain")
    sealed = place("sealed", sealing=sealing_of("age", tmp_path / "keys"))
    sources = {"models": ScriptedSource([ScriptedCapture(parts)]), "more": good()}
    report = back_up_into([plain, sealed], sources)
    assert report.exit_code == ExitCode.INCOMPLETE
    assert {copy.repository: copy.outcome for copy in report.repositories} == {
        "plain": "complete",
        "sealed": "incomplete",
    }
    assert "store_once" in report.repositories[1].left_out["models"]
    assert plain.manifest(intact(plain)).sources["models"].outcome == "complete"
    record = sealed.manifest(intact(sealed)).sources["models"]
    assert (record.outcome, record.parts) == ("failed", ())


def test_a_source_that_no_repository_can_take_fails(place: Callable[..., PlainRepository], tmp_path: Path) -> None:
    def parts() -> Iterator[Part]:
        yield StreamPart("model", content(LARGE), once=True)

    sealing = sealing_of("age", tmp_path / "keys")
    both = [place("one", sealing=sealing), place("other", sealing=sealing)]
    report = back_up_into(both, {"models": ScriptedSource([ScriptedCapture(parts)]), "more": good()})
    assert "store_once" in report.errors["models"]
    assert [copy.outcome for copy in report.repositories] == ["incomplete", "incomplete"]


def test_what_is_stored_once_is_shared_with_each_repositorys_own_earlier_copy(
    place: Callable[..., PlainRepository], tmp_path: Path
) -> None:
    def parts() -> Iterator[Part]:
        yield StreamPart("model", Given(LARGE), once=True)

    both = [place("one"), place("other")]
    for _ in range(2):
        source = ScriptedSource([ScriptedCapture(parts)])
        assert back_up_into(both, {"models": source}).exit_code == ExitCode.OK
    for repository in both:
        links = {p.stat().st_nlink for p in (tmp_path / repository.name).glob("backup_*/models/model")}
        assert links == {2}


def test_what_changes_between_two_comparisons_is_read_once_more_for_both(
    place: Callable[..., PlainRepository],
) -> None:
    """Each repository holds, from earlier, exactly what it is shown: only comparing what they saw tells them apart."""
    one, other = place("one"), place("other")

    def given(data: bytes) -> ScriptedSource:
        return ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("model", Given(data), once=True)]))])

    back_up_into([one], {"models": given(b"before")})
    back_up_into([other], {"models": given(b"after!")})
    live = content(b"before", b"after!")
    source = ScriptedSource([ScriptedCapture(lambda: iter([StreamPart("model", live, once=True)]))])
    back_up_into([one, other], {"models": source})
    found = []
    for repository in (one, other):
        name = max(repository.names())
        [part] = repository.manifest(name).sources["models"].parts
        found.append(stream_bytes(repository.fetch(name, "models", part)))
    assert found == [b"after!", b"after!"]
