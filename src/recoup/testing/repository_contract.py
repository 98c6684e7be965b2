"""The promise of a repository, as tests. Derive a class from `RepositoryContract` and give it a `repository` fixture."""

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePath

import pytest

from recoup.errors import DamagedError, LockedError, NoRepositoryError, NoSuchSetError, RefusedError
from recoup.model.facts import Facts, Probe
from recoup.model.manifest import Frozen, Host, Manifest, SourceRecord, StoredPart
from recoup.model.marks import Mark, standing
from recoup.model.names import SetName
from recoup.model.part import Attributes, Member, Part, StreamPart, TreePart
from recoup.model.structs import Struct
from recoup.repository._base import Repository, SetWriter, Subset

NOW = datetime(2026, 11, 21, 2, 0, 0, 123_456, tzinfo=UTC)
LARGE = hashlib.shake_256(b"recoup").digest(4_400_000)
"""Bytes that do not compress, more than any buffer, and enough to be hashed in a thread."""

FILES = {
    "CURRENT": b"snapshot-2",
    "empty": b"",
    "deep/er/large.bin": LARGE,
    "zeros": bytes(1_200_000),
    "\udcff\udcfe not utf-8": b"odd name",
    "new\nline \\ back": b"odder name",
}


class Given(Struct):
    """Bytes as a part's content."""

    data: bytes
    local_path: PurePath | None = None
    disposable: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator["GivenReader"]:
        """Opens from the beginning."""
        yield GivenReader(self.data)


class GivenReader:
    """Reads given bytes."""

    changed = False

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def members() -> Iterator[Member]:
    """A small tree with every kind of member."""
    attributes = Attributes(0o640, 1_700_000_000_123_456_789, {"user.note": b"\0\xff"})
    yield Member(".", "folder", Attributes(0o750, 5))
    yield Member("deep", "folder", attributes)
    yield Member("deep/er", "folder", attributes)
    yield Member("deep/nothing here", "folder", attributes)
    for name, data in FILES.items():
        yield Member(name, "file", attributes, len(data), content=Given(data))
    yield Member("link", "symlink", attributes, link="deep/er")
    yield Member("away", "symlink", attributes, link="../../../etc/passwd")
    yield Member("same", "hardlink", link="CURRENT")


def store(writer: SetWriter, source: str, part: Part) -> StoredPart:
    """Stores a part, simply."""
    if isinstance(part, StreamPart):
        sink = writer.stream(source, part.name, part.size)
        with part.content.open() as reader:
            while data := reader.read(1_000_000):
                sink.write(data)
        return sink.finish()
    tree = writer.tree(source, part.name)
    for member in part.members:
        if member.content is None:
            tree.add(member)
            continue
        file = tree.file(member)
        with member.content.open() as reader:
            while data := reader.read(1_000_000):
                file.write(data)
        file.finish()
    return tree.finish()


def manifest_of(name: SetName, records: dict[str, SourceRecord], moment: datetime = NOW) -> Manifest:
    """A manifest around stored parts."""
    return Manifest(
        id="0" * 32,
        name=str(name),
        stack="stack",
        host=Host("host", "system"),
        recoup="0",
        python="3",
        started=moment,
        finished=moment,
        outcome="complete",
        requested=tuple(sorted(records)),
        sources=records,
        tags={"why": "test"},
    )


def record_of(*parts: StoredPart) -> SourceRecord:
    """A source's record around its parts."""
    facts = Facts({"table": {"rows": 3, "digest": "5e8c"}}, (Probe("c", "", "1", ("2", "3")),), 7)
    return SourceRecord("files", "complete", frozen=Frozen(NOW, NOW), facts=facts, parts=parts)


def add_set(repository: Repository, moment: datetime = NOW, data: bytes = b"database") -> Manifest:
    """Stores a set with one stream and one tree."""
    with repository.begin(moment) as writer:
        stream = store(writer, "db", StreamPart("main.db", Given(data), len(data)))
        tree = store(writer, "tree", TreePart(".", members()))
        manifest = manifest_of(writer.name, {"db": record_of(stream), "tree": record_of(tree)}, moment)
        writer.commit(manifest)
        return replace(manifest, name=str(writer.name))


def name_of(manifest: Manifest) -> SetName:
    """The set's name."""
    name = SetName.parse(manifest.name)
    assert name is not None
    return name


def stream_bytes(part: Part) -> bytes:
    """All bytes of a stream part."""
    assert isinstance(part, StreamPart)
    with part.content.open() as reader:
        return b"".join(iter(lambda: reader.read(777_777), b""))


def tree_contents(part: Part) -> dict[str, tuple[str, bytes | None, str, Attributes | None]]:
    """All members of a tree part with their bytes."""
    assert isinstance(part, TreePart)
    found = {}
    for member in part.members:
        data = None
        if member.content is not None:
            with member.content.open() as reader:
                data = b"".join(iter(lambda r=reader: r.read(777_777), b""))  # type: ignore[misc]
        found[member.name] = (member.kind, data, member.link, member.attributes)
    return found


class RepositoryContract:
    """What every repository promises (`recoup.repository._base`)."""

    @pytest.fixture
    def repository(self) -> Repository:
        """A repository that was not created yet; to be given by the layout's own tests."""
        raise NotImplementedError

    @pytest.fixture
    def made(self, repository: Repository) -> Repository:
        """A created repository."""
        repository.create()
        return repository

    def test_a_missing_repository_is_said_to_be_missing(self, repository: Repository) -> None:
        """Nothing creates one by accident."""
        with pytest.raises(NoRepositoryError):
            repository.check()
        with pytest.raises(NoRepositoryError), repository.begin(NOW):
            pass
        with pytest.raises(NoRepositoryError), repository.lock("shared", "list", "stack"):
            pass

    def test_creating_twice_is_refused(self, made: Repository) -> None:
        """And the first one stays."""
        add_set(made)
        with pytest.raises(RefusedError):
            made.create()
        assert len(made.names()) == 1

    def test_what_was_stored_comes_back_byte_for_byte(self, made: Repository) -> None:
        """Streams and trees."""
        manifest = add_set(made)
        name = name_of(manifest)
        [stream] = manifest.sources["db"].parts
        [tree] = manifest.sources["tree"].parts
        found = made.whole(made.manifest(name))
        assert found == replace(manifest, sealing=found.sealing)
        assert made.can_open(name)
        assert stream_bytes(made.fetch(name, "db", stream)) == b"database"
        expected = {
            m.name: (m.kind, FILES.get(m.name) if m.kind == "file" else None, m.link, m.attributes) for m in members()
        }
        assert tree_contents(made.fetch(name, "tree", tree)) == expected
        assert tree.bytes == sum(len(data) for data in FILES.values())

    def test_a_fresh_set_verifies(self, made: Repository) -> None:
        """Verify finds nothing, and looked at everything."""
        name = name_of(add_set(made))
        verification = made.verify(name, Subset())
        assert list(verification) == []
        assert verification.bytes == verification.total_bytes > len(LARGE)

    def test_slices_of_a_verification_add_up_to_all_of_it(self, made: Repository) -> None:
        """Every byte is read by exactly one slice but for the lists, which each of them needs."""
        name = name_of(add_set(made))
        whole = made.verify(name, Subset())
        list(whole)
        read = 0
        for number in range(1, 6):
            piece = made.verify(name, Subset(number, 5))
            assert list(piece) == []
            read += piece.bytes
        assert whole.bytes <= read < whole.bytes + 5 * 20_000

    def test_a_set_without_commit_never_existed(self, made: Repository) -> None:
        """Neither after leaving nor after an error."""
        with made.begin(NOW) as writer:
            store(writer, "db", StreamPart("main.db", Given(b"x"), 1))
        with pytest.raises(ZeroDivisionError), made.begin(NOW) as writer:
            store(writer, "tree", TreePart(".", members()))
            raise ZeroDivisionError
        assert made.names() == []

    def test_a_discarded_source_leaves_nothing_in_the_set(self, made: Repository) -> None:
        """And its names are free again."""
        with made.begin(NOW) as writer:
            store(writer, "db", StreamPart("main.db", Given(LARGE), None))
            store(writer, "db", TreePart("more", members()))
            writer.discard("db")
            part = store(writer, "db", StreamPart("main.db", Given(b"good"), None))
            writer.commit(manifest_of(writer.name, {"db": record_of(part)}))
            name = writer.name
        assert list(made.verify(name, Subset())) == []
        assert stream_bytes(made.fetch(name, "db", part)) == b"good"

    def test_an_aborted_file_may_be_begun_again(self, made: Repository) -> None:
        """A file that changed while it was read."""
        member = Member("file", "file", Attributes(0o600, 0), 4)
        with made.begin(NOW) as writer:
            tree = writer.tree("tree", ".")
            first = tree.file(member)
            first.write(b"torn")
            first.abort()
            second = tree.file(member)
            second.write(b"whole")
            second.finish()
            part = tree.finish()
            writer.commit(manifest_of(writer.name, {"tree": record_of(part)}))
            name = writer.name
        assert list(made.verify(name, Subset())) == []
        assert tree_contents(made.fetch(name, "tree", part))["file"][1] == b"whole"

    def test_one_name_twice_is_refused(self, made: Repository) -> None:
        """In a source, and in a tree."""
        with made.begin(NOW) as writer:
            store(writer, "db", StreamPart("a", Given(b"1"), 1))
            with pytest.raises(RefusedError):
                store(writer, "db", StreamPart("a", Given(b"2"), 1))
            tree = writer.tree("tree", ".")
            tree.add(Member("x", "folder", Attributes(0o700, 0)))
            with pytest.raises(RefusedError):
                tree.add(Member("x", "folder", Attributes(0o700, 0)))
            tree.abort()

    def test_sets_of_one_second_get_names_of_their_own(self, made: Repository) -> None:
        """`_2`, `_3`."""
        names = [add_set(made).name for _ in range(3)]
        assert names == ["backup_20261121_020000", "backup_20261121_020000_2", "backup_20261121_020000_3"]
        assert [str(name) for name in made.names()] == names

    def test_names_come_oldest_first(self, made: Repository) -> None:
        """Whatever the order of their making."""
        for hours in (5, -3, 0):
            add_set(made, NOW + timedelta(hours=hours))
        assert list(made.names()) == sorted(made.names())

    def test_marks_add_up_and_leave_the_set_alone(self, made: Repository) -> None:
        """Pins, notes and proofs are beside the set."""
        name = name_of(add_set(made))
        made.mark(name, Mark("pin", NOW, "host", {"reason": "audit"}))
        made.mark(name, Mark("note", NOW + timedelta(seconds=1), "host", {"text": "before the migration"}))
        total = standing(made.marks(name), NOW)
        assert total.pinned
        assert total.pin_reason == "audit"
        assert total.notes == ("before the migration",)
        assert list(made.verify(name, Subset())) == []

    def test_a_deleted_set_is_gone_and_others_stay(self, made: Repository) -> None:
        """Delete at once."""
        first, second = (name_of(add_set(made, NOW + timedelta(hours=h))) for h in (0, 1))
        made.mark(first, Mark("pin", NOW))
        made.delete([first])
        assert made.names() == [second]
        assert made.trashed() == []
        assert made.marks(first) == []
        with pytest.raises(NoSuchSetError):
            made.manifest(first)
        assert list(made.verify(second, Subset())) == []

    def test_a_set_in_the_trash_comes_back_whole(self, made: Repository) -> None:
        """Undelete."""
        name = name_of(add_set(made))
        made.mark(name, Mark("note", NOW, "", {"text": "kept"}))
        made.delete([name], keep_days=1)
        assert made.names() == []
        assert made.trashed() == [name]
        made.undelete(name)
        assert made.names() == [name]
        assert list(made.verify(name, Subset())) == []
        assert standing(made.marks(name), NOW).notes == ("kept",)
        with pytest.raises(NoSuchSetError):
            made.undelete(name)

    def test_an_overview_says_what_single_questions_say(self, made: Repository) -> None:
        """With copies and without, and it knows of what was deleted since."""
        names = [name_of(add_set(made, NOW + timedelta(hours=hours), b"x")) for hours in range(3)]
        made.mark(names[1], Mark("note", NOW, "", {"text": "kept"}))
        made.delete([names[0]], keep_days=1)
        for copies in (True, False):
            overview = made.overview(copies=copies)
            assert list(overview.names) == names[1:] == list(made.names())
            for name in overview.names:
                assert overview.manifest(name) == made.manifest(name)
                assert standing(overview.marks(name), NOW) == standing(made.marks(name), NOW)
            made.delete([names[2]])
            with pytest.raises(NoSuchSetError):
                made.overview(copies=copies).manifest(names[2])
            names[2] = name_of(add_set(made, NOW + timedelta(hours=2)))

    def test_deleting_a_set_that_is_not_there_is_refused_and_nothing_else_goes(self, made: Repository) -> None:
        """A name that was typed wrong."""
        name = name_of(add_set(made))
        with pytest.raises(NoSuchSetError):
            made.delete([name, name.next()])
        assert made.names() == [name]
        assert made.locked_until(name) is None

    @pytest.mark.parametrize(
        ("held", "wanted"),
        [("exclusive", "shared"), ("exclusive", "backup"), ("shared", "exclusive"), ("backup", "exclusive")],
    )
    def test_locks_in_the_way_are_named(self, made: Repository, held: str, wanted: str) -> None:
        """With host, process and verb."""
        first, second = made.lock(held, "first verb", "stack"), made.lock(wanted, "second verb", "other")  # type: ignore[arg-type]
        with first, pytest.raises(LockedError) as caught, second:
            pass
        assert "first verb" in caught.value.message
        assert made.locks() == []

    def test_a_second_backup_of_one_stack_is_refused_and_of_another_not(self, made: Repository) -> None:
        """Overlapping runs."""
        with made.lock("backup", "backup", "stack"):
            with pytest.raises(LockedError), made.lock("backup", "backup", "stack"):
                pass
            with made.lock("backup", "backup", "other"), made.lock("shared", "restore", "stack"):
                assert len(made.locks()) == 3
        assert made.locks() == []

    def test_unlock_takes_only_stale_locks_unless_forced(self, made: Repository) -> None:
        """Ours is alive."""
        with made.lock("shared", "restore", "stack"):
            assert made.unlock() == []
            assert len(made.unlock(force=True)) == 1
        assert made.locks() == []

    def test_reading_a_damaged_stream_fails_at_the_latest_at_its_end(
        self, made: Repository, damage: "Callable[[SetName, StoredPart], None]"
    ) -> None:
        """A flipped byte never passes for good."""
        manifest = add_set(made, data=LARGE[::-1])  # nothing that the tree has, too
        [part] = manifest.sources["db"].parts
        damage(name_of(manifest), part)
        with pytest.raises(DamagedError):
            stream_bytes(made.fetch(name_of(manifest), "db", part))
        assert [found.item for found in made.verify(name_of(manifest), Subset())] == [part.path]

    @pytest.fixture
    def damage(self) -> "Callable[[SetName, StoredPart], None]":
        """Flips a byte in a stored part; to be given by the layout's own tests."""
        raise NotImplementedError
